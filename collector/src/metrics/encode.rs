//! Families of samples in prometheus-client's terms.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
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
        let kind = first.kind;
        let metric_type = match kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
        };
        let mut family = encoder.encode_descriptor(name, first.help, None, metric_type)?;
        for sample in &samples {
            let mut metric = family.encode_family(&sample.labels)?;
            match kind {
                Kind::Counter => metric.encode_counter::<[(&str, &str); 0], f64, f64>(&sample.value, None)?,
                Kind::Gauge => metric.encode_gauge(&sample.value)?,
            }
        }
    }
    Ok(())
}
