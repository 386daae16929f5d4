//! From the document, the variables and the flags to the settings.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::document::{self, Problems, Section};
use super::{
    Alert, Compression, Config, Durability, ExportProtocol, HistoryStore, Limits, Listen, OtlpTarget, Overrides,
    Retention, Secret, SelfTelemetry, Tls, Webhook, value,
};

/// The line of each field that the file gives and that is checked again once everything is known.
pub(super) type Lines = BTreeMap<&'static str, usize>;

/// The settings in `text`; defaults where it says nothing or something wrong.
pub(super) fn config(text: &str, problems: &mut Problems) -> (Config, Lines) {
    let mut config = Config::default();
    let mut lines = Lines::new();
    let root = document::root(text, problems);
    let mut root = Section::new(root.as_ref(), "", problems);

    root.set("data_dir", &mut config.data_dir, value::path, problems);
    listen(&mut root, &mut config.listen, &mut lines, problems);
    config.token = root.value("token", value::secret, problems);
    root.set("allow_unauthenticated", &mut config.allow_unauthenticated, value::flag, problems);
    config.tls = tls(&mut root, problems);
    config.durability = durability(&mut root, problems);
    limits(&mut root, &mut config.limits, problems);
    config.export = export(&mut root, problems);
    config.alert = alert(&mut root, problems);
    retention(&mut root, &mut config.retention, problems);
    config.history_store = history_store(&mut root, problems);
    config.self_telemetry = self_telemetry(&mut root, problems);
    root.end(problems);
    (config, lines)
}

fn listen(root: &mut Section<'_>, listen: &mut Listen, lines: &mut Lines, problems: &mut Problems) {
    let mut section = root.section("listen", problems);
    let places = [
        ("http", "listen.http", &mut listen.http),
        ("otlp_grpc", "listen.otlp_grpc", &mut listen.otlp_grpc),
        ("otlp_http", "listen.otlp_http", &mut listen.otlp_http),
    ];
    for (key, field, address) in places {
        if let Some(node) = section.node(key) {
            lines.insert(field, document::line(node));
        }
        section.set(key, address, value::address, problems);
    }
    if let Some(node) = section.node("xray") {
        lines.insert("listen.xray", document::line(node));
    }
    listen.xray = section.value("xray", value::address, problems);
    section.end(problems);
}

fn tls(root: &mut Section<'_>, problems: &mut Problems) -> Option<Tls> {
    let mut section = root.section("tls", problems);
    let certificate = section.value("certificate", value::path, problems);
    let private_key = section.value("private_key", value::path, problems);
    let client_ca = section.value("client_ca", value::path, problems);
    let (given, line) = (section.is_given(), section.line());
    section.end(problems);
    match (certificate, private_key) {
        (Some(certificate), Some(private_key)) => Some(Tls { certificate, private_key, client_ca }),
        _ if given => {
            problems.note(line, "tls", "needs both `certificate` and `private_key`, the paths of PEM files");
            None
        }
        _ => None,
    }
}

fn durability(root: &mut Section<'_>, problems: &mut Problems) -> Durability {
    let Durability::Synced { mut interval } = Durability::default() else { return Durability::Memory };
    root.set("sync_interval", &mut interval, value::duration, problems);
    let words = &[("synced", true), ("memory", false)];
    let synced = root.value("durability", value::word(words), problems).unwrap_or(true);
    if synced { Durability::Synced { interval } } else { Durability::Memory }
}

fn limits(root: &mut Section<'_>, limits: &mut Limits, problems: &mut Problems) {
    let mut section = root.section("limits", problems);
    section.set("grpc_request_bytes", &mut limits.grpc_request_bytes, value::size, problems);
    section.set("http_request_bytes", &mut limits.http_request_bytes, value::size, problems);
    limits.memory_bytes = section.value("memory_bytes", value::size, problems);
    section.set("in_flight_bytes", &mut limits.in_flight_bytes, value::size, problems);
    section.set("connections", &mut limits.connections, number(1_000_000), problems);
    if let Some(streams) = section.value("streams", number(10_000), problems) {
        limits.streams = u32::try_from(streams).unwrap_or(limits.streams);
    }
    section.set("header_timeout", &mut limits.header_timeout, value::duration, problems);
    section.set("body_timeout", &mut limits.body_timeout, value::duration, problems);
    section.set("idle_timeout", &mut limits.idle_timeout, value::duration, problems);
    section.set("queue_timeout", &mut limits.queue_timeout, value::duration, problems);
    section.set("journal_bytes", &mut limits.journal_bytes, value::bytes, problems);
    section.end(problems);
}

