//! The connection to the collector: OTLP over gRPC, compressed with gzip, made when first needed and again whenever it is lost.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use tripline_otlp::proto::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use tripline_otlp::proto::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use tripline_otlp::proto::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};

use crate::collector_tls::CollectorTls;
use crate::resource_attributes::add;

const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Said instead of a collector's address: nothing is to leave.
const NONE: &str = "none";

/// Sends telemetry; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct CollectorLink {
    /// None where there is no collector: what is sent is let go of.
    channel: Option<Channel>,
    /// What the operator says about this process.
    attributes: Arc<[(String, String)]>,
}

/// Where the collector is and how it is called.
#[derive(Debug)]
pub(crate) enum CollectorAddress {
    /// There is none.
    None,
    /// In plain text.
    Plain(Endpoint),
    /// Encrypted.
    Secured(Endpoint, CollectorTls),
}

/// Why the collector did not take something.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Sending it again may help.
    ForNow(String),
    /// Sending it again will not.
    ForGood(String),
}

/// Whether an address says that nothing is to leave.
pub(crate) fn is_none(url: &str) -> bool {
    url == NONE
}

/// Checks the collector's address; `authorities` is the file of those that an `https://` one must lead to.
pub(crate) fn address(url: &str, authorities: Option<&Path>) -> Result<CollectorAddress, String> {
    if is_none(url) {
        return Ok(CollectorAddress::None);
    }
    let with_scheme = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let uri: Uri = with_scheme.parse().map_err(|_| format!("{with_scheme} is no URL"))?;
    let endpoint = Endpoint::from_shared(with_scheme.clone()).map_err(|error| error.to_string())?;
    // A handshake takes longer than a connection.
    let within = |endpoint: Endpoint, seconds| {
        let connected = endpoint.connect_timeout(Duration::from_secs(seconds));
        connected.timeout(Duration::from_secs(5)).tcp_nodelay(true)
    };
    match uri.scheme_str() {
        Some("http") => Ok(CollectorAddress::Plain(within(endpoint, 1))),
        Some("https") => {
            let tls = CollectorTls::load(&uri, authorities).map_err(|error| error.to_string())?;
            // We encrypt, not tonic: where tonic was built with TLS of its own, it opens no connection for a URL of https without that.
            let plain = Endpoint::from_shared(with_scheme.replacen("https://", "http://", 1));
            let plain = plain.map_err(|error| error.to_string())?.origin(uri);
            Ok(CollectorAddress::Secured(within(plain, 3), tls))
        }
        _ => Err("expected http:// or https://, or none".to_owned()),
    }
}

impl CollectorLink {
    /// A link that is not connected yet; needs a runtime.
    pub(crate) fn new(address: &CollectorAddress, attributes: &[(String, String)]) -> Self {
        let channel = match address {
            CollectorAddress::None => None,
            CollectorAddress::Plain(endpoint) => Some(endpoint.connect_lazy()),
            CollectorAddress::Secured(endpoint, tls) => Some(endpoint.connect_with_connector_lazy(tls.clone())),
        };
        Self { channel, attributes: attributes.into() }
    }

    /// Sends a report.
    pub(crate) async fn metrics(&self, mut message: ExportMetricsServiceRequest) -> Result<(), Refused> {
        message.resource_metrics.iter_mut().for_each(|of| add(&self.attributes, of.resource.as_mut()));
        let codec = ProstCodec::<_, ExportMetricsServiceResponse>::default();
        let path = PathAndQuery::from_static(METRICS);
        let Some(mut grpc) = self.grpc().await? else { return Ok(()) };
        grpc.unary(Request::new(message), path, codec).await.map(drop).map_err(|status| refused(&status))
    }

    /// Sends transitions.
    pub(crate) async fn logs(&self, mut message: ExportLogsServiceRequest) -> Result<(), Refused> {
        message.resource_logs.iter_mut().for_each(|of| add(&self.attributes, of.resource.as_mut()));
        let codec = ProstCodec::<_, ExportLogsServiceResponse>::default();
        let path = PathAndQuery::from_static(LOGS);
        let Some(mut grpc) = self.grpc().await? else { return Ok(()) };
        grpc.unary(Request::new(message), path, codec).await.map(drop).map_err(|status| refused(&status))
    }

    /// Sends spans.
    pub(crate) async fn traces(&self, mut message: ExportTraceServiceRequest) -> Result<(), Refused> {
        message.resource_spans.iter_mut().for_each(|of| add(&self.attributes, of.resource.as_mut()));
        let codec = ProstCodec::<_, ExportTraceServiceResponse>::default();
        let path = PathAndQuery::from_static(TRACES);
        let Some(mut grpc) = self.grpc().await? else { return Ok(()) };
        grpc.unary(Request::new(message), path, codec).await.map(drop).map_err(|status| refused(&status))
    }

    async fn grpc(&self) -> Result<Option<Grpc<Channel>>, Refused> {
        let Some(channel) = self.channel.clone() else { return Ok(None) };
        let mut grpc = Grpc::new(channel).send_compressed(CompressionEncoding::Gzip);
        grpc.ready().await.map_err(|error| Refused::ForNow(error.to_string()))?;
        Ok(Some(grpc))
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
    fn addresses_are_read_leniently() {
        for url in ["127.0.0.1:4317", "http://collector:4317"] {
            assert!(matches!(address(url, None), Ok(CollectorAddress::Plain(_))), "{url}");
        }
        assert!(matches!(address("none", None), Ok(CollectorAddress::None)));
        assert!(address("http://", None).is_err());
        assert_eq!(address("ftp://collector", None).err().as_deref(), Some("expected http:// or https://, or none"));
        let no_file = address("https://collector:4317", Some(Path::new("/nowhere.pem"))).err().unwrap_or_default();
        assert!(no_file.contains("/nowhere.pem"), "{no_file}");
    }
}
