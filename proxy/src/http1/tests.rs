//! A connection against servers that say exactly what a test wants.

use std::future::poll_fn;
use std::time::Duration;

use http::Request;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::*;

const LONGEST: usize = 64 * 1024;

async fn pair() -> (Box<Http1Connection>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (Http1Connection::new(Wire::plain(client), LONGEST), listener.accept().await.unwrap().0)
}

fn get() -> Parts {
    Request::get("/a").header("host", "x").body(()).unwrap().into_parts().0
}

fn post(body: &Bytes) -> (Parts, RequestBody) {
    (Request::post("/a").body(()).unwrap().into_parts().0, RequestBody::Whole(body.clone()))
}

async fn head(connection: &mut Http1Connection) -> Result<Response<()>, Failure> {
    poll_fn(|cx| connection.poll_head(cx)).await
}

async fn body(connection: &mut Http1Connection) -> Result<Vec<u8>, BodyError> {
    let mut all = Vec::new();
    while let Some(frame) = poll_fn(|cx| connection.poll_body(cx)).await {
        all.extend_from_slice(&frame?.into_data().unwrap_or_default());
    }
    Ok(all)
}

#[tokio::test]
async fn an_answer_is_read_to_its_end_and_says_whether_another_request_may_follow() {
    for (answer, expected, reusable) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "hello", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "", true),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na", "a", true),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello", "hello", false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", "hello", false),
        ("HTTP/1.1 200 OK\r\n\r\nuntil the end", "until the end", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n", "hello", false),
    ] {
        // Whole, and a byte at a time.
        for size in [answer.len(), 1] {
            let (mut connection, mut server) = pair().await;
            let sending = tokio::spawn(async move {
                for piece in answer.as_bytes().chunks(size) {
                    server.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
                if !reusable {
                    server.shutdown().await.unwrap();
                }
                server
            });
            connection.begin(&get(), RequestBody::Empty);
            head(&mut connection).await.unwrap();
            assert_eq!(String::from_utf8(body(&mut connection).await.unwrap()).unwrap(), expected, "{answer}");
            let _server = sending.await.unwrap();
            let at_rest = connection.is_reusable() && (reusable || connection.is_open());
            // A byte at a time, what follows the answer may come when it is at rest already; then it is not open.
            assert_eq!(at_rest, reusable, "{answer} by {size}");
        }
    }
}

#[tokio::test]
async fn what_breaks_off_or_is_no_answer_is_an_error() {
    for (answer, failure) in [
        ("", Failure::Reset),
        ("HTTP/1.1 200", Failure::Reset),
        ("SSH-2.0-x\r\n", Failure::BadAnswer),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", Failure::BadAnswer),
    ] {
        let (mut connection, mut server) = pair().await;
        server.write_all(answer.as_bytes()).await.unwrap();
        server.shutdown().await.unwrap();
        connection.begin(&get(), RequestBody::Empty);
        assert_eq!(head(&mut connection).await.unwrap_err(), failure, "{answer}");
        assert!(connection.take_unsent().is_none(), "the request was sent");
    }
    for answer in [
        "content-length: 9\r\n\r\nshort",
        "transfer-encoding: chunked\r\n\r\n9\r\nshort",
        "transfer-encoding: chunked\r\n\r\nx\r\n",
    ] {
        let (mut connection, mut server) = pair().await;
        server.write_all(format!("HTTP/1.1 200 OK\r\n{answer}").as_bytes()).await.unwrap();
        server.shutdown().await.unwrap();
        connection.begin(&get(), RequestBody::Empty);
        head(&mut connection).await.unwrap();
        assert!(body(&mut connection).await.is_err(), "{answer}");
        assert!(!connection.is_reusable());
    }
}

#[tokio::test]
async fn a_head_that_never_ends_is_refused_at_the_buffer_s_end() {
    let (mut connection, mut server) = pair().await;
    let sending = tokio::spawn(async move {
        let _ = server.write_all(b"HTTP/1.1 200 OK\r\na: ").await;
        while server.write_all(&[b'x'; 1024]).await.is_ok() {}
    });
    connection.begin(&get(), RequestBody::Empty);
    assert_eq!(head(&mut connection).await.unwrap_err(), Failure::BadAnswer);
    assert!(connection.read.len() < 3 * LONGEST, "{}", connection.read.len());
    drop(connection);
    sending.await.unwrap();
}

