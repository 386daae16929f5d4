//! Between rows and polars' columns: what every kind's encoding and decoding is made of.

use polars::prelude::*;
use tripline_model::{Histogram, Timestamp};
use tripline_otlp::Value;

/// Columns of one height, gathered one by one.
pub(super) struct Columns {
    height: usize,
    columns: Vec<Column>,
}

impl Columns {
    /// None yet; each column added must yield `height` values.
    pub(super) fn of_height(height: usize) -> Self {
        Self { height, columns: Vec::with_capacity(24) }
    }

    /// Text, never null.
    pub(super) fn text<S: AsRef<str>>(&mut self, name: &'static str, values: impl Iterator<Item = S>) -> &mut Self {
        self.maybe_text(name, values.map(Some))
    }

    /// Text or null.
    pub(super) fn maybe_text<S: AsRef<str>>(
        &mut self,
        name: &'static str,
        values: impl Iterator<Item = Option<S>>,
    ) -> &mut Self {
        let mut builder = StringChunkedBuilder::new(name.into(), self.height);
        values.for_each(|value| builder.append_option(value.as_ref().map(AsRef::as_ref)));
        self.push(builder.finish().into_series())
    }

    /// Text that is written into a buffer, which spares a string for each row.
    pub(super) fn written<T>(
        &mut self,
        name: &'static str,
        rows: impl Iterator<Item = T>,
        write: impl Fn(T, &mut String),
    ) -> &mut Self {
        self.maybe_written(name, rows, |row, out| {
            write(row, out);
            true
        })
    }

    /// Like [`Self::written`]; null where `write` says that there is nothing.
    pub(super) fn maybe_written<T>(
        &mut self,
        name: &'static str,
        rows: impl Iterator<Item = T>,
        write: impl Fn(T, &mut String) -> bool,
    ) -> &mut Self {
        let mut builder = StringChunkedBuilder::new(name.into(), self.height);
        let mut text = String::new();
        for row in rows {
            text.clear();
            let is_there = write(row, &mut text);
            builder.append_option(is_there.then_some(text.as_str()));
        }
        self.push(builder.finish().into_series())
    }

    /// Bytes, or null.
    pub(super) fn bytes<B: AsRef<[u8]>>(
        &mut self,
        name: &'static str,
        values: impl Iterator<Item = Option<B>>,
    ) -> &mut Self {
        let mut builder = BinaryChunkedBuilder::new(name.into(), self.height);
        values.for_each(|value| builder.append_option(value.as_ref().map(AsRef::as_ref)));
        self.push(builder.finish().into_series())
    }

    /// Whole numbers; what does not fit into 63 bits becomes the largest that does.
    pub(super) fn int(&mut self, name: &'static str, values: impl Iterator<Item = u64>) -> &mut Self {
        self.push(Int64Chunked::from_iter_values(name.into(), values.map(signed)).into_series())
    }

    /// Floating-point numbers.
    pub(super) fn float(&mut self, name: &'static str, values: impl Iterator<Item = f64>) -> &mut Self {
        self.push(Float64Chunked::from_iter_values(name.into(), values).into_series())
    }

    /// True or false.
    pub(super) fn flag(&mut self, name: &'static str, values: impl Iterator<Item = bool>) -> &mut Self {
        let mut builder = BooleanChunkedBuilder::new(name.into(), self.height);
        values.for_each(|value| builder.append_value(value));
        self.push(builder.finish().into_series())
    }

    /// Points in time, UTC, to the nanosecond.
    pub(super) fn time(&mut self, name: &'static str, values: impl Iterator<Item = Timestamp>) -> &mut Self {
        let nanos = Int64Chunked::from_iter_values(name.into(), values.map(|at| signed(at.as_nanos())));
        self.push(nanos.into_datetime(TimeUnit::Nanoseconds, None).into_series())
    }

    /// Points in time, or null.
    pub(super) fn maybe_time(
        &mut self,
        name: &'static str,
        values: impl Iterator<Item = Option<Timestamp>>,
    ) -> &mut Self {
        let nanos = values.map(|at| at.map(|at| signed(at.as_nanos())));
        let nanos = Int64Chunked::from_iter_options(name.into(), nanos);
        self.push(nanos.into_datetime(TimeUnit::Nanoseconds, None).into_series())
    }

    /// Three columns `NAME_offset`, `NAME_counts`, `NAME_sum_us`, from which the histogram can be rebuilt.
    pub(super) fn histogram<'a>(
        &mut self,
        [offset, counts, sum]: [&'static str; 3],
        values: impl Iterator<Item = &'a Histogram> + Clone,
    ) -> &mut Self {
        let offsets = values.clone().map(|h| i64::from(h.dense().0));
        self.push(Int64Chunked::from_iter_values(offset.into(), offsets).into_series());
        let mut builder = ListPrimitiveChunkedBuilder::<UInt32Type>::new(
            counts.into(),
            self.height,
            self.height.saturating_mul(16),
            DataType::UInt32,
        );
        values.clone().for_each(|h| builder.append_slice(h.dense().1));
        self.push(builder.finish().into_series());
        self.int(sum, values.map(|h| u64::try_from(h.sum().as_micros()).unwrap_or(u64::MAX)))
    }

