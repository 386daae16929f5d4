//! When everything is slower at once.
//!
//! A host that pauses, or one that is overloaded, slows every process on it. That is nobody's fault in the mesh, and whoever is a little
//! slower than the others then must not be blamed for it. What all have in common is read off the *leaves*, the services that call nobody: a
//! dependency that is slow makes its callers slow, too, but never a leaf that it does not call. If three quarters of the
//! leaves with a baseline, and at least two, needed more of their own time than normal, then what the lower quarter of them had at least is common: so many seconds
//! a request, or so many times as much. In such a window nothing is slow that is not slow beyond that.
//!
//! Cost: a fault that hits three quarters of the leaves alike, without failures, is not seen as long as it is not worse elsewhere. With fewer than
//! two leaves nothing can be told apart, and the rule does not apply.

/// What a window had in common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Common {
    /// Seconds a request.
    added: f32,
    /// Multiple of the normal time.
    times: f32,
}

impl Default for Common {
    fn default() -> Self {
        Self { added: 0.0, times: 1.0 }
    }
}

/// A request is delayed by a pause wherever it is, but not by much more than once for each: so much of what is common is allowed.
const ALLOWED: f32 = 3.0;
/// Below these nothing is common: seconds, and multiples.
const NOTICEABLE: (f32, f32) = (0.001, 1.2);

impl Common {
    /// Of what leaves needed now and need normally, in seconds.
    pub(super) fn of(leaves: &[(f64, f64)]) -> Self {
        if leaves.len() < 2 {
            return Self::default();
        }
        let lower = |value: fn(&(f64, f64)) -> f64| {
            let mut values: Vec<f64> = leaves.iter().map(value).collect();
            let at = (values.len() - 1) / 4;
            *values.select_nth_unstable_by(at, f64::total_cmp).1 as f32
        };
        let added = lower(|(now, normal)| now - normal).max(0.0);
        let times = lower(|(now, normal)| now / normal.max(1e-6)).max(1.0);
        if added < NOTICEABLE.0 && times < NOTICEABLE.1 { Self::default() } else { Self { added, times } }
    }

    /// Whether a time exceeds its limit beyond what is common.
    pub(super) fn exceeds(self, seconds: f32, limit: f32) -> bool {
        seconds / self.times > limit && seconds - ALLOWED * self.added > limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_leaves_have_is_nobodys() {
        let pause = Common::of(&[(0.020, 0.005), (0.017, 0.002), (0.025, 0.008), (0.400, 0.010)]);
        assert!(!pause.exceeds(0.022, 0.015), "{pause:?}");
        assert!(pause.exceeds(0.400, 0.020), "who is much slower still is");
        let twice = Common::of(&[(0.040, 0.020), (0.010, 0.005)]);
        assert!(!twice.exceeds(0.100, 0.060) && twice.exceeds(0.200, 0.060), "{twice:?}");
    }

    #[test]
    fn one_slow_leaf_of_several_is_no_common_slowdown() {
        assert_eq!(Common::of(&[(0.3, 0.005), (0.005, 0.005)]), Common::default());
        assert_eq!(Common::of(&[(0.3, 0.005)]), Common::default());
        assert_eq!(Common::of(&[(0.3, 0.005), (0.3, 0.004), (0.0051, 0.005), (0.002, 0.002)]), Common::default());
    }
}
