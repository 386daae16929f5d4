//! The conditions of a route.

use super::Reader;
use crate::cursor::Cursor;
use crate::{HeaderMatch, ListenerProtocol, Pattern, QueryMatch, RouteMatch, TextMatch};

impl Reader<'_, '_> {
    /// The `match` of a route's body; every request when there is none, as for TCP.
    pub(super) fn matching(&mut self, body: &Cursor<'_>, protocol: ListenerProtocol) -> RouteMatch {
        let mut matches = RouteMatch::prefix("/");
        let Some(written) = body.get("match") else { return matches };
        matches.port = written.number("port");
        match protocol {
            ListenerProtocol::Tcp => return matches,
            ListenerProtocol::Grpc => matches.path = self.grpc_path(&written),
            ListenerProtocol::Http | ListenerProtocol::Http2 => matches.path = self.http_path(&written),
        }
        matches.method = written.text("method").map(str::to_owned);
        matches.scheme = written.text("scheme").map(str::to_owned);
        let headers = if protocol == ListenerProtocol::Grpc { "metadata" } else { "headers" };
        matches.headers = written.list(headers).iter().filter_map(|header| self.header(header)).collect();
        matches.query = written
            .list("queryParameters")
            .iter()
            .filter_map(|query| {
                let exact = query.get("match").and_then(|condition| condition.text("exact"));
                Some(QueryMatch { name: query.text("name")?.to_owned(), exact: exact.map(str::to_owned) })
            })
            .collect();
        matches
    }

    /// gRPC carries `/service/method` as its path.
    fn grpc_path(&mut self, written: &Cursor<'_>) -> TextMatch {
        match (written.text("serviceName"), written.text("methodName")) {
            (Some(service), Some(method)) => TextMatch::Exact(format!("/{service}/{method}")),
            (Some(service), None) => TextMatch::Prefix(format!("/{service}/")),
            (None, method) => {
                if method.is_some() {
                    self.findings.problem(written.place(), "expected serviceName beside methodName");
                }
                TextMatch::Prefix("/".to_owned())
            }
        }
    }

    fn http_path(&mut self, written: &Cursor<'_>) -> TextMatch {
        let path = written.get("path");
        let (value, exact) = if let Some(regex) = path.as_ref().and_then(|path| path.get("regex")) {
            return self.pattern(&regex).unwrap_or_else(|| TextMatch::Prefix("/".to_owned()));
        } else if let Some(exact) = path.as_ref().and_then(|path| path.get("exact")) {
            (Some(exact), true)
        } else {
            (written.get("prefix"), false)
        };
        let text = value.as_ref().and_then(Cursor::as_text).unwrap_or("/").to_owned();
        if let Some(value) = value
            && !text.starts_with('/')
        {
            let message = format!("expected a path that begins with /, got \"{}\"", crate::yaml::shown(&text));
            self.findings.problem(value.place(), message);
        }
        if exact { TextMatch::Exact(text) } else { TextMatch::Prefix(text) }
    }

    fn header(&mut self, written: &Cursor<'_>) -> Option<HeaderMatch> {
        let name = written.text("name")?.to_ascii_lowercase();
        let invert = written.flag("invert");
        let condition = written.get("match");
        let value = condition.and_then(|condition| {
            let (word, value) = condition.first_of(&["exact", "prefix", "suffix", "regex", "range"])?;
            let text = || value.as_text().map(str::to_owned);
            match word {
                "exact" => text().map(TextMatch::Exact),
                "prefix" => text().map(TextMatch::Prefix),
                "suffix" => text().map(TextMatch::Suffix),
                "regex" => self.pattern(&value),
                _ => self.range(&value),
            }
        });
        Some(HeaderMatch { name, invert, value })
    }

    fn range(&mut self, written: &Cursor<'_>) -> Option<TextMatch> {
        let (start, end) = (written.number("start")?, written.number("end")?);
        if start >= end {
            let message = format!("expected start below end (end is not included), got {start} and {end}");
            self.findings.problem(written.place(), message);
        }
        Some(TextMatch::Range { start, end })
    }

    fn pattern(&mut self, written: &Cursor<'_>) -> Option<TextMatch> {
        match Pattern::new(written.as_text()?) {
            Ok(pattern) => Some(TextMatch::Regex(pattern)),
            Err(error) => {
                self.findings.problem(written.place(), format!("expected a regular expression: {error}"));
                None
            }
        }
    }
}
