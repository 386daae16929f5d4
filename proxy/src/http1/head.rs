//! The heads of HTTP/1.1: writing a request's, reading an answer's.
//!
//! An answer's body ends as RFC 9112, 6.3 says. Stricter than that: Content-Length with Transfer-Encoding, Content-Lengths that
//! differ, and a Transfer-Encoding in HTTP/1.0 are no answer, since two readers could disagree about where such a body ends.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use hyper::ext::ReasonPhrase;

/// Most fields of an answer; as many as hyper takes.
pub(super) const MOST_FIELDS: usize = 100;

/// What matters of a request when its answer is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// HEAD: an answer has no body, whatever it says.
    HeadOnly,
    /// Anything else.
    Whole,
}

impl Asked {
    /// Of a method.
    pub(super) fn of(method: &Method) -> Self {
        if *method == Method::HEAD { Self::HeadOnly } else { Self::Whole }
    }
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// With the last chunk.
    Chunks,
    /// With the connection.
    UntilClosed,
}

/// An answer without its body.
#[derive(Debug)]
pub(super) struct Answer {
    /// Its head.
    pub(super) response: Response<()>,
    /// How its body ends.
    pub(super) framing: Framing,
    /// Whether the server closes the connection behind it.
    pub(super) closes: bool,
}

/// What was read.
#[derive(Debug)]
pub(super) enum Parsed {
    /// The head of an answer.
    Answer(Answer),
    /// An interim answer, which ends here.
    Interim,
    /// Not all of a head yet.
    Part,
}

/// No HTTP, or none that is safe to pass on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Where the name and the value of a field stand in the head.
#[derive(Debug, Clone)]
pub(super) struct Place {
    name: Range<usize>,
    value: Range<usize>,
}

/// What a head says about its body and its connection.
#[derive(Debug, Default)]
struct Said {
    length: Option<u64>,
    /// The last transfer coding.
    coding: Option<Coding>,
    closes: bool,
    keeps: bool,
    /// HTTP/1.1: it goes on unless somebody says otherwise.
    persists: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Chunked,
    Other,
}

