//! The thread that owns a large graph, and the other cores that help it.

/// Does `work`, in which large graphs are gone through on all cores, this thread among them, by helpers that nobody else has.
///
/// Without it everything works as well, with the helpers of the whole process, of which there is one for each core; but then this thread sleeps
/// while they work, and a kernel that sees all cores busy wakes two of them on the same one: on a machine with two cores for several milliseconds in
/// most windows.
pub fn with_helpers<T>(work: impl FnOnce() -> T) -> T {
    let helpers = rayon::ThreadPoolBuilder::new().use_current_thread().thread_name(|at| format!("graph-{at}")).build();
    let done = work();
    // Until here they are this thread's; where they could not be started those of the process do.
    drop(helpers);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_has_helpers_is_one_of_them() {
        // On a thread of its own, for a thread has the same helpers for as long as it lives.
        let number = || (rayon::current_thread_index(), with_helpers(rayon::current_thread_index));
        let (without, with) = std::thread::spawn(number).join().unwrap();
        assert_eq!((without, with), (None, Some(0)));
    }
}
