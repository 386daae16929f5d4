//! What a program has cost so far: processor time, resident memory and descriptors, as Linux tells them.

use std::fs;

use anyhow::{Context, Result};
use nix::unistd::Pid;

/// Clock ticks of `/proc/PID/stat` in a second: fixed at 100 for programs on Linux.
const TICKS: f64 = 100.0;

/// User and system time of a program and its descendants, in seconds.
pub(crate) fn cpu_seconds(pid: Pid) -> Result<f64> {
    let mut total = 0.0;
    for pid in family(pid.as_raw()) {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the program has ended")?;
        let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ')).context("stat has no name")?;
        total += fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS;
    }
    Ok(total)
}

/// Resident memory of a program and its descendants, in MiB.
pub(crate) fn resident_mib(pid: Pid) -> Result<f64> {
    let mut total = 0.0;
    for pid in family(pid.as_raw()) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the program has ended")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("status has no VmRSS")?;
        total += line.trim().trim_end_matches(" kB").parse::<f64>().context("VmRSS is no number")? / 1024.0;
    }
    Ok(total)
}

/// How many descriptors a program has open.
pub(crate) fn descriptors(pid: Pid) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd")).context("the program has ended")?.count())
}

/// A process and its descendants.
fn family(pid: i32) -> Vec<i32> {
    let mut all = vec![pid];
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    for task in tasks {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        all.extend(children.split_whitespace().filter_map(|child| child.parse().ok()).flat_map(family));
    }
    all
}
