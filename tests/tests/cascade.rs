//! The main job, whole: a fault in the demo shop, one incident with the right origin, one alert in a real Alertmanager, and
//! a browser that shows it while it happens. And the same shop without a fault, of which nothing must be told.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tripline_api::{BreakerList, Graph, Health, Incident, IncidentList, Level, PathEvent, Phase};
use tripline_tests::browser::Scheme;
use tripline_tests::{Api, Browser, Demo, Running, ports, programs, wait};

const START: Duration = Duration::from_secs(60);

/// A real Alertmanager and the notifications it sent on, which a small server of the test counts.
struct Alertmanager {
    api: Api,
    port: u16,
    sink: Running,
    _running: Running,
    _folder: TempDir,
}

/// Answers every POST and prints one line for it.
const SINK: &str = "
import http.server, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length'])).decode()
        print('NOTIFIED', body.replace(chr(10), ' '), flush=True)
        self.send_response(200); self.send_header('Content-Length', '0'); self.end_headers()
    def do_GET(self):
        self.send_response(200); self.send_header('Content-Length', '0'); self.end_headers()
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), H).serve_forever()
";

impl Alertmanager {
    async fn start() -> Result<Self> {
        let port = ports::free(2)?;
        let sink_port = ports::free(1)?;
        let folder = TempDir::new()?;
        let config = format!(
            "route: {{ receiver: sink, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h }}\n\
             receivers: [ {{ name: sink, webhook_configs: [ {{ url: 'http://127.0.0.1:{sink_port}/', send_resolved: true }} ] }} ]\n"
        );
        let file = folder.path().join("alertmanager.yaml");
        fs::write(&file, config)?;
        let sink = Running::start(&programs::peer("python3", "python3")?, ["-c", SINK, &sink_port.to_string()])?;
        let arguments = [
            format!("--config.file={}", file.display()),
            format!("--storage.path={}", folder.path().display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
            "--cluster.listen-address=".to_owned(),
        ];
        let binary = programs::peer("prometheus-alertmanager", "prometheus-alertmanager")?;
        let running = Running::start(&binary, arguments)?;
        let api = Api::on(port)?;
        api.answers("/-/ready", START).await?;
        Ok(Self { api, port, sink, _running: running, _folder: folder })
    }

    async fn alerts(&self) -> Result<Vec<Value>> {
        let alerts: Vec<Value> = self.api.get("/api/v2/alerts").await?;
        Ok(alerts.into_iter().filter(|alert| alert["labels"]["alertname"] == "TriplineIncident").collect())
    }

    /// Notifications that Alertmanager sent on: (firing, resolved).
    fn notified(&self) -> (usize, usize) {
        let output = self.sink.output();
        let lines = output.lines().filter(|line| line.starts_with("NOTIFIED"));
        let (resolved, firing): (Vec<&str>, Vec<&str>) =
            lines.partition(|line| line.contains("\"status\":\"resolved\""));
        (firing.len(), resolved.len())
    }
}

async fn incidents(demo: &Demo) -> Result<Vec<Incident>> {
    Ok(demo.api.get::<IncidentList>("/api/v1/incidents").await?.incidents)
}

/// Waits until there is exactly one incident and it looks as asked.
async fn the_incident(demo: &Demo, limit: u64, looks: impl Fn(&Incident) -> bool) -> Result<Incident> {
    wait::until("the incident", Duration::from_secs(limit), async || {
        let mut found = incidents(demo).await?;
        ensure!(found.len() < 2, "{} incidents: {found:#?}", found.len());
        let incident = found.pop().context("no incident")?;
        ensure!(looks(&incident), "{incident:#?}");
        Ok(incident)
    })
    .await
}

fn seconds_between(earlier: &str, later: &str) -> Result<f64> {
    let at = |text: &str| text.parse::<jiff::Timestamp>().with_context(|| format!("no time: {text}"));
    Ok((at(later)? - at(earlier)?).total(jiff::Unit::Second)?)
}

fn check_the_story(incident: &Incident) -> Result<()> {
    ensure!(incident.origin() == Some("shop/payments-db"), "{:#?}", incident.suspected_origins);
    ensure!(incident.level >= Level::Cascade, "{:?}", incident.level);
    let hops: Vec<(&str, &str)> = incident.path.iter().map(|hop| (hop.client.as_str(), hop.server.as_str())).collect();
    let expected = ["shop/payments-db", "shop/payments", "shop/checkout", "shop/web", "shop/gateway", "user"];
    for (at, pair) in expected.windows(2).enumerate() {
        ensure!(hops.get(at) == Some(&(pair[1], pair[0])), "hop {at} of {hops:?}");
    }
    ensure!(incident.path[0].event == PathEvent::Tripped, "{:?}", incident.path[0]);
    for service in ["shop/checkout", "shop/web", "shop/gateway"] {
        ensure!(incident.blast_radius.services.iter().any(|hurt| hurt == service), "{:#?}", incident.blast_radius);
    }
    ensure!(incident.blast_radius.entry_points == ["shop/gateway"], "{:#?}", incident.blast_radius);
    Ok(())
}

/// Where screenshots go: the folder `TRIPLINE_SCREENSHOTS`, else nowhere that lasts.
fn screenshots() -> Result<(PathBuf, Option<TempDir>)> {
    match std::env::var_os("TRIPLINE_SCREENSHOTS") {
        Some(folder) => Ok((folder.into(), None)),
        None => {
            let folder = TempDir::new()?;
            Ok((folder.path().to_owned(), Some(folder)))
        }
    }
}

/// The page in both schemes, as PNG files that are not empty.
async fn photograph(browser: &Browser, name: &str) -> Result<()> {
    let (folder, _temporary) = screenshots()?;
    for (scheme, word) in [(Scheme::Light, "light"), (Scheme::Dark, "dark")] {
        browser.prefer(scheme).await?;
        let file = folder.join(format!("{name}-{word}.png"));
        browser.screenshot(&file, (1440, 900)).await?;
        ensure!(fs::metadata(&file)?.len() > 20_000, "{} is nearly empty", file.display());
    }
    Ok(())
}

/// Seconds from the first trip to the opening of the incident.
async fn delay(demo: &Demo, opened: &Incident) -> Result<f64> {
    let breakers: BreakerList = demo.api.get("/api/v1/breakers").await?;
    let first = breakers.transitions.last().context("no breaker tripped")?;
    seconds_between(&first.at, &opened.detected_at)
}

/// The page while the cascade goes on: the open breaker, the origin, and the incident's own page.
async fn check_the_page(browser: &Browser) -> Result<()> {
    browser.shows("g.breaker.open", Duration::from_secs(20)).await?;
    browser.shows("g.node.origin[aria-label*='payments-db']", Duration::from_secs(10)).await?;
    photograph(browser, "graph-cascade").await?;
    browser.click(".banner a.button", Duration::from_secs(10)).await?;
    let page = browser.shows("main", Duration::from_secs(10)).await?;
    ensure!(page.contains("payments-db"), "the incident's page says: {page}");
    photograph(browser, "incident").await
}

#[tokio::test]
async fn a_failing_database_is_one_incident_one_alert_and_a_picture() -> Result<()> {
    let alertmanager = Alertmanager::start().await?;
    let url = format!("http://127.0.0.1:{}", alertmanager.port);
    let fault = ["--seconds", "210", "--fault", "payments-db:errors:20s:40s", "--alertmanager", &url];
    let demo = Demo::start(&fault).await?;
    let browser = Browser::open(&demo.api.url("/")).await?;
    browser.shows("g.node[aria-label*='payments-db']", Duration::from_secs(20)).await?;
    let opened = the_incident(&demo, 60, |_| true).await?;
    let delay = delay(&demo, &opened).await?;
    ensure!(delay <= 5.0, "opened {delay} s after the first trip");
    check_the_story(&the_incident(&demo, 40, |incident| check_the_story(incident).is_ok()).await?)?;
    check_the_page(&browser).await?;
    ensure!(alertmanager.alerts().await?.len() == 1, "{:?}", alertmanager.alerts().await?);
    let resolved = the_incident(&demo, 190, |incident| incident.phase == Phase::Resolved).await?;
    check_the_story(&resolved)?;
    ensure!(resolved.alerts_sent <= 4, "{} notifications", resolved.alerts_sent);
    wait::until("Alertmanager to tell the end", Duration::from_secs(20), async || {
        ensure!(alertmanager.notified() == (1, 1), "{:?}", alertmanager.notified());
        Ok::<(), anyhow::Error>(())
    })
    .await
}

/// The last list of incidents before the demo ended by itself.
async fn watch_until_the_end(demo: &mut Demo) -> Result<Vec<Incident>> {
    let mut last = Vec::new();
    let end = demo.running.ended(Duration::from_secs(240));
    tokio::pin!(end);
    loop {
        tokio::select! {
            status = &mut end => {
                ensure!(status?.success(), "the demo did not end well");
                return Ok(last);
            }
            () = tokio::time::sleep(Duration::from_secs(1)) => {
                if let Ok(list) = demo.api.get::<IncidentList>("/api/v1/incidents").await {
                    last = list.incidents;
                }
            }
        }
    }
}

#[tokio::test]
async fn without_a_fault_nothing_is_told() -> Result<()> {
    let alertmanager = Alertmanager::start().await?;
    let url = format!("http://127.0.0.1:{}", alertmanager.port);
    let mut demo = Demo::start(&["--seconds", "210", "--alertmanager", &url]).await?;
    let browser = Browser::open(&demo.api.url("/")).await?;
    wait::until("all twelve services to be healthy and under load", Duration::from_secs(100), async || {
        let graph: Graph = demo.api.get("/api/v1/graph").await?;
        let healthy = graph.nodes.iter().filter(|node| node.health == Health::Healthy).count();
        ensure!(healthy == 13, "{:?}", graph.nodes.iter().map(|n| (&n.id, n.health)).collect::<Vec<_>>());
        let entry = graph.edges.iter().find(|edge| edge.client == "user").context("no entry")?;
        ensure!(entry.requests_per_second > 150.0, "{} requests a second at the entry", entry.requests_per_second);
        Ok(())
    })
    .await?;
    photograph(&browser, "graph-quiet").await?;
    ensure!(browser.complaints().await?.is_empty(), "{:?}", browser.complaints().await?);
    let incidents = watch_until_the_end(&mut demo).await?;
    ensure!(incidents.is_empty(), "{incidents:#?}");
    ensure!(alertmanager.alerts().await?.is_empty() && alertmanager.notified() == (0, 0));
    Ok(())
}

#[tokio::test]
async fn a_fault_that_is_started_by_hand_is_found_and_the_end_leaves_no_process() -> Result<()> {
    let mut demo = Demo::start(&["--seconds", "600"]).await?;
    wait::until("traffic", START, async || {
        let graph: Graph = demo.api.get("/api/v1/graph").await?;
        ensure!(graph.edges.iter().filter(|edge| edge.requests > 100).count() >= 8, "{} edges", graph.edges.len());
        Ok(())
    })
    .await?;
    let fault = serde_json::json!({"service": "inventory", "kind": "errors", "seconds": 20});
    demo.api.post("/api/v1/demo/faults", &fault).await?;
    let origin = |incident: &Incident| incident.origin() == Some("shop/inventory");
    the_incident(&demo, 30, origin).await?;
    demo.running.signal(nix::sys::signal::Signal::SIGINT)?;
    demo.running.ended(Duration::from_secs(20)).await?;
    let left = nix::sys::signal::killpg(demo.running.pid(), None);
    ensure!(left.is_err(), "processes of the demo live on");
    Ok(())
}