/// Writes a request's head. `length` is said if it is known; a body without one is sent in chunks.
pub(super) fn write(into: &mut Vec<u8>, head: &Parts, length: Option<u64>) {
    into.extend_from_slice(head.method.as_str().as_bytes());
    into.push(b' ');
    into.extend_from_slice(head.uri.path_and_query().map_or("/", |path| path.as_str()).as_bytes());
    into.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in &head.headers {
        // Said below, once, and as the body is really sent.
        if *name != CONTENT_LENGTH && *name != TRANSFER_ENCODING {
            write_field(into, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    match length {
        // Whether a request without a body says so is the client's choice.
        Some(0) if !head.headers.contains_key(CONTENT_LENGTH) => {}
        Some(length) => write_field(into, b"content-length", Digits::of(length).as_bytes()),
        None => into.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    into.extend_from_slice(b"\r\n");
}

fn write_field(into: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    into.reserve(name.len() + value.len() + 4);
    into.extend_from_slice(name);
    into.extend_from_slice(b": ");
    into.extend_from_slice(value);
    into.extend_from_slice(b"\r\n");
}

/// The decimal digits of a number.
struct Digits {
    text: [u8; 20],
    from: usize,
}

impl Digits {
    fn of(mut number: u64) -> Self {
        let mut digits = Self { text: [b'0'; 20], from: 20 };
        for digit in digits.text.iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
            digits.from -= 1;
            if number == 0 {
                break;
            }
        }
        digits
    }

    fn as_bytes(&self) -> &[u8] {
        &self.text[self.from..]
    }
}

/// Takes the head of an answer out of what was read. `places` is room that need not be made again for each head.
pub(super) fn parse(read: &mut BytesMut, places: &mut Vec<Place>, asked: Asked) -> Result<Parsed, Malformed> {
    let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut head = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut head, read, &mut fields);
    let httparse::Status::Complete(length) = parsed.map_err(|_| Malformed)? else { return Ok(Parsed::Part) };
    let status = StatusCode::from_u16(head.code.ok_or(Malformed)?).map_err(|_| Malformed)?;
    if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
        let _ = read.split_to(length);
        return Ok(Parsed::Interim);
    }
    let mut said = Said { persists: head.version == Some(1), ..Said::default() };
    let reason = head.reason.filter(|reason| !reason.is_empty() && Some(*reason) != status.canonical_reason());
    let reason = reason.and_then(|reason| ReasonPhrase::try_from(reason.as_bytes()).ok());
    let start = read.as_ptr() as usize;
    let place = |part: &[u8]| {
        let from = part.as_ptr() as usize - start;
        from..from + part.len()
    };
    places.clear();
    places.extend(
        head.headers.iter().map(|field| Place { name: place(field.name.as_bytes()), value: place(field.value) }),
    );
    let bytes = read.split_to(length).freeze();
    let mut response = Response::new(());
    *response.status_mut() = status;
    if let Some(reason) = reason {
        response.extensions_mut().insert(reason);
    }
    *response.headers_mut() = take_fields(&bytes, places, &mut said)?;
    let framing = said.framing(asked, status)?;
    Ok(Parsed::Answer(Answer { response, framing, closes: said.closes || !(said.persists || said.keeps) }))
}

/// The fields of a head, but for those that concern nobody behind this connection.
fn take_fields(bytes: &Bytes, places: &[Place], said: &mut Said) -> Result<HeaderMap, Malformed> {
    let mut fields = HeaderMap::with_capacity(places.len());
    for place in places {
        let name = HeaderName::from_bytes(&bytes[place.name.clone()]).map_err(|_| Malformed)?;
        let value = &bytes[place.value.clone()];
        if name == CONTENT_LENGTH {
            said.length(value)?;
        } else if name == TRANSFER_ENCODING {
            said.coding(value);
            continue;
        } else if name == CONNECTION && said.connection(value) == Names::Nothing {
            continue;
        }
        let value = HeaderValue::from_maybe_shared(bytes.slice(place.value.clone())).map_err(|_| Malformed)?;
        fields.append(name, value);
    }
    Ok(fields)
}

/// Whether a Connection field names others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    Nothing,
    Fields,
}

