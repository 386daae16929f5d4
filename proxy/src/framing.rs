//! Follows how HTTP/1.1 requests follow each other on a connection, to see what hyper hides.
//!
//! hyper accepts a request with both Content-Length and Transfer-Encoding, believes the latter and drops the former
//! before anyone can see it. Both together are the classic way to smuggle a second request past a proxy, so Tripline
//! answers 400. This follower reads the same bytes as hyper, only to find where each head begins and whether it has
//! both fields; it decides nothing else. hyper closes the connection after such a request on its own, so the follower
//! stops at the first one and needs to remember only its number.
//!
//! Where the bytes are no HTTP that hyper would accept, the follower goes blind: hyper ends such a connection.

/// Bytes kept of a line that is spread over several reads; names and lengths fit.
const KEPT: usize = 64;

/// The follower's place in the stream of requests.
#[derive(Debug)]
pub(crate) struct Framing {
    state: State,
    line: Line,
    heads: u64,
    conflict: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before or within a head.
    Head(Head),
    /// So many bytes of a body to come.
    Body(u64),
    /// Before or within the line that gives a chunk's size.
    ChunkSize,
    /// So many bytes of a chunk to come, its line end included.
    Chunk(u64),
    /// After the last chunk.
    Trailer,
    /// No longer following.
    Blind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Head {
    /// Whether the request line has been seen.
    begun: bool,
    length: Option<u64>,
    chunked: bool,
}

/// The beginning of a line that has not ended yet.
#[derive(Debug)]
struct Line {
    kept: [u8; KEPT],
    length: usize,
}

impl Framing {
    /// Before the first byte of a connection.
    pub(crate) const fn new() -> Self {
        let head = Head { begun: false, length: None, chunked: false };
        Self { state: State::Head(head), line: Line { kept: [0; KEPT], length: 0 }, heads: 0, conflict: None }
    }

    /// The number, from 0, of the first request that has both Content-Length and Transfer-Encoding.
    pub(crate) const fn conflict(&self) -> Option<u64> {
        self.conflict
    }

    /// Whether a head has begun and not ended.
    pub(crate) const fn is_within_head(&self) -> bool {
        matches!(self.state, State::Head(head) if head.begun || self.line.length > 0)
    }

    /// Whether the next byte belongs to a new request.
    pub(crate) const fn is_between_requests(&self) -> bool {
        matches!(self.state, State::Head(head) if !head.begun && self.line.length == 0)
    }

    /// Reads on.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Blind => return,
                State::Body(left) => self.skip(bytes, left, State::Body, State::Head(Head::default())),
                State::Chunk(left) => self.skip(bytes, left, State::Chunk, State::ChunkSize),
                State::Head(_) | State::ChunkSize | State::Trailer => self.feed_line(bytes),
            };
        }
    }

    fn skip<'a>(&mut self, bytes: &'a [u8], left: u64, more: fn(u64) -> State, done: State) -> &'a [u8] {
        let taken = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let left = left - taken as u64;
        self.state = if left == 0 { done } else { more(left) };
        &bytes[taken..]
    }

    fn feed_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            self.line.keep(bytes);
            return &[];
        };
        let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
        if self.line.length == 0 {
            self.state = self.after_line(without_cr(line));
        } else {
            self.line.keep(line);
            let kept = self.line.kept;
            let length = std::mem::take(&mut self.line.length);
            self.state = self.after_line(without_cr(&kept[..length]));
        }
        rest
    }

    fn after_line(&mut self, line: &[u8]) -> State {
        match self.state {
            State::Head(head) => self.after_head_line(head, line),
            State::ChunkSize => match chunk_size(line) {
                Some(0) => State::Trailer,
                Some(size) => size.checked_add(2).map_or(State::Blind, State::Chunk),
                None => State::Blind,
            },
            State::Trailer if line.is_empty() => State::Head(Head::default()),
            other => other,
        }
    }

    fn after_head_line(&mut self, mut head: Head, line: &[u8]) -> State {
        if !line.is_empty() {
            if head.begun {
                note_field(&mut head, line);
            }
            head.begun = true;
            return State::Head(head);
        }
        if !head.begun {
            // Empty lines before a request are allowed.
            return State::Head(head);
        }
        let number = self.heads;
        self.heads += 1;
        match (head.length, head.chunked) {
            (Some(_), true) => {
                self.conflict = Some(number);
                State::Blind
            }
            (None, true) => State::ChunkSize,
            (None | Some(0), false) => State::Head(Head::default()),
            (Some(length), false) => State::Body(length),
        }
    }
}

