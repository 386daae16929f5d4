//! Whole collectors on ports of the system's choosing.

use std::path::Path;

use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::*;
use crate::clock;
use crate::config::Listen;

const TRACE: &str = "0102030405060708090a0b0c0d0e0f10";

struct Running {
    addresses: Addresses,
    stop: CancellationToken,
    task: JoinHandle<Result<(), AppError>>,
}

fn config(folder: &Path) -> Config {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listen = Listen { http: any, otlp_grpc: any, otlp_http: any, xray: Some(any) };
    Config { data_dir: folder.to_owned(), listen, ..Config::default() }
}

async fn start(config: Config) -> Result<Running, AppError> {
    let (stop, (told, ready)) = (CancellationToken::new(), oneshot::channel());
    let task = tokio::spawn(run(config, Extras::default(), told, stop.clone()));
    match timeout(Duration::from_secs(20), ready).await.expect("in time") {
        Ok(addresses) => Ok(Running { addresses, stop, task }),
        Err(_) => Err(task.await.expect("no panic").expect_err("it did not start")),
    }
}

impl Running {
    /// Sends one span that ends now; the status.
    async fn send(&self) -> u16 {
        let now = clock::now().as_nanos();
        let body = format!(
            r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"web"}}}}]}},
            "scopeSpans":[{{"spans":[{{"traceId":"{TRACE}","spanId":"0102030405060708","name":"GET /","kind":2,
            "startTimeUnixNano":"{}","endTimeUnixNano":"{now}"}}]}}]}}]}}"#,
            now - 1_000_000
        );
        let url = format!("http://{}/v1/traces", self.addresses.otlp_http);
        let request = client().post(url).header("content-type", "application/json").body(body);
        request.send().await.expect("an answer").status().as_u16()
    }

    async fn get(&self, path: &str) -> (u16, serde_json::Value) {
        let answer = client().get(format!("http://{}{path}", self.addresses.http)).send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.expect("a body")).unwrap_or_default())
    }

    /// Asks for the trace until it is there.
    async fn must_find_the_trace(&self) {
        let found = async {
            loop {
                let (status, trace) = self.get(&format!("/api/v1/traces/{TRACE}")).await;
                if status == 200 {
                    return trace["spans"].as_array().map(Vec::len);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        assert_eq!(timeout(Duration::from_secs(20), found).await.expect("in time"), Some(1), "once and only once");
    }

    async fn end(self) {
        self.stop.cancel();
        timeout(Duration::from_secs(20), self.task).await.expect("in time").expect("no panic").expect("a clean end");
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().expect("client")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_is_found_also_after_a_restart() {
    let folder = TempDir::new().expect("folder");
    let collector = start(config(folder.path())).await.expect("starts");
    assert_eq!(collector.get("/readyz").await.0, 200);
    assert_eq!(collector.send().await, 200);
    collector.must_find_the_trace().await;
    collector.end().await;
    let collector = start(config(folder.path())).await.expect("starts");
    collector.must_find_the_trace().await;
    collector.end().await;
}

/// Rows are written every ten seconds; until then they are answered from memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_is_found_before_it_is_in_any_file() {
    // A machine that is slow enough may have written it before it could be asked for: then once more.
    for _attempt in 0..5 {
        let folder = TempDir::new().expect("folder");
        let collector = start(config(folder.path())).await.expect("starts");
        assert_eq!(collector.send().await, 200);
        collector.must_find_the_trace().await;
        let metrics = client().get(format!("http://{}/metrics", collector.addresses.http));
        let metrics = metrics.send().await.expect("an answer").text().await.expect("a body");
        collector.end().await;
        if metrics.contains("\ntripline_collector_history_files 0.0") {
            return;
        }
    }
    panic!("it was never found but in files");
}

#[test]
fn what_was_acknowledged_survives_being_broken_off() {
    let folder = TempDir::new().expect("folder");
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let collector = start(config(folder.path())).await.expect("starts");
        assert_eq!(collector.send().await, 200);
    });
    // Every task is dropped where it stands; nothing is written, nothing is said goodbye to.
    runtime.shutdown_timeout(Duration::from_secs(5));
    Runtime::new().expect("a runtime").block_on(async {
        let collector = start(config(folder.path())).await.expect("starts");
        collector.must_find_the_trace().await;
        collector.end().await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_or_folder_is_told_and_harms_nobody() {
    let folder = TempDir::new().expect("folder");
    let collector = start(config(folder.path())).await.expect("starts");
    let other = TempDir::new().expect("folder");
    let mut same_port = config(other.path());
    same_port.listen.otlp_grpc = collector.addresses.otlp_grpc;
    let error = start(same_port).await.map(drop).expect_err("taken").to_string();
    assert!(error.contains(&collector.addresses.otlp_grpc.port().to_string()), "{error}");
    assert!(error.contains("`listen.otlp_grpc`"), "{error}");
    assert_eq!(std::fs::read_dir(other.path()).expect("readable").count(), 0, "nothing was touched");

    let error = start(config(folder.path())).await.map(drop).expect_err("held").to_string();
    assert!(error.contains("in use by another collector"), "{error}");
    assert_eq!(collector.send().await, 200);
    collector.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_memory_it_runs_without_a_journal() {
    let folder = TempDir::new().expect("folder");
    let collector = start(Config { durability: Durability::Memory, ..config(folder.path()) }).await.expect("starts");
    assert_eq!(collector.send().await, 200);
    collector.must_find_the_trace().await;
    assert!(!folder.path().join("journal").exists());
    collector.end().await;
}
