//! The bytes of one connection, plain or encrypted, and what is spoken on it.
//!
//! HTTP/2 with prior knowledge begins with a preface that no HTTP/1 request can begin with (RFC 9113, 3.4), so both share a
//! port. The bytes read to tell them apart, at most those of the preface, are handed on to whoever serves the connection.
//! One type for both forms, so that what is built on it is compiled once.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use crate::guarded_io::Silence;

/// What an HTTP/2 connection begins with.
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// HTTP/1, or something that its parser will refuse.
    Http1,
    /// HTTP/2.
    Http2,
    /// No HTTP; told only where it was asked for.
    Other,
    /// Nothing: it was closed first.
    Nothing,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Wire {
    seen: Seen,
    io: Io,
}

/// Bytes read ahead.
#[derive(Debug)]
struct Seen {
    bytes: [u8; PREFACE.len()],
    from: usize,
    to: usize,
}

#[derive(Debug)]
enum Io {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

impl Wire {
    /// A connection in plain text.
    pub(crate) const fn plain(stream: TcpStream) -> Self {
        Self::new(Io::Plain(stream))
    }

    /// An encrypted connection whose handshake is done.
    pub(crate) fn encrypted(stream: impl Into<TlsStream<TcpStream>>) -> Self {
        Self::new(Io::Encrypted(Box::new(stream.into())))
    }

    /// Whether the handshake agreed on HTTP/2.
    pub(crate) fn has_agreed_on_http2(&self) -> bool {
        match &self.io {
            Io::Plain(_) => false,
            Io::Encrypted(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2".as_slice()),
        }
    }

    const fn new(io: Io) -> Self {
        Self { seen: Seen { bytes: [0; PREFACE.len()], from: 0, to: 0 }, io }
    }

    /// Waits until it is certain what is spoken. The first byte may take as long as a connection may idle, the rest as long
    /// as a head may take. With a time to `guess` in, what is silent for so long or begins like no HTTP is something else.
    pub(crate) async fn speaks(&mut self, silence: Silence, guess: Option<Duration>) -> io::Result<Spoken> {
        loop {
            let seen = self.seen.bytes.get(..self.seen.to).unwrap_or_default();
            match seen.len() {
                0 => {}
                _ if guess.is_some() && !begins_like_http(seen) => return Ok(Spoken::Other),
                _ if !PREFACE.starts_with(seen) => return Ok(Spoken::Http1),
                length if length == PREFACE.len() => return Ok(Spoken::Http2),
                _ => {}
            }
            let limit = match guess {
                Some(guess) if seen.is_empty() => guess,
                None if seen.is_empty() => silence.idle,
                _ => silence.head,
            };
            let room = self.seen.bytes.get_mut(self.seen.to..).unwrap_or_default();
            let read = match &mut self.io {
                Io::Plain(stream) => tokio::time::timeout(limit, stream.read(room)).await,
                Io::Encrypted(stream) => tokio::time::timeout(limit, stream.read(room)).await,
            };
            let Ok(read) = read else {
                let silent = guess.is_some() && self.seen.to == 0;
                return if silent { Ok(Spoken::Other) } else { Err(io::Error::from(io::ErrorKind::TimedOut)) };
            };
            match read? {
                0 if self.seen.to == 0 => return Ok(Spoken::Nothing),
                0 => return Ok(Spoken::Http1),
                read => self.seen.to += read,
            }
        }
    }
}

/// Whether bytes can be the beginning of a request: a method in capitals, as every registered one is written.
fn begins_like_http(bytes: &[u8]) -> bool {
    let method = bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
    !method.is_empty() && method.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'-')
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.seen.from < this.seen.to {
            let ahead = this.seen.bytes.get(this.seen.from..this.seen.to).unwrap_or_default();
            let taken = ahead.len().min(buf.remaining());
            buf.put_slice(&ahead[..taken]);
            this.seen.from += taken;
            return Poll::Ready(Ok(()));
        }
        match &mut this.io {
            Io::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Io::Encrypted(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Io::Encrypted(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Io::Encrypted(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Encrypted(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Io::Encrypted(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(stream) => stream.is_write_vectored(),
            Io::Encrypted(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    const SILENCE: Silence = Silence { head: Duration::from_secs(10), idle: Duration::from_secs(300) };

    async fn pair() -> (TcpStream, Wire) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.set_nodelay(true).unwrap();
        (client, Wire::plain(listener.accept().await.unwrap().0))
    }

    #[tokio::test]
    async fn what_is_spoken_is_told_by_the_first_bytes_and_none_of_them_is_lost() {
        for (text, spoken) in [
            ("GET / HTTP/1.1\r\n\r\n", Spoken::Http1),
            ("POST / HTTP/1.1\r\n\r\n", Spoken::Http1),
            ("PRI * HTTP/1.1\r\n\r\n and more", Spoken::Http1),
            ("PRI", Spoken::Http1),
            ("", Spoken::Nothing),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n and frames", Spoken::Http2),
        ] {
            let (mut client, mut wire) = pair().await;
            let writing = tokio::spawn(async move {
                for byte in text.bytes() {
                    client.write_all(&[byte]).await.unwrap();
                    tokio::task::yield_now().await;
                }
            });
            assert_eq!(wire.speaks(SILENCE, None).await.unwrap(), spoken, "{text}");
            let mut read = String::new();
            wire.read_to_string(&mut read).await.unwrap();
            assert_eq!(read, text);
            writing.await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_nothing_is_declared_other_protocols_are_told_within_a_second() {
        for (bytes, spoken) in [
            (&b"GET / HTTP/1.1\r\n"[..], Spoken::Http1),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Spoken::Http2),
            (b"\x16\x03\x01\x02\x00", Spoken::Other),
            (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", Spoken::Other),
            (b"*1\r\n$4\r\nPING\r\n", Spoken::Other),
            (b"", Spoken::Other),
        ] {
            let (mut client, mut wire) = pair().await;
            client.write_all(bytes).await.unwrap();
            let start = tokio::time::Instant::now();
            assert_eq!(wire.speaks(SILENCE, Some(Duration::from_secs(1))).await.unwrap(), spoken, "{bytes:?}");
            assert!(start.elapsed().as_secs() <= 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_preface_is_not_waited_for() {
        let (mut client, mut wire) = pair().await;
        client.write_all(b"PRI * HT").await.unwrap();
        let start = tokio::time::Instant::now();
        assert_eq!(wire.speaks(SILENCE, None).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), 10);
    }
}
