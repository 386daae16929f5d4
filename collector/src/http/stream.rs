//! `GET /api/v1/stream`: server-sent events, one `snapshot`, then one `changes` a second.
//!
//! One task computes and writes the changes between two views once, however many listen, and not at all while nobody does. A listener begins with a snapshot
//! that bears a number and follows with the changes after that number. One that is too slow (its queue and the broadcast
//! channel are full) has lost some: it gets a fresh snapshot. So does everyone when the changes cannot say what
//! happened (an incident left the view). A listener whose connection takes nothing for half a minute is let go.

mod diff;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tripline_api as api;

use super::App;
use super::answer::Refusal;
use crate::live::View;

/// Changes that a slow listener may be behind.
const BEHIND: usize = 16;
/// Events that wait for one connection.
const QUEUE: usize = 4;
/// A connection that takes nothing for so long is let go.
const PATIENCE: Duration = Duration::from_secs(30);
/// A comment is sent after so long without an event, so that proxies between keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A view with its number.
#[derive(Debug, Clone)]
struct Frame {
    number: u64,
    view: Arc<View>,
}

/// What happened between the frame before `number` and it.
#[derive(Debug)]
struct Step {
    number: u64,
    /// The changes as JSON; none when only a snapshot can tell, or nobody was listening.
    changes: Option<String>,
}

/// The listeners' hold on the task.
#[derive(Debug, Clone)]
pub(super) struct Hub {
    frames: watch::Receiver<Frame>,
    steps: broadcast::Sender<Arc<Step>>,
    shutdown: CancellationToken,
}

/// The hub and its task, which ends with the views or on shutdown.
pub(super) fn hub(
    mut views: watch::Receiver<Arc<View>>,
    shutdown: CancellationToken,
) -> (Hub, impl Future<Output = ()> + Send + 'static) {
    let first = Frame { number: 0, view: Arc::clone(&views.borrow_and_update()) };
    let (frame, frames) = watch::channel(first);
    let (steps, _) = broadcast::channel(BEHIND);
    let hub = Hub { frames, steps: steps.clone(), shutdown: shutdown.clone() };
    let task = async move {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = views.changed() => if changed.is_err() { return },
            }
            let view = Arc::clone(&views.borrow_and_update());
            let before = frame.borrow().clone();
            let number = before.number + 1;
            // Whoever begins to listen now gets a snapshot first.
            let changes = (steps.receiver_count() > 0)
                .then(|| diff::changes(&before.view, &view))
                .flatten()
                .and_then(|changes| serde_json::to_string(&changes).ok());
            // The frame first: whoever subscribed before the step reads a frame that holds it already, and skips it.
            frame.send_replace(Frame { number, view });
            // Nobody listening is fine.
            let _listeners = steps.send(Arc::new(Step { number, changes }));
        }
    };
    (hub, task)
}

/// One `snapshot`, then `changes` each second, as server-sent events.
#[utoipa::path(get, path = "/api/v1/stream", responses(
    (status = 200, description = "events `snapshot` (Snapshot) and `changes` (Changes)", content_type = "text/event-stream", body = api::Snapshot),
    (status = 503, body = api::ApiError)))]
pub(super) async fn stream(
    State(app): State<App>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refusal> {
    let busy = |_| Refusal::unavailable("too many streams are open; close one and try again");
    let place = Arc::clone(&app.stream_places).try_acquire_owned().map_err(busy)?;
    let (events, sent) = mpsc::channel(QUEUE);
    // Ends with the connection, or on shutdown.
    tokio::spawn(feed(app.hub.clone(), events, place));
    Ok(Sse::new(ReceiverStream::new(sent).map(Ok)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

async fn feed(hub: Hub, events: mpsc::Sender<Event>, _place: OwnedSemaphorePermit) {
    let mut steps = hub.steps.subscribe();
    let mut known = None;
    loop {
        let event = tokio::select! {
            () = hub.shutdown.cancelled() => return,
            () = events.closed() => return,
            event = next(&hub, &mut steps, &mut known) => event,
        };
        let Some(event) = event else { return };
        let sent = tokio::select! {
            () = hub.shutdown.cancelled() => return,
            sent = timeout(PATIENCE, events.send(event)) => sent,
        };
        if !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}

/// The next event for a listener that has seen everything up to frame `known`; none at the end.
async fn next(hub: &Hub, steps: &mut broadcast::Receiver<Arc<Step>>, known: &mut Option<u64>) -> Option<Event> {
    let Some(number) = *known else { return snapshot(hub, known) };
    loop {
        match steps.recv().await {
            Ok(step) if step.number <= number => {}
            Ok(step) => {
                let Some(changes) = step.changes.as_ref().filter(|_| step.number == number + 1) else {
                    return snapshot(hub, known);
                };
                *known = Some(step.number);
                return Some(Event::default().event("changes").id(step.number.to_string()).data(changes));
            }
            Err(RecvError::Lagged(_)) => return snapshot(hub, known),
            Err(RecvError::Closed) => return None,
        }
    }
}

fn snapshot(hub: &Hub, known: &mut Option<u64>) -> Option<Event> {
    let frame = hub.frames.borrow().clone();
    let text = serde_json::to_string(&diff::snapshot(&frame.view)).ok()?;
    *known = Some(frame.number);
    Some(Event::default().event("snapshot").id(frame.number.to_string()).data(text))
}
