//! What passes on an accepted HTTP/2 connection, frame by frame: enough to tell a flood, and which limit was hit.
//!
//! The library below bounds what a client can make us remember: streams, resets, pieces of headers, small pieces of data.
//! What costs only time it does not bound: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, frames of unknown kinds
//! (CVE-2019-9512, 9515), and DATA without a byte only as long as it counts them (CVE-2019-9518). Such *idle frames* are paid for here from a credit: a connection begins with all of it, earns some
//! with every frame of a request or an answer and with the bytes of bodies, and regains [`REGAINED`] a second. Ordinary clients
//! never come near: gRPC's probing of the bandwidth sends a PING and a WINDOW_UPDATE for an answer's frames. Who has spent it all
//! is cut off.
//!
//! Only what each frame begins with is looked at. The frames that we write are looked at, too, for what they earn, for streams that
//! were refused because there were too many, and for the library's reason to end the connection, which it tells the other end
//! only. Pure: bytes and the time in, a verdict out.

use std::time::Duration;

/// Idle frames a second that cost nothing in the long run.
const REGAINED: u64 = 100;
/// What a frame of a request or of an answer earns.
const EARNED: u64 = 10;
/// Bytes of a body that earn one more.
const BYTES: u64 = 1_024;

const HEAD: usize = 9;
/// Bytes of the payload that are kept of RST_STREAM and GOAWAY: the reason; last stream, reason and some words.
const KEPT: (usize, usize) = (4, 40);
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PUSH_PROMISE: u8 = 5;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const REFUSED_STREAM: &[u8] = &[0, 0, 0, 7];

/// What our own end tells the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told<'a> {
    /// A stream was one too many.
    StreamRefused,
    /// The connection ends, and why in the library's words.
    Ended(&'a [u8]),
}

/// Watches one connection.
#[derive(Debug)]
pub(crate) struct Frames {
    read: Scan,
    written: Scan,
    credit: Credit,
}

/// More idle frames than the client had credit for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a flood of frames without content")]
pub(crate) struct Flood;

impl Frames {
    /// Of a connection whose preface has not been read yet; `most` idle frames may come ahead.
    pub(crate) const fn new(most: u32, preface: usize) -> Self {
        let most = most as u64;
        Self {
            read: Scan::new(preface),
            written: Scan::new(0),
            credit: Credit { left: most, most, regained: Duration::ZERO },
        }
    }

    /// Takes in what was read; `age` tells how old the connection is.
    pub(crate) fn read(&mut self, bytes: &[u8], age: impl Fn() -> Duration) -> Result<(), Flood> {
        let (scan, credit) = (&mut self.read, &mut self.credit);
        let mut verdict = Ok(());
        scan.feed(bytes, |frame| {
            match frame.kind {
                DATA if frame.length == 0 && frame.flags & END_STREAM == 0 => {}
                DATA | HEADERS => return credit.earn(frame.length),
                // Their number has limits of its own.
                RST_STREAM | CONTINUATION | PUSH_PROMISE | GOAWAY => return,
                _ => {}
            }
            if verdict.is_ok() {
                verdict = credit.pay(&age);
            }
        });
        verdict
    }

    /// Takes in what was written, and passes on what the other end is told by it.
    pub(crate) fn wrote(&mut self, bytes: &[u8], mut tell: impl FnMut(Told<'_>)) {
        let (scan, credit) = (&mut self.written, &mut self.credit);
        scan.feed(bytes, |frame| match frame.kind {
            DATA | HEADERS => credit.earn(frame.length),
            RST_STREAM if frame.kept == REFUSED_STREAM => tell(Told::StreamRefused),
            GOAWAY => tell(Told::Ended(frame.kept.get(8..).unwrap_or_default())),
            _ => {}
        });
    }
}

/// What idle frames are paid from.
#[derive(Debug)]
struct Credit {
    left: u64,
    most: u64,
    /// Age of the connection up to which it has regained.
    regained: Duration,
}

impl Credit {
    fn earn(&mut self, bytes: u32) {
        self.left = (self.left + EARNED + u64::from(bytes) / BYTES).min(self.most);
    }

    fn pay(&mut self, age: impl Fn() -> Duration) -> Result<(), Flood> {
        if self.left == 0 {
            let age = age();
            let millis = u64::try_from(age.saturating_sub(self.regained).as_millis()).unwrap_or(u64::MAX);
            let regained = millis.saturating_mul(REGAINED) / 1_000;
            if regained == 0 {
                return Err(Flood);
            }
            self.left = regained.min(self.most.max(1));
            self.regained = age;
        }
        self.left -= 1;
        Ok(())
    }
}

/// Finds where each frame begins in a stream of bytes that comes in pieces.
#[derive(Debug)]
struct Scan {
    head: [u8; HEAD + KEPT.1],
    filled: usize,
    /// Bytes that belong to no head.
    skip: usize,
}

/// The beginning of a frame.
#[derive(Debug, Clone, Copy)]
struct Frame<'a> {
    length: u32,
    kind: u8,
    flags: u8,
    /// The beginning of its payload, where that is of interest.
    kept: &'a [u8],
}

impl Scan {
    const fn new(preface: usize) -> Self {
        Self { head: [0; HEAD + KEPT.1], filled: 0, skip: preface }
    }

