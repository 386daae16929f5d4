//! A service over real sockets, with a stand-in for its sidecar that answers by Host.

use std::net::SocketAddr;
use std::sync::Mutex;

use tokio::task::JoinHandle;

use super::*;
use crate::caller::CallError;

/// What the stand-in saw: `Host path traceparent`, in order.
type Seen = Arc<Mutex<Vec<String>>>;

/// Answers 500 for the hosts in `broken` and 200 for all others.
async fn sidecar(broken: &'static [&'static str]) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let seen = Seen::default();
    let noted = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let noted = Arc::clone(&noted);
            let respond = service_fn(move |request: Request<Incoming>| {
                let text = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("-");
                let host = text("host").to_owned();
                noted.lock().expect("lock").push(format!("{host} {} {}", request.uri().path(), text("traceparent")));
                let status = if broken.contains(&host.as_str()) { 500 } else { 200 };
                async move { Response::builder().status(status).body(Full::new(Bytes::new())) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), respond));
        }
    });
    (address, seen)
}

struct Running {
    caller: Caller,
    faults: FaultSwitch,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn start(name: &str, outbound: SocketAddr) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let caller = Caller::new(listener.local_addr().expect("an address"), Duration::from_secs(5));
    let faults = FaultSwitch::default();
    let spec = ServiceSpec::named(name).expect("a known service");
    let task = tokio::spawn(Service::new(spec, outbound, faults.clone()).serve(listener));
    Running { caller, faults, task }
}

impl Running {
    async fn post(&self, path: &str) -> Result<(u16, String), CallError> {
        let request = Request::post(path)
            .header("host", "test")
            .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            .header("cookie", "not passed on")
            .body(Body::default())
            .expect("a request");
        let answer = self.caller.call(request).await?;
        Ok((answer.status().as_u16(), String::from_utf8_lossy(answer.body()).into_owned()))
    }
}

#[tokio::test]
async fn a_checkout_calls_in_stages_and_passes_the_trace_on() {
    let (outbound, seen) = sidecar(&[]).await;
    let checkout = start("checkout", outbound).await;
    assert_eq!(checkout.post("/checkout").await.expect("an answer").0, 200);
    let mut seen = seen.lock().expect("lock").clone();
    seen[..2].sort();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let expected = [
        format!("inventory.shop.local /reserve {trace}"),
        format!("pricing.shop.local /total {trace}"),
        format!("payments.shop.local /charge {trace}"),
        format!("notifications.shop.local /send {trace}"),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_required_call_that_fails_fails_the_request_and_ends_it() {
    let (outbound, seen) = sidecar(&["payments.shop.local"]).await;
    let checkout = start("checkout", outbound).await;
    let (status, body) = checkout.post("/checkout").await.expect("an answer");
    assert_eq!((status, body.contains("payments failed: status 500")), (502, true), "{body}");
    assert!(!seen.lock().expect("lock").iter().any(|line| line.starts_with("notifications")));
}

#[tokio::test]
async fn an_optional_call_that_fails_is_left_out() {
    let (outbound, _) = sidecar(&["notifications.shop.local"]).await;
    let checkout = start("checkout", outbound).await;
    let (status, body) = checkout.post("/checkout").await.expect("an answer");
    assert_eq!(status, 200);
    assert!(body.contains("\"left_out\":[\"notifications\"]"), "{body}");
}

#[tokio::test]
async fn a_sidecar_that_is_gone_fails_the_request() {
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let cart = start("cart", free).await;
    assert_eq!(cart.post("/cart").await.expect("an answer").0, 502);
    assert_eq!(cart.post("/elsewhere").await.expect("an answer").0, 404);
}

#[tokio::test]
async fn errors_are_answered_fast_and_end_on_command() {
    let (outbound, _) = sidecar(&[]).await;
    let db = start("payments-db", outbound).await;
    db.faults.obey(Command::Impair(Impairment::Errors, Duration::from_secs(600)));
    let mut failed = 0;
    for _ in 0..40 {
        failed += u32::from(db.post("/charges").await.expect("an answer").0 == 500);
    }
    // 95 % of 40; fewer than 30 has a chance below one in a million.
    assert!(failed >= 30, "{failed} of 40");
    db.faults.obey(Command::Recover);
    assert_eq!(db.post("/charges").await.expect("an answer").0, 200);
}

#[tokio::test]
async fn a_hang_answers_nothing_before_it_is_over_and_latency_delays() {
    let (outbound, _) = sidecar(&[]).await;
    let db = Arc::new(start("payments-db", outbound).await);
    db.faults.obey(Command::Impair(Impairment::Hang, Duration::from_secs(600)));
    let waiting = tokio::spawn({
        let db = Arc::clone(&db);
        async move { db.post("/charges").await.map(|answer| answer.0) }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    db.faults.obey(Command::Impair(Impairment::Latency, Duration::from_secs(600)));
    assert_eq!(waiting.await.expect("no panic").expect("an answer"), 200);
    let started = tokio::time::Instant::now();
    assert_eq!(db.post("/charges").await.expect("an answer").0, 200);
    assert!(started.elapsed() >= ADDED_LATENCY);
}

#[tokio::test]
async fn lines_are_obeyed_and_nonsense_is_skipped() {
    let faults = FaultSwitch::default();
    obey_lines(&b"nonsense\nhang 40s\n"[..], &faults).await.expect("readable");
    assert_eq!(faults.current(), Some(Impairment::Hang));
    obey_lines(&b"well\n"[..], &faults).await.expect("readable");
    assert_eq!(faults.current(), None);
}
