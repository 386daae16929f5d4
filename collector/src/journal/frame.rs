//! One record as bytes: `length u32 | crc32c u32 | received_at u64 | kind u8 | body`, little-endian.
//!
//! `length` counts what follows the checksum; the checksum covers that. It is Castagnoli's CRC, which processors compute
//! in hardware and which finds every burst of up to 32 bits. Bodies are stored as they were received after
//! decompression: they were decoded once already, so reading them back can only fail by damage.

use std::io::{self, Read};

use bytes::Bytes;
use tripline_model::Timestamp;
use tripline_otlp::wire::{Encoding, Signal};

/// One accepted request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it carries.
    pub signal: Signal,
    /// How its body is written.
    pub encoding: Encoding,
    /// When it was received.
    pub received_at: Timestamp,
    /// Its body, decompressed.
    pub body: Bytes,
}

/// Bytes before the body.
pub(super) const HEAD: usize = 17;
/// Bytes of the head that the length counts and the checksum covers.
const COVERED: usize = 9;
/// No frame is longer; a length beyond it is damage.
const MAX_LENGTH: usize = 1 << 30;

const KINDS: [(Signal, Encoding); 6] = [
    (Signal::Traces, Encoding::Protobuf),
    (Signal::Traces, Encoding::Json),
    (Signal::Metrics, Encoding::Protobuf),
    (Signal::Metrics, Encoding::Json),
    (Signal::Logs, Encoding::Protobuf),
    (Signal::Logs, Encoding::Json),
];

/// The bytes before the body of `record`; none when the body is too long.
pub(super) fn head(record: &Record) -> Option<[u8; HEAD]> {
    let length = record.body.len().checked_add(COVERED).filter(|length| *length <= MAX_LENGTH)?;
    let kind = KINDS.iter().position(|kind| *kind == (record.signal, record.encoding))?;
    let mut head = [0; HEAD];
    head[8..16].copy_from_slice(&record.received_at.as_nanos().to_le_bytes());
    head[16] = u8::try_from(kind).ok()?;
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&head[8..]), &record.body);
    head[..4].copy_from_slice(&u32::try_from(length).ok()?.to_le_bytes());
    head[4..8].copy_from_slice(&checksum.to_le_bytes());
    Some(head)
}

/// What stands at one place of a segment.
#[derive(Debug)]
pub(super) enum Frame {
    /// A whole record.
    Whole(Record),
    /// The end of the file, or the zeros that fill its last block.
    End,
    /// Something cut short or damaged.
    Bad,
}

/// Reads the next frame; `rest` is how many bytes the file has from here on.
///
/// # Errors
/// When the disk fails; damage is no error.
pub(super) fn read(input: &mut impl Read, rest: u64) -> io::Result<Frame> {
    if rest == 0 {
        return Ok(Frame::End);
    }
    let mut head = [0; HEAD];
    if rest < HEAD as u64 {
        return Ok(Frame::Bad);
    }
    input.read_exact(&mut head)?;
    if head == [0; HEAD] {
        return Ok(Frame::End);
    }
    let [l0, l1, l2, l3, c0, c1, c2, c3, t0, t1, t2, t3, t4, t5, t6, t7, kind] = head;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    let (Some(body_len), Some((signal, encoding))) = (length.checked_sub(COVERED), KINDS.get(usize::from(kind))) else {
        return Ok(Frame::Bad);
    };
    if length > MAX_LENGTH || body_len as u64 > rest - HEAD as u64 {
        return Ok(Frame::Bad);
    }
    let mut body = vec![0; body_len];
    input.read_exact(&mut body)?;
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&head[8..]), &body);
    if checksum != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Ok(Frame::Bad);
    }
    let received_at = Timestamp::from_nanos(u64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]));
    Ok(Frame::Whole(Record { signal: *signal, encoding: *encoding, received_at, body: body.into() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes_of(record: &Record) -> Vec<u8> {
        let mut bytes = head(record).expect("short enough").to_vec();
        bytes.extend_from_slice(&record.body);
        bytes
    }

    proptest! {
        #[test]
        fn a_frame_reads_back_and_any_damage_is_noticed(
            kind in 0usize..6, at in any::<u64>(), body in prop::collection::vec(any::<u8>(), 0..300), place in any::<usize>(), bit in 0u8..8,
        ) {
            let (signal, encoding) = KINDS[kind];
            let record = Record { signal, encoding, received_at: Timestamp::from_nanos(at), body: body.into() };
            let mut bytes = bytes_of(&record);
            let length = bytes.len() as u64;
            match read(&mut &bytes[..], length).expect("no disk") {
                Frame::Whole(back) => prop_assert_eq!(back, record),
                other => prop_assert!(false, "{:?}", other),
            }
            let place = place % bytes.len();
            bytes[place] ^= 1 << bit;
            prop_assert!(matches!(read(&mut &bytes[..], length), Ok(Frame::Bad)));
        }
    }
}
