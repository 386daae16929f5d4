//! How much memory there is, and what of it bodies may take.
//!
//! The limit is `limits.memory_bytes`, else that of the control group that a container runs in: the kernel ends whoever exceeds
//! it. Bodies of requests, from before they are read until history has written them, are what grows with load, so they get an
//! eighth of it; what else there is (500,000 waiting spans, the graph, files in the making) is bounded by numbers.

use std::path::{Path, PathBuf};

use crate::config::Limits;

/// Where control groups are mounted.
const GROUPS: &str = "/sys/fs/cgroup";
/// The part of the memory that bodies may take.
const PART: usize = 8;

/// The limits with as much room for bodies as the memory allows, never more than is configured.
#[must_use]
pub fn fitted(limits: Limits) -> Limits {
    let memory = limits.memory_bytes.or_else(|| of_group(Path::new("/proc/self/cgroup"), Path::new(GROUPS)));
    let Some(memory) = memory else { return limits };
    let largest = limits.http_request_bytes.max(limits.grpc_request_bytes);
    let in_flight_bytes = limits.in_flight_bytes.min((memory / PART).max(largest));
    if in_flight_bytes < limits.in_flight_bytes {
        tracing::info!(memory, in_flight_bytes, "the memory limit leaves less room for requests than is configured");
    }
    Limits { in_flight_bytes, ..limits }
}

/// The least limit of the process's control group and of those that it lies in; none where there is none.
fn of_group(own: &Path, mounted: &Path) -> Option<usize> {
    let text = std::fs::read_to_string(own).ok()?;
    text.lines().filter_map(|line| of_line(line, mounted)).min()
}

/// A line is `number:controllers:path`; version 2 has no controllers.
fn of_line(line: &str, mounted: &Path) -> Option<usize> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let (root, file) = match controllers {
        "" => (mounted.to_owned(), "memory.max"),
        some if some.split(',').any(|one| one == "memory") => (mounted.join("memory"), "memory.limit_in_bytes"),
        _ => return None,
    };
    // Within a container the path is that of the host, and the mounted root is the container's own group.
    let inner = root.join(path.trim_start_matches('/'));
    let groups = inner.ancestors().take_while(|group| group.starts_with(&root)).map(Path::to_owned);
    groups.chain([root.clone()]).filter_map(|group: PathBuf| number(&group.join(file))).min()
}

/// `max`, or a number so large that it means the same, is no limit.
fn number(file: &Path) -> Option<usize> {
    let bytes: u64 = std::fs::read_to_string(file).ok()?.trim().parse().ok()?;
    usize::try_from(bytes).ok().filter(|bytes| *bytes > 0 && *bytes < 1 << 50)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    #[test]
    fn the_least_limit_of_all_groups_above_counts() {
        let folder = tempfile::tempdir().expect("folder");
        let (own, groups) = (folder.path().join("own"), folder.path().join("groups"));
        for (text, expected) in [
            ("0::/pod/web\n", Some(100 << 20)),
            ("0::/pod\n", Some(200 << 20)),
            ("0::/elsewhere\n", None),
            ("3:cpu:/pod\n12:memory,hugetlb:/old\n", Some(50 << 20)),
            ("", None),
        ] {
            write(&own, text);
            write(&groups.join("pod/memory.max"), "209715200\n");
            write(&groups.join("pod/web/memory.max"), "104857600\n");
            write(&groups.join("elsewhere/memory.max"), "max\n");
            write(&groups.join("memory/old/memory.limit_in_bytes"), "52428800\n");
            write(&groups.join("memory/memory.limit_in_bytes"), "9223372036854771712\n");
            assert_eq!(of_group(&own, &groups), expected, "{text}");
        }
        // As a container sees it: the path is the host's, and its own group is the root.
        write(&groups.join("memory.max"), "52428800\n");
        write(&own, "0::/kubepods/pod1/container2\n");
        assert_eq!(of_group(&own, &groups), Some(50 << 20));
    }

    #[test]
    fn little_memory_leaves_room_for_the_largest_request_and_much_changes_nothing() {
        let with = |memory| fitted(Limits { memory_bytes: Some(memory), ..Limits::default() }).in_flight_bytes;
        assert_eq!(with(256 << 20), 32 << 20);
        assert_eq!(with(1 << 20), Limits::default().http_request_bytes);
        assert_eq!(with(64 << 30), Limits::default().in_flight_bytes);
    }
}
