//! What scripts rely on: exit codes, answers on stdout and everything else on stderr, no colours in a pipe.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

fn tripline(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tripline"))
        .args(arguments)
        .env_remove("TRIPLINE_API")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A file of its own that is removed in the end.
struct File(PathBuf);

impl File {
    fn new(name: &str, content: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tripline-contract-{}-{name}", std::process::id()));
        std::fs::write(&path, content).expect("written");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a plain path")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in [&["demo", "--fault", "web:fire:1s:2s"][..], &["edges", "-o", "yaml"], &["no-such-command"], &[]] {
        let output = tripline(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_collector_that_is_not_there_ends_with_1_and_the_fix() {
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let output = tripline(&["edges", "--collector", &format!("http://{free}")]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    let told = text(&output.stderr);
    assert!(told.starts_with("error: cannot reach the collector") && told.contains("TRIPLINE_API"), "{told}");
    assert!(!told.contains('\x1b'), "no colours in a pipe: {told}");
}

#[test]
fn a_broken_mesh_ends_with_64_and_all_its_problems() {
    let broken = File::new(
        "broken.yaml",
        "apiVersion: appmesh.k8s.aws/v1beta2\nkind: VirtualNode\nmetadata: { name: a, namespace: n }\nspec:\n  listeners:\n  \
         - portMapping: { port: 99999, protocol: carrier-pigeon }\n  serviceDiscovery: { dns: { hostname: 127.0.0.1 } }\n",
    );
    let output = tripline(&["mesh", "check", broken.path()]);
    assert_eq!(output.status.code(), Some(64));
    let told = text(&output.stderr);
    assert!(told.contains(":6:") && told.contains("99999") && told.contains("carrier-pigeon"), "{told}");

    let output = tripline(&["mesh", "check", broken.path(), "-o", "json"]);
    assert_eq!(output.status.code(), Some(64));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answer["valid"], false);
    assert!(answer["problems"].as_array().is_some_and(|problems| problems.len() >= 2), "{answer}");
}

#[test]
fn a_good_mesh_ends_with_0_and_tells_what_becomes_of_its_fields() {
    let plan = tripline_demo::ports::PortPlan::new(30_000).expect("a good base");
    let good = File::new("good.yaml", &tripline_demo::mesh_document::mesh_document(&plan));
    let output = tripline(&["mesh", "check", good.path()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    assert!(table.starts_with("FIELD"), "{table}");
    assert!(table.lines().any(|line| line.starts_with("VirtualNode.spec.listeners[].portMapping.port ")), "{table}");
}

#[test]
fn an_invalid_configuration_ends_with_64() {
    let config = File::new("tripline.yaml", "listen:\n  http: nowhere\nlimitz: {}\n");
    let output = tripline(&["collector", "--config", config.path()]);
    assert_eq!(output.status.code(), Some(64));
    let told = text(&output.stderr);
    assert!(told.contains(":2:") && told.contains("limitz"), "{told}");
}

#[test]
fn a_demo_without_a_sidecar_says_how_to_get_one() {
    let output = Command::new(env!("CARGO_BIN_EXE_tripline"))
        .args(["demo", "--headless", "--seconds", "1"])
        .env("TRIPLINE_PROXY_BIN", "/nowhere/tripline-proxy")
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cargo xtask build"), "{}", text(&output.stderr));
}

#[test]
fn a_service_of_the_shop_ends_with_its_standard_input() {
    let mut service = Command::new(env!("CARGO_BIN_EXE_tripline"))
        .args([
            "demo-service",
            "payments-db",
            "--listen",
            "127.0.0.1:0",
            "--sidecar",
            "127.0.0.1:9",
            "--exit-with-stdin",
        ])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    let mut input = service.stdin.take().expect("a pipe");
    input.write_all(b"errors 5s\nnonsense\n").expect("it listens");
    drop(input);
    assert_eq!(service.wait().expect("it ends").code(), Some(0));
}
