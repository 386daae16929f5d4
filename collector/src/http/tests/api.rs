//! What the API answers, and what it refuses.

use std::time::Duration;

use serde_json::json;
use tripline_api::Phase;
use tripline_model::SpanId;
use tripline_otlp::{SpanKind, SpanRecord, SpanStatus, Spans};

use super::*;
use crate::batch::Batch;
use crate::clock;

const TRACE: &str = "5759e988bd862e3fe1be46a994272793";

/// A batch with one span that started a second ago.
fn batch() -> Batch {
    let now = clock::now();
    let span = SpanRecord {
        trace_id: TRACE.parse().unwrap(),
        span_id: SpanId::from_bytes([1; 8]).unwrap(),
        parent: None,
        service: "shop/web".into(),
        instance: "one".into(),
        environment: "".into(),
        from_sidecar: true,
        name: "GET /".into(),
        kind: SpanKind::Server,
        start: now - Duration::from_secs(1),
        end: now,
        status: SpanStatus::Error,
        status_message: String::new(),
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
        weight: 1.0,
    };
    let spans = Spans::of_records(&[span]);
    Batch { position: 1, received_at: now, reports: vec![], transitions: vec![], spans, logs: vec![] }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_view_is_answered() {
    let server = Server::start().await;
    for (path, pointer, expected) in [
        ("/api/v1/graph", "/nodes/1/id", json!("shop/web")),
        ("/api/v1/graph?window=60s&namespace=bank", "/nodes", json!([])),
        ("/api/v1/services", "/services/0/id", json!("shop/cart")),
        ("/api/v1/services/shop/cart", "/dependents/0/client", json!("shop/web")),
        ("/api/v1/services/shop%2Fcart", "/proxies/0/instance", json!("one")),
        ("/api/v1/edges", "/edges/0/id", json!("shop/web>shop/cart:http")),
        ("/api/v1/breakers", "/breakers/0/state", json!("open")),
        ("/api/v1/proxies", "/proxies/0/service", json!("shop/cart")),
        ("/api/v1/incidents", "/incidents/0/id", json!("A")),
        ("/api/v1/incidents/A", "/level", json!("cascade")),
        ("/api/v1/mesh", "", json!(null)),
        ("/api/v1/edges", "/next", json!(null)),
        ("/api/v1/openapi.json", "/info/title", json!("Tripline collector")),
    ] {
        let (status, body) = server.json(path).await;
        assert_eq!((status, body.pointer(pointer)), (200, Some(&expected)), "{path}: {body}");
    }
    let (status, graph) = server.json("/api/v1/graph?window=5m").await;
    assert_eq!((status, &graph["window_seconds"]), (200, &json!(300.0)), "asked of the live task itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_refused_in_one_form() {
    let server = Server::start().await;
    let long = format!("/api/v1/graph?namespace={}", "n".repeat(9_000));
    for (path, expected, code) in [
        ("/api/v1/nothing", 404, "not_found"),
        ("/api", 404, "not_found"),
        ("/api/v1/services/shop/none", 404, "not_found"),
        ("/api/v1/incidents/none", 404, "not_found"),
        ("/api/v1/demo/faults", 404, "not_found"),
        ("/api/v1/graph?window=1h", 400, "bad_request"),
        ("/api/v1/graph?windw=60s", 400, "bad_request"),
        ("/api/v1/graph?at=yesterday", 400, "bad_request"),
        ("/api/v1/graph?at=2500-01-01T00:00:00Z", 400, "bad_request"),
        ("/api/v1/traces?limit=0", 400, "bad_request"),
        ("/api/v1/traces?limit=x", 400, "bad_request"),
        ("/api/v1/traces?min_ms=-1", 400, "bad_request"),
        ("/api/v1/traces?cursor=x", 400, "bad_request"),
        ("/api/v1/traces?from=5&to=4", 400, "bad_request"),
        ("/api/v1/traces/xyz", 400, "bad_request"),
        ("/api/v1/logs?trace=xyz", 400, "bad_request"),
        (long.as_str(), 414, "too_large"),
    ] {
        let (status, body) = server.json(path).await;
        assert_eq!((status, body["error"]["code"].as_str()), (expected, Some(code)), "{path}: {body}");
        assert!(body["error"]["message"].as_str().is_some_and(|text| text.len() > 10), "{path}");
    }
    let answer = server.client.delete(server.url("/api/v1/graph")).send().await.unwrap();
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.json::<Value>().await.unwrap()["error"]["code"], "method_not_allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_are_found_by_either_form_of_their_id() {
    let server = Server::start().await;
    server.history.batches().send(Arc::new(batch())).await.unwrap();
    let xray = format!("1-{}-{}", &TRACE[..8], &TRACE[8..]);
    for path in [format!("/api/v1/traces/{TRACE}"), format!("/api/v1/traces/{xray}")] {
        let (status, body) = server.json(&path).await;
        assert_eq!((status, &body["spans"][0]["service"]), (200, &json!("shop/web")), "{path}");
    }
    let (_, list) = server.json("/api/v1/traces?service=shop/web&min_ms=999&error=true&limit=5").await;
    assert_eq!((&list["traces"][0]["trace_id"], &list["next"]), (&json!(TRACE), &json!(null)));
    let (_, list) = server.json("/api/v1/traces?service=shop/web&operation=nothing").await;
    assert_eq!(list["traces"], json!([]));
    assert_eq!(server.json("/api/v1/traces?attribute=key").await.0, 400);
    let (_, list) = server.json("/api/v1/operations?service=shop/web").await;
    assert_eq!((&list["operations"][0]["spans"], &list["next"]), (&json!(1), &json!(null)), "{list}");
    assert_eq!(server.json("/api/v1/operations").await.0, 400);
    let (_, list) = server.json("/api/v1/traces?min_ms=5000").await;
    assert_eq!(list["traces"], json!([]));
    assert_eq!(server.json(&format!("/api/v1/traces/{}", "1".repeat(32))).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_comes_from_history() {
    let server = Server::start().await;
    let (live, feed) = (server.feed.live.clone(), &server.feed);
    tokio::spawn(crate::history::follow(server.history.clone(), live));
    let start = (clock::now() - Duration::from_secs(60)).window_start(crate::history::PANE);
    let mut resolved = sample::incident("OLD", Phase::Resolved);
    resolved.resolved_at = Some("2026-11-21T09:10:00Z".into());
    let stored = async || {
        feed.show(vec![resolved.clone()]);
        feed.live.windows.send(Arc::new(vec![crate::history::sample_window(start)])).unwrap();
        let at = clock::rfc3339(start + Duration::from_secs(15));
        server.json(&format!("/api/v1/graph?at={at}&window=10s")).await.1
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let graph = loop {
        let graph = stored().await;
        if graph["edges"].as_array().is_some_and(|edges| !edges.is_empty()) {
            break graph;
        }
        assert!(tokio::time::Instant::now() < deadline, "{graph}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(graph["at"], clock::rfc3339(start + Duration::from_secs(10)));
    assert_eq!(graph["edges"][0]["id"], "shop/web>shop/cart:http");
    let at = clock::rfc3339(start + Duration::from_secs(15));
    let (_, list) = server.json(&format!("/api/v1/edges?at={at}&window=2h")).await;
    assert_eq!(list["edges"][0]["id"], "shop/web>shop/cart:http");
    assert_eq!(server.json(&format!("/api/v1/services?at={at}&window=7d")).await.1["services"][0]["id"], "shop/cart");
    assert_eq!(server.json("/api/v1/services?window=2h").await.0, 400, "the live graph does not reach back so far");
    let before = clock::rfc3339(start - Duration::from_secs(600));
    let (_, told) = server.json(&format!("/api/v1/graph/difference?at={at}&compare={before}&window=10s")).await;
    assert_eq!((&told["edges"][0]["change"], &told["before"]["at"].is_string()), (&json!("added"), &true), "{told}");

    feed.show(Vec::new());
    assert_eq!(server.json("/api/v1/incidents").await.1["incidents"], json!([]));
    assert_eq!(server.json("/api/v1/incidents/OLD").await.1["phase"], "resolved");
    let (_, list) = server.json("/api/v1/incidents?from=2026-11-21T09:05:00Z&to=2026-11-21T09:06:00Z").await;
    assert_eq!(list["incidents"][0]["id"], "OLD");
    let (_, list) = server.json("/api/v1/incidents?from=2026-11-21T09:15:00Z&to=2026-11-21T09:16:00Z").await;
    assert_eq!(list["incidents"], json!([]));
}

const NODE: &str = "apiVersion: appmesh.k8s.aws/v1beta2\nkind: VirtualNode\nmetadata: {name: cart, namespace: shop}\n\
    spec:\n  listeners:\n  - portMapping: {port: 8080, protocol: http}\n  serviceDiscovery: {dns: {hostname: 127.0.0.1}}\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_mesh_is_validated_kept_and_survives_a_restart() {
    let server = Server::start().await;
    let request = |text: &str| json!({"sources": [{"name": "mesh.yaml", "text": text}]});
    let (status, body) = server.post("/api/v1/mesh", &request(NODE)).await;
    assert_eq!((status, &body["nodes"]), (200, &json!(["shop/cart"])), "{body}");
    let (status, body) = server.post("/api/v1/mesh", &request(&NODE.replace("8080", "http"))).await;
    assert_eq!((status, &body["error"]["code"]), (400, &json!("bad_request")));
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains("mesh.yaml:6") && message.contains("port"), "{message}");
    assert_eq!(server.json("/api/v1/mesh").await.1["nodes"], json!(["shop/cart"]), "a broken one changes nothing");
    let again = MeshStore::open(server.folder.path().join("mesh.json")).unwrap();
    assert_eq!(again.subscribe().borrow().as_ref().unwrap().sources[0].text, NODE);
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_started_where_a_demo_runs() {
    let server = Server::with(|parts| parts.demo = Some(Arc::new(Demo::default()))).await;
    let (status, body) = server.post("/api/v1/demo/faults", &json!({"service": "cart", "kind": "errors"})).await;
    assert_eq!((status, &body["ends_at"]), (200, &json!("in 40 s")), "{body}");
    let list: DemoFaultList = server.get("/api/v1/demo/faults").await.json().await.unwrap();
    assert_eq!((list.faults.len(), list.faults[0].kind), (1, DemoFaultKind::Errors));
    assert_eq!(server.post("/api/v1/demo/faults", &json!({"service": "x", "kind": "errors"})).await.0, 404);
    assert_eq!(server.post("/api/v1/demo/faults", &json!({"service": "cart", "kind": "fire"})).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_sites_cannot_act_through_a_browser() {
    let server = Server::with(|parts| parts.demo = Some(Arc::new(Demo::default()))).await;
    let post = |headers: &[(&'static str, &'static str)]| {
        let request =
            server.client.post(server.url("/api/v1/demo/faults")).body(r#"{"service":"cart","kind":"errors"}"#);
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send()
    };
    let json = ("content-type", "application/json");
    assert_eq!(post(&[json]).await.unwrap().status(), 200);
    assert_eq!(post(&[("content-type", "text/plain")]).await.unwrap().status(), 403);
    assert_eq!(post(&[json, ("origin", "https://evil.example")]).await.unwrap().status(), 403);
    assert_eq!(post(&[json, ("sec-fetch-site", "cross-site")]).await.unwrap().status(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_guards_what_holds_data() {
    let server = Server::with(|parts| parts.token = Some(Token::new(Secret::new("s3cret")))).await;
    for path in ["/api/v1/graph", "/api/v1/stream", "/metrics"] {
        assert_eq!(server.get(path).await.status(), 401, "{path}");
    }
    assert_eq!(server.get("/healthz").await.status(), 200);
    let with = |name: &'static str, value: &'static str| {
        server.client.get(server.url("/api/v1/graph")).header(name, value).send()
    };
    assert_eq!(with("authorization", "Bearer s3cret").await.unwrap().status(), 200);
    assert_eq!(with("authorization", "Bearer s3cres").await.unwrap().status(), 401);
    assert_eq!(server.get("/?token=wrong").await.status(), 401);
    let login = server.get("/?token=s3cret").await;
    assert_eq!((login.status().as_u16(), &login.headers()["location"]), (303, &"/".parse().unwrap()));
    let cookie = login.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert_eq!(with("cookie", "tripline_token=s3cret").await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_requests_at_a_time_are_bounded() {
    let limits = Limits { body_bytes: 1_000, requests: 0, ..Limits::default() };
    let server = Server::with(|parts| parts.limits = limits).await;
    let busy = server.get("/api/v1/graph").await;
    assert_eq!((busy.status().as_u16(), &busy.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    let server = Server::with(|parts| parts.limits = Limits { requests: 4, ..limits }).await;
    let large = json!({"sources": [{"name": "a", "text": "x".repeat(2_000)}]});
    let (status, body) = server.post("/api/v1/mesh", &large).await;
    assert_eq!((status, &body["error"]["code"]), (413, &json!("too_large")));
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_tells_what_is_missing() {
    let server = Server::with(|parts| {
        parts.checks.push(Check::new("journal", || Err("its disk is full; make room".into())));
    })
    .await;
    let (status, body) = server.json("/readyz").await;
    assert_eq!((status, &body["ready"]), (503, &json!(false)));
    let reason =
        |name| body["checks"].as_array().unwrap().iter().find(|c| c["check"] == name).unwrap()["reason"].clone();
    assert_eq!(reason("journal"), "its disk is full; make room");
    assert!(reason("live").as_str().unwrap().starts_with("the graph is"), "the tests' view is from one minute in 2026");

    let server = Server::start().await;
    let mut view = sample::view();
    view.graph.at = clock::rfc3339(clock::now());
    server.feed.views.send_replace(Arc::new(view));
    assert_eq!(
        server.json("/readyz").await,
        (
            200,
            json!({"ready": true, "checks": [
        {"check": "live", "ready": true}, {"check": "history", "ready": true}]})
        )
    );
    let metrics = server.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains(r#"tripline_collector_http_requests_total{route="/readyz",status="200"} 1"#), "{metrics}");
}