fn export(root: &mut Section<'_>, problems: &mut Problems) -> Vec<OtlpTarget> {
    let mut section = root.section("export", problems);
    let targets =
        section.list("otlp", problems).into_iter().filter_map(|target| otlp_target(target, problems)).collect();
    section.end(problems);
    targets
}

fn otlp_target(mut section: Section<'_>, problems: &mut Problems) -> Option<OtlpTarget> {
    let endpoint = section.value("endpoint", value::url, problems);
    if endpoint.is_none() && section.node("endpoint").is_none() {
        problems.note(section.line(), &section.field("endpoint"), "missing; an address such as http://127.0.0.1:4317");
    }
    let protocols = &[("grpc", ExportProtocol::Grpc), ("http", ExportProtocol::Http)];
    let protocol = section.value("protocol", value::word(protocols), problems).unwrap_or_default();
    let compressions = &[("none", Compression::None), ("gzip", Compression::Gzip), ("zstd", Compression::Zstd)];
    let compression = section.value("compression", value::word(compressions), problems).unwrap_or_default();
    let headers = headers(&mut section, problems);
    let (mut queue, mut queue_bytes) = (1024, 64 << 20);
    section.set("queue", &mut queue, number(1_000_000), problems);
    section.set("queue_bytes", &mut queue_bytes, value::size, problems);
    section.end(problems);
    Some(OtlpTarget { endpoint: endpoint?, protocol, headers, compression, queue, queue_bytes })
}

fn headers(section: &mut Section<'_>, problems: &mut Problems) -> Vec<(String, Secret)> {
    let map = section.section("headers", problems);
    let mut headers = Vec::new();
    for (name, node) in map.entries() {
        let valid_name = http::HeaderName::from_bytes(name.as_bytes());
        let text = value::text(node).ok().filter(|text| http::HeaderValue::from_str(text).is_ok());
        match (valid_name, text) {
            (Ok(valid), Some(text)) => headers.push((valid.as_str().to_owned(), Secret::new(text))),
            _ => problems.note(Some(document::line(node)), &map.field(name), "not a header name with a text"),
        }
    }
    headers
}

fn alert(root: &mut Section<'_>, problems: &mut Problems) -> Alert {
    let mut section = root.section("alert", problems);
    let mut alert = Alert::default();
    for mut webhook in section.list("webhooks", problems) {
        let headers = headers(&mut webhook, problems);
        alert.webhooks.extend(url(webhook, problems).map(|url| Webhook { url, headers }));
    }
    for alertmanager in section.list("alertmanagers", problems) {
        alert.alertmanagers.extend(url(alertmanager, problems));
    }
    section.end(problems);
    alert
}

fn url(mut section: Section<'_>, problems: &mut Problems) -> Option<value::Url> {
    let url = section.value("url", value::url, problems);
    if section.node("url").is_none() {
        problems.note(section.line(), &section.field("url"), "missing; an address such as http://127.0.0.1:9093");
    }
    section.end(problems);
    url
}

fn retention(root: &mut Section<'_>, retention: &mut Retention, problems: &mut Problems) {
    let mut section = root.section("retention", problems);
    section.set("spans_hours", &mut retention.spans, value::hours_or_none, problems);
    section.set("logs_hours", &mut retention.logs, value::hours, problems);
    section.set("edges_hours", &mut retention.edges, value::hours, problems);
    section.set("edges_1m_hours", &mut retention.edges_1m, value::hours, problems);
    section.set("edges_1h_hours", &mut retention.edges_1h, value::hours, problems);
    section.set("incidents_hours", &mut retention.incidents, value::hours, problems);
    section.set("disk_bytes", &mut retention.disk_bytes, value::bytes, problems);
    retention.spans_bytes = section.value("spans_bytes", value::bytes, problems);
    retention.logs_bytes = section.value("logs_bytes", value::bytes, problems);
    retention.edges_bytes = section.value("edges_bytes", value::bytes, problems);
    retention.edges_1m_bytes = section.value("edges_1m_bytes", value::bytes, problems);
    retention.edges_1h_bytes = section.value("edges_1h_bytes", value::bytes, problems);
    section.end(problems);
}

fn history_store(root: &mut Section<'_>, problems: &mut Problems) -> Option<HistoryStore> {
    let mut section = root.section("history", problems);
    let place = section.value("store", value::bucket, problems);
    let endpoint = section.value("endpoint", value::url, problems);
    let mut cache_bytes = 10 << 30;
    section.set("cache_bytes", &mut cache_bytes, value::bytes, problems);
    section.end(problems);
    place.map(|(bucket, prefix)| HistoryStore { bucket, prefix, endpoint, cache_bytes })
}

