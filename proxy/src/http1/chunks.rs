//! An answer's body in chunks (RFC 9112, 7.1), taken out of what was read.
//!
//! Stricter than the RFC allows: lines end with CRLF, and nothing else ends them. What frames the body is limited: chunk
//! extensions to [`MOST_EXTENSIONS`] bytes in all and trailers to [`MOST_TRAILERS`] bytes, since both cost memory or time and carry
//! nothing that is passed on as data.

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::head::MOST_FIELDS;

/// Bytes of chunk extensions in one body, and so of one line.
const MOST_EXTENSIONS: usize = 16 * 1024;
/// Bytes of trailers.
const MOST_TRAILERS: usize = 16 * 1024;

/// The place in the body; by default its beginning.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    place: Place,
    /// Bytes of extensions so far.
    extensions: usize,
}

#[derive(Debug, Clone, Copy, Default)]
enum Place {
    /// Before or within the line with a chunk's size.
    #[default]
    Size,
    /// So many bytes of a chunk to come.
    Data(u64),
    /// Before the line end behind a chunk.
    DataEnd,
    /// Behind the last chunk.
    Trailers,
}

/// What came next.
#[derive(Debug)]
pub(super) enum Step {
    /// Data.
    Data(Bytes),
    /// The end, with its trailers if there are any.
    End(Option<HeaderMap>),
    /// Nothing until more is read.
    More,
    /// What must not be passed on.
    Malformed,
}

impl Chunks {
    /// Takes the next piece.
    pub(super) fn step(&mut self, read: &mut BytesMut) -> Step {
        loop {
            match self.place {
                Place::Size => match self.size(read) {
                    Ok(0) => self.place = Place::Trailers,
                    Ok(size) => self.place = Place::Data(size),
                    Err(step) => return step,
                },
                Place::Data(_) if read.is_empty() => return Step::More,
                Place::Data(left) => {
                    let here = usize::try_from(left).map_or(read.len(), |left| left.min(read.len()));
                    let left = left - here as u64;
                    self.place = if left == 0 { Place::DataEnd } else { Place::Data(left) };
                    return Step::Data(read.split_to(here).freeze());
                }
                Place::DataEnd if read.len() < 2 => return Step::More,
                Place::DataEnd if read.starts_with(b"\r\n") => {
                    read.advance(2);
                    self.place = Place::Size;
                }
                Place::DataEnd => return Step::Malformed,
                Place::Trailers => return trailers(read),
            }
        }
    }

    fn size(&mut self, read: &mut BytesMut) -> Result<u64, Step> {
        let Some(end) = memchr::memchr(b'\n', read) else {
            return Err(if read.len() > MOST_EXTENSIONS { Step::Malformed } else { Step::More });
        };
        let line = read.split_to(end + 1);
        let line = line.strip_suffix(b"\r\n").ok_or(Step::Malformed)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (digits, rest) = line.split_at(digits);
        let said = rest.trim_ascii_start();
        if !(said.is_empty() || said.starts_with(b";")) || rest.contains(&b'\r') {
            return Err(Step::Malformed);
        }
        self.extensions += rest.len();
        if self.extensions > MOST_EXTENSIONS {
            return Err(Step::Malformed);
        }
        let digits = std::str::from_utf8(digits).map_err(|_| Step::Malformed)?;
        // Fails for no digit at all, too.
        u64::from_str_radix(digits, 16).map_err(|_| Step::Malformed)
    }
}

fn trailers(read: &mut BytesMut) -> Step {
    if read.starts_with(b"\r\n") {
        read.advance(2);
        return Step::End(None);
    }
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    match httparse::parse_headers(read, &mut fields) {
        Ok(httparse::Status::Complete((length, fields))) => {
            let map: Option<HeaderMap> = fields.iter().map(|field| take(field)).collect();
            read.advance(length);
            map.map_or(Step::Malformed, |map| Step::End(Some(map)))
        }
        Ok(httparse::Status::Partial) if read.len() <= MOST_TRAILERS => Step::More,
        Ok(httparse::Status::Partial) | Err(_) => Step::Malformed,
    }
}

fn take(field: &httparse::Header<'_>) -> Option<(HeaderName, HeaderValue)> {
    Some((HeaderName::from_bytes(field.name.as_bytes()).ok()?, HeaderValue::from_bytes(field.value).ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The data and trailers of a body that comes in pieces; none when it is malformed or not at its end.
    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<(Vec<u8>, Option<HeaderMap>, BytesMut)> {
        let (mut chunks, mut read, mut data) = (Chunks::default(), BytesMut::new(), Vec::new());
        for piece in pieces {
            read.extend_from_slice(piece);
            loop {
                match chunks.step(&mut read) {
                    Step::Data(more) => data.extend_from_slice(&more),
                    Step::End(trailers) => return Some((data, trailers, read)),
                    Step::More => break,
                    Step::Malformed => return None,
                }
            }
        }
        None
    }

    #[test]
    fn chunks_and_trailers_are_taken_and_what_follows_is_left() {
        let text = b"5;a=b\r\nhello\r\n00A \r\n, world 12\r\n0\r\nx-sum: 1\r\nx-b: 2\r\n\r\nrest";
        for size in 1..text.len() {
            let (data, trailers, rest) = decode(text.chunks(size)).unwrap();
            assert_eq!(data, b"hello, world 12");
            assert_eq!(trailers.map(|fields| fields["x-b"].clone()), Some(HeaderValue::from_static("2")));
            assert!(b"rest".starts_with(&rest[..]));
        }
        let (data, trailers, _) = decode([&b"0\r\n\r\n"[..]]).unwrap();
        assert!(data.is_empty() && trailers.is_none());
    }

    #[test]
    fn what_is_malformed_or_too_much_is_refused() {
        let long = |length| "x".repeat(length);
        for text in [
            "\r\n".to_owned(),
            "x\r\n".to_owned(),
            "-1\r\n".to_owned(),
            "+1\r\na\r\n".to_owned(),
            "1\na\r\n".to_owned(),
            "1 1\r\n".to_owned(),
            "1;a\rb\r\n".to_owned(),
            "1\r\nab\r\n".to_owned(),
            "1\r\na\n\n".to_owned(),
            "10000000000000000\r\n".to_owned(),
            format!("1;{}", long(MOST_EXTENSIONS)),
            format!("1;{0}\r\na\r\n1;{0}\r\n", long(MOST_EXTENSIONS - 100)),
            format!("0\r\na: {}", long(MOST_TRAILERS)),
            format!("0\r\n{}\r\n", "a: 1\r\n".repeat(MOST_FIELDS + 1)),
        ] {
            let (mut chunks, mut read) = (Chunks::default(), BytesMut::from(text.as_str()));
            let step = loop {
                match chunks.step(&mut read) {
                    Step::Data(_) => {}
                    step => break step,
                }
            };
            assert!(matches!(step, Step::Malformed), "{text:.40}: {step:?}");
        }
    }

    proptest! {
        #[test]
        fn any_split_of_any_chunks_gives_the_data_back(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..8), size in 1_usize..50,
        ) {
            let mut text = Vec::new();
            for piece in &pieces {
                text.extend_from_slice(format!("{:X}\r\n", piece.len()).as_bytes());
                text.extend_from_slice(piece);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"0\r\n\r\n");
            let decoded = decode(text.chunks(size));
            prop_assert_eq!(decoded.map(|(data, ..)| data), Some(pieces.concat()));
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode([&bytes[..]]);
        }
    }
}
