//! Decompressing what strangers sent.
//!
//! A body of 20 KiB can unfold to gigabytes. So the output grows in small steps, each taken from the budget first, and
//! stops at the limit; a decoder's own window is bounded, too.
//!
//! Most bodies tell the size that they unfold to, gzip in its last four bytes and zstd in its first. Those are unfolded in one
//! piece, into memory of just that size: a window need not be kept, and libdeflate takes half of zlib's time for it. A size above the limit, or
//! one that turns out wrong, goes the long way.

use std::cell::RefCell;
use std::io::{ErrorKind, Read};

use bytes::Bytes;
use http::HeaderValue;

use super::budget::Share;
use super::pool::Pool;
use super::{Reason, Refusal};
use crate::config::Compression;

/// Output grows by so much at a time.
const STEP: usize = 64 * 1024;
/// What a member of gzip begins with: its mark, and DEFLATE.
const GZIP: [u8; 3] = [0x1f, 0x8b, 8];
/// Largest window of zstd, 2^25 bytes; enough for the largest body that is accepted by default.
const ZSTD_WINDOW_LOG: u32 = 25;

/// What is understood, for the headers that tell so.
pub(super) const UNDERSTOOD: &str = "gzip, zstd, identity";

/// The compression that `content-encoding` or `grpc-encoding` tells.
pub(super) fn from_header(value: Option<&HeaderValue>) -> Result<Compression, Refusal> {
    match value.map(|value| value.as_bytes().trim_ascii()) {
        None | Some(b"" | b"identity") => Ok(Compression::None),
        Some(b"gzip" | b"x-gzip") => Ok(Compression::Gzip),
        Some(b"zstd") => Ok(Compression::Zstd),
        Some(_) => {
            Err(Refusal::new(Reason::Compression, format!("compression is not understood; use one of {UNDERSTOOD}")))
        }
    }
}

/// The largest body, and the setting that says so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) bytes: usize,
    pub(super) setting: &'static str,
}

impl Limit {
    pub(super) fn exceeded(self) -> Refusal {
        Refusal::too_large(self.bytes, self.setting)
    }
}

/// What a body of so many bytes will likely unfold to, in bytes: telemetry unfolds to five times its size or so.
pub(super) fn expected(compression: Compression, bytes: usize, limit: Limit) -> usize {
    match compression {
        Compression::None => 0,
        Compression::Gzip | Compression::Zstd => bytes.saturating_mul(6).clamp(STEP, limit.bytes.max(STEP)),
    }
}

/// The size that a compressed body itself tells, where it tells one within the limit. It need not be true.
pub(super) fn told(compression: Compression, body: &[u8], limit: Limit) -> Option<usize> {
    let size = match compression {
        Compression::None => Some(body.len() as u64),
        // The last four bytes, of the last member; a body of several members is unfolded bit by bit.
        Compression::Gzip if memchr::memmem::find(body.get(1..)?, &GZIP).is_some() => None,
        Compression::Gzip => body.last_chunk().map(|size| u64::from(u32::from_le_bytes(*size))),
        Compression::Zstd => zstd::zstd_safe::get_frame_content_size(body).ok().flatten(),
    };
    size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size <= limit.bytes)
}

/// The decompressed body, at most `limit` bytes of it.
pub(super) fn decompress(
    compression: Compression,
    body: Bytes,
    limit: Limit,
    (share, pool): (&mut Share, &Pool),
) -> Result<Bytes, Refusal> {
    if compression == Compression::None {
        return if body.len() > limit.bytes { Err(limit.exceeded()) } else { Ok(body) };
    }
    if let Some(size) = told(compression, &body, limit) {
        share.grow_to(body.len() + size)?;
        let mut output = pool.room(size);
        let written = output.fill(size, pool, |place| at_once(compression, &body, place));
        if written == Ok(size) {
            return Ok(output.into_bytes());
        }
        // Whoever told a wrong size, or sent damaged bytes, is found out below.
    }
    let guess = expected(compression, body.len(), limit) + STEP;
    match compression {
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(&body[..]).map_err(|_| damaged())?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(|_| damaged())?;
            read_to_limit(decoder, (body.len(), limit), share, (pool, guess))
        }
        _ => read_to_limit(flate2::read::MultiGzDecoder::new(&body[..]), (body.len(), limit), share, (pool, guess)),
    }
}

thread_local! {
    /// One of each kind for a thread, used again: each is some ten to a hundred kilobytes.
    static GZIP_WHOLE: RefCell<libdeflater::Decompressor> = RefCell::new(libdeflater::Decompressor::new());
    static ZSTD_WHOLE: RefCell<zstd::zstd_safe::DCtx<'static>> = RefCell::new(zstd::zstd_safe::DCtx::create());
}

/// Unfolds a whole body into memory of its size, which is twice as fast as doing it bit by bit; answers how much it was.
fn at_once(compression: Compression, body: &[u8], place: &mut [u8]) -> Result<usize, ()> {
    match compression {
        Compression::Zstd => ZSTD_WHOLE.with_borrow_mut(|whole| whole.decompress(place, body).map_err(drop)),
        _ => GZIP_WHOLE.with_borrow_mut(|whole| whole.gzip_decompress(body, place).map_err(drop)),
    }
}

