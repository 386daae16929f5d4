//! Writing to people: colours only on a terminal and never with `NO_COLOR`, messages to stderr, answers to stdout.
//!
//! What services are called and what their logs say was written by strangers: control characters never reach the
//! terminal ([`printable`]).

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal, Write};

/// A colour that a state has everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tone {
    /// As the terminal writes.
    #[default]
    Plain,
    /// Of less interest.
    Dim,
    /// Well.
    Good,
    /// To be watched.
    Warn,
    /// Broken.
    Bad,
}

impl Tone {
    /// The number of its SGR sequence; none for plain text.
    const fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Dim => Some("2"),
            Self::Good => Some("32"),
            Self::Warn => Some("33"),
            Self::Bad => Some("31"),
        }
    }

    /// `text` in this tone.
    pub(crate) fn paint(self, text: &str) -> String {
        self.code().map_or_else(|| text.to_owned(), |code| format!("\x1b[{code}m{text}\x1b[0m"))
    }
}

/// Whether colours are wanted on a stream that is, or is not, a terminal.
pub(crate) fn colours_on(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether answers are coloured.
pub(crate) fn colours_on_stdout() -> bool {
    colours_on(io::stdout().is_terminal())
}

/// `text` for stderr, in red.
pub(crate) fn red(text: &str) -> String {
    on_stderr(Tone::Bad, text)
}

/// `text` for stderr, in yellow.
pub(crate) fn yellow(text: &str) -> String {
    on_stderr(Tone::Warn, text)
}

fn on_stderr(tone: Tone, text: &str) -> String {
    if colours_on(io::stderr().is_terminal()) { tone.paint(text) } else { text.to_owned() }
}

/// Writes a line to stderr; a stderr that is gone loses it.
pub(crate) fn tell(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Writes to stdout and flushes.
///
/// # Errors
/// Among others when the reader has closed the pipe (`tripline logs | head`), which ends the program quietly.
pub(crate) fn answer(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// `text` without control characters, each replaced by `?`.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_cannot_steer_the_terminal() {
        assert_eq!(printable("a\x1b[31mb\nc"), "a?[31mb?c");
        assert!(matches!(printable("plain ü"), Cow::Borrowed(_)));
    }

    #[test]
    fn tones() {
        assert_eq!(Tone::Bad.paint("x"), "\x1b[31mx\x1b[0m");
        assert_eq!(Tone::Plain.paint("x"), "x");
    }
}
