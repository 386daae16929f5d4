//! YAML text to small trees that know their lines.
//!
//! Built on the pull parser of `saphyr`, because its ready-made loader recurses (a deep document ends the process) and
//! loses the lines of field names. What is ours:
//!
//! - Documents are cut apart first, at `---` in the first column, which YAML allows nowhere else. So one broken document
//!   costs one problem and the others are still read.
//! - Bounds: bytes, documents and nodes a source, depth. Aliases are refused, so nothing can expand.
//! - A mapping keeps its fields in order with the line of each name; a name given twice is a problem.
//!
//! Scalars stay texts with the knowledge whether they were quoted; what a `8080` is, the schema decides.

use std::borrow::Cow;
use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};

/// Largest source, in bytes; some 5,000 virtual nodes. The parser may hold 170 bytes for each byte of a hostile one.
pub(crate) const MAX_SOURCE_BYTES: usize = 2 * 1024 * 1024;
/// Most documents in one source.
pub(crate) const MAX_DOCUMENTS: usize = 10_000;
/// Deepest nesting of mappings and lists; the deepest field of App Mesh lies at 14.
pub(crate) const MAX_DEPTH: usize = 64;
/// Most nodes of one source; one that fills [`MAX_SOURCE_BYTES`] sensibly has half as many.
pub(crate) const MAX_NODES: usize = 300_000;

/// A node of a document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node<'t> {
    /// Line in its source, from 1.
    pub(crate) line: usize,
    pub(crate) value: Value<'t>,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'t> {
    Null,
    Scalar { text: Cow<'t, str>, quoted: bool },
    List(Vec<Node<'t>>),
    Map(Vec<Entry<'t>>),
}

/// One field of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry<'t> {
    pub(crate) name: Cow<'t, str>,
    /// Line of the name.
    pub(crate) line: usize,
    pub(crate) node: Node<'t>,
}

/// What is wrong with the text itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) line: usize,
    pub(crate) message: String,
}

/// The readable documents of one source, and what is wrong with the others.
#[derive(Debug, Default)]
pub(crate) struct Parsed<'t> {
    pub(crate) documents: Vec<Node<'t>>,
    pub(crate) broken: Vec<Broken>,
    nodes: usize,
}

impl<'t> Node<'t> {
    /// The field of a mapping; `None` too when it is null.
    pub(crate) fn get(&self, name: &str) -> Option<&Node<'t>> {
        let Value::Map(entries) = &self.value else { return None };
        let found = entries.iter().find(|entry| entry.name == name)?;
        (found.node.value != Value::Null).then_some(&found.node)
    }

    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// What it is, in words for a message.
    pub(crate) fn described(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Scalar { text, .. } => format!("\"{}\"", shown(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }
}

/// A text of the document fit for a message: cut, control characters escaped.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut cut: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        cut.push_str("...");
    }
    cut
}

/// Reads all documents of a source.
pub(crate) fn parse(text: &str) -> Parsed<'_> {
    let mut parsed = Parsed::default();
    if text.len() > MAX_SOURCE_BYTES {
        let message = format!("expected at most {MAX_SOURCE_BYTES} bytes, got {}; split the file", text.len());
        parsed.broken.push(Broken { line: 0, message });
        return parsed;
    }
    for chunk in chunks(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        if parsed.documents.len() + parsed.broken.len() >= MAX_DOCUMENTS {
            let message = format!("expected at most {MAX_DOCUMENTS} documents; split the file");
            parsed.broken.push(Broken { line: chunk.first_line, message });
            break;
        }
        parse_chunk(&chunk, &mut parsed);
    }
    parsed
}

/// The lines from one `---` to the next.
struct Chunk<'t> {
    text: &'t str,
    first_line: usize,
}

fn chunks(text: &str) -> Vec<Chunk<'_>> {
    let mut chunks = Vec::new();
    let mut start = 0;
    let mut first_line = 1;
    let mut end = 0;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let marker =
            line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if marker {
            chunks.push(Chunk { text: &text[start..end], first_line });
            (start, first_line) = (end, number);
        }
        end += line.len();
    }
    chunks.push(Chunk { text: &text[start..end], first_line });
    chunks.retain(|chunk| !is_prologue(chunk.text));
    chunks
}

