//! Embeds the web UI: whatever `cargo xtask ui` has put into `$TRIPLINE_UI_DIR`, or else into `ui/` of cargo's target
//! folder, ends up in the binary. Without it the binary holds one page that says how to build the UI.

use std::env;
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// Served in place of a UI that was not built.
const MISSING: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<title>Tripline</title>
<style>body { font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 4rem auto; padding: 0 1rem; color-scheme: light dark; }</style>
<h1>Tripline</h1>
<p>This binary was built without its web UI. Build both with</p>
<pre>cargo xtask build</pre>
<p>Everything else works: see <a href=\"/api/v1/graph\">the graph</a> and
<a href=\"/api/v1/incidents\">the incidents</a> of the HTTP API, or <code>tripline top</code>.</p>
</html>
";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-env-changed=TRIPLINE_UI_DIR");
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    let ui = folder(&out)?;
    println!("cargo:rerun-if-changed={}", ui.display());
    let mut files = Vec::new();
    collect(&ui, &ui, &mut files)?;
    if !files.iter().any(|(name, _)| name == "index.html") {
        println!("cargo:warning=no web UI in {}: `cargo xtask build` builds it", ui.display());
        let page = out.join("index.html");
        fs::write(&page, MISSING)?;
        files = vec![("index.html".to_owned(), page)];
    }
    fs::write(out.join("assets.rs"), source(&mut files)?)?;
    Ok(())
}

/// Where the UI lies; made when it does not exist, because cargo runs a script anew each time while a file that it
/// watches is missing.
fn folder(out: &Path) -> Result<PathBuf, Box<dyn Error>> {
    if let Some(given) = env::var_os("TRIPLINE_UI_DIR") {
        return Ok(given.into());
    }
    // TARGET_FOLDER[/TRIPLE]/PROFILE/build/PACKAGE/out: cargo's own mark, CACHEDIR.TAG, is missing from a folder that cargo did not make.
    let folder = out.ancestors().nth(4).ok_or("cargo's OUT_DIR is not where cargo puts it; set TRIPLINE_UI_DIR")?;
    let of_triple = env::var_os("TARGET").is_some_and(|triple| folder.file_name() == Some(&triple));
    let target = if of_triple { folder.parent().unwrap_or(folder) } else { folder };
    let ui = target.join("ui");
    fs::create_dir_all(&ui)?;
    Ok(ui)
}

/// All files below `folder` that are no compressed copies, with their names in the page.
fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, PathBuf)>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, files)?;
            continue;
        }
        let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
        let copy = name.ends_with(".br") || name.ends_with(".gz");
        if !copy && name != "manifest.json" {
            files.push((name, path));
        }
    }
    Ok(())
}

fn source(files: &mut [(String, PathBuf)]) -> Result<String, Box<dyn Error>> {
    files.sort();
    let mut text = "static FILES: &[File] = &[\n".to_owned();
    for (name, path) in files {
        let compressed = PathBuf::from(format!("{}.br", path.display()));
        let (path, encoding) = if compressed.is_file() { (&compressed, "Brotli") } else { (&*path, "Identity") };
        let mut hasher = DefaultHasher::new();
        fs::read(path)?.hash(&mut hasher);
        let etag = format!("{:016x}", hasher.finish());
        writeln!(
            text,
            "    File {{ name: {name:?}, encoding: Encoding::{encoding}, etag: {etag:?}, bytes: include_bytes!({path:?}) }},"
        )?;
    }
    text.push_str("];\n");
    Ok(text)
}
