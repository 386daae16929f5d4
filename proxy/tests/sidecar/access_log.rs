//! The access log: one line a request, whatever came of it; and trace contexts in the form they came.

use crate::harness::{App, Collector, Connection, Node, Reply, Running, eventually, get, mesh};

/// A mesh whose node `web` writes an access log.
fn documents(port: u16, log: &str) -> String {
    let web = Node { name: "web", backends: vec!["checkout"], ..Node::default() };
    let documents = mesh(&[web, Node { name: "checkout", port: Some(port), ..Node::default() }]);
    documents.replacen("  backends:\n", &format!("  logging: {{ accessLog: {{ file: {log} }} }}\n  backends:\n"), 1)
}

#[test]
fn every_request_has_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let app = App::start(|seen| {
        if seen.path() == "/cut" {
            Reply { cut: Some(2), ..Reply::of(200) }
        } else {
            Reply::of(200).after(if seen.path() == "/slow" { 2_000 } else { 0 })
        }
    });
    let format =
        "{ text: \"%REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_SENT% %UPSTREAM_HOST%\" }";
    let log = format!("{{ path: {}, format: {format} }}", path.display());
    let mut client = Running::client(&documents(app.address.port(), &log), "shop/web", &Collector::start());
    assert_eq!(get(client.outbound(), "checkout", "/a?b", "").status, 200);
    assert_eq!(get(client.outbound(), "nowhere", "/", "").status, 404);
    get(client.outbound(), "checkout", "/cut", "");
    let mut leaves = Connection::open(client.outbound());
    leaves.send("GET /slow HTTP/1.1\r\nHost: checkout\r\n\r\n");
    eventually("the request at the server", || app.seen().iter().any(|seen| seen.path() == "/slow").then_some(()));
    drop(leaves);
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    let text = eventually("four lines", || (read().lines().count() == 4).then(read));
    let unknown = text.lines().find(|line| line.starts_with("GET / 404")).unwrap();
    assert!(unknown.starts_with("GET / 404 NR ") && unknown.ends_with(" -"), "{unknown}");
    for line in [
        format!("GET /a?b 200 - 5 {}", app.address),
        format!("GET /cut 200 UC 2 {}", app.address),
        "GET /slow 0 DC 0 -".to_owned(),
    ] {
        assert!(text.lines().any(|written| written == line), "{line:?} in {text}");
    }
    std::fs::rename(&path, folder.path().join("access.log.1")).unwrap();
    assert_eq!(get(client.outbound(), "checkout", "/rotated", "").status, 200);
    client.stop();
    assert!(read().starts_with("GET /rotated 200"), "a rotated log is followed, and the last line is written");
}

#[test]
fn trace_contexts_go_on_in_the_form_they_came() {
    let app = App::start(|_| Reply::of(200));
    let client =
        Running::client(&documents(app.address.port(), "{ path: /dev/null }"), "shop/web", &Collector::start());
    let amazon = "X-Amzn-Trace-Id: Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1\r\n";
    get(client.outbound(), "checkout", "/", amazon);
    get(client.outbound(), "checkout", "/", "b3: 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0\r\n");
    let seen = app.seen();
    let sent = seen[0].header("x-amzn-trace-id").unwrap();
    assert!(
        sent.starts_with("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=") && sent.ends_with(";Sampled=1"),
        "{sent}"
    );
    assert!(!sent.contains("53995c3f42cd8ad8"), "the sidecar's own span is the parent now");
    assert_eq!(
        seen[1].header("b3"),
        Some("4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0"),
        "unsampled: unchanged"
    );
    assert!(seen.iter().all(|seen| seen.header("traceparent").is_none()));
}
