//! What is not in the stream: fetched when it is first needed, when its address changes, and again every so often.

use std::time::Duration;

use leptos::prelude::*;
use leptos::task::spawn_local;
use serde::de::DeserializeOwned;

use crate::fetch::{self, FetchError};

/// What is known of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Loaded<T> {
    /// Not yet there.
    Waiting,
    /// As last answered.
    Ready(T),
    /// No answer, and none before.
    Failed(FetchError),
}

impl<T> Loaded<T> {
    /// The answer, if there is one.
    pub(crate) fn ready(&self) -> Option<&T> {
        match self {
            Self::Ready(answer) => Some(answer),
            Self::Waiting | Self::Failed(_) => None,
        }
    }

    /// Whether the collector knows no such thing.
    fn is_missing(&self) -> bool {
        matches!(self, Self::Failed(FetchError::NotFound { .. }))
    }
}

/// Follows the answer of `GET path()`; nothing is asked while there is no path.
///
/// A new address forgets the old answer; a failure does not, since an old answer beats none. Answers that are
/// overtaken by a newer question are dropped.
pub(crate) fn poll<T>(path: impl Fn() -> Option<String> + Send + Sync + 'static, every: Duration) -> RwSignal<Loaded<T>>
where
    T: DeserializeOwned + Send + Sync + 'static,
{
    follow(path, every, Absence::MayEnd)
}

/// As [`poll`], for what a collector has or has not as long as it runs: what is not there is not asked for again.
pub(crate) fn poll_if_there<T>(path: &'static str, every: Duration) -> RwSignal<Loaded<T>>
where
    T: DeserializeOwned + Send + Sync + 'static,
{
    follow(move || Some(path.to_owned()), every, Absence::Final)
}

/// What it means that the collector knows no such thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absence {
    /// It may know it later.
    MayEnd,
    /// It never will.
    Final,
}

fn follow<T>(
    path: impl Fn() -> Option<String> + Send + Sync + 'static,
    every: Duration,
    absence: Absence,
) -> RwSignal<Loaded<T>>
where
    T: DeserializeOwned + Send + Sync + 'static,
{
    let loaded = RwSignal::new(Loaded::Waiting);
    let question = StoredValue::new(0_u64);
    let path = Memo::new(move |_| path());
    let ask = move || {
        let Some(path) = path.get_untracked() else { return };
        let mine = question.get_value() + 1;
        question.set_value(mine);
        spawn_local(async move {
            let answer = fetch::get::<T>(&path).await;
            if question.try_get_value() == Some(mine) {
                loaded.update(|old| match (answer, &*old) {
                    (Ok(answer), _) => *old = Loaded::Ready(answer),
                    (Err(_), Loaded::Ready(_)) => {}
                    (Err(error), _) => *old = Loaded::Failed(error),
                });
            }
        });
    };
    Effect::new(move |_| {
        path.track();
        question.update_value(|count| *count += 1);
        loaded.set(Loaded::Waiting);
        ask();
    });
    let again = move || {
        if absence == Absence::MayEnd || !loaded.with_untracked(Loaded::is_missing) {
            ask();
        }
    };
    if let Ok(handle) = set_interval_with_handle(again, every) {
        on_cleanup(move || handle.clear());
    }
    loaded
}
