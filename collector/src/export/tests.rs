//! Against a receiver of our own, and against targets that are slow, gone or full of refusals.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use ::http::{Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tripline_model::Timestamp;
use tripline_otlp::wire::{Encoding, Signal, decode_traces_json};

use super::*;
use crate::config::{Compression, Limits, Secret, Url};
use crate::serve::{self, Settings, Speaks};

const JSON: &str = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"0102030405060708090a0b0c0d0e0f10","spanId":"0102030405060708","name":"a"}]}]}]}"#;

fn protobuf() -> Bytes {
    use prost::Message;
    decode_traces_json(JSON.as_bytes()).expect("valid").encode_to_vec().into()
}

fn record(encoding: Encoding) -> Record {
    let body = if encoding == Encoding::Json { Bytes::from_static(JSON.as_bytes()) } else { protobuf() };
    Record { signal: Signal::Traces, encoding, received_at: Timestamp::from_secs(1), body }
}

/// What a target got: path, the header `x-key`, body.
type Got = Arc<Mutex<Vec<(String, String, Bytes)>>>;

/// A target over HTTP that gives these statuses in turn, then 200.
async fn http_target(statuses: &'static [u16]) -> (SocketAddr, Got, DropGuard) {
    let (got, stop) = (Got::default(), CancellationToken::new());
    let listener = serve::bind("x", "127.0.0.1:0".parse().expect("address")).await.expect("bound");
    let address = listener.address();
    let settings = Settings { speaks: Speaks::Http, tls: None, limits: Limits::default(), counters: Arc::default() };
    let noted = Arc::clone(&got);
    let service = service_fn(move |request: Request<Incoming>| {
        let noted = Arc::clone(&noted);
        async move {
            let (head, body) = request.into_parts();
            let key = head.headers.get("x-key").and_then(|key| key.to_str().ok()).unwrap_or_default().to_owned();
            let body = body.collect().await.expect("a body").to_bytes();
            let mut noted = noted.lock().expect("no panic");
            noted.push((head.uri.path().to_owned(), key, body));
            let status = statuses.get(noted.len() - 1).copied().unwrap_or(200);
            Ok::<_, Infallible>(Response::builder().status(status).body(Full::<Bytes>::default()).expect("an answer"))
        }
    });
    tokio::spawn(listener.serve(settings, service, stop.clone()));
    (address, got, stop.drop_guard())
}

fn config(address: SocketAddr, protocol: ExportProtocol, compression: Compression) -> OtlpTarget {
    OtlpTarget {
        endpoint: Url::parse(&format!("http://{address}")).expect("an address"),
        protocol,
        headers: vec![("x-key".into(), Secret::new("k"))],
        compression,
        queue: 2,
        queue_bytes: 1 << 20,
    }
}

async fn until(what: impl Fn() -> bool) {
    let wait = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), wait).await.expect("in time");
}

#[tokio::test]
async fn requests_leave_as_they_came_and_json_as_protobuf() {
    let (address, got, _stop) = http_target(&[]).await;
    let (exporters, targets) =
        Exporters::open(&[config(address, ExportProtocol::Http, Compression::None)]).expect("opened");
    targets.into_iter().for_each(|target| drop(tokio::spawn(target.run())));
    exporters.offer(&record(Encoding::Protobuf));
    exporters.offer(&record(Encoding::Json));
    until(|| got.lock().expect("no panic").len() == 2).await;
    let expected = ("/v1/traces".to_owned(), "k".to_owned(), protobuf());
    assert_eq!(*got.lock().expect("no panic"), [expected.clone(), expected]);
}

#[tokio::test]
async fn later_is_tried_again_and_never_is_dropped() {
    let (address, got, _stop) = http_target(&[503, 400]).await;
    let (exporters, targets) =
        Exporters::open(&[config(address, ExportProtocol::Http, Compression::Gzip)]).expect("opened");
    targets.into_iter().for_each(|target| drop(tokio::spawn(target.run())));
    let counters = exporters.queues[0].counters.clone();
    exporters.offer(&record(Encoding::Protobuf));
    until(|| counters.dropped_refused.load(Relaxed) == 1).await;
    assert_eq!((counters.retries.load(Relaxed), got.lock().expect("no panic").len()), (1, 2));
    until(|| counters.waiting_bytes.load(Relaxed) == 0).await;
}

#[tokio::test]
async fn a_target_that_is_gone_costs_its_queue_and_no_more() {
    let closed = serve::bind("x", "127.0.0.1:0".parse().expect("address")).await.expect("bound").address();
    for protocol in [ExportProtocol::Http, ExportProtocol::Grpc] {
        let (exporters, _not_run) = Exporters::open(&[config(closed, protocol, Compression::Zstd)]).expect("opened");
        for _ in 0..5 {
            exporters.offer(&record(Encoding::Protobuf));
        }
        let (endpoint, counters) = exporters.counters().next().expect("one");
        assert_eq!(endpoint, format!("http://{closed}"));
        assert_eq!(counters.dropped_full.load(Relaxed), 3);
        assert_eq!(counters.waiting_bytes.load(Relaxed), 2 * protobuf().len());
    }
}

#[tokio::test]
async fn over_grpc_our_own_receiver_gets_everything() {
    use crate::receive::tests::harness::{Setup, start};
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let mut receiver = start(Setup::default()).await;
        let config = config(receiver.grpc, ExportProtocol::Grpc, compression);
        let (exporters, targets) = Exporters::open(&[config]).expect("opened");
        targets.into_iter().for_each(|target| drop(tokio::spawn(target.run())));
        exporters.offer(&record(Encoding::Json));
        assert_eq!(receiver.next_kept().await.spans.records()[0].name, "a", "{compression:?}");
        until(|| exporters.queues[0].counters.sent.load(Relaxed) == 1).await;
    }
}
