//! A future that is polled only when something has woken it.
//!
//! A connection's task is woken for every piece of every request, and each time it would also look at what ends the
//! connection: the drain, its age. Those change once in its life. This gives them a waker of their own, which remembers
//! that it was called and then wakes the task, so that looking costs one load of a flag. `FuturesUnordered` does the
//! same for many futures; here it is one, and without its list.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// The future and its waker.
#[derive(Debug)]
pub(crate) struct Aside<F> {
    inner: Pin<Box<F>>,
    bell: Arc<Bell>,
    waker: Waker,
}

#[derive(Debug)]
struct Bell {
    rung: AtomicBool,
    /// The task to wake; locked when it changes and when the bell rings, which is seldom.
    task: Mutex<Option<Waker>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl<F: Future> Aside<F> {
    /// Polls it once at first, and from then on when it was woken.
    pub(crate) fn new(inner: F) -> Self {
        let bell = Arc::new(Bell { rung: AtomicBool::new(true), task: Mutex::default() });
        Self { inner: Box::pin(inner), waker: Waker::from(Arc::clone(&bell)), bell }
    }
}

impl<F: Future> Future for Aside<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        if !this.bell.rung.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        // The task is noted before the flag is taken back, so that a ring in between is not lost. A connection is one task
        // for its whole life, so it need not be noted again.
        *this.bell.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        this.bell.rung.store(false, Ordering::Release);
        this.inner.as_mut().poll(&mut Context::from_waker(&this.waker))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_polled_when_woken_and_not_otherwise() {
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&polls);
        let mut sleep = Box::pin(tokio::time::sleep(Duration::from_secs(5)));
        let mut aside = Aside::new(poll_fn(move |cx| {
            counted.fetch_add(1, Ordering::SeqCst);
            sleep.as_mut().poll(cx)
        }));
        for _ in 0..100 {
            let looked = tokio::time::timeout(Duration::from_millis(1), &mut aside).await;
            assert!(looked.is_err());
        }
        assert_eq!(polls.load(Ordering::SeqCst), 1, "a hundred looks, one poll");
        aside.await;
        assert_eq!(polls.load(Ordering::SeqCst), 2);
    }
}
