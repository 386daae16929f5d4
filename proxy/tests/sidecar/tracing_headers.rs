//! Traces go through both halves; who calls is told between sidecars only.

use tripline_otlp::proto::trace::v1::span::SpanKind;

use crate::harness::proxy::settings;
use crate::harness::{App, Collector, Node, Reply, Running, eventually, get, mesh};

const PARENT: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn world(collector: &Collector, app: &App, sample_ratio: f64) -> (Running, Running) {
    let checkout = Node { name: "checkout", port: Some(80), ..Node::default() };
    let at_server = tripline_proxy::Settings { app: Some(app.address), sample_ratio, ..settings(collector) };
    let server = Running::start(&mesh(std::slice::from_ref(&checkout)), "shop/checkout", &at_server);
    let web = Node { name: "web", backends: vec!["checkout"], ..Node::default() };
    let checkout = Node { port: Some(server.inbound().port()), ..checkout };
    let at_client = tripline_proxy::Settings { sample_ratio, ..settings(collector) };
    let client = Running::start(&mesh(&[web, checkout]), "shop/web", &at_client);
    (server, client)
}

#[test]
fn a_sampled_trace_is_continued_span_by_span() {
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(500)));
    let (_server, client) = world(&collector, &app, 0.0);
    get(
        client.outbound(),
        "checkout",
        "/pay?card=secret",
        &format!("traceparent: 00-{PARENT}-00f067aa0ba902b7-01\r\n"),
    );
    let spans = eventually("both spans", || collector.look(|kept| (kept.spans.len() == 2).then(|| kept.spans.clone())));
    let of_kind = |kind: SpanKind| spans.iter().find(|span| span.kind == kind as i32).unwrap();
    let (client_span, server_span) = (of_kind(SpanKind::Client), of_kind(SpanKind::Server));
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(
        (hex(&client_span.trace_id), hex(&client_span.parent_span_id)),
        (PARENT.into(), "00f067aa0ba902b7".into())
    );
    assert_eq!(server_span.parent_span_id, client_span.span_id);
    let seen = app.seen().remove(0);
    let expected = format!("00-{PARENT}-{}-01", hex(&server_span.span_id));
    assert_eq!(seen.header("traceparent"), Some(expected.as_str()));
    let attributes = format!("{:?}", client_span.attributes);
    assert!(attributes.contains("/pay") && !attributes.contains("secret"), "{attributes}");
    assert!(attributes.contains("service.peer.name") && attributes.contains("http.response.status_code"));
}

#[test]
fn without_a_trace_one_begins_and_unsampled_ones_leave_no_span() {
    let (collector, app) = (Collector::start(), App::start(|_| Reply::of(200)));
    let (mut server, mut client) = world(&collector, &app, 0.0);
    get(client.outbound(), "checkout", "/", "");
    let seen = app.seen().remove(0);
    assert!(seen.header("traceparent").is_some_and(|value| value.ends_with("-00")), "{:?}", seen.headers);
    client.stop();
    server.stop();
    assert!(collector.look(|kept| kept.spans.is_empty()));
}

#[test]
fn the_application_does_not_see_who_calls() {
    let (collector, app) = (
        Collector::start(),
        App::start(|_| Reply { headers: vec![("x-tripline-breaker", "a;b;c;0".into())], ..Reply::of(500) }),
    );
    let (server, client) = world(&collector, &app, 1.0);
    let answer = get(client.outbound(), "checkout", "/", "");
    assert_eq!((answer.status, answer.header("x-tripline-breaker")), (500, None), "an application cannot forge a mark");
    let direct = get(server.inbound(), "checkout", "/", "");
    assert!(direct.headers.iter().all(|(name, _)| !name.starts_with("x-tripline-")), "{:?}", direct.headers);
    for seen in app.seen() {
        assert_eq!(seen.header("x-tripline-client"), None);
    }
}
