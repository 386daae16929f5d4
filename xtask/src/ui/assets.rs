//! The folder that `cli/build.rs` embeds: every file of the page, each also compressed, and a manifest.
//!
//! `manifest.json` is `{"stamp": "...", "files": [{"name", "bytes", "brotli", "gzip"}]}`; a name may hold slashes. Files
//! whose content has not changed are left alone, so that cargo does not compile `tripline` again for them, and files
//! that the manifest no longer names are removed.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::stamp::collect;

/// The name of the manifest.
pub(super) const MANIFEST: &str = "manifest.json";

/// What the page cannot do without.
const REQUIRED: [&str; 3] = ["index.html", "tripline.js", "tripline_bg.wasm"];

/// Brotli's and gzip's best, once a build: 11 of 11, with a window of 4 MiB, and 9 of 9.
const BROTLI_QUALITY: u32 = 11;
const BROTLI_WINDOW: u32 = 22;

/// Whether `folder` holds the UI of this stamp.
pub(super) fn up_to_date(folder: &Path, stamp: &str) -> bool {
    let manifest = fs::read_to_string(folder.join(MANIFEST)).unwrap_or_default();
    let Ok(manifest) = serde_json::from_str::<Value>(&manifest) else { return false };
    let present = |file: &Value| file["name"].as_str().is_some_and(|name| folder.join(name).is_file());
    manifest["stamp"] == stamp && manifest["files"].as_array().is_some_and(|files| files.iter().all(present))
}

/// Copies the files below each of `sources` into `folder`, compressed too, and returns a table of their sizes.
pub(super) fn write(folder: &Path, stamp: &str, sources: &[&Path]) -> Result<String> {
    let mut listed = Vec::new();
    let mut kept = vec![folder.join(MANIFEST)];
    let mut table = String::new();
    for (name, file) in named(sources)? {
        let content = fs::read(&file).with_context(|| format!("could not read {}", file.display()))?;
        let (brotli, gzip) = (brotli(&content)?, gzip(&content)?);
        writeln!(table, "    {name:24} {:>9} bytes {:>8} as brotli", content.len(), brotli.len())?;
        listed.push(json!({"name": name, "bytes": content.len(), "brotli": brotli.len(), "gzip": gzip.len()}));
        for (suffix, content) in [("", content), (".br", brotli), (".gz", gzip)] {
            let path = folder.join(format!("{name}{suffix}"));
            replace(&path, &content)?;
            kept.push(path);
        }
    }
    if let Some(missing) = REQUIRED.iter().find(|name| !listed.iter().any(|file| file["name"] == **name)) {
        bail!("the web UI has no {missing}: it belongs into ui/assets/");
    }
    remove_others(folder, &kept)?;
    replace(
        &folder.join(MANIFEST),
        serde_json::to_string_pretty(&json!({"stamp": stamp, "files": listed}))?.as_bytes(),
    )?;
    Ok(table.trim_end().to_owned())
}

/// Every file below `sources`, by its name in the page, in order.
fn named(sources: &[&Path]) -> Result<Vec<(String, PathBuf)>> {
    let mut named = Vec::new();
    for source in sources {
        let mut files = Vec::new();
        collect(source, &mut files)?;
        for file in files {
            named.push((file.strip_prefix(source)?.to_string_lossy().into_owned(), file));
        }
    }
    named.sort();
    if let Some(twice) = named.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        bail!("the web UI has two files of the name {}", twice[0].0);
    }
    Ok(named)
}

fn replace(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
    }
    fs::write(path, content).with_context(|| format!("could not write {}", path.display()))
}

fn remove_others(folder: &Path, kept: &[PathBuf]) -> Result<()> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    for stale in files.iter().filter(|file| !kept.contains(file)) {
        fs::remove_file(stale).with_context(|| format!("could not remove {}", stale.display()))?;
    }
    Ok(())
}

fn brotli(content: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut writer = brotli::CompressorWriter::new(&mut out, 1 << 16, BROTLI_QUALITY, BROTLI_WINDOW);
    writer.write_all(content)?;
    drop(writer);
    Ok(out)
}

fn gzip(content: &[u8]) -> Result<Vec<u8>> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::best());
    writer.write_all(content)?;
    Ok(writer.finish()?)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn page(folder: &Path, files: &[(&str, &str)]) -> Result<()> {
        fs::create_dir_all(folder)?;
        files.iter().try_for_each(|(name, text)| fs::write(folder.join(name), text).context("could not write"))
    }

    const PAGE: [(&str, &str); 3] = [("index.html", "<html>"), ("tripline.js", "js"), ("tripline_bg.wasm", "wasm")];

    #[test]
    fn what_is_written_reads_back_and_counts_as_up_to_date() -> Result<()> {
        let root = tempfile::tempdir()?;
        let (source, ui) = (root.path().join("source"), root.path().join("ui"));
        page(&source, &PAGE)?;
        write(&ui, "1", &[&source])?;
        let mut text = String::new();
        brotli::Decompressor::new(fs::File::open(ui.join("index.html.br"))?, 4096).read_to_string(&mut text)?;
        assert_eq!(text, "<html>");
        text.clear();
        flate2::read::GzDecoder::new(fs::File::open(ui.join("index.html.gz"))?).read_to_string(&mut text)?;
        assert_eq!(text, "<html>");
        assert!(up_to_date(&ui, "1") && !up_to_date(&ui, "2"));
        fs::remove_file(ui.join("tripline.js"))?;
        assert!(!up_to_date(&ui, "1"));
        Ok(())
    }

    #[test]
    fn a_file_that_is_gone_from_the_sources_goes_from_the_page() -> Result<()> {
        let root = tempfile::tempdir()?;
        let (source, ui) = (root.path().join("source"), root.path().join("ui"));
        page(&source, &PAGE)?;
        page(&source, &[("old.css", "")])?;
        write(&ui, "1", &[&source])?;
        fs::remove_file(source.join("old.css"))?;
        write(&ui, "2", &[&source])?;
        assert!(!ui.join("old.css").exists() && !ui.join("old.css.br").exists() && ui.join("index.html").exists());
        Ok(())
    }

    #[test]
    fn a_page_without_its_first_file_is_an_error_that_says_where_it_belongs() -> Result<()> {
        let root = tempfile::tempdir()?;
        let source = root.path().join("source");
        page(&source, &PAGE[1..])?;
        let error = write(&root.path().join("ui"), "1", &[&source]).unwrap_err().to_string();
        assert_eq!(error, "the web UI has no index.html: it belongs into ui/assets/");
        Ok(())
    }
}