fn read_to_limit(
    mut decoder: impl Read,
    (compressed, limit): (usize, Limit),
    share: &mut Share,
    (pool, guess): (&Pool, usize),
) -> Result<Bytes, Refusal> {
    let mut output = pool.room(guess);
    loop {
        share.grow_to(compressed + output.len() + STEP)?;
        let read = output.fill(STEP, pool, |place| {
            loop {
                match decoder.read(place) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    other => break other.map_err(|_| damaged()),
                }
            }
        })?;
        if output.len() > limit.bytes {
            return Err(limit.exceeded());
        }
        if read == 0 {
            return Ok(output.into_bytes());
        }
    }
}

fn damaged() -> Refusal {
    Refusal::new(Reason::Malformed, "compressed body is damaged or cut short")
}

#[cfg(test)]
mod tests {
    use super::super::budget::Budget;
    use super::*;
    use std::io::Write;

    const LIMIT: Limit = Limit { bytes: 1 << 20, setting: "limit" };

    fn gzip(data: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(data).expect("memory");
        encoder.finish().expect("memory").into()
    }

    fn zstd(data: &[u8]) -> Bytes {
        zstd::bulk::compress(data, 19).expect("memory").into()
    }

    /// As somebody sends it who does not know the size when he begins.
    fn zstd_as_stream(data: &[u8]) -> Bytes {
        zstd::stream::encode_all(data, 19).expect("memory").into()
    }

    fn run(compression: Compression, body: Bytes) -> Result<Bytes, Reason> {
        let (mut share, pool) = (Budget::new(8 << 20).share(), Pool::new(1 << 20));
        decompress(compression, body, LIMIT, (&mut share, &pool)).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn what_was_compressed_reads_back_up_to_the_limit() {
        for size in [0, 1, STEP - 1, STEP, STEP + 1, LIMIT.bytes] {
            let data: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
            assert_eq!(run(Compression::Gzip, gzip(&data)).as_deref(), Ok(&data[..]), "{size}");
            assert_eq!(run(Compression::Zstd, zstd(&data)).as_deref(), Ok(&data[..]), "{size}");
            assert_eq!(run(Compression::Zstd, zstd_as_stream(&data)).as_deref(), Ok(&data[..]), "{size}");
        }
        for (first, second) in [("one", "two"), ("one", "one"), ("", "one"), ("four", "")] {
            let two = (first.as_bytes(), second.as_bytes());
            let whole = [two.0, two.1].concat();
            assert_eq!(run(Compression::Gzip, [gzip(two.0), gzip(two.1)].concat().into()).as_deref(), Ok(&whole[..]));
            assert_eq!(run(Compression::Zstd, [zstd(two.0), zstd(two.1)].concat().into()).as_deref(), Ok(&whole[..]));
        }
    }

    #[test]
    fn a_size_that_is_not_true_does_not_matter() {
        let (data, mut body) = (vec![7_u8; 5_000], gzip(&[7; 5_000]).to_vec());
        assert_eq!(told(Compression::Gzip, &body, LIMIT), Some(data.len()));
        assert_eq!(told(Compression::Zstd, &zstd(&data), LIMIT), Some(data.len()));
        let at = body.len() - 4;
        for wrong in [0_u32, 1, 4_999, 5_001, 1 << 20, u32::MAX] {
            body[at..].copy_from_slice(&wrong.to_le_bytes());
            assert_eq!(run(Compression::Gzip, body.clone().into()), Err(Reason::Malformed), "{wrong}");
        }
        assert_eq!(told(Compression::Zstd, &zstd_as_stream(&data), LIMIT), None);
    }

    #[test]
    fn a_bomb_stops_at_the_limit_and_damage_is_malformed() {
        let bomb = vec![0; 64 << 20];
        for (compression, body) in [(Compression::Gzip, gzip(&bomb)), (Compression::Zstd, zstd(&bomb))] {
            assert!(body.len() < 100_000);
            assert_eq!(run(compression, body.clone()), Err(Reason::TooLarge), "{compression:?}");
            let small = match compression {
                Compression::Gzip => gzip(b"hello, hello, hello"),
                _ => zstd(b"hello, hello, hello"),
            };
            for cut in 1..small.len() {
                assert_eq!(
                    run(compression, small.slice(..cut)),
                    Err(Reason::Malformed),
                    "{compression:?} cut at {cut}"
                );
            }
            assert_eq!(run(compression, Bytes::from_static(b"not compressed at all")), Err(Reason::Malformed));
        }
    }

    #[test]
    fn a_bomb_is_charged_for_what_it_unfolds() {
        let mut share = Budget::new(256 << 10).share();
        let body = gzip(&vec![0; 1 << 20]);
        let refused = decompress(Compression::Gzip, body, LIMIT, (&mut share, &Pool::new(0))).expect_err("no budget");
        assert_eq!(refused.reason, Reason::BusyBytes);
    }
}