impl Line {
    /// Appends what fits; the rest of an over-long line is of no interest.
    fn keep(&mut self, bytes: &[u8]) {
        let room = &mut self.kept[self.length..];
        let taken = bytes.len().min(room.len());
        room[..taken].copy_from_slice(&bytes[..taken]);
        self.length += taken;
    }
}

fn note_field(head: &mut Head, line: &[u8]) {
    // Nearly every field is told apart by its first letter.
    if !matches!(line.first(), Some(b'c' | b'C' | b't' | b'T')) {
        return;
    }
    let Some(colon) = memchr::memchr(b':', line) else { return };
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.eq_ignore_ascii_case(b"content-length") {
        let digits = value.trim_ascii();
        let number = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
        // hyper refuses a length that is no number, so which one we take does not matter.
        head.length = Some(number.unwrap_or(0));
    } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
        head.chunked = true;
    }
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii();
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

const fn without_cr(line: &[u8]) -> &[u8] {
    match line {
        [start @ .., b'\r'] => start,
        line => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn follow(parts: &[&[u8]]) -> Framing {
        let mut framing = Framing::new();
        parts.iter().for_each(|part| framing.feed(part));
        framing
    }

    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const POST: &[u8] = b"POST / HTTP/1.1\r\nContent-Length: 30\r\n\r\nTransfer-Encoding: chunked\r\n\r\n";
    const CHUNKED: &[u8] =
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5;x=y\r\nab\r\nc\r\n1E\r\nContent-Length: 4\r\n\r\n1234567\r\n\r\n0\r\nX: y\r\n\r\n";
    const BOTH: &[u8] = b"POST / HTTP/1.1\r\nContent-LENGTH : 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    const BOTH_TIGHT: &[u8] = b"POST / HTTP/1.1\r\nTransfer-encoding:chunked\r\nContent-LENGTH:1\r\n\r\n";

    #[test]
    fn only_a_head_with_both_fields_is_a_conflict() {
        for (name, parts, conflict, heads) in [
            ("plain", vec![GET, POST, GET, CHUNKED, GET], None, 5),
            ("after others", vec![GET, CHUNKED, POST, BOTH_TIGHT], Some(3), 4),
            ("first", vec![BOTH_TIGHT], Some(0), 1),
            ("space before the colon, which hyper refuses", vec![BOTH], None, 1),
            ("bare line feeds", vec![b"\n\nPOST / HTTP/1.1\ncontent-length: 0\ntransfer-encoding: x\n\n"], Some(0), 1),
        ] {
            let framing = follow(&parts);
            assert_eq!((framing.conflict(), framing.heads), (conflict, heads), "{name}");
        }
    }

    #[test]
    fn knows_when_a_head_is_under_way() {
        assert!(follow(&[GET]).is_between_requests());
        assert!(follow(&[GET, b"G"]).is_within_head());
        assert!(follow(&[b"GET / HTTP/1.1\r\n"]).is_within_head());
        let within_body = follow(&[&POST[..50]]);
        assert!(!within_body.is_within_head() && !within_body.is_between_requests());
    }

    proptest! {
        #[test]
        fn where_reads_are_cut_makes_no_difference(cuts in prop::collection::vec(1usize..40, 1..200)) {
            let whole = [GET, CHUNKED, POST, CHUNKED, GET, POST, BOTH_TIGHT].concat();
            let mut framing = Framing::new();
            let mut rest = whole.as_slice();
            for cut in cuts.iter().cycle() {
                let (part, tail) = rest.split_at((*cut).min(rest.len()));
                framing.feed(part);
                rest = tail;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(framing.conflict(), Some(6));
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            follow(&[&bytes]);
        }
    }
}
