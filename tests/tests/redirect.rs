//! Transparent redirect in network namespaces: an unmodified curl calls an unmodified server by its address, real iptables rules
//! of `deploy/redirect/` lead both through their sidecars. Needs root, iproute2, iptables and curl.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tripline_tests::{Running, programs, wait};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/redirect");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/redirect/redirect.sh");
const START: Duration = Duration::from_secs(20);
/// The group that the sidecars run as, so that their own connections are told from the applications'.
const GROUP: &str = "1337";

/// Two namespaces with one cable between them, each with its sidecar and rules; gone with the test.
struct Cable {
    folder: TempDir,
    client: String,
    server: String,
    _programs: Vec<Running>,
}

impl Drop for Cable {
    fn drop(&mut self) {
        for name in [&self.client, &self.server] {
            let _ = Command::new("ip").args(["netns", "delete", name]).status();
        }
    }
}

impl Cable {
    /// `address` is the server's; the client's own ends in 1 instead of 2.
    async fn start(family: &str, address: &str) -> Result<Self> {
        let own = format!("{}1", address.trim_end_matches('2'));
        let names = ["c", "s"].map(|end| format!("tripline-{family}-{end}-{}", std::process::id()));
        let [client, server] = names.clone();
        let mut cable = Self { folder: tempfile::tempdir()?, client, server, _programs: Vec::new() };
        let prefix = if address.contains(':') { 64 } else { 24 };
        let [client, server] = &names;
        let interface = |end: &str| format!("tl{family}{end}{}", std::process::id() % 100_000);
        for (name, end) in [(client, "c"), (server, "s")] {
            run("ip", &["netns", "add", name])?;
            cable.inside(name, "ip", &["link", "set", "lo", "up"])?;
            if end == "s" {
                run("ip", &["link", "add", &interface("c"), "type", "veth", "peer", "name", &interface("s")])?;
                for (end, name) in [("c", client), ("s", server)] {
                    run("ip", &["link", "set", &interface(end), "netns", name])?;
                }
            }
        }
        for (name, address, end) in [(client, own.as_str(), "c"), (server, address, "s")] {
            let (with_prefix, interface) = (format!("{address}/{prefix}"), interface(end));
            // Without nodad an IPv6 address cannot be used for its first second.
            let flags: &[&str] = if prefix == 64 { &["nodad"] } else { &[] };
            let add = [&["address", "add", &with_prefix, "dev", &interface], flags].concat();
            cable.inside(name, "ip", &add)?;
            cable.inside(name, "ip", &["link", "set", &interface, "up"])?;
        }
        let text = fs::read_to_string(format!("{FIXTURES}/mesh.yaml")).context("no mesh fixture")?;
        fs::write(cable.folder.path().join("mesh.yaml"), text.replace("FAMILY_IP", address))?;
        fs::write(cable.folder.path().join("index.html"), "a file\n")?;
        let (server, folder) = (cable.server.clone(), cable.folder.path().display().to_string());
        let files = ["python3", "-m", "http.server", "--bind", "127.0.0.1", "--directory", &folder, "8080"];
        cable._programs.push(cable.program(&server, &files)?);
        cable._programs.push(cable.program(&server, &["python3", &format!("{FIXTURES}/echo.py")])?);
        for (name, node) in [(cable.client.clone(), "shop/web"), (cable.server.clone(), "shop/files")] {
            cable.redirect(&name, if node == "shop/files" { "8080,7000" } else { "" })?;
            cable.sidecar(&name, node).await?;
        }
        Ok(cable)
    }

    fn redirect(&self, name: &str, ports: &str) -> Result<String> {
        let ports = format!("APPMESH_APP_PORTS={ports}");
        let group = format!("APPMESH_IGNORE_GID={GROUP}");
        self.inside(name, "env", &[&ports, &group, "APPMESH_IGNORE_UID=", "APPMESH_ENABLE_IPV6=1", "sh", SCRIPT])
    }

