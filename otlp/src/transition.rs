//! Breaker transitions as OTLP log records, sent at once and never sampled.
//!
//! The event's attributes have the names that `contracts.md` lists. Two things are told by OTLP's own fields as well, so that any
//! backend finds them: the client's process by the resource, and the first trace by the record's trace id.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1 as otlp;
use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs, SeverityNumber};
use thiserror::Error;
use tripline_model::edge::UnknownWord;
use tripline_model::{BreakerState, BreakerTransition, ServiceName, Sidecar, TraceId};

use crate::attribute::{double, number, push_text, text, texts};
use crate::{LogRecord, Value, resource};

/// The event name of a transition's log record.
pub const EVENT: &str = "tripline.breaker.transition";
/// Most traces that a transition carries.
pub const MAX_TRACES: usize = 3;

/// Names of the event's attributes.
mod key {
    pub(super) const ID: &str = "breaker.id";
    pub(super) const CLIENT: &str = "client";
    pub(super) const CLIENT_INSTANCE: &str = "client.instance";
    pub(super) const SERVER: &str = "server";
    pub(super) const ROUTE: &str = "route";
    pub(super) const ENDPOINT: &str = "endpoint";
    pub(super) const FROM: &str = "breaker.from";
    pub(super) const TO: &str = "breaker.to";
    pub(super) const REASON: &str = "breaker.reason";
    pub(super) const WINDOW_TOTAL: &str = "breaker.window.total";
    pub(super) const WINDOW_FAILED: &str = "breaker.window.failed";
    pub(super) const WINDOW_SLOW: &str = "breaker.window.slow";
    pub(super) const THRESHOLD: &str = "breaker.threshold";
    pub(super) const LAST_ERROR: &str = "breaker.last_error";
    pub(super) const ORIGIN: &str = "breaker.origin";
    pub(super) const TIME_IN_FROM_NS: &str = "breaker.time_in_from_ns";
    pub(super) const SEQUENCE: &str = "breaker.sequence";
    pub(super) const TRACES: &str = "breaker.traces";
}

/// Why a log record is no breaker transition.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TransitionError {
    /// Some other event.
    #[error("event \"{0}\" is not {EVENT}")]
    Event(String),
    /// An attribute is absent or of another type than it must be.
    #[error("breaker transition has no valid attribute {0}")]
    Missing(&'static str),
    /// An attribute holds none of the words it can hold.
    #[error("breaker transition's {key} is none that is known")]
    Word {
        /// Which attribute.
        key: &'static str,
        /// What it holds.
        source: UnknownWord,
    },
}

/// The transitions of one sidecar as one request.
#[must_use]
pub fn encode(transitions: &[BreakerTransition], sidecar: &Sidecar) -> ExportLogsServiceRequest {
    let scope = ScopeLogs {
        scope: Some(resource::scope()),
        log_records: transitions.iter().map(|t| encode_one(t, sidecar)).collect(),
        schema_url: String::new(),
    };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource::of_sidecar(sidecar)),
            scope_logs: vec![scope],
            schema_url: String::new(),
        }],
    }
}

/// Whether a log record says that it is a transition.
#[must_use]
pub fn is_transition(record: &LogRecord) -> bool {
    record.event == EVENT
}

/// A received log record as the transition that it is.
///
/// # Errors
/// When it is another event, or an attribute is absent or cannot be true.
pub fn decode(record: &LogRecord) -> Result<BreakerTransition, TransitionError> {
    if !is_transition(record) {
        return Err(TransitionError::Event(record.event.clone()));
    }
    let read = Reading(&record.attributes);
    Ok(BreakerTransition {
        breaker: read.text(key::ID).ok_or(TransitionError::Missing(key::ID))?.into(),
        client: read.text(key::CLIENT).map_or_else(|| record.service.clone(), ServiceName::from),
        client_instance: read.text(key::CLIENT_INSTANCE).unwrap_or(&record.instance).into(),
        server: read.text(key::SERVER).ok_or(TransitionError::Missing(key::SERVER))?.into(),
        route: read.text(key::ROUTE).unwrap_or_default().into(),
        endpoint: read.text(key::ENDPOINT).unwrap_or_default().into(),
        at: record.at,
        from: read.word(key::FROM)?,
        to: read.word(key::TO)?,
        reason: read.word(key::REASON)?,
        window_total: read.number(key::WINDOW_TOTAL)?,
        window_failed: read.number(key::WINDOW_FAILED)?,
        window_slow: read.number(key::WINDOW_SLOW)?,
        threshold: read.double(key::THRESHOLD)?,
        last_error: read.text(key::LAST_ERROR).unwrap_or_default().into(),
        origin: read.word(key::ORIGIN)?,
        time_in_from: Duration::from_nanos(read.number(key::TIME_IN_FROM_NS)?),
        sequence: read.number(key::SEQUENCE)?,
        traces: read.traces(),
    })
}

