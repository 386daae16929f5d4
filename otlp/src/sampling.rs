//! How many spans a sampled one stands for, in W3C tracestate.
//!
//! OpenTelemetry's `ot` member carries `th`, the rejection threshold T of consistent probability sampling: up to 14
//! hexadecimal digits, those missing on the right being zero, of a number below 2^56. A span is kept with probability
//! `1 - T / 2^56`, so it stands for the inverse of that. Source: OTEP 235, "tracestate: probability sampling".

const DIGITS: usize = 14;
const WHOLE: u64 = 1 << (4 * DIGITS);

/// The weight that a tracestate tells; 1 when it tells none or what it tells is malformed.
pub(crate) fn weight(tracestate: &str) -> f64 {
    let member = tracestate.split(',').find_map(|member| member.trim().strip_prefix("ot="));
    let digits = member.and_then(|ot| ot.split(';').find_map(|field| field.strip_prefix("th:")));
    digits.and_then(threshold).map_or(1.0, |threshold| WHOLE as f64 / (WHOLE - threshold) as f64)
}

/// The tracestate that tells a weight; empty for 1 and for what is no weight.
pub(crate) fn tracestate(weight: f64) -> String {
    if !weight.is_finite() || weight <= 1.0 {
        return String::new();
    }
    let kept = ((WHOLE as f64 / weight).round() as u64).clamp(1, WHOLE);
    let digits = format!("{:014x}", WHOLE - kept);
    match digits.trim_end_matches('0') {
        "" => String::new(),
        digits => format!("ot=th:{digits}"),
    }
}

/// T, always below 2^56.
fn threshold(digits: &str) -> Option<u64> {
    if digits.is_empty() || digits.len() > DIGITS || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let number = u64::from_str_radix(digits, 16).ok()?;
    Some(number << (4 * (DIGITS - digits.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn thresholds_read_as_their_inverse_probability() {
        let cases = [
            ("", 1.0),
            ("ot=th:0", 1.0),
            ("ot=th:8", 2.0),
            ("ot=th:c", 4.0),
            ("rojo=1, ot=rv:1;th:c ,x=y", 4.0),
            ("ot=th:", 1.0),
            ("ot=th:zz", 1.0),
            ("ot=th:+8", 1.0),
            ("ot=th:fffffffffffffff", 1.0),
            ("ot=th:ffffffffffffff", WHOLE as f64),
        ];
        for (tracestate, expected) in cases {
            assert_eq!(weight(tracestate), expected, "{tracestate}");
        }
    }

    proptest! {
        #[test]
        fn weights_come_back(given in 1.0f64..1e6) {
            let read = weight(&tracestate(given));
            prop_assert!((read / given - 1.0).abs() < 1e-9, "{read} for {given}");
        }
    }
}
