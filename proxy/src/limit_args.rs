//! The limits of the sidecar as flags and variables, each with its default.

use std::time::Duration;

use clap::Args;

use crate::guarded_io::Silence;
use crate::transport::Http2Limits;
use crate::worker::Limits;

/// Limits of time and number; 0 means none where the text says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// Accepted connections open at once; more wait in the kernel.
    #[arg(long, env = "TRIPLINE_MAX_CONNECTIONS", value_name = "N", default_value = "10000")]
    pub max_connections: u32,
    /// Bytes of a request's head; of HTTP/2 with all its CONTINUATION frames.
    #[arg(long, env = "TRIPLINE_MAX_HEAD_BYTES", value_name = "N", default_value = "65536",
        value_parser = clap::value_parser!(u32).range(8_192..=1_048_576))]
    pub max_head_bytes: u32,
    /// Header fields of a request.
    #[arg(long, env = "TRIPLINE_MAX_HEADERS", value_name = "N", default_value = "100",
        value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub max_headers: u32,
    /// Bytes of a request's body; 0 for no limit.
    #[arg(long, env = "TRIPLINE_MAX_REQUEST_BYTES", value_name = "N", default_value = "0")]
    pub max_request_bytes: u64,
    /// Milliseconds for a request's head to be complete.
    #[arg(long, env = "TRIPLINE_HEAD_TIMEOUT_MS", value_name = "MS", default_value = "10000",
        value_parser = clap::value_parser!(u64).range(1..))]
    pub head_timeout_ms: u64,
    /// Milliseconds of silence within a request's body, and within an answer where its route says nothing.
    #[arg(long, env = "TRIPLINE_BODY_TIMEOUT_MS", value_name = "MS", default_value = "60000",
        value_parser = clap::value_parser!(u64).range(1..))]
    pub body_timeout_ms: u64,
    /// Milliseconds that an accepted connection may be idle.
    #[arg(long, env = "TRIPLINE_IDLE_TIMEOUT_MS", value_name = "MS", default_value = "300000",
        value_parser = clap::value_parser!(u64).range(1..))]
    pub idle_timeout_ms: u64,
    /// Milliseconds after which an accepted connection is ended with its next answer; 0 for no limit.
    #[arg(long, env = "TRIPLINE_CONNECTION_AGE_MS", value_name = "MS", default_value = "3600000")]
    pub connection_age_ms: u64,
    /// Milliseconds for a connection to a server to open.
    #[arg(long, env = "TRIPLINE_CONNECT_TIMEOUT_MS", value_name = "MS", default_value = "1000",
        value_parser = clap::value_parser!(u64).range(1..))]
    pub connect_timeout_ms: u64,
    /// Milliseconds after which an idle connection to a server is closed.
    #[arg(long, env = "TRIPLINE_POOL_IDLE_MS", value_name = "MS", default_value = "60000",
        value_parser = clap::value_parser!(u64).range(1..))]
    pub pool_idle_ms: u64,
    /// Bytes of a request's body that are kept for a retry; a request with a longer one is tried once.
    #[arg(long, env = "TRIPLINE_REPLAY_BYTES", value_name = "N", default_value = "65536",
        value_parser = clap::value_parser!(u64).range(..=16_777_216))]
    pub replay_bytes: u64,
    /// Milliseconds for a connection to be secured, at either end.
    #[arg(long, env = "TRIPLINE_HANDSHAKE_TIMEOUT_MS", value_name = "MS", default_value = "5000",
        value_parser = clap::value_parser!(u64).range(1..))]
    pub handshake_timeout_ms: u64,
    /// Milliseconds to tell what a redirected connection speaks; one that is silent so long is passed on as bytes.
    #[arg(long, env = "TRIPLINE_DETECT_TIMEOUT_MS", value_name = "MS", default_value = "1000",
        value_parser = clap::value_parser!(u64).range(1..))]
    pub detect_timeout_ms: u64,
    /// Streams at once on one accepted HTTP/2 connection; more are refused.
    #[arg(long, env = "TRIPLINE_HTTP2_STREAMS", value_name = "N", default_value = "256",
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub http2_streams: u32,
    /// Streams reset before they were served that may wait on one HTTP/2 connection (rapid reset).
    #[arg(long, env = "TRIPLINE_HTTP2_RAPID_RESETS", value_name = "N", default_value = "20",
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub http2_rapid_resets: u32,
    /// Streams of one HTTP/2 connection that its client's errors may make this end reset.
    #[arg(long, env = "TRIPLINE_HTTP2_ERROR_RESETS", value_name = "N", default_value = "100",
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub http2_error_resets: u32,
    /// Frames without content (PING, SETTINGS, empty DATA and the like) that a client may send ahead of its use of an HTTP/2 connection.
    #[arg(long, env = "TRIPLINE_HTTP2_IDLE_FRAMES", value_name = "N", default_value = "1000",
        value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pub http2_idle_frames: u32,
    /// Bytes that a peer may send ahead on one HTTP/2 stream; four times as many on a connection.
    #[arg(long, env = "TRIPLINE_HTTP2_WINDOW_BYTES", value_name = "N", default_value = "262144",
        value_parser = clap::value_parser!(u32).range(65_535..=16_777_216))]
    pub http2_window_bytes: u32,
    /// Milliseconds of silence on an HTTP/2 connection after which the other end is asked whether it is there.
    #[arg(long, env = "TRIPLINE_HTTP2_PING_MS", value_name = "MS", default_value = "30000",
        value_parser = clap::value_parser!(u64).range(1..))]
    pub http2_ping_ms: u64,
    /// Milliseconds in which it has to answer that.
    #[arg(long, env = "TRIPLINE_HTTP2_PING_TIMEOUT_MS", value_name = "MS", default_value = "10000",
        value_parser = clap::value_parser!(u64).range(1..))]
    pub http2_ping_timeout_ms: u64,
    /// Milliseconds that requests under way get when the sidecar stops.
    #[arg(long, env = "TRIPLINE_DRAIN_MS", value_name = "MS", default_value = "10000")]
    pub drain_ms: u64,
}