    fn feed(&mut self, mut bytes: &[u8], mut see: impl FnMut(Frame<'_>)) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            if bytes.is_empty() {
                return;
            }
            let taken = (self.wanted() - self.filled).min(bytes.len());
            let (now, rest) = bytes.split_at_checked(taken).unwrap_or_default();
            if let Some(room) = self.head.get_mut(self.filled..self.filled + taken) {
                room.copy_from_slice(now);
            }
            self.filled += taken;
            bytes = rest;
            if self.filled < self.wanted() {
                continue;
            }
            let [.., kind, flags, _, _, _, _] = self.begun();
            let length = self.length();
            see(Frame { length, kind, flags, kept: self.head.get(HEAD..self.filled).unwrap_or_default() });
            self.skip = (length as usize).saturating_sub(self.filled - HEAD);
            self.filled = 0;
        }
    }

    fn begun(&self) -> [u8; HEAD] {
        self.head.first_chunk().copied().unwrap_or_default()
    }

    fn length(&self) -> u32 {
        let [a, b, c, ..] = self.begun();
        u32::from_be_bytes([0, a, b, c])
    }

    /// Bytes of the frame at hand that are kept, as far as that is known already.
    fn wanted(&self) -> usize {
        if self.filled < HEAD {
            return HEAD;
        }
        let [_, _, _, kind, ..] = self.begun();
        let most = match kind {
            RST_STREAM => KEPT.0,
            GOAWAY => KEPT.1,
            _ => 0,
        };
        HEAD + most.min(self.length() as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend_from_slice(&[kind, flags, 0, 0, 0, 1]);
        frame.extend_from_slice(payload);
        frame
    }

    const PING: u8 = 6;

    #[test]
    fn idle_frames_spend_the_credit_and_use_earns_it() {
        for idle in [
            frame(PING, 0, &[0; 8]),
            frame(4, 0, &[]),
            frame(2, 0, &[0; 5]),
            frame(8, 0, &[0; 4]),
            frame(DATA, 0, &[]),
            frame(99, 0, &[]),
        ] {
            let mut frames = Frames::new(100, 0);
            assert_eq!(frames.read(&idle.repeat(100), || Duration::ZERO), Ok(()), "{idle:?}");
            assert_eq!(frames.read(&idle, || Duration::ZERO), Err(Flood), "{idle:?}");
            assert_eq!(frames.read(&idle.repeat(100), || Duration::from_secs(1)), Ok(()), "regained");
            frames.wrote(&frame(HEADERS, 4, &[1, 2, 3]), |_| {});
            assert_eq!(frames.read(&idle.repeat(10), || Duration::from_secs(1)), Ok(()), "earned");
            assert_eq!(frames.read(&idle, || Duration::from_secs(1)), Err(Flood));
        }
    }

    #[test]
    fn who_answers_as_much_as_is_asked_never_runs_out() {
        let mut frames = Frames::new(50, 24);
        frames.read(&[b'x'; 24], || Duration::ZERO).unwrap();
        for _ in 0..10_000 {
            frames.wrote(&frame(DATA, 0, &[7; 10]), |_| {});
            let probe = [frame(PING, 0, &[0; 8]), frame(8, 0, &[0; 4])].concat();
            assert_eq!(frames.read(&probe, || Duration::ZERO), Ok(()));
        }
        assert_eq!(frames.read(&frame(DATA, END_STREAM, &[]).repeat(1_000), || Duration::ZERO), Ok(()));
    }

    #[test]
    fn what_our_end_tells_the_other_is_heard() {
        let mut frames = Frames::new(1, 0);
        let goaway = [&[0; 8], b"too_many_resets".as_slice()].concat();
        let written = [
            frame(RST_STREAM, 0, &[0, 0, 0, 7]),
            frame(RST_STREAM, 0, &[0, 0, 0, 8]),
            frame(GOAWAY, 0, &goaway),
            frame(GOAWAY, 0, &[0; 8]),
        ];
        let mut told = Vec::new();
        for byte in written.concat() {
            frames.wrote(&[byte], |what| told.push(format!("{what:?}")));
        }
        let ended = |said: &[u8]| format!("{:?}", Told::Ended(said));
        assert_eq!(told, ["StreamRefused".to_owned(), ended(b"too_many_resets"), ended(b"")]);
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            kinds in prop::collection::vec((0_u8..12, 0_u8..2, 0_usize..40), 1..30),
            cuts in prop::collection::vec(1_usize..20, 1..60),
        ) {
            let bytes: Vec<u8> = kinds.iter().flat_map(|(kind, flags, length)| frame(*kind, *flags, &vec![7; *length])).collect();
            let mut whole = Vec::new();
            Scan::new(0).feed(&bytes, |frame| whole.push((frame.kind, frame.flags, frame.length, frame.kept.to_vec())));
            prop_assert_eq!(whole.len(), kinds.len());
            let (mut scan, mut rest, mut pieces) = (Scan::new(0), bytes.as_slice(), Vec::new());
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                scan.feed(piece, |frame| pieces.push((frame.kind, frame.flags, frame.length, frame.kept.to_vec())));
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(whole, pieces);
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..2_000), most in 0_u32..3) {
            let mut frames = Frames::new(most, 0);
            let _ = frames.read(&bytes, || Duration::ZERO);
            frames.wrote(&bytes, |_| {});
        }
    }
}