fn self_telemetry(root: &mut Section<'_>, problems: &mut Problems) -> Option<SelfTelemetry> {
    let mut section = root.section("self_telemetry", problems);
    let endpoint = section.value("endpoint", value::url, problems);
    section.end(problems);
    endpoint.map(|endpoint| SelfTelemetry { endpoint })
}

/// A whole number from 1 to `most` that fits into memory.
fn number(most: u64) -> impl Fn(&document::Node) -> Result<usize, String> {
    move |node| value::count(most)(node).map(|number| usize::try_from(number).unwrap_or(usize::MAX))
}

/// Lets the variables win over the file.
pub(super) fn variables(config: &mut Config, get: impl Fn(&str) -> Option<String>, problems: &mut Problems) {
    let get = |name: &str| get(name).filter(|text| !text.is_empty());
    if let Some(path) = get("TRIPLINE_DATA_DIR") {
        config.data_dir = PathBuf::from(path);
    }
    if let Some(token) = get("TRIPLINE_TOKEN") {
        config.token = Some(Secret::new(token));
    }
    let listen = &mut config.listen;
    let addresses = [
        ("TRIPLINE_HTTP", &mut listen.http),
        ("TRIPLINE_OTLP_GRPC", &mut listen.otlp_grpc),
        ("TRIPLINE_OTLP_HTTP", &mut listen.otlp_http),
    ];
    for (name, place) in addresses {
        let Some(text) = get(name) else { continue };
        match value::socket_address(&text) {
            Ok(address) => *place = address,
            Err(expected) => problems.note(None, name, format!("expected {expected}, found \"{text}\"")),
        }
    }
}

/// Lets the flags win over all else.
pub(super) fn flags(config: &mut Config, flags: &Overrides) {
    let Overrides { data_dir, http, otlp_grpc, otlp_http, token, allow_unauthenticated } = flags;
    if let Some(path) = data_dir {
        config.data_dir.clone_from(path);
    }
    let listen = &mut config.listen;
    for (flag, place) in
        [(http, &mut listen.http), (otlp_grpc, &mut listen.otlp_grpc), (otlp_http, &mut listen.otlp_http)]
    {
        *place = flag.unwrap_or(*place);
    }
    if let Some(token) = token {
        config.token = Some(Secret::new(token.clone()));
    }
    config.allow_unauthenticated |= allow_unauthenticated;
}

