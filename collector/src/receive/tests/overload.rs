//! Nothing is taken in that cannot be passed on, and senders are told to come back.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::harness::*;
use crate::config::Limits;
use crate::receive::Reason;

fn impatient() -> Limits {
    Limits { queue_timeout: Duration::from_millis(50), ..Limits::default() }
}

#[tokio::test]
async fn a_full_queue_refuses_for_now_and_room_is_used_again() {
    let mut receiver = start(Setup { limits: impatient(), queue: 1, ..Setup::default() }).await;
    assert_eq!(receiver.post_protobuf("/v1/traces", spans(1)).await.status, 200);
    let answer = receiver.post_protobuf("/v1/traces", spans(1)).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.headers["retry-after"], "1");
    let (code, _, headers) = receiver.call(TRACES, &[], framed(0, &spans(1))).await;
    assert_eq!(code, 14);
    assert!(headers.contains_key("grpc-status-details-bin"), "RetryInfo tells when to come back");
    assert_eq!(receiver.counters.refused(Reason::BusyLive), 2);

    receiver.next_batch().await;
    let answer = receiver.post_protobuf("/v1/traces", spans(1)).await;
    assert_eq!(answer.status, 503, "history has no room yet");
    assert_eq!(receiver.counters.refused(Reason::BusyHistory), 1);
    receiver.history.recv().await.expect("a batch");
    receiver.must_go_on().await;
}

#[tokio::test]
async fn bodies_count_against_one_budget_before_they_are_read() {
    let limits = Limits { in_flight_bytes: 64 << 10, http_request_bytes: 60 << 10, ..impatient() };
    let mut receiver = start(Setup { limits, ..Setup::default() }).await;
    let mut holder = TcpStream::connect(receiver.http).await.expect("connected");
    let head =
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 60000\r\n\r\n";
    holder.write_all(head.as_bytes()).await.expect("written");
    let refused = timeout(Duration::from_secs(5), async {
        loop {
            let answer = receiver.post_protobuf("/v1/traces", vec![0; 10_000]).await;
            if answer.status == 503 {
                return answer;
            }
        }
    });
    assert!(refused.await.expect("refused").headers.contains_key("retry-after"));
    drop(holder);
    timeout(Duration::from_secs(5), async {
        while receiver.post_protobuf("/v1/traces", vec![0; 10_000]).await.status == 503 {}
    })
    .await
    .expect("the budget was given back");
    receiver.must_go_on().await;
}
