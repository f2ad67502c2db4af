//! Replies read back, as a client does.
//!
//! Owns [`Value`], the reply types of both protocol versions, and how one is taken off a read buffer. Serves tests and
//! load clients; a door does not need it. Invariant: a reply is built only when all its bytes are here, so memory follows
//! the bytes that arrived; nesting and length are bounded.

use bytes::{Bytes, BytesMut};

use super::decode::parse_integer;

/// How deep replies may nest.
pub(super) const DEPTH_MAX: usize = 32;
/// How many bytes a reply may have: 1 GiB.
const LENGTH_MAX: usize = 1024 * 1024 * 1024;
/// How many bytes the header line of a bulk or an aggregate may have.
const HEADER_MAX: usize = 32;
/// How many bytes a status, an error or a number may have.
const LINE_MAX: usize = 1024 * 1024;

/// One reply, or one push.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `+`: a short text.
    Status(Bytes),
    /// `-` or `!`: an error, its code word first.
    Error(Bytes),
    /// `:`: a number.
    Integer(i64),
    /// `$`: a string of bytes.
    Bulk(Bytes),
    /// `$-1`, `*-1` or `_`: no value.
    Nil,
    /// `*`: replies in order.
    Array(Vec<Self>),
    /// `%`: keys with their values.
    Map(Vec<(Self, Self)>),
    /// `~`: distinct replies.
    Set(Vec<Self>),
    /// `>`: what arrives unasked.
    Push(Vec<Self>),
    /// `,`: a floating-point number.
    Double(f64),
    /// `#`: a truth value.
    Boolean(bool),
    /// `=`: text with the three letters of its format.
    Verbatim {
        /// `txt` or `mkd`.
        format: Bytes,
        /// The text.
        text: Bytes,
    },
    /// `(`: a whole number of any size, as its digits.
    BigNumber(Bytes),
}

/// Why bytes are no reply. Give the connection up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// No reply begins so, or its number is none.
    #[error("byte {mark:#04x} at offset {at} begins no well-formed reply")]
    Malformed {
        /// The byte at the beginning of the line.
        mark: u8,
        /// Where the line begins.
        at: usize,
    },
    /// Arrays within arrays.
    #[error("reply nests deeper than {DEPTH_MAX}")]
    TooDeep,
    /// A reply longer than any.
    #[error("reply of {length} bytes or more exceeds limit of {LENGTH_MAX}")]
    TooLong {
        /// How long at least.
        length: usize,
    },
}

/// Takes the next reply off the front of `buffer`; `None` when it is not whole yet. The strings in it share one
/// allocation with each other.
///
/// Cost: linear in the reply's bytes, on each call.
///
/// # Errors
/// When the bytes are no reply.
pub fn decode_value(buffer: &mut BytesMut) -> Result<Option<Value>, ValueError> {
    let Some(length) = measure(buffer)? else { return Ok(None) };
    let bytes = buffer.split_to(length).freeze();
    let mut reader = Reader { bytes, at: 0 };
    reader.value(DEPTH_MAX).map(Some)
}

/// What one header line announces.
enum Header {
    /// Is whole in itself.
    Leaf,
    /// That many bytes and CRLF follow.
    Bytes(usize),
    /// That many replies follow.
    Values(usize),
    /// That many replies follow, and then the one they describe.
    Attributes(usize),
}

fn header(line: &[u8], at: usize) -> Result<Header, ValueError> {
    let (&mark, rest) = line.split_first().unwrap_or((&b'\r', &[]));
    let malformed = ValueError::Malformed { mark, at };
    let count = || match parse_integer(rest).ok_or(malformed)? {
        -1 => Ok(None),
        number => usize::try_from(number).map(Some).map_err(|_| malformed),
    };
    Ok(match mark {
        b'+' | b'-' => Header::Leaf,
        b':' if parse_integer(rest).is_some() => Header::Leaf,
        b'_' if rest.is_empty() => Header::Leaf,
        b'#' if matches!(rest, b"t" | b"f") => Header::Leaf,
        b',' if parse_double(rest).is_some() => Header::Leaf,
        b'(' if rest.iter().all(|b| b.is_ascii_digit() || *b == b'-') => Header::Leaf,
        b'$' => count()?.map_or(Header::Leaf, Header::Bytes),
        b'!' | b'=' => Header::Bytes(count()?.ok_or(malformed)?),
        b'*' => count()?.map_or(Header::Leaf, Header::Values),
        b'~' | b'>' => Header::Values(count()?.ok_or(malformed)?),
        b'%' => Header::Values(count()?.ok_or(malformed)?.saturating_mul(2)),
        b'|' => Header::Attributes(count()?.ok_or(malformed)?.saturating_mul(2)),
        _ => return Err(malformed),
    })
}

