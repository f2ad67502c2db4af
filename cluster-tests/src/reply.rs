//! Reads what a Redis server sends, in RESP2 and RESP3.
//!
//! Owns: reply bytes → [`Reply`], and how a reply is written for people. Does not own: sockets.
//! It shares no line with the server's own encoder on purpose: a second reading of the protocol notices
//! what an encoder and a decoder from one hand would agree on wrongly.
//! Invariant: two replies are equal exactly if their bytes on the wire mean the same type and content.

use std::fmt;

use crate::failure::{Failure, Outcome};

/// Arrays nested deeper than this are refused instead of exhausting the stack.
const DEPTH_MAX: usize = 32;

/// One value as the server sent it; RESP2's two nils and RESP3's null are kept apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reply {
    /// `+text`
    Simple(Vec<u8>),
    /// `-text`, or RESP3's `!len` form.
    Error(Vec<u8>),
    /// `:n`
    Integer(i64),
    /// `$len`
    Bulk(Vec<u8>),
    /// `$-1`
    NilBulk,
    /// `*-1`
    NilArray,
    /// RESP3 `_`
    Null,
    /// `*n`
    Array(Vec<Self>),
    /// RESP3 `~n`
    Set(Vec<Self>),
    /// RESP3 `>n`
    Push(Vec<Self>),
    /// RESP3 `%n`
    Map(Vec<(Self, Self)>),
    /// RESP3 `,text`, kept as text because its form is part of the answer.
    Double(Vec<u8>),
    /// RESP3 `#t` or `#f`
    Boolean(bool),
    /// RESP3 `(digits`
    BigNumber(Vec<u8>),
    /// RESP3 `=len`, with its three-letter kind and colon.
    Verbatim(Vec<u8>),
}

impl Reply {
    /// Returns the text of an error reply.
    #[must_use]
    pub fn error_text(&self) -> Option<String> {
        if let Self::Error(text) = self {
            Some(String::from_utf8_lossy(text).into_owned())
        } else {
            None
        }
    }

    /// Returns the number of an integer reply.
    #[must_use]
    pub fn integer(&self) -> Option<i64> {
        if let Self::Integer(n) = self { Some(*n) } else { None }
    }

    /// Returns the bytes of a bulk, verbatim or simple reply.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        if let Self::Bulk(bytes) | Self::Verbatim(bytes) | Self::Simple(bytes) = self {
            Some(bytes)
        } else {
            None
        }
    }

    /// Returns the elements of an array, set or push.
    #[must_use]
    pub fn elements(&self) -> Option<&[Self]> {
        if let Self::Array(items) | Self::Set(items) | Self::Push(items) = self {
            Some(items)
        } else {
            None
        }
    }
}

/// Decodes the first reply in `bytes` and returns it with its length, or nothing if it is incomplete.
///
/// # Errors
/// When the bytes cannot be the beginning of a reply.
pub fn decode(bytes: &[u8]) -> Outcome<Option<(Reply, usize)>> {
    let mut cursor = Cursor { bytes, at: 0 };
    Ok(cursor.reply(0)?.map(|reply| (reply, cursor.at)))
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn line(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.at..)?;
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        self.at += end + 2;
        rest.get(..end)
    }

    fn number(line: &[u8]) -> Outcome<i64> {
        std::str::from_utf8(line)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Failure::new(format!("not a length or number: {}", quoted(line))))
    }

    fn body(&mut self, length: i64) -> Outcome<Option<Vec<u8>>> {
        let length = usize::try_from(length)
            .map_err(|_| Failure::new(format!("negative length {length}")))?;
        let Some(body) = self.bytes.get(self.at..self.at + length) else { return Ok(None) };
        let Some(end) = self.bytes.get(self.at + length..self.at + length + 2) else {
            return Ok(None);
        };
        if end != b"\r\n" {
            return Err(Failure::new(format!("bulk of {length} bytes not followed by CR LF")));
        }
        self.at += length + 2;
        Ok(Some(body.to_vec()))
    }

    fn items(&mut self, count: i64, depth: usize) -> Outcome<Option<Vec<Reply>>> {
        let mut items = Vec::new();
        for _ in 0..count {
            let Some(item) = self.reply(depth + 1)? else { return Ok(None) };
            items.push(item);
        }
        Ok(Some(items))
    }

    fn reply(&mut self, depth: usize) -> Outcome<Option<Reply>> {
        if depth > DEPTH_MAX {
            return Err(Failure::new(format!("reply nested deeper than {DEPTH_MAX}")));
        }
        let Some((&kind, line)) = self.line().and_then(<[u8]>::split_first) else {
            return Ok(None);
        };
        let text = || line.to_vec();
        Ok(match kind {
            b'+' => Some(Reply::Simple(text())),
            b'-' => Some(Reply::Error(text())),
            b':' => Some(Reply::Integer(Self::number(line)?)),
            b',' => Some(Reply::Double(text())),
            b'(' => Some(Reply::BigNumber(text())),
            b'_' => Some(Reply::Null),
            b'#' => Some(Reply::Boolean(line == b"t")),
            b'$' | b'*' if line == b"-1" => {
                Some(if kind == b'$' { Reply::NilBulk } else { Reply::NilArray })
            }
            b'$' => self.body(Self::number(line)?)?.map(Reply::Bulk),
            b'=' => self.body(Self::number(line)?)?.map(Reply::Verbatim),
            b'!' => self.body(Self::number(line)?)?.map(Reply::Error),
            b'*' => self.items(Self::number(line)?, depth)?.map(Reply::Array),
            b'~' => self.items(Self::number(line)?, depth)?.map(Reply::Set),
            b'>' => self.items(Self::number(line)?, depth)?.map(Reply::Push),
            b'%' => self.items(Self::number(line)? * 2, depth)?.map(|items| {
                let mut items = items.into_iter();
                let mut pairs = Vec::new();
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
                    pairs.push((key, value));
                }
                Reply::Map(pairs)
            }),
            other => {
                return Err(Failure::new(format!("no reply begins with {}", quoted(&[other]))));
            }
        })
    }
}

