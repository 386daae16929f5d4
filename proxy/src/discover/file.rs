//! Endpoints from a file that something else writes: one `IP:PORT` a line, `#` begins a comment.
//!
//! Looked at every second; read again when its time or length has changed. A file that cannot be read, or has a line that is
//! no endpoint, or none at all, is told once and changes nothing. Write it whole (to another name, then rename), or half of
//! it may be read.

use std::fs::{self, Metadata};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{Discovery, Found};

/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(1);
/// Largest file read, in bytes.
const MAX_BYTES: u64 = 256 * 1024;
/// Most endpoints taken.
const MAX_ENDPOINTS: usize = 1_000;

/// The file.
#[derive(Debug)]
pub(super) struct WatchedFile {
    path: PathBuf,
    /// What it looked like when it was last read.
    seen: Option<Seen>,
}

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Missing(io::ErrorKind),
    File(Option<std::time::SystemTime>, u64),
}

impl WatchedFile {
    /// Reads it when first asked.
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, seen: None }
    }

    /// The endpoints, if the file has changed and is good.
    fn look(&mut self) -> Option<Vec<SocketAddr>> {
        let metadata = fs::metadata(&self.path);
        let seen = match &metadata {
            Ok(metadata) => Seen::File(metadata.modified().ok(), metadata.len()),
            Err(error) => Seen::Missing(error.kind()),
        };
        if self.seen.as_ref() == Some(&seen) {
            return None;
        }
        self.seen = Some(seen);
        match metadata.and_then(|metadata| self.read(&metadata)) {
            Ok(endpoints) => Some(endpoints),
            Err(error) => {
                let path = self.path.display();
                tracing::warn!(%path, %error, "endpoints cannot be read; keeping the last ones");
                None
            }
        }
    }

    fn read(&self, metadata: &Metadata) -> io::Result<Vec<SocketAddr>> {
        if metadata.len() > MAX_BYTES {
            return Err(io::Error::other(format!("the file has more than {MAX_BYTES} bytes")));
        }
        parse(&fs::read_to_string(&self.path)?).map_err(io::Error::other)
    }
}

fn parse(text: &str) -> Result<Vec<SocketAddr>, String> {
    let mut endpoints = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let endpoint = line.parse().map_err(|_| format!("line {}: expected IP:PORT, got \"{line}\"", number + 1))?;
        endpoints.push(endpoint);
        if endpoints.len() > MAX_ENDPOINTS {
            return Err(format!("more than {MAX_ENDPOINTS} endpoints"));
        }
    }
    if endpoints.is_empty() {
        return Err("no endpoint in it".to_owned());
    }
    endpoints.sort_unstable();
    endpoints.dedup();
    Ok(endpoints)
}

impl Discovery for WatchedFile {
    async fn next(&mut self) -> Vec<Found> {
        loop {
            let first = self.seen.is_none();
            if !first {
                tokio::time::sleep(PERIOD).await;
            }
            if let Some(endpoints) = self.look() {
                return endpoints.into_iter().map(Found::from).collect();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn good_changes_are_taken_and_bad_ones_keep_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("endpoints");
        let mut file = WatchedFile::new(path.clone());
        let waits = tokio::time::timeout(Duration::from_secs(5), file.next()).await;
        assert!(waits.is_err(), "a file that is not there yet is waited for");
        fs::write(&path, "# ours\n10.0.0.2:80\n10.0.0.1:80 # the old one\n\n").unwrap();
        let found = file.next().await;
        assert_eq!(found, ["10.0.0.1:80", "10.0.0.2:80"].map(|a| a.parse::<SocketAddr>().unwrap().into()));
        for bad in ["", "10.0.0.1:80\nlocalhost:80\n", "10.0.0.1\n"] {
            fs::write(&path, bad).unwrap();
            let waits = tokio::time::timeout(Duration::from_secs(5), file.next()).await;
            assert!(waits.is_err(), "{bad:?} gave {waits:?}");
        }
        fs::write(&path, "[::1]:81\n").unwrap();
        assert_eq!(file.next().await, ["[::1]:81".parse::<SocketAddr>().unwrap().into()]);
    }
}