/// Blank lines, comments and `%` directives only.
fn is_prologue(text: &str) -> bool {
    text.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with(['#', '%']))
}

fn parse_chunk<'t>(chunk: &Chunk<'t>, parsed: &mut Parsed<'t>) {
    let offset = chunk.first_line - 1;
    let mut builder = Builder { nodes: parsed.nodes, ..Builder::default() };
    let mut parser = Parser::new_from_str(chunk.text);
    while let Some(step) = parser.next_event() {
        let outcome = match step {
            Ok((event, span)) => builder.on_event(event, offset + span.start.line()),
            Err(error) => Err(syntax(&error, chunk)),
        };
        if let Err(broken) = outcome {
            parsed.broken.push(broken);
            return;
        }
    }
    parsed.nodes = builder.nodes;
    parsed.broken.append(&mut builder.doubled);
    parsed.documents.append(&mut builder.documents);
}

/// The parser's words, with a hint when a template was not filled in.
fn syntax(error: &ScanError, chunk: &Chunk<'_>) -> Broken {
    let line = error.marker().line().max(1);
    let hint = match chunk.text.lines().nth(line - 1) {
        Some(text) if text.contains("${") => "; the line has a variable that is not filled in, run it through envsubst",
        Some(text) if text.contains("{{") => "; the line has a template placeholder that is not filled in",
        _ => "",
    };
    Broken { line: chunk.first_line - 1 + line, message: format!("not YAML: {}{hint}", error.info()) }
}

/// A collection that is still open.
enum Open<'t> {
    List {
        line: usize,
        nodes: Vec<Node<'t>>,
    },
    Map {
        line: usize,
        entries: Vec<Entry<'t>>,
        name: Option<(Cow<'t, str>, usize)>,
        seen: BTreeMap<Cow<'t, str>, usize>,
    },
}

#[derive(Default)]
struct Builder<'t> {
    open: Vec<Open<'t>>,
    nodes: usize,
    documents: Vec<Node<'t>>,
    doubled: Vec<Broken>,
}

impl<'t> Builder<'t> {
    fn on_event(&mut self, event: Event<'t>, line: usize) -> Result<(), Broken> {
        match event {
            Event::Scalar(text, style, _, tag) => {
                let quoted = style != ScalarStyle::Plain
                    || tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
                self.add(Node { line, value: scalar(text, quoted) })
            }
            Event::SequenceStart(..) => self.open(Open::List { line, nodes: Vec::new() }, line),
            Event::MappingStart(..) => {
                self.open(Open::Map { line, entries: Vec::new(), name: None, seen: BTreeMap::new() }, line)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List { line, mut nodes }) => {
                    nodes.shrink_to_fit();
                    self.add(Node { line, value: Value::List(nodes) })
                }
                Some(Open::Map { line, mut entries, .. }) => {
                    entries.shrink_to_fit();
                    self.add(Node { line, value: Value::Map(entries) })
                }
                None => Ok(()),
            },
            Event::Alias(_) => {
                Err(Broken { line, message: "expected no alias (*name): write the value out".to_owned() })
            }
            Event::DocumentStart(_) => {
                self.open.clear();
                Ok(())
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn open(&mut self, collection: Open<'t>, line: usize) -> Result<(), Broken> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Broken { line, message: format!("expected at most {MAX_DEPTH} levels of nesting") });
        }
        self.open.push(collection);
        Ok(())
    }

    fn add(&mut self, node: Node<'t>) -> Result<(), Broken> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = format!("expected at most {MAX_NODES} values in one source; split the file");
            return Err(Broken { line: node.line, message });
        }
        match self.open.last_mut() {
            None if self.documents.len() >= MAX_DOCUMENTS => {
                let message = format!("expected at most {MAX_DOCUMENTS} documents; split the file");
                return Err(Broken { line: node.line, message });
            }
            None => self.documents.push(node),
            Some(Open::List { nodes, .. }) => nodes.push(node),
            Some(Open::Map { entries, name, seen, .. }) => match name.take() {
                Some((name, line)) => {
                    if let Some(first) = seen.get(&name) {
                        let message =
                            format!("expected each field once, got \"{}\" also in line {first}", shown(&name));
                        self.doubled.push(Broken { line, message });
                    } else {
                        seen.insert(name.clone(), line);
                        entries.push(Entry { name, line, node });
                    }
                }
                None => *name = Some(field_name(node)?),
            },
        }
        Ok(())
    }
}

