//! What operators deploy: rules, dashboard, units, the compose file's mesh document.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tripline_tests::{Demo, programs, wait};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn passes(output: &Output) -> Result<()> {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&said));
    Ok(())
}

#[test]
fn prometheus_rules_pass_their_own_tests() -> Result<()> {
    let promtool = programs::peer("promtool", "prometheus")?;
    let rules = root().join("dashboards/prometheus");
    passes(&Command::new(&promtool).args(["check", "rules", "rules.yaml"]).current_dir(&rules).output()?)?;
    passes(&Command::new(&promtool).args(["test", "rules", "rules_test.yaml"]).current_dir(&rules).output()?)
}

/// Series that a dashboard or a rule names: ours begin with one of two words, and recorded ones hold a colon.
fn series(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
        .filter(|word| {
            word.starts_with("tripline_") || word.starts_with("traces_service_graph_") || word.contains(":tripline_")
        })
        .map(str::to_owned)
        .collect()
}

/// Every series that the dashboard and the rules name.
fn named_series() -> Result<BTreeSet<String>> {
    let rules = fs::read_to_string(root().join("dashboards/prometheus/rules.yaml"))?;
    let rules = rules.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(root().join("dashboards/grafana/tripline.json"))?)?;
    let expressions = |panel: &Value| {
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        targets.iter().filter_map(|target| target["expr"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let mut named: BTreeSet<String> = panels.iter().flat_map(expressions).flat_map(|expr| series(&expr)).collect();
    named.extend(series(&dashboard["templating"].to_string()));
    named.extend(series(&dashboard["annotations"].to_string()));
    named.extend(series(&rules));
    // Recorded ones are made by the rules themselves.
    named.retain(|name| !name.contains(':'));
    Ok(named)
}

#[tokio::test]
async fn every_series_that_a_dashboard_or_rule_names_is_exported() -> Result<()> {
    let named = named_series()?;
    ensure!(named.len() >= 8, "{named:?}");
    let demo = Demo::start(&["--seconds", "60"]).await?;
    wait::until("every series", Duration::from_secs(45), async || {
        let exported = demo.api.text("/metrics").await?;
        let names: BTreeSet<&str> = exported
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split(['{', ' ']).next())
            .collect();
        let missing: Vec<&String> = named.iter().filter(|name| !names.contains(name.as_str())).collect();
        ensure!(missing.is_empty(), "not exported: {missing:?}");
        Ok(())
    })
    .await
}

#[test]
fn units_are_well_formed() -> Result<()> {
    let verify = programs::peer("systemd-analyze", "systemd")?;
    let folder = TempDir::new()?;
    for unit in ["tripline-collector.service", "tripline-proxy@.service"] {
        // The units name where an operator installs the binaries; here they lie where they were built.
        let text = fs::read_to_string(root().join("deploy/systemd").join(unit))?;
        let bin = programs::ours("tripline")?;
        let bin = bin.parent().context("no folder")?.display().to_string();
        fs::write(folder.path().join(unit), text.replace("/usr/local/bin", &bin))?;
    }
    let unit = |name: &str| folder.path().join(name);
    let output = Command::new(verify)
        .args(["verify".as_ref(), unit("tripline-collector.service").as_os_str()])
        .arg(unit("tripline-proxy@.service"))
        .output()?;
    passes(&output)?;
    ensure!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn the_mesh_document_of_the_compose_file_is_valid_for_both_nodes() -> Result<()> {
    let mesh = root().join("deploy/compose/mesh.yaml");
    // The applications' addresses as the compose file has them.
    for (node, app) in [("shop/web", "127.0.0.1:80"), ("shop/api", "127.0.0.1:8000")] {
        let output = Command::new(programs::ours("tripline-proxy")?)
            .args(["--mesh".as_ref(), mesh.as_os_str()])
            .args(["--node", node, "--app", app, "--check"])
            .output()?;
        passes(&output)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(!said.contains("unknown"), "{said}");
    }
    Ok(())
}