/// Writes `bytes` as a quoted string, as scripts write bulks; long ones are cut for the reader.
#[must_use]
pub fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for &byte in bytes.iter().take(400) {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push('"');
    if bytes.len() > 400 {
        text.push_str(&format!("… ({} bytes)", bytes.len()));
    }
    text
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, word: &str, items: &[Self]| {
            let items: Vec<_> = items.iter().map(ToString::to_string).collect();
            write!(f, "{word}[{}]", items.join(", "))
        };
        match self {
            Self::Simple(text) => f.write_str(&String::from_utf8_lossy(text)),
            Self::Error(text) => write!(f, "(error) {}", String::from_utf8_lossy(text)),
            Self::Integer(n) => write!(f, "(integer) {n}"),
            Self::Bulk(bytes) => f.write_str(&quoted(bytes)),
            Self::NilBulk => f.write_str("(nil)"),
            Self::NilArray => f.write_str("(nil array)"),
            Self::Null => f.write_str("(null)"),
            Self::Array(items) => list(f, "", items),
            Self::Set(items) => list(f, "set", items),
            Self::Push(items) => list(f, "push", items),
            Self::Map(pairs) => {
                let pairs: Vec<_> = pairs.iter().map(|(k, v)| format!("{k}: {v}")).collect();
                write!(f, "map[{}]", pairs.join(", "))
            }
            Self::Double(text) => write!(f, "(double) {}", String::from_utf8_lossy(text)),
            Self::Boolean(yes) => write!(f, "(boolean) {yes}"),
            Self::BigNumber(text) => write!(f, "(big number) {}", String::from_utf8_lossy(text)),
            Self::Verbatim(bytes) => write!(f, "(verbatim) {}", quoted(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resp_type_is_read_and_written() {
        for (bytes, text) in [
            ("+OK\r\n", "OK"),
            ("-ERR no\r\n", "(error) ERR no"),
            (":-7\r\n", "(integer) -7"),
            ("$3\r\na\r\n\r\n", r#""a\r\n""#),
            ("$-1\r\n", "(nil)"),
            ("*-1\r\n", "(nil array)"),
            ("_\r\n", "(null)"),
            ("*2\r\n:1\r\n*0\r\n", "[(integer) 1, []]"),
            ("~1\r\n$1\r\na\r\n", r#"set["a"]"#),
            (">2\r\n+a\r\n+b\r\n", "push[a, b]"),
            ("%1\r\n$1\r\na\r\n:1\r\n", r#"map["a": (integer) 1]"#),
            (",1.5\r\n", "(double) 1.5"),
            ("#t\r\n", "(boolean) true"),
            ("=5\r\ntxt:a\r\n", r#"(verbatim) "txt:a""#),
        ] {
            let (reply, length) = decode(bytes.as_bytes()).unwrap().unwrap();
            assert_eq!((reply.to_string().as_str(), length), (text, bytes.len()));
            for cut in 0..bytes.len() {
                assert_eq!(decode(&bytes.as_bytes()[..cut]).unwrap(), None, "{text} cut at {cut}");
            }
        }
        assert!(decode(b"hello\r\n").is_err());
        assert!(decode("*1\r\n".repeat(100).as_bytes()).is_err());
    }
}