fn encode_one(transition: &BreakerTransition, sidecar: &Sidecar) -> otlp::LogRecord {
    let t = transition;
    let mut attributes = vec![
        text(key::ID, &*t.breaker),
        text(key::CLIENT, t.client.to_string()),
        text(key::SERVER, t.server.to_string()),
        text(key::FROM, t.from.as_str()),
        text(key::TO, t.to.as_str()),
        text(key::REASON, t.reason.as_str()),
        number(key::WINDOW_TOTAL, t.window_total),
        number(key::WINDOW_FAILED, t.window_failed),
        number(key::WINDOW_SLOW, t.window_slow),
        double(key::THRESHOLD, t.threshold),
        text(key::ORIGIN, t.origin.as_str()),
        number(key::TIME_IN_FROM_NS, u64::try_from(t.time_in_from.as_nanos()).unwrap_or(u64::MAX)),
        number(key::SEQUENCE, t.sequence),
    ];
    push_text(&mut attributes, key::ROUTE, &t.route);
    push_text(&mut attributes, key::ENDPOINT, &t.endpoint);
    push_text(&mut attributes, key::LAST_ERROR, &t.last_error);
    if t.client_instance != sidecar.instance {
        attributes.push(text(key::CLIENT_INSTANCE, &*t.client_instance));
    }
    if !t.traces.is_empty() {
        attributes.push(texts(key::TRACES, t.traces.iter().take(MAX_TRACES).map(ToString::to_string)));
    }
    let severity = if t.to == BreakerState::Open { SeverityNumber::Warn } else { SeverityNumber::Info };
    otlp::LogRecord {
        time_unix_nano: t.at.as_nanos(),
        observed_time_unix_nano: t.at.as_nanos(),
        severity_number: i32::from(severity),
        severity_text: if t.to == BreakerState::Open { "WARN" } else { "INFO" }.into(),
        body: text("", sentence(t)).value,
        attributes,
        trace_id: t.traces.first().map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
        event_name: EVENT.into(),
        ..otlp::LogRecord::default()
    }
}

fn sentence(t: &BreakerTransition) -> String {
    format!(
        "breaker {} went from {} to {}: {}, {} failed and {} slow of {}",
        t.breaker, t.from, t.to, t.reason, t.window_failed, t.window_slow, t.window_total
    )
}

struct Reading<'a>(&'a [(String, Value)]);

