//! Bodies made to hurt: each gets its status, and the collector goes on.

use std::io::Write;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::harness::*;
use crate::receive::Reason;

const DEEP: usize = 200_000;

/// Protobuf of one span with one attribute whose value is a list in a list in a list ...
fn nested_protobuf() -> Vec<u8> {
    // Written from the inside out, so backwards.
    let mut backwards: Vec<u8> = Vec::new();
    let wrap = |backwards: &mut Vec<u8>, tag: u8| {
        let mut length = Vec::new();
        prost::encoding::encode_varint(backwards.len() as u64, &mut length);
        backwards.extend(length.iter().rev());
        backwards.push(tag);
    };
    for _ in 0..DEEP {
        wrap(&mut backwards, 0x0a);
        wrap(&mut backwards, 0x2a);
    }
    // The value of an attribute, of a span ...
    [0x12, 0x4a].into_iter().for_each(|tag| wrap(&mut backwards, tag));
    // ... that has ids, or nobody would look into it ...
    let ids = [&[0x0a, 16][..], &[1; 16], &[0x12, 8], &[1; 8]].concat();
    backwards.extend(ids.iter().rev());
    // ... of a scope, of a resource, of the request.
    [0x12, 0x12, 0x0a].into_iter().for_each(|tag| wrap(&mut backwards, tag));
    backwards.reverse();
    backwards
}

fn nested_json() -> Vec<u8> {
    let (open, close) = (r#"{"arrayValue":{"values":["#.repeat(DEEP), "]}}".repeat(DEEP));
    let before = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"a","value":"#;
    format!("{before}{open}{{}}{close}}}]}}]}}]}}]}}").into_bytes()
}

fn gzip_bomb(bytes: usize) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![0; bytes]).expect("memory");
    encoder.finish().expect("memory")
}

#[tokio::test]
async fn nesting_200_000_deep_is_refused() {
    let mut receiver = start(Setup::default()).await;
    let protobuf = nested_protobuf();
    assert!(protobuf.len() < 4 << 20, "it must pass the limit of size to test that of depth");
    let answer = receiver.post_protobuf("/v1/traces", protobuf.clone()).await;
    assert_eq!(answer.status, 400);
    let answer = receiver.post("/v1/traces", &[("content-type", "application/json")], nested_json()).await;
    assert_eq!(answer.status, 400);
    let (code, message, _) = receiver.call(TRACES, &[], framed(0, &protobuf)).await;
    assert_eq!(code, 3, "{message}");
    receiver.must_go_on().await;
}

#[tokio::test]
async fn bombs_and_giants_are_too_large() {
    let mut receiver = start(Setup::default()).await;
    let bomb = gzip_bomb(100 << 20);
    assert!(bomb.len() < 200_000);
    let headers = [("content-type", "application/x-protobuf"), ("content-encoding", "gzip")];
    let answer = receiver.post("/v1/traces", &headers, bomb.clone()).await;
    assert_eq!(answer.status, 413);
    let zstd = zstd::bulk::compress(&vec![0; 100 << 20], 3).expect("memory");
    let headers = [("content-type", "application/x-protobuf"), ("content-encoding", "zstd")];
    assert_eq!(receiver.post("/v1/traces", &headers, zstd).await.status, 413);
    let answer = receiver.post_protobuf("/v1/traces", vec![0; (20 << 20) + 1]).await;
    assert_eq!(answer.status, 413, "and the answer can be read although the body was not");

    let (code, message, _) = receiver.call(TRACES, &[("grpc-encoding", "gzip")], framed(1, &bomb)).await;
    assert_eq!(code, 8, "{message}");
    let (code, message, _) = receiver.call(TRACES, &[], framed(0, &vec![0; (4 << 20) + 1])).await;
    assert_eq!(code, 8, "{message}");
    assert_eq!(receiver.counters.refused(Reason::TooLarge), 5);
    receiver.must_go_on().await;
}

#[tokio::test]
async fn slow_and_broken_bodies_end() {
    let mut receiver = start(Setup::default()).await;
    let head =
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 9\r\n\r\nabc";
    let mut slow = TcpStream::connect(receiver.http).await.expect("connected");
    slow.write_all(head.as_bytes()).await.expect("written");
    let mut answer = vec![0; 1024];
    let read = timeout(Duration::from_secs(5), slow.read(&mut answer)).await.expect("ends").expect("an answer");
    assert!(answer[..read].starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer[..read]));

    let mut broken = TcpStream::connect(receiver.http).await.expect("connected");
    broken.write_all(head.as_bytes()).await.expect("written");
    drop(broken);
    timeout(Duration::from_secs(5), async {
        while receiver.counters.refused(Reason::BrokenBody) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("noticed");
    receiver.must_go_on().await;
}
