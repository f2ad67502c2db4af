//! What a command answers, and the errors it answers with.
//!
//! Owns the meaning of a reply and Redis' exact error texts. Does not know RESP: a door walks a [`Reply`] and writes
//! the bytes of the client's protocol version. Invariant: the text of an [`Error`] is API that Redis clients read.

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::inspect::{MEMORY_HELP, OBJECT_HELP};
use crate::ids::WaitId;

/// The answer to one command, free of any protocol version.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// `+OK`.
    Ok,
    /// A short status such as `+string`.
    Status(&'static str),
    /// No value.
    Nil,
    /// No value where an array was due: `*-1` in RESP2, `_` in RESP3.
    NilArray,
    /// A number.
    Integer(i64),
    /// A string of bytes.
    Bulk(Bytes),
    /// Replies in order.
    Array(Vec<Self>),
    /// Distinct replies; an array in RESP2.
    Set(Vec<Self>),
    /// Keys and values in turn, so always an even count; a flat array in RESP2, a map in RESP3.
    Map(Vec<Self>),
    /// Keys and values in turn; a flat array in RESP2, an array of pairs in RESP3 (`HRANDFIELD … WITHVALUES`).
    Pairs(Vec<Self>),
    /// The command was refused.
    Error(Error),
    /// The command waits for an element; the real reply comes when the wait is served or cancelled.
    Blocked(WaitId),
}

impl Reply {
    /// The integer reply for a count.
    ///
    /// # Panics
    /// Never: no collection holds 2^63 elements.
    #[must_use]
    pub fn count(count: usize) -> Self {
        Self::Integer(
            i64::try_from(count).expect("a collection in memory has fewer than 2^63 elements"),
        )
    }

    /// `1` for true, `0` for false.
    #[must_use]
    pub fn flag(flag: bool) -> Self {
        Self::Integer(i64::from(flag))
    }

    /// The value, or nil.
    #[must_use]
    pub fn bulk_or_nil(value: Option<Bytes>) -> Self {
        value.map_or(Self::Nil, Self::Bulk)
    }

    /// About how many bytes it holds; never less than its strings have.
    #[must_use]
    pub fn size(&self) -> usize {
        /// A header on the wire, or a place in memory.
        const HEADER: usize = 24;
        let inner = match self {
            Self::Bulk(bytes) => bytes.len(),
            Self::Array(items) | Self::Set(items) | Self::Map(items) | Self::Pairs(items) => {
                items.iter().map(Self::size).fold(0, usize::saturating_add)
            }
            Self::Ok
            | Self::Status(_)
            | Self::Nil
            | Self::NilArray
            | Self::Integer(_)
            | Self::Error(_)
            | Self::Blocked(_) => 0,
        };
        inner.saturating_add(HEADER)
    }

    /// The reply of a fallible command.
    #[must_use]
    pub fn from_result(result: Result<Self, Error>) -> Self {
        result.unwrap_or_else(Self::Error)
    }
}

/// Why a command was refused, before or while it was applied. Its text is what Redis 7 sends, code word first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Error {
    /// The key holds another type.
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    /// Too few or too many arguments; `name` is lower case, `config|get` for a subcommand.
    #[error("ERR wrong number of arguments for '{0}' command")]
    WrongArity(String),
    /// An option that is unknown, doubled or in conflict.
    #[error("ERR syntax error")]
    Syntax,
    /// Not a 64-bit integer.
    #[error("ERR value is not an integer or out of range")]
    NotInteger,
    /// Not a float.
    #[error("ERR value is not a valid float")]
    NotFloat,
    /// A hash field that does not hold an integer.
    #[error("ERR hash value is not an integer")]
    HashNotInteger,
    /// A hash field that does not hold a float.
    #[error("ERR hash value is not a float")]
    HashNotFloat,
    /// The sum leaves 64 bits.
    #[error("ERR increment or decrement would overflow")]
    Overflow,
    /// `DECRBY` by the smallest integer.
    #[error("ERR decrement would overflow")]
    DecrementOverflow,
    /// The sum is no finite number.
    #[error("ERR increment would produce NaN or Infinity")]
    NotFinite,
    /// The increment of a hash field is no finite number.
    #[error("ERR value is NaN or Infinity")]
    ValueNotFinite,
    /// A time to live that is not positive or too large; the command's name is lower case.
    #[error("ERR invalid expire time in '{0}' command")]
    InvalidExpire(String),
    /// A source key that does not exist.
    #[error("ERR no such key")]
    NoSuchKey,
    /// An index outside a list.
    #[error("ERR index out of range")]
    IndexOutOfRange,
    /// A count that must not be negative.
    #[error("ERR value is out of range, must be positive")]
    NotPositive,
    /// A database number that does not exist.
    #[error("ERR DB index is out of range")]
    DatabaseOutOfRange,
    /// A result longer than a value may be.
    #[error(
        "ERR string exceeds maximum allowed size (proto-max-bulk-len): {size} bytes, limit {limit}; raise cluster.value_max to allow it"
    )]
    TooLong {
        /// How long it would have become, in bytes.
        size: u64,
        /// The most there may be, in bytes.
        limit: u64,
    },
    /// Any other text that Redis gives in one place only.
    #[error("{0}")]
    Text(std::borrow::Cow<'static, str>),
}

