//! A scripted HTTP/1.1 server: a thread for each connection, blocking sockets, no cleverness.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A request as the application saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub(crate) fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap()
    }
}

/// What the application answers.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) delay: Duration,
    /// Closes the connection after so many bytes of the body.
    pub(crate) cut: Option<usize>,
}

impl Reply {
    pub(crate) fn of(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: b"hello".to_vec(), delay: Duration::ZERO, cut: None }
    }

    pub(crate) fn after(self, millis: u64) -> Self {
        Self { delay: Duration::from_millis(millis), ..self }
    }
}

/// A running application; its threads end with the test.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    pub(crate) connections: Arc<AtomicUsize>,
}

impl App {
    pub(crate) fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_on("127.0.0.1:0", answer)
    }

    pub(crate) fn start_on(address: &str, answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, connections): (Arc<Mutex<Vec<Seen>>>, Arc<AtomicUsize>) = Default::default();
        let answer = Arc::new(answer);
        let app = Self { address, seen: Arc::clone(&seen), connections: Arc::clone(&connections) };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::SeqCst);
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                thread::spawn(move || serve(stream, &*answer, &seen));
            }
        });
        app
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, answer: &dyn Fn(&Seen) -> Reply, seen: &Mutex<Vec<Seen>>) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let request = read_request(&mut reader)?;
        seen.lock().unwrap().push(request.clone());
        let reply = answer(&request);
        thread_sleep(reply.delay);
        let mut head = format!("HTTP/1.1 {} Scripted\r\ncontent-length: {}\r\n", reply.status, reply.body.len());
        for (name, value) in &reply.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let sent = reply.cut.unwrap_or(reply.body.len());
        // One write, or the kernel holds the second back until the first is acknowledged.
        writer.write_all(&[format!("{head}\r\n").as_bytes(), &reply.body[..sent]].concat()).ok()?;
        if reply.cut.is_some() {
            writer.shutdown(std::net::Shutdown::Both).ok()?;
            return None;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a slow application is what is being tested")]
fn thread_sleep(delay: Duration) {
    thread::sleep(delay);
}

fn read_request(reader: &mut impl BufRead) -> Option<Seen> {
    let line = read_line(reader)?;
    let mut headers = Vec::new();
    loop {
        let field = read_line(reader)?;
        if field.is_empty() {
            break;
        }
        let (name, value) = field.split_once(':')?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut seen = Seen { line, headers, body: Vec::new() };
    if seen.header("transfer-encoding").is_some() {
        loop {
            let size = usize::from_str_radix(&read_line(reader)?, 16).ok()?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            seen.body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = seen.header("content-length") {
        seen.body = vec![0; length.parse().ok()?];
        reader.read_exact(&mut seen.body).ok()?;
    }
    Some(seen)
}

fn read_line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    (reader.read_line(&mut line).ok()? > 0).then(|| line.trim_end().to_owned())
}
