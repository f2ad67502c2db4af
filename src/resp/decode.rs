//! Requests out of a read buffer, resumable at any byte.
//!
//! Owns the grammar of requests (multibulk and inline), its limits and Redis' texts for what breaks them. Does not read
//! from a socket and knows no command. Invariants: memory follows the bytes that arrived, never a claimed length; no byte
//! is looked at twice; a value is copied at most once.
//!
//! Copying: an argument is copied once, into its own allocation, so that a value kept for long does not keep the read
//! buffer. One of [`LARGE`] bytes or more that is still arriving gets the read buffer for itself: what is already here
//! moves to a fresh one (this part's one copy), the rest is read into its place, and the whole is taken out uncopied.

use bytes::{Buf, Bytes, BytesMut};

use super::inline;

/// From how many bytes on an argument that is still arriving is not copied.
pub(super) const LARGE: usize = 32 * 1024;

/// What Redis itself takes at most for one argument by default: 512 MiB.
const REDIS_BULK_MAX: i64 = 512 * 1024 * 1024;

/// What an argument costs beside its bytes, as counted against [`Limits::request_max`].
const ARGUMENT_COST: usize = 32;

/// What a client may send at most. Each is checked as soon as it is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one argument.
    pub bulk_max: usize,
    /// Arguments of one request, the command's name included.
    pub arguments_max: usize,
    /// Bytes of an inline request, and of the header line of anything else.
    pub inline_max: usize,
    /// Bytes of one request, each argument counted as its length and 32 more.
    pub request_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bulk_max: 16 * 1024 * 1024,
            arguments_max: 1024 * 1024,
            inline_max: 64 * 1024,
            request_max: 64 * 1024 * 1024,
        }
    }
}

/// Arguments of a request of someone who has not authenticated. Source: Redis 7.2, `networking.c`.
const UNAUTHENTICATED_ARGUMENTS_MAX: usize = 10;
/// Bytes of an argument of someone who has not authenticated.
const UNAUTHENTICATED_BULK_MAX: usize = 16 * 1024;

/// Why a client's bytes are no request. Tell it the text (unless [`ProtocolError::is_silent`]) and close: what follows
/// cannot be understood any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A count of arguments that is no number or out of any range.
    #[error("ERR Protocol error: invalid multibulk length")]
    MultibulkLength,
    /// More arguments than allowed.
    #[error(
        "ERR Protocol error: invalid multibulk length: request of {count} arguments exceeds limit of {limit}; send several requests or raise resp.arguments_max"
    )]
    ArgumentsExceeded {
        /// How many were announced.
        count: i64,
        /// How many there may be.
        limit: usize,
    },
    /// A length that is no number or out of any range.
    #[error("ERR Protocol error: invalid bulk length")]
    BulkLength,
    /// A longer argument than allowed.
    #[error(
        "ERR Protocol error: invalid bulk length: argument of {size} bytes exceeds limit of {limit}; raise resp.bulk_max to allow it"
    )]
    BulkExceeded {
        /// How long it was announced.
        size: i64,
        /// How long it may be.
        limit: usize,
    },
    /// A longer request than allowed, all its arguments together.
    #[error(
        "ERR Protocol error: request of {size} bytes exceeds limit of {limit}; raise resp.request_max to allow it"
    )]
    RequestExceeded {
        /// How long it would have become by the argument announced last.
        size: usize,
        /// How long it may be.
        limit: usize,
    },
    /// Something else where an argument should begin.
    #[error("ERR Protocol error: expected '$', got '{}'", char::from(*.0))]
    Expected(u8),
    /// Quotes that do not close.
    #[error("ERR Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// An inline request that does not end.
    #[error("ERR Protocol error: too big inline request")]
    InlineExceeded,
    /// A count of arguments that does not end.
    #[error("ERR Protocol error: too big mbulk count string")]
    MultibulkHeaderExceeded,
    /// The length of an argument that does not end.
    #[error("ERR Protocol error: too big bulk count string")]
    BulkHeaderExceeded,
    /// More than 10 arguments before authentication.
    #[error("ERR Protocol error: unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    /// An argument of more than 16,384 bytes before authentication.
    #[error("ERR Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    /// Someone speaks HTTP: a browser was led here. Nothing is answered, whatever came before in the same read.
    #[error("possible cross-protocol attack: the request begins with POST or Host:")]
    CrossProtocol,
}

