//! A second endpoint over OTLP/HTTP.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use prost::Message;
use tripline_otlp::proto::collector::trace::v1::ExportTraceServiceResponse;
use tripline_otlp::wire::{Encoding, Signal};

use super::ExportError;
use super::target::{ATTEMPT, Attempt};
use crate::config::{Compression, OtlpTarget};

/// Longest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;

/// Speaks to one endpoint. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    endpoint: String,
    compression: Compression,
}

impl Client {
    pub(super) fn new(config: &OtlpTarget) -> Result<Self, ExportError> {
        let endpoint = config.endpoint.as_str().to_owned();
        let headers = headers(config)?;
        let builder = reqwest::Client::builder().default_headers(headers).timeout(ATTEMPT).no_proxy();
        let http = builder
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| ExportError::Endpoint { endpoint: endpoint.clone(), source: error.into() })?;
        Ok(Self { http, endpoint, compression: config.compression })
    }

    pub(super) async fn send(&self, signal: Signal, body: Bytes) -> Attempt {
        let path = match signal {
            Signal::Traces => "v1/traces",
            Signal::Metrics => "v1/metrics",
            Signal::Logs => "v1/logs",
        };
        let request = self
            .http
            .post(format!("{}/{path}", self.endpoint))
            .header(header::CONTENT_TYPE, Encoding::Protobuf.content_type());
        let request = match compressed(self.compression, &body) {
            Some((name, bytes)) => request.header(header::CONTENT_ENCODING, name).body(bytes),
            None => request.body(body),
        };
        match request.send().await {
            Ok(answer) => judge(answer).await,
            Err(error) => Attempt::Later { asked: None, why: error.to_string() },
        }
    }
}

async fn judge(mut answer: reqwest::Response) -> Attempt {
    let status = answer.status();
    if status.is_success() {
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = answer.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER {
                break;
            }
        }
        // The three signals' answers are the same message on the wire; an answer that is none still means "taken".
        let partial = ExportTraceServiceResponse::decode(&body[..]).ok().and_then(|answer| answer.partial_success);
        let partial = partial.unwrap_or_default();
        let rejected = u64::try_from(partial.rejected_spans).unwrap_or(0);
        return Attempt::Taken { rejected, message: partial.error_message };
    }
    let why = format!("status {status}");
    if matches!(status.as_u16(), 429 | 502 | 503 | 504) {
        let asked = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        return Attempt::Later { asked: asked.map(Duration::from_secs), why };
    }
    Attempt::Never { why }
}

/// The headers of a target, for both protocols.
pub(super) fn headers(config: &OtlpTarget) -> Result<HeaderMap, ExportError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &config.headers {
        let bad = || ExportError::Header { endpoint: config.endpoint.to_string(), name: name.clone() };
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| bad())?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?, value);
    }
    Ok(headers)
}

/// The name of the compression and the compressed bytes; none to send `body` as it is.
fn compressed(compression: Compression, body: &[u8]) -> Option<(&'static str, Vec<u8>)> {
    match compression {
        Compression::None => None,
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(body).ok()?;
            Some(("gzip", encoder.finish().ok()?))
        }
        Compression::Zstd => Some(("zstd", zstd::bulk::compress(body, 1).ok()?)),
    }
}
