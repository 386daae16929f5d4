//! Reading a request's body within a size and a time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::budget::Share;
use super::compression::Limit;
use super::{Reason, Refusal};

/// Bytes of a refused body that are read and thrown away, so that the sender gets to read the answer: a connection that is
/// closed while data is still arriving is reset, and the answer in flight is lost with it.
const DISCARD: usize = 64 << 20;

/// The whole body, at most `limit` and within `time`; its bytes are taken from the budget before they are read.
pub(super) async fn read(
    body: &mut Incoming,
    limit: Limit,
    time: Duration,
    share: &mut Share,
) -> Result<Bytes, Refusal> {
    let deadline = Instant::now() + time;
    let announced = body.size_hint().exact().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if let Some(bytes) = announced {
        if bytes > limit.bytes {
            return Err(limit.exceeded());
        }
        share.grow_to(bytes)?;
    }
    let mut gathered = Gathered::default();
    loop {
        let frame = timeout_at(deadline, body.frame()).await.map_err(|_| {
            Refusal::new(Reason::SlowBody, format!("body did not arrive within {} s", time.as_secs_f32()))
        })?;
        let Some(frame) = frame else { return Ok(gathered.into_bytes()) };
        let frame = frame.map_err(|error| Refusal::new(Reason::BrokenBody, format!("body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if gathered.len() + data.len() > limit.bytes {
            return Err(limit.exceeded());
        }
        share.grow_to(gathered.len() + data.len())?;
        gathered.push(data, announced);
    }
}

/// Reads on and forgets, for a while, after a refusal.
pub(super) async fn discard(body: &mut Incoming, time: Duration) {
    let deadline = Instant::now() + time;
    let mut rest = DISCARD;
    while let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await {
        let Some(left) = rest.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
        rest = left;
    }
}

/// Chunks of a body; one chunk stays as it came, more are put together.
#[derive(Default)]
struct Gathered {
    first: Bytes,
    joined: BytesMut,
}

impl Gathered {
    fn len(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    fn push(&mut self, data: Bytes, announced: Option<usize>) {
        if self.first.is_empty() && self.joined.is_empty() {
            self.first = data;
            return;
        }
        if !self.first.is_empty() {
            self.joined.reserve(announced.unwrap_or(0).max(self.first.len() + data.len()));
            self.joined.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.joined.extend_from_slice(&data);
    }

    fn into_bytes(self) -> Bytes {
        if self.joined.is_empty() { self.first } else { self.joined.freeze() }
    }
}
