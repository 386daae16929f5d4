//! Why a request was not taken, and what its sender is told.

use std::time::Duration;

use tonic::Code;

/// How long a sender should wait before it tries again.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a request was not taken; each has a counter of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No OTLP message, or one that contradicts itself.
    Malformed,
    /// Larger than the limit, before or after decompression.
    TooLarge,
    /// Without the token, or with a wrong one.
    Unauthenticated,
    /// A content type that is not OTLP's.
    MediaType,
    /// A compression that is not understood.
    Compression,
    /// The body did not come in time.
    SlowBody,
    /// The body broke off.
    BrokenBody,
    /// Too many bytes are being worked on.
    BusyBytes,
    /// The live graph is behind.
    BusyLive,
    /// History is behind.
    BusyHistory,
    /// The journal's thread is behind.
    BusyJournal,
    /// The journal's disk is full or broken.
    Storage,
    /// The collector is about to end.
    Stopping,
}

impl Reason {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 13] = [
        Self::Malformed,
        Self::TooLarge,
        Self::Unauthenticated,
        Self::MediaType,
        Self::Compression,
        Self::SlowBody,
        Self::BrokenBody,
        Self::BusyBytes,
        Self::BusyLive,
        Self::BusyHistory,
        Self::BusyJournal,
        Self::Storage,
        Self::Stopping,
    ];

    /// Its written form, as in the label of its counter.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Unauthenticated => "unauthenticated",
            Self::MediaType => "media_type",
            Self::Compression => "compression",
            Self::SlowBody => "slow_body",
            Self::BrokenBody => "broken_body",
            Self::BusyBytes => "busy_bytes",
            Self::BusyLive => "busy_live",
            Self::BusyHistory => "busy_history",
            Self::BusyJournal => "busy_journal",
            Self::Storage => "storage",
            Self::Stopping => "stopping",
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_temporary(self) -> bool {
        match self {
            Self::BusyBytes
            | Self::BusyLive
            | Self::BusyHistory
            | Self::BusyJournal
            | Self::Storage
            | Self::Stopping => true,
            Self::Malformed
            | Self::TooLarge
            | Self::Unauthenticated
            | Self::MediaType
            | Self::Compression
            | Self::SlowBody
            | Self::BrokenBody => false,
        }
    }

    /// The HTTP status that tells it. Senders try again after 429, 502, 503 and 504 only.
    #[must_use]
    pub const fn http_status(self) -> http::StatusCode {
        match self {
            Self::Malformed | Self::BrokenBody => http::StatusCode::BAD_REQUEST,
            Self::TooLarge => http::StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unauthenticated => http::StatusCode::UNAUTHORIZED,
            Self::MediaType | Self::Compression => http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::SlowBody => http::StatusCode::REQUEST_TIMEOUT,
            Self::BusyBytes
            | Self::BusyLive
            | Self::BusyHistory
            | Self::BusyJournal
            | Self::Storage
            | Self::Stopping => http::StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The gRPC status that tells it. `RESOURCE_EXHAUSTED` without `RetryInfo` means: do not try again.
    #[must_use]
    pub const fn grpc_code(self) -> Code {
        match self {
            Self::Malformed | Self::BrokenBody | Self::MediaType => Code::InvalidArgument,
            Self::TooLarge => Code::ResourceExhausted,
            Self::Unauthenticated => Code::Unauthenticated,
            Self::Compression => Code::Unimplemented,
            Self::SlowBody => Code::DeadlineExceeded,
            Self::BusyBytes
            | Self::BusyLive
            | Self::BusyHistory
            | Self::BusyJournal
            | Self::Storage
            | Self::Stopping => Code::Unavailable,
        }
    }
}

/// A request that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Why, for the status and the counter.
    pub reason: Reason,
    /// Why, for whoever reads the sender's log.
    pub message: String,
}

impl Refusal {
    /// A refusal.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    pub(super) fn too_large(limit: usize, setting: &str) -> Self {
        Self::new(
            Reason::TooLarge,
            format!("request is larger than {limit} bytes; send smaller batches or raise `{setting}`"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_temporary_refusals_are_told_as_retryable() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "counters are found by this number");
            let over_http = [429, 502, 503, 504].contains(&reason.http_status().as_u16());
            assert_eq!(over_http, reason.is_temporary(), "{}", reason.as_str());
            // DEADLINE_EXCEEDED is retryable by the specification, and a sender that was slow once may be faster then.
            let over_grpc = matches!(reason.grpc_code(), Code::Unavailable | Code::DeadlineExceeded);
            assert_eq!(over_grpc, reason.is_temporary() || reason == Reason::SlowBody, "{}", reason.as_str());
        }
    }
}
