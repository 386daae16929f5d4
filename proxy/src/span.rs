//! A sampled exchange as a span, with the stable names of OpenTelemetry's HTTP conventions.

use std::sync::Arc;

use http::request::Parts;
use tripline_model::{ServiceName, Timestamp};
use tripline_otlp::{SpanKind, SpanRecord, SpanStatus, Value, names};

use crate::exchange::End;
use crate::grpc;
use crate::trace_context::{TraceContext, random_span};

/// Longest path written, in bytes.
const MAX_PATH: usize = 256;

/// What is known of a span when its request arrives.
#[derive(Debug)]
pub(crate) struct SpanDraft {
    kind: SpanKind,
    method: String,
    path: String,
    host: String,
    own: ServiceName,
    peer: ServiceName,
    grpc: bool,
    weight: f64,
    /// What a policy made to go wrong on purpose.
    fault: Option<&'static str>,
}

/// What is known at its end.
#[derive(Debug, Clone, Default)]
pub(crate) struct SpanEnd {
    /// Status of the answer; 0 when there was none.
    pub(crate) status: u16,
    /// The sidecar's own error word.
    pub(crate) error: Option<&'static str>,
    /// Tries beyond the first.
    pub(crate) retries: u64,
    /// The status of a gRPC call.
    pub(crate) grpc: Option<u8>,
    /// The endpoint of the last attempt.
    pub(crate) endpoint: Option<Arc<str>>,
}

impl SpanDraft {
    /// The span of a call to another service.
    pub(crate) fn client(parts: &Parts, host: &str, own: &ServiceName, peer: &ServiceName) -> Self {
        Self::new(SpanKind::Client, parts, host, (own, peer))
    }

    /// The span of a request from another service.
    pub(crate) fn server(parts: &Parts, host: &str, own: &ServiceName, peer: &ServiceName) -> Self {
        Self::new(SpanKind::Server, parts, host, (own, peer))
    }

    fn new(kind: SpanKind, parts: &Parts, host: &str, (own, peer): (&ServiceName, &ServiceName)) -> Self {
        Self {
            kind,
            method: parts.method.as_str().to_owned(),
            path: cut(parts.uri.path()).to_owned(),
            host: cut(host).to_owned(),
            own: own.clone(),
            peer: peer.clone(),
            grpc: grpc::is_grpc(&parts.headers),
            weight: 1.0,
            fault: None,
        }
    }

    /// Says what a policy made to go wrong on purpose.
    pub(crate) const fn injected(&mut self, fault: &'static str) {
        self.fault = Some(fault);
    }

    /// Says how many it stands for.
    #[must_use]
    pub(crate) const fn weighing(mut self, weight: f64) -> Self {
        self.weight = weight;
        self
    }

    /// The finished span.
    pub(crate) fn finish(
        self,
        context: &TraceContext,
        (start, end): (Timestamp, Timestamp),
        how: End,
        detail: &SpanEnd,
    ) -> SpanRecord {
        let failed = matches!(how, End::Failed | End::Shed);
        let attributes = self.attributes(how, detail);
        SpanRecord {
            trace_id: context.trace,
            // Only sampled contexts have a span of their own and get a draft.
            span_id: context.span.unwrap_or_else(random_span),
            parent: context.parent,
            service: self.own,
            instance: Arc::from(""),
            environment: Arc::from(""),
            from_sidecar: true,
            name: self.method,
            kind: self.kind,
            start,
            end,
            status: if failed { SpanStatus::Error } else { SpanStatus::Unset },
            status_message: String::new(),
            attributes,
            events: Vec::new(),
            links: Vec::new(),
            weight: self.weight,
        }
    }

    fn attributes(&self, how: End, detail: &SpanEnd) -> Vec<(String, Value)> {
        let text = |key: &str, value: &str| (key.to_owned(), Value::Text(value.to_owned()));
        let int = |key: &str, value: i64| (key.to_owned(), Value::Int(value));
        let mut attributes = vec![
            text("http.request.method", &self.method),
            text("url.path", &self.path),
            text("url.scheme", "http"),
            text("server.address", &self.host),
            text(names::SERVICE_PEER_NAME, self.peer.name()),
        ];
        if !self.peer.namespace().is_empty() {
            attributes.push(text(names::SERVICE_PEER_NAMESPACE, self.peer.namespace()));
        }
        attributes.push(text(names::PEER_SERVICE, self.peer.name()));
        if detail.status > 0 {
            attributes.push(int("http.response.status_code", i64::from(detail.status)));
        }
        self.add_rpc(&mut attributes, detail.grpc);
        if detail.retries > 0 {
            attributes.push(int("http.request.resend_count", i64::try_from(detail.retries).unwrap_or(i64::MAX)));
        }
        if let Some(endpoint) = &detail.endpoint {
            attributes.push(text("network.peer.address", endpoint));
        }
        if let Some(fault) = self.fault {
            attributes.push(text("tripline.fault", fault));
        }
        match (how, detail.error) {
            (_, Some(error)) => attributes.push(text("error.type", error)),
            (End::Cancelled, None) => attributes.push(text("error.type", "cancelled")),
            (End::Failed, None) if detail.status > 0 => {
                attributes.push(text("error.type", &detail.status.to_string()));
            }
            _ => {}
        }
        attributes
    }
}

impl SpanDraft {
    /// What a gRPC call is, by OpenTelemetry's conventions: its path is `/SERVICE/METHOD`.
    fn add_rpc(&self, attributes: &mut Vec<(String, Value)>, status: Option<u8>) {
        if !self.grpc {
            return;
        }
        let mut text = |key: &str, value: &str| attributes.push((key.to_owned(), Value::Text(value.to_owned())));
        text("rpc.system", "grpc");
        if let Some((service, method)) = self.path.trim_start_matches('/').rsplit_once('/') {
            text("rpc.service", service);
            text("rpc.method", method);
        }
        if let Some(status) = status {
            attributes.push(("rpc.grpc.status_code".to_owned(), Value::Int(i64::from(status))));
        }
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_PATH);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