fn field_name(node: Node<'_>) -> Result<(Cow<'_, str>, usize), Broken> {
    match node.value {
        Value::Scalar { text, .. } => Ok((text, node.line)),
        Value::Null => Ok((Cow::Borrowed("null"), node.line)),
        Value::List(_) | Value::Map(_) => Err(Broken {
            line: node.line,
            message: "expected a text as field name; quote the value if this is a template's {{ placeholder }}"
                .to_owned(),
        }),
    }
}

fn scalar(text: Cow<'_, str>, quoted: bool) -> Value<'_> {
    if !quoted && matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL") {
        Value::Null
    } else {
        Value::Scalar { text, quoted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(text: &str) -> Vec<(usize, String)> {
        parse(text).broken.into_iter().map(|broken| (broken.line, broken.message)).collect()
    }

    #[test]
    fn nodes_know_their_lines_across_documents() {
        let parsed =
            parse("# head\n%YAML 1.2\n---\na: 1\nb:\n- x\n-   y: z\n---\nc: \"null\"\nd: null\n...\n---\n[1, 2]");
        assert!(parsed.broken.is_empty(), "{:?}", parsed.broken);
        let [first, second, third] = parsed.documents.as_slice() else { panic!("{:?}", parsed.documents) };
        let list = first.get("b").unwrap();
        let Value::List(items) = &list.value else { panic!("{list:?}") };
        assert_eq!((first.line, items[0].line, items[1].get("y").unwrap().line), (4, 6, 7));
        assert_eq!(second.get("c").unwrap().text(), Some("null"));
        assert_eq!(second.get("d"), None);
        assert_eq!((second.line, third.line), (9, 13));
    }

    #[test]
    fn one_broken_document_does_not_hide_the_others() {
        let parsed = parse("a: 1\n---\nb: [1\n---\nc: 3\n---\nd: {x: ${Y}}\n");
        assert_eq!(parsed.documents.len(), 2);
        let lines: Vec<_> = parsed.broken.iter().map(|broken| broken.line).collect();
        assert_eq!(lines, [4, 7], "{:?}", parsed.broken);
        assert!(parsed.broken[1].message.contains("envsubst"), "{:?}", parsed.broken);
    }

    #[test]
    fn refused_with_the_line() {
        for (text, line, words) in [
            ("a: &x 1\nb: *x\n", 2, "alias"),
            ("a: 1\nb: 2\na: 3\n", 3, "also in line 1"),
            ("? [a, b]\n: 1\n", 1, "field name"),
            ("name: {{ .Values.name }}\n", 1, "field name"),
            ("a: 1\n b: 2\n", 2, "not YAML"),
        ] {
            let found = broken(text);
            assert!(
                matches!(found.as_slice(), [(at, message)] if *at == line && message.contains(words)),
                "{text}: {found:?}"
            );
        }
    }

    #[test]
    fn bombs_are_defused() {
        let deeper = "[".repeat(200_000);
        let deep = "[".repeat(MAX_DEPTH + 1);
        let block: String = (0..2_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        let wide = format!("[{}]", "1,".repeat(MAX_NODES + 1));
        let many = "---\na\n".repeat(MAX_DOCUMENTS + 1);
        let long = "#".repeat(MAX_SOURCE_BYTES + 1);
        for (text, words) in [
            (deeper, "recursion limit"),
            (deep, "levels"),
            (block, "levels"),
            (wide, "values"),
            (many, "documents"),
            (long, "bytes"),
        ] {
            let found = broken(&text);
            assert!(matches!(found.as_slice(), [(_, message)] if message.contains(words)), "{words}: {found:?}");
        }
        let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n";
        assert_eq!(broken(bomb).len(), 1);
    }
}
