//! Families of samples in prometheus-client's terms.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;

use super::sample::{Kind, Sample};

/// Writes samples, those of one family together, families ordered by name. Of a family that two parts describe
/// differently, the first description counts.
pub(super) fn samples(encoder: &mut DescriptorEncoder<'_>, samples: Vec<Sample>) -> Result<(), fmt::Error> {
    let mut families: BTreeMap<&str, Vec<Sample>> = BTreeMap::new();
    for sample in samples {
        families.entry(sample.name).or_default().push(sample);
    }
    for (name, samples) in families {
        let Some(first) = samples.first() else { continue };
        let metric_type = match first.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
        };
        let mut family = encoder.encode_descriptor(name, first.help, None, metric_type)?;
        for sample in &samples {
            if sample.labels.is_empty() {
                number(&mut family, sample)?;
            } else {
                number(&mut family.encode_family(&sample.labels)?, sample)?;
            }
        }
    }
    Ok(())
}

fn number(metric: &mut MetricEncoder<'_>, sample: &Sample) -> Result<(), fmt::Error> {
    match sample.kind {
        Kind::Counter => metric.encode_counter::<[(&str, &str); 0], f64, f64>(&sample.value, None),
        Kind::Gauge => metric.encode_gauge(&sample.value),
    }
}
