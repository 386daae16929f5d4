//! `tripline mesh check` and `mesh apply`: what becomes of mesh documents, field by field, before anyone runs them.
//!
//! A path is one file or a folder, whose `*.yaml`, `*.yml` and `*.json` files, sorted, make up one mesh.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use serde_json::{Value, json};
use tripline_api::{MeshRequest, MeshSource};
use tripline_mesh::{FieldUse, Loaded, Mesh, Problem, Problems, Source, Support};

use crate::args::{ApiArguments, MeshArguments, MeshCommand, Output};
use crate::client::Client;
use crate::exit::{Failure, Outcome};
use crate::style::{self, Tone, printable};
use crate::table::Column::{Left, Right};
use crate::table::{Cell, Table};

/// The largest file that is read.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// Files of one folder that are read.
const MAX_FILES: usize = 1000;

/// Runs `tripline mesh ...`.
pub(crate) async fn run(command: MeshCommand, api: &ApiArguments) -> Outcome {
    match command {
        MeshCommand::Check(arguments) => check(&arguments),
        MeshCommand::Apply(arguments) => apply(&arguments, api).await,
    }
}

fn check(arguments: &MeshArguments) -> Outcome {
    let files = read(&arguments.path).map_err(Failure::invalid)?;
    let parsed = parse(&files);
    match arguments.output {
        Output::Json => style::answer(&format!("{:#}\n", as_json(&parsed)))?,
        Output::Table => write_tables(&parsed)?,
    }
    parsed.map(drop).map_err(|problems| Failure::invalid(broken(&problems)))
}

async fn apply(arguments: &MeshArguments, api: &ApiArguments) -> Outcome {
    let client = Client::new(api)?;
    let files = read(&arguments.path).map_err(Failure::invalid)?;
    let parsed = parse(&files);
    let Ok(loaded) = &parsed else {
        write_tables(&parsed)?;
        return parsed.map(drop).map_err(|problems| Failure::invalid(broken(&problems)));
    };
    write_findings(&loaded.warnings, Tone::Warn, "warning");
    let sources = files.into_iter().map(|(name, text)| MeshSource { name, text }).collect();
    let answer = client.post("mesh", &MeshRequest { sources }).await?;
    let mesh = &loaded.mesh;
    match arguments.output {
        Output::Json => style::answer(&format!("{answer:#}\n"))?,
        Output::Table => style::answer(&format!(
            "mesh {} applied: {} nodes, {} services, {} routers\n",
            printable(&mesh.name),
            mesh.nodes.len(),
            mesh.services.len(),
            mesh.routers.len()
        ))?,
    }
    Ok(())
}

/// Names and texts of all files behind `path`.
fn read(path: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let described = || format!("cannot read {}", path.display());
    let mut files: Vec<PathBuf> = if path.is_dir() {
        let entries = std::fs::read_dir(path).with_context(described)?;
        let files = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()
            .with_context(described)?;
        files.into_iter().filter(|file| file.is_file() && is_document(file)).collect()
    } else {
        vec![path.to_owned()]
    };
    files.sort();
    if files.is_empty() || files.len() > MAX_FILES {
        bail!(
            "{} holds {} mesh documents: expected 1 to {MAX_FILES} files *.yaml, *.yml or *.json",
            path.display(),
            files.len()
        );
    }
    files.iter().map(|file| read_file(file)).collect()
}

fn read_file(file: &Path) -> anyhow::Result<(String, String)> {
    let name = file.display().to_string();
    let size = std::fs::metadata(file).with_context(|| format!("cannot read {name}"))?.len();
    if size > MAX_FILE_BYTES {
        bail!("{name} has {size} bytes: a mesh document has at most {MAX_FILE_BYTES}");
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
    Ok((name, text))
}

fn is_document(file: &Path) -> bool {
    file.extension().and_then(|extension| extension.to_str()).is_some_and(|e| matches!(e, "yaml" | "yml" | "json"))
}

fn parse(files: &[(String, String)]) -> Result<Loaded, Problems> {
    let sources: Vec<Source<'_>> = files.iter().map(|(name, text)| Source { name, text }).collect();
    Mesh::parse(&sources)
}

fn broken(problems: &Problems) -> anyhow::Error {
    match problems.problems.len() {
        1 => anyhow!("the mesh has a problem, see above"),
        many => anyhow!("the mesh has {many} problems, see above"),
    }
}

/// Findings to stderr, the report of a good mesh to stdout.
fn write_tables(parsed: &Result<Loaded, Problems>) -> std::io::Result<()> {
    match parsed {
        Ok(loaded) => {
            write_findings(&loaded.warnings, Tone::Warn, "warning");
            style::answer(&report(&loaded.report).render(style::colours_on_stdout()))
        }
        Err(problems) => {
            write_findings(&problems.warnings, Tone::Warn, "warning");
            write_findings(&problems.problems, Tone::Bad, "problem");
            Ok(())
        }
    }
}

fn write_findings(findings: &[Problem], tone: Tone, word: &str) {
    for finding in findings {
        let word = if tone == Tone::Bad { style::red(word) } else { style::yellow(word) };
        style::tell(format_args!("{word}: {}", printable(&finding.to_string())));
    }
}

fn report(fields: &[FieldUse]) -> Table {
    let columns = [Left("FIELD"), Left("SUPPORT"), Right("COUNT"), Left("NOTE")];
    let mut table = Table::new(columns, "no fields");
    for field in fields {
        let tone = match field.support {
            Support::Used => Tone::Good,
            Support::Approximated => Tone::Warn,
            Support::Ignored => Tone::Dim,
            Support::Unknown => Tone::Bad,
        };
        table.row([
            Cell::from(&field.field),
            Cell::toned(field.support.as_str(), tone),
            field.count.to_string().into(),
            Cell::from(&field.note),
        ]);
    }
    table
}

fn as_json(parsed: &Result<Loaded, Problems>) -> Value {
    let findings = |list: &[Problem]| -> Vec<Value> {
        let one = |p: &Problem| json!({"file": p.source, "line": p.line, "field": p.field, "message": p.message});
        list.iter().map(one).collect()
    };
    let fields = |list: &[FieldUse]| -> Vec<Value> {
        let one =
            |f: &FieldUse| json!({"field": f.field, "support": f.support.as_str(), "count": f.count, "note": f.note});
        list.iter().map(one).collect()
    };
    match parsed {
        Ok(loaded) => json!({
            "valid": true,
            "mesh": loaded.mesh.name,
            "problems": [],
            "warnings": findings(&loaded.warnings),
            "fields": fields(&loaded.report),
        }),
        Err(problems) => json!({
            "valid": false,
            "mesh": null,
            "problems": findings(&problems.problems),
            "warnings": findings(&problems.warnings),
            "fields": [],
        }),
    }
}