impl ProtocolError {
    /// Tells whether the connection is closed without a word.
    #[must_use]
    pub const fn is_silent(&self) -> bool {
        matches!(self, Self::CrossProtocol)
    }
}

/// Takes requests out of a read buffer.
///
/// ```text
/// request   = multibulk | inline
/// multibulk = "*" count CRLF count × ("$" length CRLF bytes CRLF)
/// inline    = word *(space word) [CR] LF
/// ```
///
/// A count of zero or less and an empty line are passed over. The two bytes behind an argument are not looked at, as
/// in Redis.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    authenticated: bool,
    words: Vec<Bytes>,
    /// Arguments of the current request that are still to come; zero between requests.
    missing: usize,
    /// The length of the argument whose header was read.
    bulk: Option<usize>,
    /// Whether that argument has the buffer for itself.
    alone: bool,
    /// How far into the buffer the end of the current line was looked for.
    scanned: usize,
    /// What the current request has cost so far.
    size: usize,
}

/// What a step found.
enum Step {
    /// Goes on.
    More,
    /// Needs more bytes.
    Starved,
    /// Has a whole request.
    Request(Vec<Bytes>),
}

impl Decoder {
    /// Makes a decoder for a connection that need not authenticate, or has.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            authenticated: true,
            words: Vec::new(),
            missing: 0,
            bulk: None,
            alone: false,
            scanned: 0,
            size: 0,
        }
    }

    /// Says whether the client has authenticated; until then smaller limits hold.
    pub const fn set_authenticated(&mut self, authenticated: bool) {
        self.authenticated = authenticated;
    }

    /// Takes the next request off the front of `buffer`: its words, the command's name first; at least one. `None` when
    /// it is not whole yet: read more behind what `buffer` holds, and call again.
    ///
    /// Cost: linear in the bytes that are new since the last call.
    ///
    /// # Errors
    /// When the bytes are no request. The decoder must not be used any further.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Vec<Bytes>>, ProtocolError> {
        loop {
            let step = match (self.missing, buffer.first()) {
                (0, None) => Step::Starved,
                (0, Some(b'*')) => self.begin(buffer)?,
                (0, Some(_)) => self.inline(buffer)?,
                _ => self.arguments(buffer)?,
            };
            match step {
                Step::More => {}
                Step::Starved => return Ok(None),
                Step::Request(words) => {
                    refuse_http(&words)?;
                    return Ok(Some(words));
                }
            }
        }
    }

    fn begin(&mut self, buffer: &mut BytesMut) -> Result<Step, ProtocolError> {
        let too_long = ProtocolError::MultibulkHeaderExceeded;
        let Some(end) = self.find_header_end(buffer, too_long)? else { return Ok(Step::Starved) };
        let count = parse_integer(buffer.get(1..end).unwrap_or_default());
        buffer.advance(end.saturating_add(2));
        let count = count
            .filter(|count| i32::try_from(*count).is_ok())
            .ok_or(ProtocolError::MultibulkLength)?;
        let Ok(missing) = usize::try_from(count) else { return Ok(Step::More) };
        if missing > UNAUTHENTICATED_ARGUMENTS_MAX && !self.authenticated {
            return Err(ProtocolError::UnauthenticatedMultibulkLength);
        }
        if missing > self.limits.arguments_max {
            return Err(ProtocolError::ArgumentsExceeded {
                count,
                limit: self.limits.arguments_max,
            });
        }
        self.missing = missing;
        self.size = 0;
        // A claim of many is believed as they arrive.
        self.words = Vec::with_capacity(missing.min(16));
        Ok(Step::More)
    }

    fn inline(&mut self, buffer: &mut BytesMut) -> Result<Step, ProtocolError> {
        let unseen = buffer.get(self.scanned..).unwrap_or_default();
        let found = memchr::memchr(b'\n', unseen).map(|at| self.scanned.saturating_add(at));
        if found.unwrap_or(buffer.len()) > self.limits.inline_max {
            return Err(ProtocolError::InlineExceeded);
        }
        let Some(end) = found else {
            self.scanned = buffer.len();
            return Ok(Step::Starved);
        };
        self.scanned = 0;
        let line = buffer.get(..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let words = inline::split(line).map_err(|_| ProtocolError::UnbalancedQuotes)?;
        buffer.advance(end.saturating_add(1));
        Ok(if words.is_empty() { Step::More } else { Step::Request(words) })
    }

    /// Takes as many arguments as are here; at least one is missing.
    fn arguments(&mut self, buffer: &mut BytesMut) -> Result<Step, ProtocolError> {
        while self.missing > 0 {
            let length = match self.bulk {
                Some(length) => length,
                None => match self.argument_header(buffer)? {
                    Some(length) => length,
                    None => return Ok(Step::Starved),
                },
            };
            let whole = length.saturating_add(2);
            if buffer.len() < whole {
                if length >= LARGE && !self.alone {
                    *buffer = BytesMut::from(&buffer[..]);
                    self.alone = true;
                }
                return Ok(Step::Starved);
            }
            if std::mem::take(&mut self.alone) {
                self.words.push(buffer.split_to(length).freeze());
                buffer.advance(2);
            } else {
                self.words.push(Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default()));
                buffer.advance(whole);
            }
            self.bulk = None;
            self.missing = self.missing.saturating_sub(1);
        }
        Ok(Step::Request(std::mem::take(&mut self.words)))
    }

    fn argument_header(&mut self, buffer: &mut BytesMut) -> Result<Option<usize>, ProtocolError> {
        let too_long = ProtocolError::BulkHeaderExceeded;
        let Some(end) = self.find_header_end(buffer, too_long)? else { return Ok(None) };
        match buffer.first() {
            Some(b'$') => {}
            other => return Err(ProtocolError::Expected(other.copied().unwrap_or(b' '))),
        }
        let claimed = parse_integer(buffer.get(1..end).unwrap_or_default())
            .filter(|size| *size <= REDIS_BULK_MAX || self.allows(*size))
            .ok_or(ProtocolError::BulkLength)?;
        let length = usize::try_from(claimed).map_err(|_| ProtocolError::BulkLength)?;
        if length > UNAUTHENTICATED_BULK_MAX && !self.authenticated {
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        if !self.allows(claimed) {
            let limit = self.limits.bulk_max;
            return Err(ProtocolError::BulkExceeded { size: claimed, limit });
        }
        self.size = self.size.saturating_add(length).saturating_add(ARGUMENT_COST);
        if self.size > self.limits.request_max {
            let limit = self.limits.request_max;
            return Err(ProtocolError::RequestExceeded { size: self.size, limit });
        }
        buffer.advance(end.saturating_add(2));
        self.bulk = Some(length);
        Ok(Some(length))
    }

    fn allows(&self, size: i64) -> bool {
        usize::try_from(size).is_ok_and(|size| size <= self.limits.bulk_max)
    }

    /// Finds the CR that ends the header line at the front, once the byte behind it is here too.
    fn find_header_end(
        &mut self,
        buffer: &BytesMut,
        too_long: ProtocolError,
    ) -> Result<Option<usize>, ProtocolError> {
        let unseen = buffer.get(self.scanned..).unwrap_or_default();
        let found = memchr::memchr(b'\r', unseen).map(|at| self.scanned.saturating_add(at));
        if found.unwrap_or(buffer.len()) > self.limits.inline_max {
            return Err(too_long);
        }
        match found {
            Some(end) if end.saturating_add(1) < buffer.len() => {
                self.scanned = 0;
                Ok(Some(end))
            }
            Some(end) => {
                self.scanned = end;
                Ok(None)
            }
            None => {
                self.scanned = buffer.len();
                Ok(None)
            }
        }
    }
}

fn refuse_http(words: &[Bytes]) -> Result<(), ProtocolError> {
    let Some(name) = words.first() else { return Ok(()) };
    if name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:") {
        return Err(ProtocolError::CrossProtocol);
    }
    Ok(())
}

/// Reads a number as Redis' protocol does: no sign but a minus, no leading zeros, 64 bits.
pub(super) fn parse_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] => return (!negative).then_some(0),
        [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    let mut number: i64 = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        let shifted = number.checked_mul(10)?;
        // Counted downwards: the negative range is the larger one.
        number = shifted.checked_sub(i64::from(digit))?;
    }
    if negative { Some(number) } else { number.checked_neg() }
}
