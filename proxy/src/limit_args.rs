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
    /// Bytes of a request's head.
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
            drain_ms: 10_000,
        }
    }
}

impl LimitArgs {
    /// As the workers use them.
    pub(crate) fn limits(&self) -> Limits {
        let millis = Duration::from_millis;
        Limits {
            silence: Silence { head: millis(self.head_timeout_ms), idle: millis(self.idle_timeout_ms) },
            body_silence: millis(self.body_timeout_ms),
            connect: millis(self.connect_timeout_ms),
            handshake: Duration::from_secs(5),
            detect: Duration::from_secs(1),
            http2: Http2Limits::default(),
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
