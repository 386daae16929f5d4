//! Answers to OTLP requests over HTTP, as the specification wants them: in the encoding of the request, a partial
//! success only when something was refused, errors as `google.rpc.Status`.

use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message;
use serde_json::json;

use super::{Encoding, Signal};

/// Longest message sent, in bytes.
const MAX_MESSAGE_BYTES: usize = 1024;

/// `google.rpc.Status` without details.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// The body of a 200: full success when `rejected` is 0 and `message` empty, else partial. The sender must not
/// send what was refused again.
#[must_use]
pub fn export_response(signal: Signal, encoding: Encoding, rejected: u64, message: &str) -> Vec<u8> {
    let message = crate::value::cut(message, MAX_MESSAGE_BYTES);
    let full = rejected == 0 && message.is_empty();
    let rejected = i64::try_from(rejected).unwrap_or(i64::MAX);
    match encoding {
        // The three responses differ in names only: on the wire they are the same message.
        Encoding::Protobuf => ExportTraceServiceResponse {
            partial_success: (!full)
                .then(|| ExportTracePartialSuccess { rejected_spans: rejected, error_message: message.into() }),
        }
        .encode_to_vec(),
        Encoding::Json if full => b"{}".to_vec(),
        Encoding::Json => {
            let field = match signal {
                Signal::Traces => "rejectedSpans",
                Signal::Metrics => "rejectedDataPoints",
                Signal::Logs => "rejectedLogRecords",
            };
            json!({"partialSuccess": {field: rejected.to_string(), "errorMessage": message}}).to_string().into_bytes()
        }
    }
}

/// The body of a 4xx or 5xx. `code` is gRPC's: 3 for bad data, 8 for too much, 13 for our mistake, 14 for "try again".
#[must_use]
pub fn error_response(encoding: Encoding, code: i32, message: &str) -> Vec<u8> {
    let message = crate::value::cut(message, MAX_MESSAGE_BYTES);
    match encoding {
        Encoding::Protobuf => Status { code, message: message.into() }.encode_to_vec(),
        Encoding::Json => json!({"code": code, "message": message}).to_string().into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;

    #[test]
    fn full_success_says_nothing() {
        assert_eq!(export_response(Signal::Logs, Encoding::Protobuf, 0, ""), b"");
        assert_eq!(export_response(Signal::Logs, Encoding::Json, 0, ""), b"{}");
    }

    #[test]
    fn partial_success_is_read_by_every_signals_message() {
        let bytes = export_response(Signal::Metrics, Encoding::Protobuf, 3, "why");
        let metrics = ExportMetricsServiceResponse::decode(bytes.as_slice()).unwrap().partial_success.unwrap();
        assert_eq!((metrics.rejected_data_points, metrics.error_message.as_str()), (3, "why"));
        let logs = ExportLogsServiceResponse::decode(bytes.as_slice()).unwrap().partial_success.unwrap();
        assert_eq!((logs.rejected_log_records, logs.error_message.as_str()), (3, "why"));
    }

    #[test]
    fn json_answers_follow_the_mapping() {
        for (signal, expected) in [
            (Signal::Traces, r#"{"partialSuccess":{"errorMessage":"why","rejectedSpans":"3"}}"#),
            (Signal::Metrics, r#"{"partialSuccess":{"errorMessage":"why","rejectedDataPoints":"3"}}"#),
            (Signal::Logs, r#"{"partialSuccess":{"errorMessage":"why","rejectedLogRecords":"3"}}"#),
        ] {
            assert_eq!(String::from_utf8(export_response(signal, Encoding::Json, 3, "why")).unwrap(), expected);
        }
        let error = error_response(Encoding::Json, 3, "not JSON");
        assert_eq!(String::from_utf8(error).unwrap(), r#"{"code":3,"message":"not JSON"}"#);
    }

    #[test]
    fn an_error_is_a_status() {
        let bytes = error_response(Encoding::Protobuf, 3, &"x".repeat(5000));
        let status = Status::decode(bytes.as_slice()).unwrap();
        assert_eq!((status.code, status.message.len()), (3, MAX_MESSAGE_BYTES));
    }
}