#[tokio::test]
async fn a_large_body_arrives_whole_while_its_answer_is_waited_for() {
    let content = Bytes::from((0..3_000_000_u32).map(|number| number as u8).collect::<Vec<_>>());
    let (mut connection, mut server) = pair().await;
    let (parts, whole) = post(&content);
    connection.begin(&parts, whole);
    let reading = tokio::spawn(async move {
        let head = b"POST /a HTTP/1.1\r\ncontent-length: 3000000\r\n\r\n";
        let mut all = vec![0; head.len() + 3_000_000];
        server.read_exact(&mut all).await.unwrap();
        server.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        (server, all.split_off(head.len()), all == head)
    });
    assert_eq!(head(&mut connection).await.unwrap().status(), 204);
    let (_server, got, same_head) = reading.await.unwrap();
    assert!(same_head && got == content);
    assert!(connection.is_reusable());
}

#[tokio::test]
async fn an_answer_before_the_end_of_its_request_ends_the_connection() {
    let (mut connection, mut server) = pair().await;
    let (parts, whole) = post(&Bytes::from(vec![1; 50_000_000]));
    connection.begin(&parts, whole);
    server.write_all(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno").await.unwrap();
    assert_eq!(head(&mut connection).await.unwrap().status(), 413);
    assert_eq!(body(&mut connection).await.unwrap(), b"no");
    assert!(connection.is_done() && !connection.is_reusable());
}

#[tokio::test]
async fn a_connection_at_rest_that_says_something_or_closes_is_not_used() {
    let (mut connection, server) = pair().await;
    assert!(connection.is_open());
    drop(server);
    let closed = async {
        while connection.is_open() {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(Duration::from_secs(5), closed).await.unwrap();
    let (mut connection, mut server) = pair().await;
    server.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    let spoken = async {
        while connection.is_open() {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(Duration::from_secs(5), spoken).await.unwrap();
}

#[tokio::test]
async fn a_request_that_was_not_sent_goes_out_on_another_connection() {
    let (mut first, _server) = pair().await;
    let (parts, whole) = post(&Bytes::from_static(b"hello"));
    first.begin(&parts, whole);
    let unsent = first.take_unsent().unwrap();
    let (mut second, mut server) = pair().await;
    second.resume(unsent);
    server.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    head(&mut second).await.unwrap();
    let mut got = vec![0; 100];
    let read = server.read(&mut got).await.unwrap();
    assert_eq!(&got[..read], b"POST /a HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello");
    assert!(second.take_unsent().is_none() && second.is_reusable());
}

#[tokio::test]
async fn after_a_switch_the_bytes_behind_the_head_come_first() {
    let (mut connection, mut server) = pair().await;
    server.write_all(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\nfirst").await.unwrap();
    connection.begin(&get(), RequestBody::Empty);
    assert_eq!(head(&mut connection).await.unwrap().status(), 101);
    assert!(connection.is_done());
    let mut switched = connection.switched();
    server.write_all(b" second").await.unwrap();
    server.shutdown().await.unwrap();
    let mut got = String::new();
    switched.read_to_string(&mut got).await.unwrap();
    assert_eq!(got, "first second");
}

#[tokio::test(start_paused = true)]
async fn one_timer_serves_limits_that_follow_each_other() {
    let (mut connection, _server) = pair().await;
    let start = Instant::now();
    for (wait, limit) in [(4, 15), (20, 8), (1, 3)] {
        tokio::time::advance(Duration::from_secs(wait)).await;
        let begun = Instant::now();
        let limit = Duration::from_secs(limit);
        // Limits of which the first poll finds nothing: the timer stays where it was.
        let early = tokio::time::timeout(limit / 2, poll_fn(|cx| connection.poll_limit(begun + limit, cx))).await;
        assert!(early.is_err());
        poll_fn(|cx| connection.poll_limit(begun + limit, cx)).await;
        assert_eq!(begun.elapsed().as_secs(), limit.as_secs(), "after {:?}", start.elapsed());
    }
}
