//! A bloom filter over trace identifiers, so that looking up one trace opens few files and reads little of the filters.
//!
//! It is cut into blocks of 64 bytes; an identifier has all of its bits in one of them, so that a question reads 64 bytes of a
//! filter that may be half a megabyte, whatever number of files there is. With 15 bits an identifier and 8 probes, about one file in 800
//! is opened in vain (12 bits: one in 200, and a hundred million spans lie in 200 files). It lies beside its Parquet file as plain bytes; a
//! filter that is missing or damaged means that the file is read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use tripline_model::TraceId;

const BITS_PER_ID: usize = 15;
const PROBES: u32 = 8;
const BLOCK: usize = 64;

/// A set that may claim to hold what it does not, never the reverse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bloom(Vec<u8>);

impl Bloom {
    /// An empty one for about `ids` identifiers.
    pub(super) fn for_ids(ids: usize) -> Self {
        Self(vec![0; (ids.saturating_mul(BITS_PER_ID) / 8).div_ceil(BLOCK).max(1) * BLOCK])
    }

    /// Its bytes.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Adds an identifier.
    pub(super) fn insert(&mut self, id: TraceId) {
        let (block, bits) = place(id, self.0.len());
        if let Some(bytes) = self.0.get_mut(block..block + BLOCK) {
            bytes.iter_mut().zip(bits).for_each(|(byte, bits)| *byte |= bits);
        }
    }

    /// Whether the filter in a file may hold an identifier; reads one block of it.
    ///
    /// # Errors
    /// When it cannot be read or was not written by us.
    pub(super) fn file_may_hold(path: &Path, id: TraceId) -> io::Result<bool> {
        let file = File::open(path)?;
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        if length == 0 || length % BLOCK != 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a whole number of blocks"));
        }
        let (block, bits) = place(id, length);
        let mut bytes = [0; BLOCK];
        file.read_exact_at(&mut bytes, block as u64)?;
        Ok(bytes.iter().zip(bits).all(|(byte, bits)| byte & bits == bits))
    }
}

/// Where an identifier's block begins in a filter of `length` bytes, and its bits in it. The halves of the identifier are mixed first:
/// identifiers need not be random (X-Ray's begin with the time).
fn place(id: TraceId, length: usize) -> (usize, [u8; BLOCK]) {
    let number = u128::from_be_bytes(*id.as_bytes());
    let (high, low) = ((number >> 64) as u64, number as u64);
    let (first, second) = (mix(high ^ low.rotate_left(32)), mix(low.wrapping_add(high)));
    let blocks = (length / BLOCK).max(1) as u64;
    let block = ((u128::from(first) * u128::from(blocks)) >> 64) as usize;
    let mut bits = [0; BLOCK];
    // Nine bits for each probe: eight of them are 72, so the last comes from the other hash.
    for probe in 0..PROBES {
        let hash = if probe < 7 { second >> (probe * 9) } else { first };
        let bit = hash as usize % (BLOCK * 8);
        if let Some(byte) = bits.get_mut(bit / 8) {
            *byte |= 1 << (bit % 8);
        }
    }
    (block * BLOCK, bits)
}

/// The finaliser of SplitMix64.
const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(number: u128) -> TraceId {
        TraceId::from_bytes((number + 1).to_be_bytes()).unwrap()
    }

    fn stored(bloom: &Bloom) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bloom.as_bytes()).unwrap();
        file
    }

    #[test]
    fn few_strangers_are_let_through_even_when_identifiers_count_up() {
        let mut bloom = Bloom::for_ids(10_000);
        (0..10_000).for_each(|n| bloom.insert(id(n)));
        let file = stored(&bloom);
        let wrong = (10_000..20_000).filter(|n| Bloom::file_may_hold(file.path(), id(*n)).unwrap()).count();
        assert!(wrong < 30, "{wrong} of 10,000");
    }

    #[test]
    fn what_is_no_filter_is_no_answer() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for bytes in [&[][..], &[0; 65]] {
            std::fs::write(file.path(), bytes).unwrap();
            assert!(Bloom::file_may_hold(file.path(), id(1)).is_err());
        }
    }

    proptest! {
        #[test]
        fn what_was_put_in_is_found(numbers in prop::collection::vec(0..u128::MAX, 1..200)) {
            let mut bloom = Bloom::for_ids(numbers.len());
            numbers.iter().for_each(|n| bloom.insert(id(*n)));
            let file = stored(&bloom);
            prop_assert!(numbers.iter().all(|n| Bloom::file_may_hold(file.path(), id(*n)).unwrap()));
        }
    }
}
