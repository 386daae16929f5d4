//! Telemetry steps back where it and requests want the same core.
//!
//! Encoding and compressing a batch of spans takes up to a millisecond. A thread that wakes for it goes before a worker that has long been
//! running, and the requests of that worker wait: it was a fifth of the 99th percentile at full load.

/// By how much the thread is nicer than the workers: where a core is busy it gets a tenth of it, which is ten times what it needs.
const NICER: i32 = 10;

/// Lets threads that carry traffic go before this one and those that it starts from now on.
#[cfg(target_os = "linux")]
pub(crate) fn step_back() {
    // On Linux this is of the thread; POSIX has it of the process.
    if let Err(error) = rustix::process::nice(NICER) {
        tracing::debug!(%error, "telemetry has the same priority as traffic");
    }
}

/// Elsewhere only the whole process could step back.
#[cfg(not(target_os = "linux"))]
pub(crate) const fn step_back() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_the_thread_that_asks_steps_back() {
        let nice = || rustix::process::getpriority_process(None).unwrap_or(i32::MAX);
        let before = nice();
        let (own, of_child) = std::thread::spawn(move || {
            step_back();
            (nice(), std::thread::spawn(nice).join().unwrap_or(i32::MAX))
        })
        .join()
        .unwrap_or_default();
        let stepped = (before + NICER).min(19);
        assert_eq!((own, of_child, nice()), (stepped, stepped, before));
    }
}
