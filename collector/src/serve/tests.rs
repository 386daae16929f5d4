//! Bounds of connections, over real sockets.

use std::time::Duration;

use http_body_util::Full;
use hyper::service::service_fn;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

async fn start(limits: Limits, speaks: Speaks) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
    let listener = bind("listen.http", "127.0.0.1:0".parse().expect("address")).await.expect("bound");
    let (address, stop) = (listener.address(), CancellationToken::new());
    let settings = Settings { speaks, tls: None, limits, counters: Arc::default() };
    let service = service_fn(|_| async {
        sleep(Duration::from_millis(50)).await;
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"well"))))
    });
    (address, stop.clone(), tokio::spawn(listener.serve(settings, service, stop)))
}

async fn say(stream: &mut TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.expect("written");
    let mut buffer = [0; 1024];
    let read = timeout(Duration::from_secs(5), stream.read(&mut buffer)).await.expect("an answer").unwrap_or(0);
    String::from_utf8_lossy(&buffer[..read]).into_owned()
}

const REQUEST: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test]
async fn a_taken_port_is_told_with_the_setting() {
    let first = bind("listen.http", "127.0.0.1:0".parse().expect("address")).await.expect("bound");
    let error = bind("listen.otlp_grpc", first.address()).await.expect_err("taken").to_string();
    let port = first.address().port();
    assert!(error.starts_with(&format!("port {port} is already taken")), "{error}");
    assert!(error.ends_with("set `listen.otlp_grpc` to another address"), "{error}");
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_its_place_comes_back() {
    let (address, stop, _task) = start(Limits { connections: 1, ..Limits::default() }, Speaks::Http).await;
    let mut first = TcpStream::connect(address).await.expect("connected");
    assert!(say(&mut first, REQUEST).await.contains("200 OK"));
    let mut second = TcpStream::connect(address).await.expect("connected");
    assert_eq!(say(&mut second, REQUEST).await, "");
    drop(first);
    let mut tries = 0;
    loop {
        let mut third = TcpStream::connect(address).await.expect("connected");
        if say(&mut third, REQUEST).await.contains("200 OK") {
            break;
        }
        tries += 1;
        assert!(tries < 100, "the place did not come back");
        sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
}

#[tokio::test]
async fn who_sends_nothing_or_half_a_request_is_closed() {
    let short = Duration::from_millis(200);
    let limits = Limits { header_timeout: short, idle_timeout: short, ..Limits::default() };
    for speaks in [Speaks::Http, Speaks::Http2] {
        let (address, stop, _task) = start(limits, speaks).await;
        for said in ["", "P", "PRI * HTTP/2.0\r\n", "POST / HTTP/1.1\r\nhost: x\r\n"] {
            let mut stream = TcpStream::connect(address).await.expect("connected");
            stream.write_all(said.as_bytes()).await.expect("written");
            let mut rest = Vec::new();
            let closed = timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
            assert!(closed.is_ok(), "{speaks:?} left the connection open after {said:?}");
        }
        stop.cancel();
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_but_not_while_it_is_answered() {
    let limits = Limits { idle_timeout: Duration::from_millis(30), ..Limits::default() };
    let (address, stop, _task) = start(limits, Speaks::Http).await;
    let mut stream = TcpStream::connect(address).await.expect("connected");
    assert!(say(&mut stream, REQUEST).await.contains("200 OK"), "an answer takes longer than idling may");
    let mut rest = Vec::new();
    let closed = timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "left open");
    stop.cancel();
}

#[tokio::test]
async fn stopping_lets_answers_finish() {
    let (address, stop, task) = start(Limits::default(), Speaks::Http).await;
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(REQUEST.as_bytes()).await.expect("written");
    sleep(Duration::from_millis(20)).await;
    stop.cancel();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("read");
    assert!(answer.ends_with("well"), "{answer}");
    timeout(Duration::from_secs(2), task).await.expect("ends at once").expect("no panic");
}