impl Said {
    fn connection(&mut self, value: &[u8]) -> Names {
        let mut names = Names::Nothing;
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                self.closes = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keeps = true;
            } else {
                names = Names::Fields;
            }
        }
        names
    }

    /// Said more than once, it must say the same.
    fn length(&mut self, value: &[u8]) -> Result<(), Malformed> {
        for digits in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let number = number(digits).ok_or(Malformed)?;
            if *self.length.get_or_insert(number) != number {
                return Err(Malformed);
            }
        }
        Ok(())
    }

    fn coding(&mut self, value: &[u8]) {
        let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
        self.coding = Some(if last.eq_ignore_ascii_case(b"chunked") { Coding::Chunked } else { Coding::Other });
    }

    fn framing(&self, asked: Asked, status: StatusCode) -> Result<Framing, Malformed> {
        if self.coding.is_some() && (self.length.is_some() || !self.persists) {
            return Err(Malformed);
        }
        let bodiless =
            matches!(status, StatusCode::SWITCHING_PROTOCOLS | StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if bodiless || asked == Asked::HeadOnly {
            return Ok(Framing::Length(0));
        }
        Ok(match (self.coding, self.length) {
            (Some(Coding::Chunked), _) => Framing::Chunks,
            (Some(Coding::Other), _) | (None, None) => Framing::UntilClosed,
            (None, Some(length)) => Framing::Length(length),
        })
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    fn answer(text: &str, asked: Asked) -> Result<Answer, Malformed> {
        let mut read = BytesMut::from(text);
        match parse(&mut read, &mut Vec::new(), asked)? {
            Parsed::Answer(answer) => Ok(answer),
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn where_a_body_ends() {
        use Asked::{HeadOnly, Whole};
        for (text, asked, framing, closes) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", Whole, Framing::Length(5), false),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nContent-Length: 5\r\n\r\n", Whole, Framing::Length(5), false),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", HeadOnly, Framing::Length(0), false),
            ("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", Whole, Framing::Length(0), false),
            ("HTTP/1.1 204 No Content\r\n\r\n", Whole, Framing::Length(0), false),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n", Whole, Framing::Chunks, false),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n", Whole, Framing::UntilClosed, false),
            ("HTTP/1.1 200 OK\r\nconnection: x, Close\r\n\r\n", Whole, Framing::UntilClosed, true),
            ("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n", Whole, Framing::Length(1), true),
            (
                "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\ncontent-length: 1\r\n\r\n",
                Whole,
                Framing::Length(1),
                false,
            ),
            ("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", Whole, Framing::Length(0), false),
        ] {
            let answer = answer(text, asked).unwrap();
            assert_eq!((answer.framing, answer.closes), (framing, closes), "{text}");
        }
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for text in [
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5, 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: \r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551616\r\n\r\n",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nbad name: 1\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "SSH-2.0-OpenSSH_9.2p1\r\n\r\n",
        ] {
            assert!(answer(text, Asked::Whole).is_err(), "{text}");
        }
        let fields: String = (0..=MOST_FIELDS).map(|number| format!("x-{number}: 1\r\n")).collect();
        assert!(answer(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"), Asked::Whole).is_err());
    }

    #[test]
    fn a_head_is_taken_and_what_follows_is_left() {
        let mut read =
            BytesMut::from("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 Fine\r\nA: 1\r\na: 2\r\n\r\nrest");
        assert!(matches!(parse(&mut read, &mut Vec::new(), Asked::Whole), Ok(Parsed::Interim)));
        let Ok(Parsed::Answer(answer)) = parse(&mut read, &mut Vec::new(), Asked::Whole) else { unreachable!() };
        assert_eq!(answer.response.headers().get_all("a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(answer.response.extensions().get::<ReasonPhrase>().map(ReasonPhrase::as_bytes), Some(&b"Fine"[..]));
        assert_eq!(&read[..], b"rest");
        assert!(matches!(
            parse(&mut BytesMut::from("HTTP/1.1 200 OK\r\na:"), &mut Vec::new(), Asked::Whole),
            Ok(Parsed::Part)
        ));
    }

    #[test]
    fn a_request_says_how_its_body_is_sent() {
        let with = |length| {
            let request = Request::post("/a?b").header("host", "x").header("content-length", "7").body(());
            let mut text = Vec::new();
            write(&mut text, &request.unwrap().into_parts().0, length);
            String::from_utf8(text).unwrap()
        };
        let head = "POST /a?b HTTP/1.1\r\nhost: x\r\n";
        assert_eq!(with(Some(7)), format!("{head}content-length: 7\r\n\r\n"));
        assert_eq!(with(Some(0)), format!("{head}content-length: 0\r\n\r\n"));
        assert_eq!(with(None), format!("{head}transfer-encoding: chunked\r\n\r\n"));
        let bare = Request::get("/").body(()).unwrap().into_parts().0;
        let mut text = Vec::new();
        write(&mut text, &bare, Some(0));
        assert_eq!(text, b"GET / HTTP/1.1\r\n\r\n");
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&mut BytesMut::from(&bytes[..]), &mut Vec::new(), Asked::Whole);
        }

        #[test]
        fn digits_are_those_of_the_standard_library(value in any::<u64>()) {
            let text = value.to_string();
            let digits = Digits::of(value);
            prop_assert_eq!(digits.as_bytes(), text.as_bytes());
            prop_assert_eq!(number(text.as_bytes()), Some(value));
        }
    }
}
