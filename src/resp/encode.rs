//! Replies into a write buffer, in the protocol version of the client.
//!
//! Owns the bytes of each reply type and what RESP2 gives instead of what it lacks. Does not decide what is replied.
//! Invariant: whatever text is passed in, exactly one reply of the asked type comes out (no CR or LF is let through
//! into a line).

use bytes::{BufMut, BytesMut};

/// A version of the protocol, as `HELLO` chooses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// What every client speaks that has not said `HELLO 3`.
    #[default]
    Resp2,
    /// With maps, sets, pushes, doubles and one null.
    Resp3,
}

/// Appends replies to a buffer.
///
/// An aggregate is its header followed by its elements: `array(2)`, then two more calls.
#[derive(Debug)]
pub struct Encoder<'a> {
    out: &'a mut BytesMut,
    version: Version,
}

impl<'a> Encoder<'a> {
    /// Makes an encoder that writes behind what `out` holds.
    pub const fn new(out: &'a mut BytesMut, version: Version) -> Self {
        Self { out, version }
    }

    /// The version that is written.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Writes from here on in another version.
    pub const fn set_version(&mut self, version: Version) {
        self.version = version;
    }

    /// Writes `+OK`.
    pub fn ok(&mut self) {
        self.out.put_slice(b"+OK\r\n");
    }

    /// Writes a short text such as `+QUEUED`.
    pub fn status(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// Writes an error; `text` begins with its code word.
    pub fn error(&mut self, text: &str) {
        self.line(b'-', text.as_bytes());
    }

    /// Writes a number.
    pub fn integer(&mut self, number: i64) {
        self.header(b':', number);
    }

    /// Writes a string of bytes.
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len().saturating_add(HEADER_MAX));
        self.length(b'$', bytes.len());
        self.out.put_slice(bytes);
        self.out.put_slice(b"\r\n");
    }

    /// Writes that there is no value.
    pub fn nil(&mut self) {
        match self.version {
            Version::Resp2 => self.out.put_slice(b"$-1\r\n"),
            Version::Resp3 => self.out.put_slice(b"_\r\n"),
        }
    }

    /// Writes that there is no value where an array was due.
    pub fn nil_array(&mut self) {
        match self.version {
            Version::Resp2 => self.out.put_slice(b"*-1\r\n"),
            Version::Resp3 => self.out.put_slice(b"_\r\n"),
        }
    }

    /// Begins an array of `count` elements.
    pub fn array(&mut self, count: usize) {
        self.length(b'*', count);
    }

    /// Begins a map of `count` keys, each followed by its value; a flat array in RESP2.
    pub fn map(&mut self, count: usize) {
        match self.version {
            Version::Resp2 => self.length(b'*', count.saturating_mul(2)),
            Version::Resp3 => self.length(b'%', count),
        }
    }

    /// Begins a set of `count` elements; an array in RESP2.
    pub fn set(&mut self, count: usize) {
        self.aggregate(b'~', count);
    }

    /// Begins a push of `count` elements, which no request asked for; an array in RESP2.
    pub fn push(&mut self, count: usize) {
        self.aggregate(b'>', count);
    }

    /// Writes a floating-point number; a string in RESP2.
    pub fn double(&mut self, number: f64) {
        let text = double_text(number);
        match self.version {
            Version::Resp2 => self.bulk(text.as_bytes()),
            Version::Resp3 => self.line(b',', text.as_bytes()),
        }
    }

    /// Writes a truth value; 1 or 0 in RESP2.
    pub fn boolean(&mut self, value: bool) {
        match (self.version, value) {
            (Version::Resp2, value) => self.integer(i64::from(value)),
            (Version::Resp3, true) => self.out.put_slice(b"#t\r\n"),
            (Version::Resp3, false) => self.out.put_slice(b"#f\r\n"),
        }
    }

    /// Writes plain text meant for people; a string in RESP2.
    pub fn verbatim(&mut self, text: &[u8]) {
        match self.version {
            Version::Resp2 => self.bulk(text),
            Version::Resp3 => {
                self.length(b'=', text.len().saturating_add(4));
                self.out.put_slice(b"txt:");
                self.out.put_slice(text);
                self.out.put_slice(b"\r\n");
            }
        }
    }

    fn aggregate(&mut self, mark: u8, count: usize) {
        match self.version {
            Version::Resp2 => self.length(b'*', count),
            Version::Resp3 => self.length(mark, count),
        }
    }

    fn length(&mut self, mark: u8, length: usize) {
        self.header(mark, i64::try_from(length).unwrap_or(i64::MAX));
    }

    fn header(&mut self, mark: u8, number: i64) {
        let mut line = [0u8; HEADER_MAX];
        let mut at = HEADER_MAX;
        let mut put = |byte: u8| {
            at = at.saturating_sub(1);
            if let Some(place) = line.get_mut(at) {
                *place = byte;
            }
        };
        put(b'\n');
        put(b'\r');
        let mut rest = number.unsigned_abs();
        loop {
            put(b'0'.wrapping_add(u8::try_from(rest % 10).unwrap_or_default()));
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if number < 0 {
            put(b'-');
        }
        put(mark);
        self.out.put_slice(line.get(at..).unwrap_or_default());
    }

    fn line(&mut self, mark: u8, text: &[u8]) {
        self.out.reserve(text.len().saturating_add(3));
        self.out.put_u8(mark);
        if memchr::memchr2(b'\r', b'\n', text).is_none() {
            self.out.put_slice(text);
        } else {
            self.out.extend(text.iter().map(|byte| match byte {
                b'\r' | b'\n' => b' ',
                other => *other,
            }));
        }
        self.out.put_slice(b"\r\n");
    }
}

/// The longest header: a mark, a sign, 19 digits, CR and LF; rounded up.
const HEADER_MAX: usize = 32;

/// The shortest text that reads back as the same number.
fn double_text(number: f64) -> String {
    if number.is_nan() {
        "nan".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "inf" } else { "-inf" }.to_owned()
    } else if number != 0.0 && !(1e-5..1e17).contains(&number.abs()) {
        format!("{number:e}")
    } else {
        format!("{number}")
    }
}