impl<'a> Reading<'a> {
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, value)| value)
    }

    fn text(&self, key: &str) -> Option<&'a str> {
        match self.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn word<T: std::str::FromStr<Err = UnknownWord>>(&self, key: &'static str) -> Result<T, TransitionError> {
        let word = self.text(key).ok_or(TransitionError::Missing(key))?;
        word.parse().map_err(|source| TransitionError::Word { key, source })
    }

    fn number(&self, key: &'static str) -> Result<u64, TransitionError> {
        match self.get(key) {
            Some(Value::Int(int)) => u64::try_from(*int).map_err(|_| TransitionError::Missing(key)),
            _ => Err(TransitionError::Missing(key)),
        }
    }

    fn double(&self, key: &'static str) -> Result<f64, TransitionError> {
        match self.get(key) {
            Some(Value::Double(double)) if double.is_finite() => Ok(*double),
            Some(Value::Int(int)) => Ok(*int as f64),
            _ => Err(TransitionError::Missing(key)),
        }
    }

    /// The traces that can be read; they are examples, so a broken one is no reason to refuse the event.
    fn traces(&self) -> Vec<TraceId> {
        let texts: Vec<String> =
            self.text(key::TRACES).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
        texts.iter().filter_map(|text| text.parse().ok()).take(MAX_TRACES).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log;
    use proptest::prelude::*;
    use tripline_model::{FailureOrigin, Timestamp, TransitionReason};

    fn sidecar() -> Sidecar {
        Sidecar { service: ServiceName::new("shop", "checkout"), instance: "i-1".into(), version: "0.1.0".into() }
    }

    fn tripped() -> BreakerTransition {
        BreakerTransition {
            breaker: "shop/checkout>shop/payments".into(),
            client: ServiceName::new("shop", "checkout"),
            client_instance: "i-1".into(),
            server: ServiceName::new("shop", "payments"),
            route: String::new(),
            endpoint: "10.0.0.7:8080".into(),
            at: Timestamp::from_secs(1_800_000_000),
            from: BreakerState::Closed,
            to: BreakerState::Open,
            reason: TransitionReason::FailureRatio,
            window_total: 40,
            window_failed: 21,
            window_slow: 2,
            threshold: 0.5,
            last_error: "503".into(),
            origin: FailureOrigin::Induced,
            time_in_from: Duration::from_millis(7_001),
            sequence: 9,
            traces: vec![TraceId::from_bytes([7; 16]).unwrap(), TraceId::from_bytes([8; 16]).unwrap()],
        }
    }

    fn received(transitions: &[BreakerTransition]) -> Vec<LogRecord> {
        log::decode(encode(transitions, &sidecar())).logs
    }

    #[test]
    fn a_transition_is_a_log_record_that_people_can_read() {
        let records = received(&[tripped()]);
        assert_eq!(records[0].severity, "WARN");
        assert_eq!(records[0].trace_id, TraceId::from_bytes([7; 16]));
        assert_eq!(
            records[0].body,
            "breaker shop/checkout>shop/payments went from closed to open: failure_ratio, 21 failed and 2 slow of 40"
        );
    }

    #[test]
    fn what_is_no_transition_says_why() {
        let mut record = received(&[tripped()]).remove(0);
        let whole = record.clone();
        record.attributes.retain(|(key, _)| key != key::TO);
        assert_eq!(decode(&record), Err(TransitionError::Missing(key::TO)));
        record.attributes.push((key::TO.into(), Value::Text("ajar".into())));
        assert!(matches!(decode(&record), Err(TransitionError::Word { key: key::TO, .. })));
        let other = LogRecord { event: "device.app.lifecycle".into(), ..whole };
        assert!(matches!(decode(&other), Err(TransitionError::Event(_))));
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(
            texts in ["[a-z/>@.]{1,20}", "[ -~ä]{0,20}", "[ -~]{0,20}", "[ -~]{0,20}"],
            numbers in prop::array::uniform5(0u64..=i64::MAX as u64),
            threshold in 0.0f64..1e9,
            reason in prop::sample::select(vec![TransitionReason::Forced, TransitionReason::Concurrency]),
            states in prop::sample::select(vec![
                (BreakerState::Open, BreakerState::HalfOpen), (BreakerState::HalfOpen, BreakerState::Closed),
            ]),
            instance in "i-[12]",
        ) {
            let [breaker, route, endpoint, last_error] = texts;
            let [at, window_total, window_failed, sequence, nanos] = numbers;
            let given = BreakerTransition {
                breaker, route, endpoint, last_error, window_total, window_failed, sequence, threshold, reason,
                client_instance: instance,
                at: Timestamp::from_nanos(at.max(1)),
                time_in_from: Duration::from_nanos(nanos),
                from: states.0,
                to: states.1,
                ..tripped()
            };
            let records = received(std::slice::from_ref(&given));
            prop_assert_eq!(decode(&records[0]), Ok(given));
        }
    }
}
