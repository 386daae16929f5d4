//! Numbers and names as people read them: short, with their unit, and never more digits than the measurement has.

/// `0`, `0.3`, `12.4`, `120`, `1.2k`: requests per second without their unit.
pub(crate) fn rate(per_second: f64) -> String {
    match per_second {
        r if !r.is_finite() || r <= 0.0 => "0".into(),
        r if r < 0.05 => "<0.1".into(),
        r if r < 99.95 => trim(format!("{r:.1}")),
        r if r < 999.5 => format!("{r:.0}"),
        r if r < 99_950.0 => format!("{}k", trim(format!("{:.1}", r / 1e3))),
        r if r < 999_500.0 => format!("{:.0}k", r / 1e3),
        r => format!("{}M", trim(format!("{:.1}", r / 1e6))),
    }
}

/// `0%`, `<0.1%`, `0.7%`, `42%`: a share of 0 to 1. Only what is all is `100%`, and only what is none is `0%`.
pub(crate) fn ratio(share: f64) -> String {
    match share * 100.0 {
        p if !p.is_finite() || p <= 0.0 => "0%".into(),
        p if p < 0.1 => "<0.1%".into(),
        p if p < 9.95 => format!("{}%", trim(format!("{p:.1}"))),
        p if (99.5..100.0).contains(&p) => ">99%".into(),
        p => format!("{p:.0}%"),
    }
}

/// `0.4 ms`, `41 ms`, `1.2 s`; a dash for nothing measured.
pub(crate) fn latency(ms: f64) -> String {
    match ms {
        l if !l.is_finite() || l <= 0.0 => "–".into(),
        l if l < 0.1 => "<0.1 ms".into(),
        l if l < 9.95 => format!("{} ms", trim(format!("{l:.1}"))),
        l if l < 999.5 => format!("{l:.0} ms"),
        l if l < 99_950.0 => format!("{} s", trim(format!("{:.1}", l / 1e3))),
        l => format!("{:.0} s", l / 1e3),
    }
}

/// `7 230`: a count, its thousands apart by a thin space that does not break.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3 * 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// `1 service`, `3 services`.
pub(crate) fn plural(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// The name without its namespace.
pub(crate) fn short(id: &str) -> &str {
    id.rsplit_once('/').map_or(id, |(_, name)| name)
}

/// `checkout → payments` for `shop/checkout>shop/payments:http`.
pub(crate) fn edge_name(id: &str) -> String {
    let Some((client, rest)) = id.split_once('>') else { return id.to_owned() };
    let server = rest.rsplit_once(':').map_or(rest, |(server, _)| server);
    format!("{} → {}", short(client), short(server))
}

/// At most `limit` characters, the end given up for an ellipsis.
pub(crate) fn clip(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    text.chars().take(limit.saturating_sub(1)).chain(['…']).collect()
}

/// `consecutive_failures` as `consecutive failures`.
pub(crate) fn words(snake: &str) -> String {
    snake.replace('_', " ")
}

/// ①, ②, … for 1 to 20; plain digits above.
pub(crate) fn circled(n: u32) -> String {
    match n {
        1..=20 => char::from_u32(0x2460 + n - 1).map_or_else(|| n.to_string(), String::from),
        _ => n.to_string(),
    }
}

fn trim(decimal: String) -> String {
    decimal.strip_suffix(".0").map(str::to_owned).unwrap_or(decimal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_keep_three_digits_at_most() {
        for (value, expected) in [
            (0.0, "0"),
            (f64::NAN, "0"),
            (0.01, "<0.1"),
            (0.26, "0.3"),
            (12.0, "12"),
            (12.44, "12.4"),
            (99.96, "100"),
            (120.5, "120"),
            (1_234.0, "1.2k"),
            (250_000.0, "250k"),
            (2_000_000.0, "2M"),
        ] {
            assert_eq!(rate(value), expected, "{value}");
        }
    }

    #[test]
    fn ratios_never_round_to_none_or_all() {
        for (value, expected) in [
            (0.0, "0%"),
            (0.0001, "<0.1%"),
            (0.007, "0.7%"),
            (0.09, "9%"),
            (0.42, "42%"),
            (0.999, ">99%"),
            (1.0, "100%"),
        ] {
            assert_eq!(ratio(value), expected, "{value}");
        }
    }

    #[test]
    fn latencies_change_their_unit() {
        for (value, expected) in
            [(0.0, "–"), (0.04, "<0.1 ms"), (4.12, "4.1 ms"), (41.0, "41 ms"), (1_240.0, "1.2 s"), (120_000.0, "120 s")]
        {
            assert_eq!(latency(value), expected, "{value}");
        }
    }

    #[test]
    fn names_are_shortened_where_they_can_be_guessed() {
        assert_eq!(short("shop/payments-db"), "payments-db");
        assert_eq!(short("user"), "user");
        assert_eq!(edge_name("shop/web>shop/checkout:http"), "web → checkout");
        assert_eq!(edge_name("garbage"), "garbage");
        assert_eq!(clip("recommendations", 8), "recomme…");
        assert_eq!(clip("web", 8), "web");
        assert_eq!(count(7_230), "7\u{202f}230");
        assert_eq!(count(12), "12");
        assert_eq!(plural(1, "service"), "1 service");
        assert_eq!((circled(1), circled(20), circled(21)), ("①".into(), "⑳".into(), "21".into()));
    }
}
