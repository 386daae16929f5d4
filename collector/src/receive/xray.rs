//! The X-Ray daemon's protocol: segments as datagrams on UDP, sampling rules and `PutTraceSegments` as HTTP on TCP, both on
//! the same port, where X-Ray's SDKs look for the daemon.
//!
//! Datagrams are gathered for [`GATHER`] or until [`BATCH`] spans have come together, and go the way of all requests. Nobody can be told
//! when that is refused: the spans are gone then, and counted. At most [`IN_FLIGHT`] such requests are under way.
//!
//! The sampling rules say: record everything. The graph counts what it is sent, and a segment does not tell how many it stands for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use serde_json::json;
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tripline_otlp::traces::Foreign;
use tripline_otlp::wire::{Encoding, Signal};
use tripline_otlp::xray;

use super::compression::Limit;
use super::intake::Shape;
use super::{Intake, Reason, Refusal, body, intake};
use crate::config::Compression;

/// How long datagrams are gathered.
const GATHER: Duration = Duration::from_millis(20);
/// Spans that are enough for one request.
const BATCH: usize = 512;
/// Requests under way at most; what comes when there are more is dropped and counted.
const IN_FLIGHT: usize = 16;
const LIMIT: &str = "limits.http_request_bytes";

/// Where X-Ray's SDKs look for the daemon.
pub const USUAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 2000);

/// Takes datagrams until `stop`, then what was gathered.
pub async fn datagrams(socket: UdpSocket, intake: Intake, stop: CancellationToken) {
    let mut gathering = Gathering {
        gathered: Foreign::default(),
        places: Arc::new(Semaphore::new(IN_FLIGHT)),
        requests: JoinSet::new(),
        intake,
    };
    let mut datagram = vec![0; xray::MAX_DOCUMENT_BYTES];
    let mut due = Instant::now();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            received = socket.recv(&mut datagram) => match received {
                Ok(length) => {
                    if gathering.gathered.records.is_empty() {
                        due = Instant::now() + GATHER;
                    }
                    gathering.read(datagram.get(..length).unwrap_or_default());
                }
                Err(error) => tracing::debug!(%error, "cannot receive a datagram"),
            },
            () = sleep_until(due), if !gathering.gathered.records.is_empty() => gathering.send(),
            Some(_) = gathering.requests.join_next() => {}
        }
    }
    gathering.send();
    while gathering.requests.join_next().await.is_some() {}
}

struct Gathering {
    gathered: Foreign,
    places: Arc<Semaphore>,
    requests: JoinSet<()>,
    intake: Intake,
}

impl Gathering {
    fn read(&mut self, datagram: &[u8]) {
        let counters = self.intake.counters();
        counters.xray_datagrams.fetch_add(1, Relaxed);
        match xray::decode_datagram(datagram) {
            Ok(segment) => {
                counters.rejected_items.fetch_add(segment.rejected.total(), Relaxed);
                counters.xray_left_out.fetch_add(segment.left_out, Relaxed);
                self.gathered.records.extend(segment.records);
            }
            Err(_) => counters.count_refusal(Reason::Malformed),
        }
        if self.gathered.records.len() >= BATCH {
            self.send();
        }
    }

    fn send(&mut self) {
        let gathered = std::mem::take(&mut self.gathered);
        if gathered.records.is_empty() {
            return;
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.intake.counters().xray_dropped.fetch_add(gathered.records.len() as u64, Relaxed);
            return;
        };
        let intake = self.intake.clone();
        self.requests.spawn(async move {
            if let Err(refusal) = take(&intake, &gathered).await {
                intake.counters().count_refusal(refusal.reason);
                intake.counters().xray_dropped.fetch_add(gathered.records.len() as u64, Relaxed);
            }
            drop(place);
        });
    }
}

/// Takes spans in as if they had come as OTLP.
async fn take(intake: &Intake, spans: &Foreign) -> Result<(), Refusal> {
    let body = spans.to_protobuf();
    let mut share = intake.share();
    share.grow_to(body.len())?;
    let limit = Limit { bytes: body.len(), setting: LIMIT };
    let (shape, compression) = (Shape::Otlp(Encoding::Protobuf), Compression::None);
    intake.take(intake::Request { signal: Signal::Traces, shape, compression, body, limit, share }).await.map(drop)
}

/// Answers what X-Ray's SDKs ask the daemon over TCP.
pub async fn answer(intake: &Intake, request: Request<Incoming>) -> Response<Full<Bytes>> {
    if request.method() != Method::POST {
        return said(StatusCode::METHOD_NOT_ALLOWED, &json!({"message": "expected POST"}));
    }
    let (head, mut body) = request.into_parts();
    match head.uri.path() {
        "/GetSamplingRules" => said(StatusCode::OK, &sampling_rules()),
        "/SamplingTargets" => {
            let none = json!({"SamplingTargetDocuments": [], "LastRuleModification": 0, "UnprocessedStatistics": []});
            said(StatusCode::OK, &none)
        }
        "/TraceSegments" => match segments(intake, &mut body).await {
            Ok(()) => said(StatusCode::OK, &json!({"UnprocessedTraceSegments": []})),
            Err(refusal) => {
                intake.counters().count_refusal(refusal.reason);
                if !body.is_end_stream() {
                    body::discard(&mut body, intake.limits().body_timeout).await;
                }
                said(refusal.reason.http_status(), &json!({"message": refusal.message}))
            }
        },
        _ => said(
            StatusCode::NOT_FOUND,
            &json!({"message": "expected /TraceSegments, /GetSamplingRules or /SamplingTargets"}),
        ),
    }
}

async fn segments(intake: &Intake, body: &mut Incoming) -> Result<(), Refusal> {
    let limits = intake.limits();
    let limit = Limit { bytes: limits.http_request_bytes, setting: LIMIT };
    let mut share = intake.share();
    let body = body::read(body, Compression::None, (limit, limits), &mut share, intake.pool()).await?;
    let spans = xray::decode_request(&body).map_err(|error| Refusal::new(Reason::Malformed, error.to_string()))?;
    let counters = intake.counters();
    counters.rejected_items.fetch_add(spans.rejected.total(), Relaxed);
    counters.xray_left_out.fetch_add(spans.left_out, Relaxed);
    if spans.records.is_empty() { Ok(()) } else { take(intake, &spans).await }
}

fn sampling_rules() -> serde_json::Value {
    json!({"SamplingRuleRecords": [{
        "CreatedAt": 0, "ModifiedAt": 0,
        "SamplingRule": {
            "RuleName": "Default", "RuleARN": "*", "ResourceARN": "*", "Priority": 10_000, "FixedRate": 1.0,
            "ReservoirSize": 1, "ServiceName": "*", "ServiceType": "*", "Host": "*", "HTTPMethod": "*", "URLPath": "*",
            "Version": 1, "Attributes": {}
        }
    }]})
}

fn said(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(body.to_string()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
