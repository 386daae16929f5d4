//! The web UI's files.

use std::io::Write;

use bytes::Bytes;

use super::*;

/// A UI of one page and one compressed file.
#[derive(Debug)]
struct Ui;

impl Assets for Ui {
    fn get(&self, path: &str) -> Option<Asset> {
        let brotli = |text: &str| {
            let mut compressed = Vec::new();
            brotli::CompressorWriter::new(&mut compressed, 4_096, 5, 20).write_all(text.as_bytes()).unwrap();
            Bytes::from(compressed)
        };
        let asset = |content_type, encoding, bytes| Asset { content_type, encoding, bytes, etag: "v1".into() };
        match path {
            "index.html" => Some(asset("text/html; charset=utf-8", Encoding::Identity, Bytes::from_static(b"<html>"))),
            "app.js" => Some(asset("text/javascript", Encoding::Brotli, brotli("let a = 1;"))),
            _ => None,
        }
    }
}

async fn ui() -> Server {
    Server::with(|parts| parts.assets = Some(Arc::new(Ui))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_the_index_and_every_file_itself() {
    let server = ui().await;
    for (path, status, content_type) in [
        ("/", 200, "text/html; charset=utf-8"),
        ("/incidents/01J", 200, "text/html; charset=utf-8"),
        ("/services/shop/web", 200, "text/html; charset=utf-8"),
        ("/app.js", 200, "text/javascript"),
        ("/missing.js", 404, "application/json"),
        ("/api/missing", 404, "application/json"),
    ] {
        let answer = server.get(path).await;
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap()),
            (status, content_type),
            "{path}"
        );
        let policy = answer.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("script-src 'self' 'wasm-unsafe-eval'"));
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    }
    let posted = server.client.post(server.url("/")).header("content-type", "application/json").send().await.unwrap();
    assert_eq!(posted.status(), 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_compressed_for_those_who_can_and_sent_once() {
    let server = ui().await;
    let get = |headers: &[(&'static str, &'static str)]| {
        let request = server.client.get(server.url("/app.js"));
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send()
    };
    let plain = get(&[]).await.unwrap();
    assert!(!plain.headers().contains_key("content-encoding"));
    assert_eq!(plain.text().await.unwrap(), "let a = 1;");
    let compressed = get(&[("accept-encoding", "gzip, br")]).await.unwrap();
    assert_eq!(
        (&compressed.headers()["content-encoding"], &compressed.headers()["vary"]),
        (&"br".parse().unwrap(), &"accept-encoding".parse().unwrap())
    );
    let etag = compressed.headers()["etag"].to_str().unwrap().to_owned();
    assert_ne!(compressed.bytes().await.unwrap(), "let a = 1;");
    let known = server.client.get(server.url("/app.js")).header("if-none-match", etag).send().await.unwrap();
    assert_eq!((known.status().as_u16(), known.bytes().await.unwrap().len()), (304, 0));
    let head = server.client.head(server.url("/app.js")).send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.headers()["content-type"].to_str().unwrap()), (200, "text/javascript"));
    assert!(head.bytes().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binary_without_ui_says_how_to_get_it() {
    let server = Server::start().await;
    let answer = server.get("/").await;
    assert_eq!(answer.status(), 404);
    assert!(answer.text().await.unwrap().contains("cargo xtask build"));
}
