//! The browser's clock, for what only it knows: times of day where the reader is.

use js_sys::Date;
use wasm_bindgen::JsValue;

use crate::time;

/// `12:03:10` where the reader is; the text itself when it is no time.
pub(crate) fn time_of_day(at: &str) -> String {
    time::parse(at).map_or_else(|| at.to_owned(), of_ms)
}

/// `21 Nov 12:03:10` where the reader is.
pub(crate) fn date_and_time(at: &str) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let Some(ms) = time::parse(at) else { return at.to_owned() };
    let date = Date::new(&JsValue::from_f64(ms));
    let month = MONTHS.get(date.get_month() as usize).copied().unwrap_or("");
    format!("{} {month} {}", date.get_date(), of_ms(ms))
}

/// Milliseconds since 1970 as a time of day where the reader is.
pub(crate) fn of_ms(ms: f64) -> String {
    let date = Date::new(&JsValue::from_f64(ms));
    format!("{:02}:{:02}:{:02}", date.get_hours(), date.get_minutes(), date.get_seconds())
}
