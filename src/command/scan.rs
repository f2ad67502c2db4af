//! The arguments that `SCAN`, `SSCAN` and `HSCAN` share: where to go on, what to show, how much at once.
//!
//! Owns their grammar. What a cursor means is up to the collection that is walked. Invariant: a parsed page has a count
//! of at least one.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::arguments::{Arguments, parse_integer};
use super::reply::Error;

/// How many elements a page has if the client does not say. Source: Redis 7.2, `scanGenericCommand`.
const COUNT_DEFAULT: u64 = 10;

/// One page of a walk.
///
/// ```text
/// cursor [MATCH pattern] [COUNT count]
/// ```
///
/// Source: <https://redis.io/commands/scan>, Redis 7.2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Where to go on; 0 to begin.
    pub cursor: u64,
    /// Shows only what matches; applied after the count.
    pub pattern: Option<Bytes>,
    /// About how many elements to look at.
    pub count: u64,
}

impl Page {
    /// A page from `cursor` on, with everything else as it is if the client does not say.
    #[must_use]
    pub const fn new(cursor: u64) -> Self {
        Self { cursor, pattern: None, count: COUNT_DEFAULT }
    }

    /// Reads the cursor, which may have leading zeros as Redis allows.
    ///
    /// # Errors
    /// `ERR invalid cursor` when it is no unsigned 64-bit number.
    pub fn cursor(arguments: &mut Arguments<'_>) -> Result<u64, Error> {
        let text = arguments.take()?;
        let number = std::str::from_utf8(&text).ok().filter(|text| !text.starts_with('+'));
        let number = number.and_then(|text| text.parse().ok());
        number.ok_or(Error::text("ERR invalid cursor"))
    }

    /// Reads the cursor and the options to the end.
    ///
    /// # Errors
    /// `ERR invalid cursor`, [`Error::Syntax`] or [`Error::NotInteger`].
    pub fn parse(arguments: &mut Arguments<'_>) -> Result<Self, Error> {
        let cursor = Self::cursor(arguments)?;
        let mut page = Self::new(cursor);
        while !arguments.is_empty() {
            if !page.option(arguments)? {
                return Err(Error::Syntax);
            }
        }
        Ok(page)
    }

    /// Reads one option if the next is `MATCH` or `COUNT`; tells whether it was.
    ///
    /// # Errors
    /// [`Error::Syntax`] when its value is missing or the count is below one, [`Error::NotInteger`] when it is none.
    pub fn option(&mut self, arguments: &mut Arguments<'_>) -> Result<bool, Error> {
        let missing = |_| Error::Syntax;
        if arguments.keyword("match") {
            self.pattern = Some(arguments.take().map_err(missing)?);
        } else if arguments.keyword("count") {
            let count = arguments.take().map_err(missing)?;
            let count = parse_integer(&count).ok_or(Error::NotInteger)?;
            self.count =
                u64::try_from(count).ok().filter(|count| *count > 0).ok_or(Error::Syntax)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}