/// The shortest and the longest time that makes sense for gathering requests before a sync.
pub(super) const SYNC_INTERVALS: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::super::{Config, Overrides, Secret};
    use std::path::Path;

    fn read(text: &str) -> Result<Config, Vec<String>> {
        Config::from_text(Path::new("tripline.yaml"), text, &Overrides::default(), |_| None)
            .map_err(|error| error.problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn nothing_said_is_the_default() {
        for text in ["", "# nothing\n", "listen:\ntls:\nexport:\n"] {
            assert_eq!(read(text), Ok(Config::default()), "{text:?}");
        }
    }

    #[test]
    fn everything_can_be_said() {
        let config = read(
            "data_dir: /var/lib/tripline\n\
             listen: {http: 0.0.0.0:80, otlp_grpc: '[::1]:0', otlp_http: localhost:4318}\n\
             token: s3cret\n\
             tls: {certificate: a.pem, private_key: b.pem, client_ca: c.pem}\n\
             durability: memory\n\
             limits: {http_request_bytes: 5MiB, connections: 10, body_timeout: 500ms, journal_bytes: 1GiB}\n\
             export:\n  otlp:\n  - endpoint: https://otlp.example.com/x/\n    protocol: http\n    compression: zstd\n    \
             headers: {Api-Key: abc}\n    queue: 7\n\
             alert:\n  webhooks: [{url: 'http://127.0.0.1:1/hook', headers: {x-a: b}}]\n  \
             alertmanagers: [{url: 'http://127.0.0.1:9093'}]\n\
             retention: {spans_hours: 1}\n\
             self_telemetry: {endpoint: 'http://127.0.0.1:5317'}\n",
        )
        .expect("valid");
        assert_eq!(config.listen.otlp_http.to_string(), "127.0.0.1:4318");
        assert_eq!(config.limits.http_request_bytes, 5 << 20);
        assert_eq!(config.export[0].headers, [("api-key".to_owned(), Secret::new("abc"))]);
        assert_eq!(config.export[0].endpoint.as_str(), "https://otlp.example.com/x");
        assert_eq!(config.alert.alertmanagers[0].as_str(), "http://127.0.0.1:9093");
        assert_eq!(config.retention.spans.as_secs(), 3600);
        assert!(!format!("{config:?}").contains("s3cret"), "a secret was printed");
    }

    /// The example names every key, and but for what has no default says what holds anyway.
    #[test]
    fn the_documented_example_is_valid_and_tells_the_defaults() {
        let page = include_str!("../../../docs/configuration.md");
        let example = page.split("```").nth(1).and_then(|block| block.strip_prefix("yaml")).expect("an example");
        let told = read(example).expect("valid");
        let Config { data_dir, mut listen, durability, mut limits, retention, allow_unauthenticated, .. } =
            Config::default();
        // Left out means this port, too, if nobody has it; named, it must be had.
        listen.xray = Some(crate::receive::xray::USUAL);
        // Left out means what the control group allows.
        limits.memory_bytes = told.limits.memory_bytes;
        let defaults =
            Config { data_dir, listen, durability, limits, retention, allow_unauthenticated, ..told.clone() };
        assert_eq!(told, defaults);
        let no_defaults = (told.export.len(), told.alert.webhooks.len(), told.alert.alertmanagers.len());
        assert_eq!(no_defaults, (1, 1, 1));
        assert!(
            told.limits.memory_bytes.is_some()
                && told.token.is_some()
                && told.tls.is_some()
                && told.self_telemetry.is_some()
        );
    }

    #[test]
    fn every_problem_is_told_at_once_with_its_place() {
        let problems = read(
            "listen:\n  htpp: 127.0.0.1:1\n  otlp_grpc: here\n\
             tls: {certificate: a.pem}\n\
             limits: {connections: 0, body_timeout: 5}\n\
             export: {otlp: [{protocol: carrier_pigeon}]}\n\
             colour: blue\n",
        )
        .expect_err("invalid");
        assert_eq!(
            problems,
            [
                "tripline.yaml:2: listen.htpp: unknown key; did you mean `http`?",
                "tripline.yaml:3: listen.otlp_grpc: expected an IP address and a port such as 127.0.0.1:7600, found \"here\"",
                "tripline.yaml:4: tls: needs both `certificate` and `private_key`, the paths of PEM files",
                "tripline.yaml:5: limits.connections: expected a whole number from 1 to 1000000, found 0",
                "tripline.yaml:5: limits.body_timeout: expected a time such as 20ms, 10s, 5m or 2h, found 5",
                "tripline.yaml:6: export.otlp[0].endpoint: missing; an address such as http://127.0.0.1:4317",
                "tripline.yaml:6: export.otlp[0].protocol: expected one of grpc, http, found \"carrier_pigeon\"",
                "tripline.yaml:7: colour: unknown key; known here: data_dir, listen, token, allow_unauthenticated, tls, \
                 sync_interval, durability, limits, export, alert, retention, history, self_telemetry",
            ]
        );
    }

    #[test]
    fn what_is_no_yaml_or_no_mapping_is_said_with_its_line() {
        for text in ["listen: [\n", "- a\n- b\n", "just text", "a: 1\n---\nb: 2\n", "a: 1\na: 2\n", "\u{0}"] {
            let problems = read(text).expect_err(text);
            assert!(problems[0].starts_with("tripline.yaml:"), "{problems:?}");
        }
    }

    #[test]
    fn flags_win_over_variables_and_variables_over_the_file() {
        let text = "listen: {http: 127.0.0.1:1, otlp_grpc: 127.0.0.1:1, otlp_http: 127.0.0.1:3}\n";
        let flags = Overrides { http: Some(([127, 0, 0, 1], 9).into()), ..Overrides::default() };
        let variable = |name: &str| match name {
            "TRIPLINE_HTTP" | "TRIPLINE_OTLP_GRPC" => Some("127.0.0.1:8".to_owned()),
            _ => None,
        };
        let config = Config::from_text(Path::new("t"), text, &flags, variable).expect("valid");
        let ports =
            [config.listen.http, config.listen.otlp_grpc, config.listen.otlp_http].map(|address| address.port());
        assert_eq!(ports, [9, 8, 3]);

        let wrong = |name: &str| (name == "TRIPLINE_HTTP").then(|| "x".to_owned());
        let error = Config::from_text(Path::new("t"), "", &Overrides::default(), wrong).expect_err("invalid");
        assert!(error.to_string().starts_with("TRIPLINE_HTTP: expected an IP address"), "{error}");
    }
}
