//! Holds a document against the schema: problems, unknown fields, the compatibility report.
//!
//! A field that is ignored is not looked into, whatever it holds. A field that Kubernetes would drop as unknown is a
//! warning, never a problem: documents of real users carry misspelt and outdated fields, and App Mesh ran them.

use crate::Support;
use crate::findings::{Findings, Place};
use crate::schema::{Field, Rule, Shape};
use crate::yaml::{Node, Value, shown};

/// Where a walk over a document is.
#[derive(Debug, Clone)]
pub(crate) struct At {
    pub(crate) source: usize,
    /// Field path in the document, `spec.listeners[0].tls`.
    pub(crate) path: String,
    /// The same for the report, `VirtualNode.spec.listeners[].tls`.
    pub(crate) pattern: String,
}

impl At {
    pub(crate) fn field(&self, name: &str) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        let name = shown(name);
        Self {
            source: self.source,
            path: format!("{}{dot}{name}", self.path),
            pattern: format!("{}.{name}", self.pattern),
        }
    }

    pub(crate) fn element(&self, index: usize) -> Self {
        Self { source: self.source, path: format!("{}[{index}]", self.path), pattern: format!("{}[]", self.pattern) }
    }

    pub(crate) fn line(&self, line: usize) -> Place<'_> {
        Place { source: self.source, line, path: &self.path }
    }
}

/// Holds one value against its shape.
pub(crate) fn check(node: &Node<'_>, shape: &Shape, at: &At, findings: &mut Findings<'_>) {
    match (shape, &node.value) {
        (Shape::Anything, _) => {}
        (Shape::Object(fields, rule), Value::Map(_)) => check_object(node, (fields, *rule), at, findings),
        (Shape::List { of, min, max }, Value::List(nodes)) => {
            if !(*min..=*max).contains(&nodes.len()) {
                let message = format!("expected a list of {min} to {max} elements, got {}", nodes.len());
                findings.problem(at.line(node.line), message);
            }
            for (index, element) in nodes.iter().enumerate().take(*max) {
                check(element, of, &at.element(index), findings);
            }
        }
        (_, Value::Scalar { text, quoted }) => {
            if let Err(message) = check_scalar(shape, text, *quoted) {
                findings.problem(at.line(node.line), message);
            }
        }
        _ => {
            let message = format!("expected {}, got {}", expected(shape), node.described());
            findings.problem(at.line(node.line), message);
        }
    }
}

fn check_object(node: &Node<'_>, (fields, rule): (&[Field], Rule), at: &At, findings: &mut Findings<'_>) {
    let Value::Map(entries) = &node.value else { return };
    for entry in entries {
        let here = at.field(&entry.name);
        match fields.iter().find(|field| field.name == entry.name) {
            Some(_) if entry.node.value == Value::Null => {}
            Some(field) => {
                note_use(field, &here, (entry.line, &entry.node), findings);
                check(&entry.node, &field.shape, &here, findings);
            }
            None if matches!(rule, Rule::Open) => {}
            None => unknown(fields, &entry.name, here.line(entry.line), (&here.pattern, findings)),
        }
    }
    for field in fields.iter().filter(|field| field.required && node.get(field.name).is_none()) {
        let here = at.field(field.name);
        findings.problem(here.line(node.line), format!("expected {}, got nothing", expected(&field.shape)));
    }
    let Rule::OneOf(names) = rule else { return };
    let given: Vec<&str> = names.iter().copied().filter(|name| node.get(name).is_some()).collect();
    if given.len() != 1 {
        let got = if given.is_empty() { "none".to_owned() } else { given.join(" and ") };
        findings.problem(at.line(node.line), format!("expected exactly one of {}, got {got}", names.join(", ")));
    }
}

fn note_use(field: &Field, at: &At, (line, node): (usize, &Node<'_>), findings: &mut Findings<'_>) {
    let leaf = match (&field.shape, &node.value) {
        (Shape::Object(..), _) => false,
        (Shape::List { of, .. }, _) => !matches!(of, Shape::Object(..)),
        _ => true,
    };
    if leaf || field.support != Support::Used {
        findings.count(&at.pattern, field.support, field.note);
    }
    if field.support != Support::Used && !field.quiet {
        findings.warn_once(at.pattern.clone(), at.line(line), || format!("{}: {}", field.support, field.note));
    }
}

fn unknown(fields: &[Field], name: &str, at: Place<'_>, (pattern, findings): (&str, &mut Findings<'_>)) {
    findings.count(pattern, Support::Unknown, "not a field of App Mesh; it has no effect");
    let near = fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
    let advice = match near {
        Some(field) => format!("did you mean \"{}\"?", field.name),
        None => format!("known here: {}", fields.iter().map(|field| field.name).collect::<Vec<_>>().join(", ")),
    };
    findings.warn(at, format!("unknown field, it has no effect; {advice}"));
}

fn check_scalar(shape: &Shape, text: &str, quoted: bool) -> Result<(), String> {
    if let Some(placeholder) = placeholder(text) {
        return Err(format!("{placeholder} is not filled in; run the file through envsubst or write the value"));
    }
    let fits = match shape {
        Shape::Text { min, max } => (*min..=*max).contains(&text.len()),
        Shape::Number { min, max } => {
            !quoted && text.parse::<i64>().is_ok_and(|number| (*min..=*max).contains(&number))
        }
        Shape::Flag => !quoted && matches!(text, "true" | "false"),
        Shape::Word(words) => words.contains(&text),
        Shape::List { .. } | Shape::Object(..) => false,
        Shape::Anything => true,
    };
    if fits {
        return Ok(());
    }
    let unquote = match shape {
        Shape::Number { .. } | Shape::Flag if quoted && check_scalar(shape, text, false).is_ok() => {
            "; remove the quotes"
        }
        _ => "",
    };
    Err(format!("expected {}, got \"{}\"{unquote}", expected(shape), shown(text)))
}

