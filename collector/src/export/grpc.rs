//! A second endpoint over OTLP/gRPC.

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use prost::Message;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;
use tripline_otlp::proto::collector::trace::v1::ExportTraceServiceResponse;
use tripline_otlp::wire::Signal;

use super::ExportError;
use super::http::headers;
use super::target::{ATTEMPT, Attempt};
use crate::config::{Compression, OtlpTarget};

/// Speaks to one endpoint. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Client {
    grpc: tonic::client::Grpc<Channel>,
    metadata: MetadataMap,
}

impl Client {
    pub(super) fn new(config: &OtlpTarget) -> Result<Self, ExportError> {
        let failed = |error: tonic::transport::Error| ExportError::Endpoint {
            endpoint: config.endpoint.to_string(),
            source: error.into(),
        };
        let mut endpoint = Endpoint::from_shared(config.endpoint.to_string()).map_err(failed)?;
        if config.endpoint.as_str().starts_with("https:") {
            endpoint = endpoint.tls_config(ClientTlsConfig::new().with_native_roots()).map_err(failed)?;
        }
        let channel = endpoint.connect_timeout(ATTEMPT).timeout(ATTEMPT).connect_lazy();
        let grpc = tonic::client::Grpc::new(channel);
        let grpc = match config.compression {
            Compression::None => grpc,
            Compression::Gzip => grpc.send_compressed(CompressionEncoding::Gzip),
            Compression::Zstd => grpc.send_compressed(CompressionEncoding::Zstd),
        };
        Ok(Self { grpc, metadata: MetadataMap::from_headers(headers(config)?) })
    }

    pub(super) async fn send(&self, signal: Signal, body: Bytes) -> Attempt {
        let path = PathAndQuery::from_static(match signal {
            Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        });
        let mut grpc = self.grpc.clone();
        if let Err(error) = grpc.ready().await {
            return Attempt::Later { asked: None, why: error.to_string() };
        }
        let mut request = Request::new(body);
        *request.metadata_mut() = self.metadata.clone();
        match grpc.unary(request, path, Raw).await {
            Ok(answer) => {
                let partial = answer.into_inner().partial_success.unwrap_or_default();
                let rejected = u64::try_from(partial.rejected_spans).unwrap_or(0);
                Attempt::Taken { rejected, message: partial.error_message }
            }
            Err(status) => judge(&status),
        }
    }
}

/// By the table of the OTLP specification; `UNKNOWN` is what tonic makes of a connection that fails.
fn judge(status: &Status) -> Attempt {
    let asked = status.get_error_details().retry_info().and_then(|info| info.retry_delay);
    let why = format!("{:?}: {}", status.code(), status.message());
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unknown => Attempt::Later { asked, why },
        Code::ResourceExhausted if asked.is_some() => Attempt::Later { asked, why },
        _ => Attempt::Never { why },
    }
}

/// Requests go out as the bytes that came in. Of the three signals' answers one message reads all: they are the same on the
/// wire.
#[derive(Debug, Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = ExportTraceServiceResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = ExportTraceServiceResponse;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        // Taken is taken, whatever else the answer tries to say.
        Ok(Some(ExportTraceServiceResponse::decode(bytes).unwrap_or_default()))
    }
}
