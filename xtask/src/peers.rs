//! The real programs that end-to-end tests set Tripline between: a browser, nginx, wrk, h2load, HAProxy, Prometheus, Envoy, curl and iptables,
//! OpenTelemetry's Python SDK, grpcio.
//!
//! Debian packages where they are missing; Python packages, pinned in `tests/peers/requirements.txt`, in a virtual
//! environment of their own under the target folder. What cannot be had is returned, one sentence each, and the tests
//! that need it fail with the same sentence.

use std::fs;
use std::process::Command;

use anyhow::{Context, Error, Result};

use crate::places::Places;
use crate::{apt, command, progress};

/// A program and the Debian package that brings it.
const PROGRAMS: [(&str, &str); 12] = [
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("curl", "curl"),
    ("chromium", "chromium"),
    ("chromedriver", "chromium-driver"),
    ("nginx", "nginx-light"),
    ("wrk", "wrk"),
    ("h2load", "nghttp2-client"),
    ("haproxy", "haproxy"),
    ("promtool", "prometheus"),
    ("prometheus-alertmanager", "prometheus-alertmanager"),
    ("systemd-analyze", "systemd"),
];

/// The pinned Python packages.
const REQUIREMENTS: &str = "tests/peers/requirements.txt";

/// Those that put a sidecar under load.
const LOAD: [&str; 3] = ["nginx", "wrk", "h2load"];

/// Gets every peer that it can; returns what is missing.
pub(crate) fn prepare(places: &Places) -> Vec<Error> {
    [programs(|_| true, "end-to-end tests"), python(places)].into_iter().filter_map(Result::err).collect()
}

/// Gets what puts a sidecar under load.
pub(crate) fn prepare_load() -> Result<()> {
    programs(|program| LOAD.contains(&program), "profile-guided optimisation")
}

fn programs(wanted: impl Fn(&str) -> bool, why: &str) -> Result<()> {
    let wanted = PROGRAMS.iter().filter(|(program, _)| wanted(program) && command::find(program).is_none());
    let missing: Vec<&str> = wanted.map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    apt::install(&missing, why)
}

/// Brings the virtual environment up to date with the requirements.
fn python(places: &Places) -> Result<()> {
    let wanted =
        fs::read_to_string(places.root.join(REQUIREMENTS)).context("could not read the Python requirements")?;
    let folder = places.cache("python");
    let installed = folder.join("installed.txt");
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    progress::quiet("installing Python peers for end-to-end tests", || {
        command::capture(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))
            .or_else(|_| {
                apt::install(&["python3-venv"], "the Python peers of the tests")?;
                command::capture(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))
            })
            .context("end-to-end tests need Python with venv: run `sudo apt-get install python3-venv`")?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
        command::capture(pip.arg(places.root.join(REQUIREMENTS)))
            .with_context(|| format!("end-to-end tests need the packages of {REQUIREMENTS}: pip must reach PyPI"))?;
        fs::write(&installed, wanted).context("could not note what was installed")
    })
}
