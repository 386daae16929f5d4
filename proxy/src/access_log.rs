//! The access log: a line for each request, as `logging.accessLog.file` of the node says.
//!
//! A line is begun when a request arrives and written when it is dropped: at the end of the answer, or when the caller
//! left. Workers put finished lines into a bounded queue; a task on the thread without traffic appends them to the file a
//! few times a second, opening it anew each time, so that a rotated log is followed without a signal. What does not fit
//! is dropped and counted. Only requests that hyper accepts have a line; heads that are no HTTP are counted elsewhere.

mod format;
mod time;

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{CONTENT_LENGTH, HeaderMap};
use http::request::Parts;
use tripline_model::Timestamp;

use crate::clock::Clock;
use crate::worker::Shared;

pub(crate) use format::Format;

/// Lines that may wait.
const MAX_LINES: usize = 8_192;
/// Time between two writes.
const PERIOD: Duration = Duration::from_millis(200);
/// Longest value written, in bytes.
const MAX_VALUE: usize = 1_024;

/// An access log.
#[derive(Debug)]
pub(crate) struct AccessLog {
    declared: tripline_mesh::AccessLog,
    format: Format,
    clock: Clock,
    /// Locked to add one line or take all.
    waiting: Mutex<Vec<String>>,
    dropped: AtomicU64,
    failed: AtomicU64,
}

/// A line that is written when it is dropped.
#[derive(Debug)]
pub(crate) struct Line {
    log: Arc<AccessLog>,
    fields: Fields,
}

/// What is known of a request.
#[derive(Debug)]
pub(crate) struct Fields {
    began: Timestamp,
    took: Duration,
    method: Box<str>,
    path: Box<str>,
    authority: Box<str>,
    protocol: &'static str,
    peer: Option<IpAddr>,
    /// In the order in which the format names them.
    request: Vec<Option<Box<str>>>,
    response: Vec<Option<Box<str>>>,
    /// 0 when the caller left before there was one.
    status: u16,
    /// The sidecar's own word for why it answered itself.
    word: Option<Box<str>>,
    received: u64,
    sent: u64,
    endpoint: Option<Box<str>>,
}

impl AccessLog {
    /// As the node's document has it; what the format asks for and is not known here is told once.
    pub(crate) fn new(declared: &tripline_mesh::AccessLog, clock: Clock) -> Arc<Self> {
        let (format, unknown) = Format::of(&declared.format);
        if !unknown.is_empty() {
            tracing::warn!(
                operators = unknown.join(", "),
                "the access log's format has operators that are written as -"
            );
        }
        let (waiting, dropped, failed) = Default::default();
        Arc::new(Self { declared: declared.clone(), format, clock, waiting, dropped, failed })
    }

    /// Whether it was made of this.
    pub(crate) fn is_of(&self, declared: &tripline_mesh::AccessLog) -> bool {
        self.declared == *declared
    }

    /// Lines that did not fit into the queue, and lines that could not be written.
    pub(crate) fn lost(&self) -> [(&'static str, u64); 2] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [("queue_full", read(&self.dropped)), ("not_written", read(&self.failed))]
    }

    /// Begins a line for a request.
    pub(crate) fn begin(self: &Arc<Self>, parts: &Parts, peer: Option<IpAddr>) -> Box<Line> {
        let host = parts.uri.authority().map(|authority| authority.as_str());
        let host = host.or_else(|| parts.headers.get(http::header::HOST)?.to_str().ok());
        let length = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let fields = Fields {
            began: self.clock.now(),
            took: Duration::ZERO,
            method: parts.method.as_str().into(),
            path: cut(parts.uri.path_and_query().map_or("/", |path| path.as_str())).into(),
            authority: cut(host.unwrap_or_default()).into(),
            protocol: if parts.version == http::Version::HTTP_2 { "HTTP/2" } else { "HTTP/1.1" },
            peer,
            request: values(self.format.request_headers(), &parts.headers),
            response: Vec::new(),
            status: 0,
            word: None,
            received: length.unwrap_or(0),
            sent: 0,
            endpoint: None,
        };
        Box::new(Line { log: Arc::clone(self), fields })
    }

    fn push(&self, line: String) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MAX_LINES {
            drop(waiting);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.push(line);
    }

    fn write_waiting(&self) {
        let lines = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if lines.is_empty() {
            return;
        }
        if let Err(error) = append(&self.declared.path, lines.concat().as_bytes()) {
            let before = self.failed.fetch_add(lines.len() as u64, Ordering::Relaxed);
            if before == 0 {
                tracing::error!(path = self.declared.path, %error, "the access log cannot be written");
            }
        }
    }
}

fn append(path: &str, bytes: &[u8]) -> io::Result<()> {
    match path {
        "/dev/stdout" => io::stdout().lock().write_all(bytes),
        "/dev/stderr" => io::stderr().lock().write_all(bytes),
        path => std::fs::OpenOptions::new().append(true).create(true).open(path)?.write_all(bytes),
    }
}

/// Writes what waits, for as long as the task lives.
pub(crate) async fn keep_writing(shared: Arc<Shared>) {
    let mut log = None;
    loop {
        tokio::time::sleep(PERIOD).await;
        let current = shared.plan.get().access_log.clone();
        // A log that a new configuration replaced may have got lines since the last look.
        for log in [log.take(), current.clone()].into_iter().flatten() {
            write_now(log).await;
        }
        log = current;
    }
}

/// Writes what waits now: a pipe that nobody empties stops no other task of the thread.
pub(crate) async fn write_now(log: Arc<AccessLog>) {
    if tokio::task::spawn_blocking(move || log.write_waiting()).await.is_err() {
        tracing::error!("writing the access log has failed");
    }
}

impl Line {
    /// Notes the head of the answer.
    pub(crate) fn answered(&mut self, status: u16, headers: &HeaderMap) {
        self.fields.status = status;
        self.fields.response = values(self.log.format.response_headers(), headers);
        let word = headers.get(crate::headers::ERROR).and_then(|word| word.to_str().ok());
        self.fields.word = word.map(Into::into);
    }

    /// Notes where the answer comes from.
    pub(crate) fn came_from(&mut self, endpoint: &str) {
        self.fields.endpoint = Some(endpoint.into());
    }

    /// Notes how many bytes of the answer's body were sent.
    pub(crate) fn sent(&mut self, bytes: u64) {
        self.fields.sent += bytes;
    }

    /// Notes how many bytes of the request's body came.
    pub(crate) fn received(&mut self, bytes: u64) {
        self.fields.received = self.fields.received.max(bytes);
    }

    /// Notes that the answer broke off.
    pub(crate) fn broke_off(&mut self) {
        self.fields.word = Some("reset".into());
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.fields.took = self.log.clock.now().since(self.fields.began);
        let line = self.log.format.line(&self.fields);
        self.log.push(line);
    }
}

fn values(names: &[Vec<http::HeaderName>], headers: &HeaderMap) -> Vec<Option<Box<str>>> {
    let first = |names: &Vec<http::HeaderName>| {
        let found = names.iter().find_map(|name| headers.get(name))?;
        Some(cut(found.to_str().ok()?).into())
    };
    names.iter().map(first).collect()
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_VALUE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests;
