//! Reading a request's body within a size and a time.

use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use super::budget::Share;
use super::compression::{self, Limit};
use super::pool::Pool;
use super::{Reason, Refusal};
use crate::config::{Compression, Limits};

/// Bytes of a refused body that are read and thrown away, so that the sender gets to read the answer: a connection that is
/// closed while data is still arriving is reset, and the answer in flight is lost with it.
const DISCARD: usize = 64 << 20;

/// Room for a body that does not say how long it is.
const UNANNOUNCED: usize = 64 * 1024;

/// The whole body, at most `limit` and within `time`; its bytes are taken from the budget before they are read, and with them what a
/// compressed one will likely unfold to: who has to wait waits here, where it holds nothing yet. It is copied out of the
/// connection's buffer, which would else be held, all of it, for as long as the smallest body in it.
pub(super) async fn read<B>(
    body: &mut B,
    compression: Compression,
    (limit, limits): (Limit, &Limits),
    share: &mut Share,
    pool: &Pool,
) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    let announced = body.size_hint().exact().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if let Some(bytes) = announced {
        if bytes > limit.bytes {
            return Err(limit.exceeded());
        }
        let unfolded = compression::expected(compression, bytes, limit);
        // More than there is would be waited for in vain.
        let all = bytes.saturating_add(unfolded).min(limits.in_flight_bytes.max(bytes));
        share.begin_with(all, limits.queue_timeout).await?;
    }
    let time = limits.body_timeout;
    let deadline = Instant::now() + time;
    let mut gathered = pool.room(announced.unwrap_or(UNANNOUNCED));
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
        gathered.push(&data, pool);
    }
}

/// Reads on and forgets, for a while, after a refusal.
pub(super) async fn discard(body: &mut (impl Body<Data = Bytes> + Unpin), time: Duration) {
    let deadline = Instant::now() + time;
    let mut rest = DISCARD;
    while let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await {
        let Some(left) = rest.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
        rest = left;
    }
}