impl Default for LimitArgs {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_head_bytes: 64 * 1024,
            max_headers: 100,
            max_request_bytes: 0,
            head_timeout_ms: 10_000,
            body_timeout_ms: 60_000,
            idle_timeout_ms: 300_000,
            connection_age_ms: 3_600_000,
            connect_timeout_ms: 1_000,
            pool_idle_ms: 60_000,
            replay_bytes: 64 * 1024,
            handshake_timeout_ms: 5_000,
            detect_timeout_ms: 1_000,
            http2_streams: 256,
            http2_rapid_resets: 20,
            http2_error_resets: 100,
            http2_idle_frames: 1_000,
            http2_window_bytes: 256 * 1024,
            http2_ping_ms: 30_000,
            http2_ping_timeout_ms: 10_000,
            drain_ms: 10_000,
        }
    }
}

impl LimitArgs {
    fn http2(&self) -> Http2Limits {
        let millis = Duration::from_millis;
        Http2Limits {
            streams: self.http2_streams,
            header_list: self.max_head_bytes,
            pending_resets: self.http2_rapid_resets as usize,
            error_resets: self.http2_error_resets as usize,
            idle_frames: self.http2_idle_frames,
            window: (self.http2_window_bytes, self.http2_window_bytes.saturating_mul(4)),
            send_buffer: self.http2_window_bytes as usize,
            ping: (millis(self.http2_ping_ms), millis(self.http2_ping_timeout_ms)),
        }
    }

    /// As the workers use them.
    pub(crate) fn limits(&self) -> Limits {
        let millis = Duration::from_millis;
        Limits {
            silence: Silence { head: millis(self.head_timeout_ms), idle: millis(self.idle_timeout_ms) },
            body_silence: millis(self.body_timeout_ms),
            connect: millis(self.connect_timeout_ms),
            handshake: millis(self.handshake_timeout_ms),
            detect: millis(self.detect_timeout_ms),
            http2: self.http2(),
            pool_idle: millis(self.pool_idle_ms),
            connections: self.max_connections.max(1) as usize,
            buffer: self.max_head_bytes as usize,
            headers: self.max_headers as usize,
            request_bytes: (self.max_request_bytes > 0).then_some(self.max_request_bytes),
            connection_age: (self.connection_age_ms > 0).then(|| millis(self.connection_age_ms)),
            replay: self.replay_bytes,
            drain: millis(self.drain_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Only {
        #[command(flatten)]
        limits: LimitArgs,
    }

    #[test]
    fn the_defaults_of_flags_and_code_are_the_same() {
        assert_eq!(Only::try_parse_from(["x"]).unwrap().limits, LimitArgs::default());
    }

    #[test]
    fn what_would_refuse_everything_is_refused() {
        for wrong in [["--max-headers", "0"], ["--max-head-bytes", "100"], ["--head-timeout-ms", "0"]] {
            assert!(Only::try_parse_from(["x", wrong[0], wrong[1]]).is_err(), "{wrong:?}");
        }
        let none = LimitArgs { connection_age_ms: 0, ..LimitArgs::default() }.limits();
        assert_eq!((none.connection_age, none.request_bytes), (None, None));
    }
}