/// A variable or template placeholder that nobody filled in, in words.
pub(crate) fn placeholder(text: &str) -> Option<String> {
    let cut = |start: &str, end: &str| {
        let from = text.find(start)?;
        let inside = text.get(from..)?;
        let length = inside.find(end)? + end.len();
        inside.get(..length).map(shown)
    };
    cut("${", "}")
        .map(|found| format!("variable {found}"))
        .or_else(|| cut("{{", "}}").map(|found| format!("template placeholder {found}")))
}

fn expected(shape: &Shape) -> String {
    match shape {
        Shape::Text { min: 0, max } => format!("a text of at most {max} bytes"),
        Shape::Text { min, max } => format!("a text of {min} to {max} bytes"),
        Shape::Number { min: i64::MIN, max: i64::MAX } => "a whole number".to_owned(),
        Shape::Number { min, max } => format!("a number in {min}..={max}"),
        Shape::Flag => "true or false".to_owned(),
        Shape::Word(words) => format!("one of {}", words.join(", ")),
        Shape::List { .. } => "a list".to_owned(),
        Shape::Object(fields, _) => {
            let needed: Vec<&str> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
            if needed.is_empty() { "a mapping".to_owned() } else { format!("a mapping with {}", needed.join(", ")) }
        }
        Shape::Anything => "something".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::kinds;
    use crate::yaml;

    fn findings_of(kind: &str, spec: &str) -> (Vec<String>, Vec<String>) {
        let kind = kinds::ALL.iter().find(|known| known.name == kind).unwrap();
        let parsed = yaml::parse(spec);
        let mut findings = Findings::new(vec!["f"]);
        let at = At { source: 0, path: "spec".to_owned(), pattern: format!("{}.spec", kind.name) };
        check(&parsed.documents[0], &kind.spec, &at, &mut findings);
        let texts = |found: Vec<crate::Problem>| found.iter().map(ToString::to_string).collect::<Vec<_>>();
        match findings.finish() {
            Ok((warnings, _)) => (Vec::new(), texts(warnings)),
            Err(problems) => (texts(problems.problems), texts(problems.warnings)),
        }
    }

    #[test]
    fn each_problem_says_place_and_expectation() {
        let table = [
            (
                "listeners:\n- portMapping: {port: http, protocol: http}",
                "f:2: spec.listeners[0].portMapping.port: expected a number in 1..=65535, got \"http\"",
            ),
            (
                "listeners:\n- portMapping: {port: \"80\", protocol: http}",
                "f:2: spec.listeners[0].portMapping.port: expected a number in 1..=65535, got \"80\"; remove the quotes",
            ),
            (
                "listeners:\n- portMapping:\n    port: 80",
                "f:3: spec.listeners[0].portMapping.protocol: expected one of http, http2, grpc, tcp, got nothing",
            ),
            (
                "listeners:\n- portMapping: {port: 80, protocol: udp}",
                "f:2: spec.listeners[0].portMapping.protocol: expected one of http, http2, grpc, tcp, got \"udp\"",
            ),
            ("listeners: {}", "f:1: spec.listeners: expected a list, got a mapping"),
            ("listeners: [5]", "f:1: spec.listeners[0]: expected a mapping with portMapping, got \"5\""),
            (
                "serviceDiscovery:\n  dns: {hostname: \"${HOST}.local\"}",
                "f:2: spec.serviceDiscovery.dns.hostname: variable ${HOST} is not filled in; run the file through envsubst or write the value",
            ),
            (
                "serviceDiscovery: {dns: {hostname: a}, awsCloudMap: {namespaceName: a, serviceName: b}}",
                "f:1: spec.serviceDiscovery: expected exactly one of dns, awsCloudMap, got dns and awsCloudMap",
            ),
            ("serviceDiscovery: {}", "f:1: spec.serviceDiscovery: expected exactly one of dns, awsCloudMap, got none"),
        ];
        for (spec, problem) in table {
            assert_eq!(findings_of("VirtualNode", spec).0, [problem], "{spec}");
        }
    }

    #[test]
    fn unknown_and_unsupported_fields_warn() {
        let spec =
            "serviceDiscovery: {dns: {hostName: a, hostname: b}}\nbackendGroups: 7\npodSelector: {}\ncolour: red";
        let (problems, warnings) = findings_of("VirtualNode", spec);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert_eq!(
            warnings[0],
            "f:1: spec.serviceDiscovery.dns.hostName: unknown field, it has no effect; did you mean \"hostname\"?"
        );
        assert!(warnings[1].starts_with("f:2: spec.backendGroups: ignored: "), "{warnings:?}");
        assert!(warnings[2].starts_with("f:4: spec.colour: unknown field"), "{warnings:?}");
    }

    #[test]
    fn an_ignored_field_is_told_once_with_its_number() {
        let listener = "- {portMapping: {port: 80, protocol: http}, healthCheck: {}}\n";
        let (_, warnings) = findings_of("VirtualNode", &format!("listeners:\n{}", listener.repeat(3)));
        assert!(matches!(warnings.as_slice(), [only] if only.ends_with("(and 2 more)")), "{warnings:?}");
    }
}
