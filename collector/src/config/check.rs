//! What must hold between the settings, checked once all of them are known.

use super::document::Problems;
use super::read::{Lines, SYNC_INTERVALS};
use super::{Config, Durability};

pub(super) fn whole(config: &Config, lines: &Lines, problems: &mut Problems) {
    let listen = config.listen;
    let listeners: Vec<_> =
        [("listen.http", listen.http), ("listen.otlp_grpc", listen.otlp_grpc), ("listen.otlp_http", listen.otlp_http)]
            .into_iter()
            .chain(listen.xray.map(|address| ("listen.xray", address)))
            .collect();
    let authenticated = config.token.is_some() || config.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());

    for (index, (field, address)) in listeners.iter().enumerate() {
        let line = lines.get(field).copied();
        if *field == "listen.xray" && !address.ip().is_loopback() && !config.allow_unauthenticated {
            let message = format!(
                "{address} can be reached from other machines, and X-Ray's protocol authenticates nobody; say \
                 `allow_unauthenticated: true`"
            );
            problems.note(line, field, message);
        } else if !address.ip().is_loopback() && !authenticated && !config.allow_unauthenticated {
            let message = format!(
                "{address} can be reached from other machines and nothing authenticates them; set `token` or \
                 `tls.client_ca`, or say `allow_unauthenticated: true`"
            );
            problems.note(line, field, message);
        }
        let taken = listeners.iter().take(index).find(|(_, other)| address.port() != 0 && other == address);
        if let Some((other, _)) = taken {
            problems.note(line, field, format!("{address} is already the address of {other}"));
        }
    }
    if let Durability::Synced { interval } = config.durability
        && !SYNC_INTERVALS.contains(&interval)
    {
        problems.note(None, "sync_interval", "expected a time from 1ms to 1s");
    }
    let largest = config.limits.http_request_bytes.max(config.limits.grpc_request_bytes);
    if config.limits.in_flight_bytes < largest {
        let message = format!("expected at least the largest request, {largest} bytes");
        problems.note(None, "limits.in_flight_bytes", message);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Overrides};
    use std::path::Path;

    #[test]
    fn leaving_loopback_needs_a_decision() {
        let read = |more: &str| {
            let text = format!("listen:\n  otlp_grpc: 0.0.0.0:4317\n{more}");
            Config::from_text(Path::new("t.yaml"), &text, &Overrides::default(), |_| None).map_err(|e| e.to_string())
        };
        let refused = read("").expect_err("open to all");
        assert!(refused.starts_with("t.yaml:2: listen.otlp_grpc: 0.0.0.0:4317 can be reached"), "{refused}");
        for decision in
            ["token: x", "allow_unauthenticated: true", "tls: {certificate: a, private_key: b, client_ca: c}"]
        {
            assert!(read(decision).is_ok(), "{decision}");
        }
        assert!(read("tls: {certificate: a, private_key: b}").is_err(), "TLS alone authenticates nobody who calls");
    }

    #[test]
    fn limits_and_addresses_must_fit_together() {
        let text = "listen: {http: 127.0.0.1:4317}\nsync_interval: 1m\nlimits: {in_flight_bytes: 1MiB}\n";
        let error = Config::from_text(Path::new("t.yaml"), text, &Overrides::default(), |_| None).expect_err("wrong");
        let fields: Vec<_> = error.problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(fields, ["listen.otlp_grpc", "sync_interval", "limits.in_flight_bytes"]);
    }
}
