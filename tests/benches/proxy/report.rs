//! The rows: a figure, the bar it is held against, and what it was made from, as JSON.

use serde_json::{Map, Value, json};

/// What a figure must be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bar {
    AtMost(f64),
    AtLeast(f64),
}

impl Bar {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(bar) => value <= bar,
            Self::AtLeast(bar) => value >= bar,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtMost(bar) => format!("at most {bar}"),
            Self::AtLeast(bar) => format!("at least {bar}"),
        }
    }
}

/// Prints a figure, with whatever else belongs to it.
pub(crate) fn figure(row: &str, name: &str, value: f64, bar: Bar, more: Value) {
    let mut line = Map::new();
    line.insert("bench".into(), json!("proxy"));
    line.insert("row".into(), json!(row));
    line.insert("figure".into(), json!(name));
    line.insert("value".into(), json!(rounded(value)));
    line.insert("bar".into(), json!(bar.text()));
    line.insert("met".into(), json!(bar.is_met(value)));
    if let Value::Object(more) = more {
        line.extend(more);
    }
    println!("{}", Value::Object(line));
}

/// The middle one of some numbers; the mean of the middle two; 0 of none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

/// Three decimals, enough for every figure here.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