    async fn sidecar(&mut self, name: &str, node: &str) -> Result<()> {
        let (proxy, mesh) = (programs::ours("tripline-proxy")?, self.folder.path().join("mesh.yaml"));
        let (proxy, mesh) = (proxy.display().to_string(), mesh.display().to_string());
        let group = ["setpriv", "--regid", GROUP, "--clear-groups", &proxy, "--mesh", &mesh, "--node", node];
        let words = [&group[..], &["--inbound", "[::]:15000", "--outbound", "[::]:15001"]].concat();
        let mut running = self.program(name, &words)?;
        running.says("sidecar runs", START).await?;
        self._programs.push(running);
        Ok(())
    }

    fn program(&self, name: &str, words: &[&str]) -> Result<Running> {
        Running::start_command(Command::new("ip").args(["netns", "exec", name]).args(words))
    }

    fn inside(&self, name: &str, program: &str, arguments: &[&str]) -> Result<String> {
        run("ip", &[&["netns", "exec", name, program], arguments].concat())
    }

    /// What curl gets of the server, once everything listens.
    async fn curl(&self, url: &str) -> Result<String> {
        wait::until(url, START, async || {
            self.inside(&self.client, "curl", &["-sS", "--fail", "--max-time", "5", url])
                .map_err(|error| format!("{error:#}"))
        })
        .await
    }

    fn metrics(&self, name: &str) -> Result<String> {
        self.inside(name, "curl", &["-sS", "--max-time", "5", "http://127.0.0.1:9901/metrics"])
    }

    /// Waits until the sidecar of a namespace has counted at least one success of an edge.
    async fn counted(&self, name: &str, edge: &str) -> Result<()> {
        wait::until(edge, START, async || {
            let metrics = self.metrics(name).map_err(|error| format!("{error:#}"))?;
            let mut lines = metrics.lines().filter(|line| line.starts_with("tripline_proxy_requests_total{"));
            let found = lines.any(|line| line.contains(edge) && line.contains("\"success\"") && !line.ends_with(" 0"));
            if found { Ok(()) } else { Err(metrics) }
        })
        .await
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("{program} does not start"))?;
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{program} {}: {error}{out}", arguments.join(" "));
    Ok(out.into_owned())
}

/// curl over HTTP, and a server that speaks first, both through two sidecars that neither end knows of.
async fn passes(family: &str, address: &str) -> Result<()> {
    let cable = Cable::start(family, address).await?;
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    ensure!(cable.curl(&format!("http://{host}:8080/index.html")).await? == "a file\n");
    cable.counted(&cable.client, "client=\"shop/web\",server=\"shop/files\",protocol=\"http\"").await?;
    cable.counted(&cable.server, "client=\"shop/web\",server=\"shop/files\",protocol=\"http\"").await?;
    let talk = "import socket,sys; s=socket.create_connection((sys.argv[1],7000),10); f=s.makefile('rw'); \
                print(f.readline(),end=''); f.write('hi\\n'); f.flush(); print(f.readline(),end='')";
    let said = cable.inside(&cable.client, "python3", &["-c", talk, address])?;
    ensure!(said == "ready\nhi\n", "{said}");
    cable.counted(&cable.client, "client=\"shop/web\",server=\"shop/files\",protocol=\"tcp\"").await?;
    let denied = cable.inside(&cable.client, "curl", &["-sS", "--max-time", "5", &format!("http://{host}:9999/")])?;
    ensure!(denied.contains("no service is called"), "{denied}");
    Ok(())
}

#[tokio::test]
async fn an_unmodified_client_reaches_an_unmodified_server_over_ipv4() -> Result<()> {
    passes("4", "10.77.0.2").await
}

#[tokio::test]
async fn an_unmodified_client_reaches_an_unmodified_server_over_ipv6() -> Result<()> {
    passes("6", "fd77::2").await
}

#[test]
fn the_script_refuses_what_would_loop_or_is_no_list_of_ports() -> Result<()> {
    for (variable, why) in [
        ("APPMESH_IGNORE_UID=", "must say who the sidecar is"),
        ("APPMESH_APP_PORTS=80;reboot", "is no number"),
        ("APPMESH_EGRESS_IGNORED_IP=example.com", "is no list of addresses"),
    ] {
        let refused = run("env", &[variable, "sh", SCRIPT, "show"]).err().map(|error| error.to_string());
        ensure!(refused.as_deref().is_some_and(|text| text.contains(why)), "{variable}: {refused:?}");
    }
    ensure!(run("sh", &[SCRIPT, "show"])?.contains("every other port passes by it"));
    Ok(())
}
