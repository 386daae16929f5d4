//! A bloom filter over trace identifiers, so that looking up one trace opens few files.
//!
//! 10 bits an identifier and 7 probes: about 1 % of the files that do not hold a trace are opened in vain. It lies beside
//! its Parquet file as plain bytes; a filter that is missing or damaged means that the file is read.

use tripline_model::TraceId;

const BITS_PER_ID: usize = 10;
const PROBES: u64 = 7;
/// Larger files keep a filter of this size and are opened in vain more often.
const MAX_BYTES: usize = 1 << 20;

/// A set that may claim to hold what it does not, never the reverse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bloom(Vec<u8>);

impl Bloom {
    /// An empty one for about `ids` identifiers.
    pub(super) fn for_ids(ids: usize) -> Self {
        Self(vec![0; (ids.saturating_mul(BITS_PER_ID) / 8 + 1).clamp(64, MAX_BYTES)])
    }

    /// One that takes identifiers faster, and some more space.
    pub(super) fn fast_for_ids(ids: usize) -> Self {
        let bytes = ids.saturating_mul(BITS_PER_ID) / 8 + 1;
        Self(vec![0; bytes.clamp(64, MAX_BYTES).next_power_of_two()])
    }

    /// From the bytes of [`Self::as_bytes`].
    pub(super) const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Adds an identifier.
    pub(super) fn insert(&mut self, id: TraceId) {
        for bit in self.bits(id) {
            if let Some(byte) = self.0.get_mut(bit / 8) {
                *byte |= 1 << (bit % 8);
            }
        }
    }

    /// Whether it may hold an identifier.
    pub(super) fn may_hold(&self, id: TraceId) -> bool {
        self.0.is_empty()
            || self.bits(id).all(|bit| self.0.get(bit / 8).is_none_or(|byte| byte & (1 << (bit % 8)) != 0))
    }

    /// Double hashing after Kirsch and Mitzenmacher (2006), from the two halves of the identifier. The halves are mixed
    /// first: identifiers need not be random (X-Ray's begin with the time).
    fn bits(&self, id: TraceId) -> impl Iterator<Item = usize> + use<> {
        let number = u128::from_be_bytes(*id.as_bytes());
        let (high, low) = ((number >> 64) as u64, number as u64);
        let (first, step) = (mix(high ^ low.rotate_left(32)), mix(low.wrapping_add(high)) | 1);
        let bits = (self.0.len() as u64 * 8).max(1);
        // Of a filter whose size is a power of two the remainder is a mask, at a tenth of a division's price.
        let (mask, is_mask) = (bits - 1, bits.is_power_of_two());
        (0..PROBES).map(move |probe| {
            let number = first.wrapping_add(probe.wrapping_mul(step));
            (if is_mask { number & mask } else { number % bits }) as usize
        })
    }
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

    #[test]
    fn few_strangers_are_let_through_even_when_identifiers_count_up() {
        let mut bloom = Bloom::for_ids(10_000);
        (0..10_000).for_each(|n| bloom.insert(id(n)));
        let wrong = (10_000..20_000).filter(|n| bloom.may_hold(id(*n))).count();
        assert!(wrong < 300, "{wrong} of 10,000");
    }

    proptest! {
        #[test]
        fn what_was_put_in_is_found(numbers in prop::collection::vec(0..u128::MAX, 1..200)) {
            let mut bloom = Bloom::for_ids(numbers.len());
            numbers.iter().for_each(|n| bloom.insert(id(*n)));
            let read_back = Bloom::from_bytes(bloom.as_bytes().to_vec());
            prop_assert!(numbers.iter().all(|n| read_back.may_hold(id(*n))));
        }
    }
}