/// Gives the length of the first reply in `bytes`, or nothing when it is not whole.
fn measure(bytes: &[u8]) -> Result<Option<usize>, ValueError> {
    let mut open = [0usize; DEPTH_MAX];
    let mut depth = 0usize;
    let mut at = 0usize;
    loop {
        let Some((line, mut next)) = line_at(bytes, at)? else { return Ok(None) };
        let children = match header(line, at)? {
            Header::Leaf => 0,
            Header::Bytes(length) => {
                next = next.saturating_add(length).saturating_add(2);
                0
            }
            Header::Values(count) => count,
            // What they describe follows in their place.
            Header::Attributes(count) => count.saturating_add(1),
        };
        let is_attribute = line.first() == Some(&b'|');
        if next > LENGTH_MAX {
            return Err(ValueError::TooLong { length: next });
        }
        if next > bytes.len() {
            return Ok(None);
        }
        at = next;
        if children > 0 || is_attribute {
            *open.get_mut(depth).ok_or(ValueError::TooDeep)? = children;
            depth = depth.saturating_add(1);
            continue;
        }
        // A reply is whole; so are those that it was the last element of.
        loop {
            let Some(top) = depth.checked_sub(1) else { return Ok(Some(at)) };
            let left = open.get_mut(top).ok_or(ValueError::TooDeep)?;
            *left = left.saturating_sub(1);
            if *left > 0 {
                break;
            }
            depth = top;
        }
    }
}

/// Gives the line that begins at `at`, and where the next one begins.
fn line_at(bytes: &[u8], at: usize) -> Result<Option<(&[u8], usize)>, ValueError> {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some(&mark) = rest.first() else { return Ok(None) };
    let most = if matches!(mark, b'+' | b'-' | b'(' | b',') { LINE_MAX } else { HEADER_MAX };
    let window = rest.get(..most.min(rest.len())).unwrap_or(rest);
    match memchr::memchr(b'\n', window) {
        Some(end) => {
            let line = window.get(..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").ok_or(ValueError::Malformed { mark, at })?;
            Ok(Some((line, at.saturating_add(end).saturating_add(1))))
        }
        None if rest.len() >= most => Err(ValueError::Malformed { mark, at }),
        None => Ok(None),
    }
}

fn parse_double(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Builds a reply from bytes that were measured.
struct Reader {
    bytes: Bytes,
    at: usize,
}

impl Reader {
    fn value(&mut self, depth: usize) -> Result<Value, ValueError> {
        let at = self.at;
        let Some((line, next)) = line_at(&self.bytes, at)? else {
            return Err(ValueError::Malformed { mark: 0, at });
        };
        let mark = line.first().copied().unwrap_or_default();
        let text = self.bytes.slice_ref(line.get(1..).unwrap_or_default());
        let announced = header(line, at)?;
        self.at = next;
        let malformed = ValueError::Malformed { mark, at };
        match announced {
            Header::Leaf => leaf(mark, text).ok_or(malformed),
            Header::Bytes(length) => {
                let end = next.saturating_add(length);
                let bytes = self.bytes.get(next..end).ok_or(malformed)?;
                let bytes = self.bytes.slice_ref(bytes);
                self.at = end.saturating_add(2);
                string(mark, bytes).ok_or(malformed)
            }
            Header::Values(count) => {
                let depth = depth.checked_sub(1).ok_or(ValueError::TooDeep)?;
                let items = self.values(count, depth)?;
                Ok(match mark {
                    b'*' => Value::Array(items),
                    b'~' => Value::Set(items),
                    b'>' => Value::Push(items),
                    _ => Value::Map(pairs(items)),
                })
            }
            Header::Attributes(count) => {
                let depth = depth.checked_sub(1).ok_or(ValueError::TooDeep)?;
                self.values(count, depth)?;
                self.value(depth)
            }
        }
    }

    fn values(&mut self, count: usize, depth: usize) -> Result<Vec<Value>, ValueError> {
        (0..count).map(|_| self.value(depth)).collect()
    }
}

fn leaf(mark: u8, text: Bytes) -> Option<Value> {
    Some(match mark {
        b'+' => Value::Status(text),
        b'-' => Value::Error(text),
        b':' => Value::Integer(parse_integer(&text)?),
        b'#' => Value::Boolean(&text[..] == b"t"),
        b',' => Value::Double(parse_double(&text)?),
        b'(' => Value::BigNumber(text),
        _ => Value::Nil,
    })
}

fn string(mark: u8, bytes: Bytes) -> Option<Value> {
    Some(match mark {
        b'!' => Value::Error(bytes),
        b'=' => {
            let text = bytes.get(4..)?;
            Value::Verbatim { format: bytes.slice(..3), text: bytes.slice_ref(text) }
        }
        _ => Value::Bulk(bytes),
    })
}

fn pairs(items: Vec<Value>) -> Vec<(Value, Value)> {
    let mut items = items.into_iter();
    std::iter::from_fn(|| Some((items.next()?, items.next()?))).collect()
}
