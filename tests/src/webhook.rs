//! A webhook that keeps what it is told and when, so that a test can say how long people waited.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use jiff::Timestamp;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tripline_api::Incident;

/// Longest body that is read.
const MAX_BODY: usize = 4 << 20;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// One notification.
#[derive(Debug, Clone)]
pub struct Told {
    /// When it had arrived.
    pub at: Timestamp,
    /// `opened`, `level_rose`, `origin_changed` or `resolved`.
    pub notice: String,
    /// The incident as it was then.
    pub incident: Incident,
}

#[derive(serde::Deserialize)]
struct Body {
    notice: String,
    incident: Incident,
}

/// Listens until it is dropped.
pub struct Webhook {
    /// Where to post to.
    pub url: String,
    // Written by one task for each connection and read by the test; nobody waits while holding it.
    told: Arc<Mutex<Vec<Told>>>,
    task: JoinHandle<()>,
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Webhook {
    /// Starts to listen on a free port of loopback.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no port for a webhook")?;
        let url = format!("http://{}/", listener.local_addr()?);
        let told = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&told);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let keep = Arc::clone(&keep);
                tokio::spawn(async move { serve(stream, &keep).await });
            }
        });
        Ok(Self { url, told, task })
    }

    /// What it was told so far, in order.
    #[must_use]
    pub fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Answers every post of a connection until the client ends it or sends what is no notification.
async fn serve(stream: TcpStream, told: &Mutex<Vec<Told>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok().filter(|length| *length <= MAX_BODY)?;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let at = Timestamp::now();
        let Body { notice, incident } = serde_json::from_slice(&body).ok()?;
        told.lock().unwrap_or_else(PoisonError::into_inner).push(Told { at, notice, incident });
        stream.write_all(ANSWER).await.ok()?;
    }
}
