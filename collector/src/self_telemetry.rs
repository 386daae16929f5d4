//! The collector's own spans, sent to another OTLP endpoint. Off unless configured.
//!
//! Whoever runs a collector wants to see where *its* time goes in the tool they already have. This is the one place for the
//! OpenTelemetry SDK: the hot paths do not go through it, and nobody pays for it who has not asked.
//!
//! Spans of the exporter's own transport are left out, or each export would make spans for the next one.

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracerProvider, Tracer};
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;

use crate::config::SelfTelemetry;

/// Why own spans cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("self_telemetry.endpoint: cannot send spans to {endpoint}")]
pub struct SelfTelemetryError {
    endpoint: String,
    source: opentelemetry_otlp::ExporterBuildError,
}

/// Sends what is left when it is asked to, or dropped.
#[derive(Debug)]
pub struct Sender(SdkTracerProvider);

impl Sender {
    /// Sends what is left and ends; blocks for at most a few seconds.
    pub fn finish(self) {
        if let Err(error) = self.0.shutdown() {
            tracing::warn!(%error, "some of the collector's own spans were not sent");
        }
    }
}

/// A layer for the process's subscriber, and what sends its spans. To be called within a tokio runtime.
///
/// # Errors
/// When the endpoint cannot be used.
pub fn layer<S>(settings: &SelfTelemetry) -> Result<(impl Layer<S> + use<S>, Sender), SelfTelemetryError>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let endpoint = settings.endpoint.as_str();
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .map_err(|source| SelfTelemetryError { endpoint: endpoint.to_owned(), source })?;
    let resource = Resource::builder().with_service_name("tripline-collector").build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    let layer: OpenTelemetryLayer<S, Tracer> = tracing_opentelemetry::layer().with_tracer(provider.tracer("tripline"));
    let ours = Targets::new().with_target("tripline_collector", LevelFilter::DEBUG).with_default(LevelFilter::OFF);
    Ok((layer.with_filter(ours), Sender(provider)))
}
