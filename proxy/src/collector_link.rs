//! The connection to the collector: OTLP over gRPC, made when first needed and again whenever it is lost.

use std::time::Duration;

use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use tripline_otlp::proto::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use tripline_otlp::proto::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use tripline_otlp::proto::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};

const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Sends telemetry; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct CollectorLink {
    channel: Channel,
}

/// Why the collector did not take something.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Sending it again may help.
    ForNow(String),
    /// Sending it again will not.
    ForGood(String),
}

/// Checks the collector's address.
pub(crate) fn endpoint(url: &str) -> Result<Endpoint, String> {
    let with_scheme = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    if with_scheme.starts_with("https://") {
        return Err("TLS to the collector is not supported yet; use an http:// address".to_owned());
    }
    let endpoint = Endpoint::from_shared(with_scheme).map_err(|error| error.to_string())?;
    Ok(endpoint.connect_timeout(Duration::from_secs(1)).timeout(Duration::from_secs(5)).tcp_nodelay(true))
}

impl CollectorLink {
    /// A link that is not connected yet; needs a runtime.
    pub(crate) fn new(endpoint: &Endpoint) -> Self {
        Self { channel: endpoint.connect_lazy() }
    }

    /// Sends a report.
    pub(crate) async fn metrics(&self, message: ExportMetricsServiceRequest) -> Result<(), Refused> {
        let codec = ProstCodec::<_, ExportMetricsServiceResponse>::default();
        let path = PathAndQuery::from_static(METRICS);
        self.grpc().await?.unary(Request::new(message), path, codec).await.map(drop).map_err(|status| refused(&status))
    }

    /// Sends transitions.
    pub(crate) async fn logs(&self, message: ExportLogsServiceRequest) -> Result<(), Refused> {
        let codec = ProstCodec::<_, ExportLogsServiceResponse>::default();
        let path = PathAndQuery::from_static(LOGS);
        self.grpc().await?.unary(Request::new(message), path, codec).await.map(drop).map_err(|status| refused(&status))
    }

    /// Sends spans.
    pub(crate) async fn traces(&self, message: ExportTraceServiceRequest) -> Result<(), Refused> {
        let codec = ProstCodec::<_, ExportTraceServiceResponse>::default();
        let path = PathAndQuery::from_static(TRACES);
        self.grpc().await?.unary(Request::new(message), path, codec).await.map(drop).map_err(|status| refused(&status))
    }

    async fn grpc(&self) -> Result<Grpc<Channel>, Refused> {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| Refused::ForNow(error.to_string()))?;
        Ok(grpc)
    }
}

/// By the OTLP specification only these codes are worth another try.
fn refused(status: &Status) -> Refused {
    let text = format!("{:?}: {}", status.code(), status.message());
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss
        | Code::ResourceExhausted
        // A transport that breaks is told as Unknown or Internal.
        | Code::Unknown
        | Code::Internal => Refused::ForNow(text),
        _ => Refused::ForGood(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_leniently_and_tls_is_refused() {
        assert!(endpoint("127.0.0.1:4317").is_ok());
        assert!(endpoint("http://collector:4317").is_ok());
        assert!(endpoint("https://collector:4317").unwrap_err().contains("TLS"));
        assert!(endpoint("http://").is_err());
    }
}
