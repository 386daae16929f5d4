//! The web UI's files, compiled into the binary by `build.rs`: each once, compressed where that was done.

use bytes::Bytes;
use tripline_collector::http::{Asset, Assets, Encoding};

/// The UI in this binary.
#[derive(Debug)]
pub(crate) struct Embedded;

#[derive(Debug)]
struct File {
    /// With slashes, without one in front.
    name: &'static str,
    encoding: Encoding,
    etag: &'static str,
    bytes: &'static [u8],
}

// `static FILES: &[File]`, ordered by name.
include!(concat!(env!("OUT_DIR"), "/assets.rs"));

impl Assets for Embedded {
    fn get(&self, path: &str) -> Option<Asset> {
        let file = FILES.iter().find(|file| file.name == path)?;
        Some(Asset {
            content_type: content_type(path),
            encoding: file.encoding,
            bytes: Bytes::from_static(file.bytes),
            etag: file.etag.to_owned(),
        })
    }
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("json") => "application/json",
        Some("wasm") => "application/wasm",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_always_a_first_page() {
        let page = Embedded.get("index.html").expect("a page");
        assert_eq!(page.content_type, "text/html; charset=utf-8");
        assert!(!page.bytes.is_empty() && page.etag.len() == 16);
        assert_eq!(Embedded.get("../Cargo.toml"), None);
    }

    #[test]
    fn browsers_need_the_right_type_for_wasm() {
        assert_eq!(content_type("tripline_bg.wasm"), "application/wasm");
        assert_eq!(content_type("no-extension"), "application/octet-stream");
    }
}