impl Error {
    /// An error that occurs in one place, with its whole text, code word first.
    #[must_use]
    pub const fn text(text: &'static str) -> Self {
        Self::Text(std::borrow::Cow::Borrowed(text))
    }
}

impl From<Error> for Reply {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// How deep replies nest: EXEC's array, around a command's array, around a pair, and one to spare.
const DEPTH_MAX: usize = 4;

/// One step of a reply on the wire. A reply nests, and a nested type could overflow the stack of whoever decodes it;
/// a list of tokens cannot.
#[derive(Serialize, Deserialize)]
enum Token {
    Ok,
    Status(String),
    Nil,
    NilArray,
    Integer(i64),
    Bulk(Bytes),
    Array(u32),
    Set(u32),
    Map(u32),
    Pairs(u32),
    Error(Error),
    Blocked(WaitId),
}

impl Serialize for Reply {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut tokens = Vec::new();
        flatten(self, &mut tokens);
        tokens.serialize(out)
    }
}

impl<'de> Deserialize<'de> for Reply {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let tokens = Vec::<Token>::deserialize(input)?;
        let mut tokens = tokens.into_iter();
        let reply = gather(&mut tokens, DEPTH_MAX).map_err(de::Error::custom)?;
        match tokens.next() {
            None => Ok(reply),
            Some(_) => Err(de::Error::custom("tokens left over behind a reply")),
        }
    }
}

fn flatten(reply: &Reply, tokens: &mut Vec<Token>) {
    let length = |items: &[Reply]| u32::try_from(items.len()).unwrap_or(u32::MAX);
    let (token, items): (Token, &[Reply]) = match reply {
        Reply::Ok => (Token::Ok, &[]),
        Reply::Status(text) => (Token::Status((*text).to_owned()), &[]),
        Reply::Nil => (Token::Nil, &[]),
        Reply::NilArray => (Token::NilArray, &[]),
        Reply::Integer(number) => (Token::Integer(*number), &[]),
        Reply::Bulk(bytes) => (Token::Bulk(bytes.clone()), &[]),
        Reply::Array(items) => (Token::Array(length(items)), items),
        Reply::Set(items) => (Token::Set(length(items)), items),
        Reply::Map(items) => (Token::Map(length(items)), items),
        Reply::Pairs(items) => (Token::Pairs(length(items)), items),
        Reply::Error(error) => (Token::Error(error.clone()), &[]),
        Reply::Blocked(wait) => (Token::Blocked(*wait), &[]),
    };
    tokens.push(token);
    for item in items {
        flatten(item, tokens);
    }
}

fn gather(tokens: &mut std::vec::IntoIter<Token>, depth: usize) -> Result<Reply, &'static str> {
    let token = tokens.next().ok_or("a reply ends in the middle")?;
    let mut items = |count: u32| -> Result<Vec<Reply>, &'static str> {
        let depth = depth.checked_sub(1).ok_or("a reply nests too deep")?;
        (0..count).map(|_| gather(tokens, depth)).collect()
    };
    Ok(match token {
        Token::Ok => Reply::Ok,
        Token::Status(text) => Reply::Status(known_status(&text)?),
        Token::Nil => Reply::Nil,
        Token::NilArray => Reply::NilArray,
        Token::Integer(number) => Reply::Integer(number),
        Token::Bulk(bytes) => Reply::Bulk(bytes),
        Token::Array(count) => Reply::Array(items(count)?),
        Token::Set(count) => Reply::Set(items(count)?),
        Token::Map(count) => Reply::Map(items(count)?),
        Token::Pairs(count) => Reply::Pairs(items(count)?),
        Token::Error(error) => Reply::Error(error),
        Token::Blocked(wait) => Reply::Blocked(wait),
    })
}

/// The statuses that commands on the keyspace give beside lines of help; all are fixed texts.
const STATUSES: [&str; 6] = ["string", "list", "set", "hash", "none", "OK"];

fn known_status(text: &str) -> Result<&'static str, &'static str> {
    let known = STATUSES.iter().chain(OBJECT_HELP).chain(MEMORY_HELP);
    known.copied().find(|known| *known == text).ok_or("an unknown status")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    #[test]
    fn a_nested_reply_survives_the_wire() {
        let reply = Reply::Array(vec![
            Reply::Status("hash"),
            Reply::Map(vec![Reply::Bulk(Bytes::from_static(b"f")), Reply::Integer(-1)]),
            Reply::Error(Error::WrongArity("get".to_owned())),
            Reply::Array(vec![Reply::Nil, Reply::NilArray, Reply::Ok]),
        ]);
        assert_eq!(codec::decode::<Reply>(&codec::encode(&reply)).unwrap(), reply);
    }

    #[test]
    fn a_reply_that_nests_too_deep_is_refused() {
        let deep = (0..100_000).map(|_| Token::Array(1)).chain([Token::Nil]).collect::<Vec<_>>();
        assert!(codec::decode::<Reply>(&codec::encode(&deep)).is_err());
        assert!(codec::decode::<Reply>(&codec::encode(&vec![Token::Array(u32::MAX)])).is_err());
    }
}