    /// All of them as one frame.
    pub(super) fn finish(&mut self) -> PolarsResult<DataFrame> {
        DataFrame::new(self.height, std::mem::take(&mut self.columns))
    }

    fn push(&mut self, series: Series) -> &mut Self {
        self.columns.push(series.into_column());
        self
    }
}

/// Typed reading of a frame's columns. A null, or a column with fewer rows, reads as the type's nothing.
pub(super) struct Table<'a>(pub(super) &'a DataFrame);

impl Table<'_> {
    /// A column of text.
    pub(super) fn text(&self, name: &str) -> PolarsResult<Texts> {
        Ok(Texts(self.0.column(name)?.str()?.clone()))
    }

    /// A column of identifiers.
    pub(super) fn ids(&self, name: &str) -> PolarsResult<Ids> {
        Ok(Ids(self.0.column(name)?.binary()?.clone()))
    }

    /// A column of whole numbers or of times in nanoseconds.
    pub(super) fn int(&self, name: &str) -> PolarsResult<Ints> {
        let physical = self.0.column(name)?.to_physical_repr();
        Ok(Ints(physical.cast(&DataType::Int64)?.i64()?.clone()))
    }

    /// A column of floating-point numbers.
    pub(super) fn float(&self, name: &str) -> PolarsResult<Floats> {
        Ok(Floats(self.0.column(name)?.f64()?.clone()))
    }

    /// A column of truths.
    pub(super) fn flag(&self, name: &str) -> PolarsResult<Flags> {
        Ok(Flags(self.0.column(name)?.bool()?.clone()))
    }

    /// A column of lists.
    pub(super) fn list(&self, name: &str) -> PolarsResult<ListChunked> {
        Ok(self.0.column(name)?.list()?.clone())
    }
}

/// A column of text.
pub(super) struct Texts(StringChunked);

impl Texts {
    /// The text in `row`, or empty.
    pub(super) fn at(&self, row: usize) -> &str {
        self.0.get(row).unwrap_or_default()
    }

    /// The same, owned.
    pub(super) fn owned(&self, row: usize) -> String {
        self.at(row).to_owned()
    }
}

/// A column of identifiers.
pub(super) struct Ids(BinaryChunked);

impl Ids {
    /// The identifier in `row` as hexadecimal digits, or empty.
    pub(super) fn hex(&self, row: usize) -> String {
        let mut text = String::with_capacity(32);
        write_hex(&mut text, self.0.get(row).unwrap_or_default());
        text
    }
}

/// A column of whole numbers.
pub(super) struct Ints(Int64Chunked);

impl Ints {
    /// The number in `row`, or 0.
    pub(super) fn at(&self, row: usize) -> u64 {
        u64::try_from(self.0.get(row).unwrap_or_default()).unwrap_or_default()
    }

    /// The same as a point in time.
    pub(super) fn time(&self, row: usize) -> Timestamp {
        Timestamp::from_nanos(self.at(row))
    }

    /// The number in `row` with its sign, or 0.
    pub(super) fn signed(&self, row: usize) -> i64 {
        self.0.get(row).unwrap_or_default()
    }
}

/// A column of floating-point numbers.
pub(super) struct Floats(Float64Chunked);

impl Floats {
    /// The number in `row`, or 0.
    pub(super) fn at(&self, row: usize) -> f64 {
        self.0.get(row).unwrap_or_default()
    }
}

/// A column of truths.
pub(super) struct Flags(BooleanChunked);

impl Flags {
    /// What `row` says, or false.
    pub(super) fn at(&self, row: usize) -> bool {
        self.0.get(row).unwrap_or_default()
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Bytes as hexadecimal digits.
pub(super) fn write_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// Attributes as the text of one JSON object; of equal keys the last wins.
pub(super) fn json_of(attributes: &[(String, Value)]) -> String {
    let object: serde_json::Map<String, serde_json::Value> =
        attributes.iter().map(|(key, value)| (key.clone(), json_value(value))).collect();
    serde_json::Value::Object(object).to_string()
}

/// Back from [`json_of`], values as text.
pub(super) fn attributes_of(json: &str) -> std::collections::BTreeMap<String, String> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json).unwrap_or_default();
    let text = |value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    object.into_iter().map(|(key, value)| (key, text(value))).collect()
}

fn json_value(value: &Value) -> serde_json::Value {
    match value {
        Value::Text(text) => text.as_str().into(),
        Value::Int(number) => (*number).into(),
        Value::Double(number) => (*number).into(),
        Value::Bool(truth) => (*truth).into(),
    }
}

/// A point in time as an expression that compares with a column of times.
pub(super) fn moment(at: Timestamp) -> Expr {
    lit(signed(at.as_nanos())).cast(DataType::Datetime(TimeUnit::Nanoseconds, None))
}

/// The largest 63-bit number for what is larger.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Nanoseconds as milliseconds.
pub(super) fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}
