//! What a document may hold: for every field its shape, and what becomes of it here.
//!
//! The tables in [`kinds`] are the one place that says which fields exist. The walk in `check` takes problems, unknown
//! fields and the compatibility report from them, so what the report calls *used* and what is read stand side by side.

pub(crate) mod gateway;
pub(crate) mod kinds;
pub(crate) mod policy;
pub(crate) mod route;
pub(crate) mod tls;

use crate::Support;

/// What a value must look like.
#[derive(Debug)]
pub(crate) enum Shape {
    /// A text of so many bytes.
    Text { min: usize, max: usize },
    /// A whole number in a range, both ends included.
    Number { min: i64, max: i64 },
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list with at least and at most so many elements.
    List { of: &'static Shape, min: usize, max: usize },
    /// A mapping with these fields.
    Object(&'static [Field], Rule),
    /// Whatever it is, it is not looked into.
    Anything,
}

/// How the fields of a mapping go together.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    /// Each on its own.
    Free,
    /// Fields that the table does not name are fine too.
    Open,
    /// Exactly one of these.
    OneOf(&'static [&'static str]),
}

/// A field of a mapping.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) required: bool,
    pub(crate) support: Support,
    /// What differs or why it is ignored.
    pub(crate) note: &'static str,
    /// Whether it only appears in the report: fields that change nothing for a proxy.
    pub(crate) quiet: bool,
}

/// A used field that must be there.
const fn required(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, required: true, support: Support::Used, note: "", quiet: false }
}

/// A used field that may be there.
const fn optional(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, required: false, support: Support::Used, note: "", quiet: false }
}

/// A field without effect, and a warning when it is set.
const fn ignored(name: &'static str, note: &'static str) -> Field {
    Field { name, shape: Shape::Anything, required: false, support: Support::Ignored, note, quiet: false }
}

/// A field without effect that nobody will miss.
const fn noise(name: &'static str, note: &'static str) -> Field {
    Field { name, shape: Shape::Anything, required: false, support: Support::Ignored, note, quiet: true }
}

impl Field {
    /// With a word on how it is used.
    const fn noted(self, note: &'static str) -> Self {
        Self { note, ..self }
    }

    /// Read and checked, but the proxy does not do all of it.
    const fn limited(self, note: &'static str) -> Self {
        Self { support: Support::Approximated, note, ..self }
    }
}

const NAME: Shape = Shape::Text { min: 1, max: 255 };
const PORT: Shape = Shape::Number { min: 1, max: 65_535 };
/// Kubernetes' integer of 32 bits; nothing larger has a meaning for a count.
const COUNT: Shape = Shape::Number { min: 1, max: i32::MAX as i64 };
const COUNT_OR_ZERO: Shape = Shape::Number { min: 0, max: i32::MAX as i64 };

/// 0 is allowed where it turns something off.
const DURATION: Shape = duration(0);
const POSITIVE_DURATION: Shape = duration(1);

const fn duration(min: i64) -> Shape {
    const UNITS: Shape = Shape::Word(&["s", "ms"]);
    const ANY: &[Field] = &[required("unit", UNITS), required("value", COUNT_OR_ZERO)];
    const POSITIVE: &[Field] = &[required("unit", UNITS), required("value", COUNT)];
    Shape::Object(if min == 0 { ANY } else { POSITIVE }, Rule::Free)
}

const PROTOCOL: Shape = Shape::Word(&["http", "http2", "grpc", "tcp"]);
const PORT_MAPPING: Shape = Shape::Object(&[required("port", PORT), required("protocol", PROTOCOL)], Rule::Free);

/// A reference by name; the namespace is the document's own unless written.
const REFERENCE: Shape = Shape::Object(&[required("name", NAME), optional("namespace", NAME)], Rule::Free);
const ARN: Shape = Shape::Text { min: 1, max: 1_011 };

/// Every field with its path as the compatibility report names it.
#[cfg(test)]
pub(crate) fn all_fields() -> Vec<(String, &'static Field)> {
    fn walk(prefix: &str, shape: &'static Shape, out: &mut Vec<(String, &'static Field)>) {
        match shape {
            Shape::Object(fields, _) => {
                for field in *fields {
                    let path = format!("{prefix}.{}", field.name);
                    out.push((path.clone(), field));
                    walk(&path, &field.shape, out);
                }
            }
            Shape::List { of, .. } => walk(&format!("{prefix}[]"), of, out),
            _ => {}
        }
    }
    let mut out = Vec::new();
    for kind in kinds::ALL {
        walk(&format!("{}.spec", kind.name), &kind.spec, &mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `docs/mesh.md` carries this table; a field whose fate changes here must change there.
    #[test]
    fn the_document_tells_what_is_not_simply_used() {
        let mut table = String::from("| field | here | note |\n|---|---|---|\n");
        for (path, field) in all_fields() {
            // The other kinds of route have the fields of httpRoute, which the document says in words.
            if !field.note.is_empty() && !path.contains(".http2Route.") && !path.contains(".grpcRoute.") {
                table.push_str(&format!("| `{path}` | {} | {} |\n", field.support, field.note));
            }
        }
        let document = include_str!("../../docs/mesh.md");
        assert!(document.contains(&table), "docs/mesh.md must contain this table:\n{table}");
    }

    #[test]
    fn what_is_not_simply_used_says_why() {
        for (path, field) in all_fields() {
            assert!(field.support == Support::Used || !field.note.is_empty(), "{path}");
        }
    }
}
