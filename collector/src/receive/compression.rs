//! Decompressing what strangers sent.
//!
//! A body of 20 KiB can unfold to gigabytes. So the output grows in small steps, each taken from the budget first, and
//! stops at the limit; a decoder's own window is bounded, too.

use std::io::{ErrorKind, Read};

use bytes::Bytes;
use http::HeaderValue;

use super::budget::Share;
use super::pool::Pool;
use super::{Reason, Refusal};
use crate::config::Compression;

/// Output grows by so much at a time.
const STEP: usize = 64 * 1024;
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

/// The decompressed body, at most `limit` bytes of it.
pub(super) fn decompress(
    compression: Compression,
    body: Bytes,
    limit: Limit,
    (share, pool): (&mut Share, &Pool),
) -> Result<Bytes, Refusal> {
    // Telemetry unfolds to five times its size or so.
    let guess = body.len().saturating_mul(6).clamp(STEP, limit.bytes.max(STEP)) + STEP;
    match compression {
        Compression::None if body.len() > limit.bytes => Err(limit.exceeded()),
        Compression::None => Ok(body),
        Compression::Gzip => read_to_limit(flate2::read::MultiGzDecoder::new(&body[..]), limit, share, (pool, guess)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(&body[..]).map_err(|_| damaged())?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(|_| damaged())?;
            read_to_limit(decoder, limit, share, (pool, guess))
        }
    }
}

fn read_to_limit(
    mut decoder: impl Read,
    limit: Limit,
    share: &mut Share,
    (pool, guess): (&Pool, usize),
) -> Result<Bytes, Refusal> {
    let mut output = pool.room(guess);
    loop {
        share.grow_by(STEP)?;
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
        }
        let two_members = [gzip(b"one"), gzip(b"two")].concat();
        assert_eq!(run(Compression::Gzip, two_members.into()).as_deref(), Ok(&b"onetwo"[..]));
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
