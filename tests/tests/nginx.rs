//! Unmodified servers behind sidecars: nginx calls Python's http.server, wrk loads nginx, and every request is in the graph.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tripline_tests::fixtures::fill;
use tripline_tests::sidecar::Ports;
use tripline_tests::{Api, Collector, Running, Sidecar, ports, programs};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/nginx");
const START: Duration = Duration::from_secs(20);

/// Requests of each of wrk's two threads. A thread has one connection and stops after so many answers, so that what wrk counts is
/// what it sent: by its clock alone it would leave requests in flight uncounted.
const EACH: u64 = 2_000;

const STOP_AFTER: &str = "local n = 0\nfunction response() n = n + 1 if n == EACH then wrk.thread:stop() end end\n";

/// nginx (`shop/web`) and http.server (`shop/files`), each behind a sidecar.
struct Shop {
    web: Ports,
    _programs: Vec<Running>,
    _sidecars: Vec<Sidecar>,
}

impl Shop {
    async fn start(collector: &Collector) -> Result<Self> {
        let folder = collector.folder.path();
        let base = ports::free(8)?;
        let (web, files) = (Ports::from(base), Ports::from(base + 4));
        let words = [
            ("FOLDER", folder.display().to_string()),
            ("WEB_IN", web.inbound.to_string()),
            ("WEB_OUT", web.outbound.to_string()),
            ("WEB_APP", web.app.to_string()),
            ("FILES_IN", files.inbound.to_string()),
        ];
        let mesh = fill(FIXTURES, "mesh.yaml", folder, &words)?;
        let nginx = fill(FIXTURES, "nginx.conf", folder, &words)?;
        fs::write(folder.join("index.html"), "a file\n")?;
        let mut python = Command::new("python3");
        python.args(["-m", "http.server", "--protocol", "HTTP/1.1", "--bind", "127.0.0.1", &files.app.to_string()]);
        python.current_dir(folder);
        let programs = vec![
            Running::start(&programs::peer("nginx", "nginx-light")?, ["-c".as_ref(), nginx.as_os_str()])?,
            Running::start_command(&python)?,
        ];
        let sidecars = vec![
            Sidecar::start(&mesh, "shop/web", web, collector.otlp_grpc).await?,
            Sidecar::start(&mesh, "shop/files", files, collector.otlp_grpc).await?,
        ];
        Api::on(web.app)?.answers("/", START).await?;
        Api::on(files.app)?.answers("/", START).await?;
        Ok(Self { web, _programs: programs, _sidecars: sidecars })
    }
}

/// What wrk says it sent to `path`.
async fn load(folder: &Path, port: u16, path: &str) -> Result<u64> {
    let script = folder.join("stop.lua");
    fs::write(&script, STOP_AFTER.replace("EACH", &EACH.to_string()))?;
    let mut wrk = Running::start(
        &programs::peer("wrk", "wrk")?,
        ["-t2", "-c2", "-d8s", "-s", &script.display().to_string(), &format!("http://127.0.0.1:{port}{path}")],
    )?;
    wrk.ended(Duration::from_secs(30)).await?;
    let output = wrk.output();
    ensure!(!output.contains("Non-2xx") && !output.contains("Socket errors"), "{output}");
    let sent = output.split(" requests in").next().and_then(|head| head.rsplit(char::is_whitespace).next());
    sent.and_then(|number| number.parse().ok()).with_context(|| format!("wrk said: {output}"))
}

#[tokio::test]
async fn the_graph_counts_exactly_what_wrk_sent() -> Result<()> {
    let collector = Collector::start("").await?;
    let shop = Shop::start(&collector).await?;
    let sent = load(collector.folder.path(), shop.web.inbound, "/").await?;
    ensure!(sent == 2 * EACH, "wrk sent {sent}");
    let edges = collector.has_counts(&[("user>shop/web:http", sent)], Duration::from_secs(15)).await?;
    ensure!(edges[0].failed == 0, "{edges:?}");
    Ok(())
}

#[tokio::test]
async fn a_call_through_both_sidecars_is_one_edge_counted_by_its_client() -> Result<()> {
    let collector = Collector::start("").await?;
    let shop = Shop::start(&collector).await?;
    let web = Api::on(shop.web.inbound)?;
    for _ in 0..50 {
        ensure!(web.text("/api/index.html").await? == "a file\n");
    }
    let expected = [("shop/web>shop/files:http", 50), ("user>shop/web:http", 50)];
    let edges = collector.has_counts(&expected, Duration::from_secs(15)).await?;
    ensure!(edges[0].reporter == "client" && edges[1].reporter == "server", "{edges:?}");
    Ok(())
}

#[tokio::test]
async fn requests_succeed_while_the_collector_is_killed_and_the_graph_is_back_within_five_seconds() -> Result<()> {
    let mut collector = Collector::start("").await?;
    let shop = Shop::start(&collector).await?;
    let port = shop.web.inbound;
    let client = Api::on(port)?;
    let requests = tokio::spawn(async move {
        for _ in 0..400 {
            client.text("/").await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok::<(), anyhow::Error>(())
    });
    collector.has_edges(&["user>shop/web:http"], Duration::from_secs(10)).await?;
    collector.kill_and_restart().await?;
    collector.has_edges(&["user>shop/web:http"], Duration::from_secs(5)).await?;
    requests.await?.context("a request failed while the collector was down")
}
