//! Walks the arguments of one request.
//!
//! Owns how an argument is read as a number, a flag or a keyword, with the error that Redis gives when it is none.
//! Invariant: reading past the end is an error, never a panic.

use bytes::Bytes;

use super::reply::Error;

/// The arguments of a request, read from the front. The command's name is already taken off.
#[derive(Debug)]
pub struct Arguments<'a> {
    name: &'static str,
    rest: &'a [Bytes],
}

impl<'a> Arguments<'a> {
    /// Starts at the first argument behind the name. `name` is the command's name in lower case, for error texts.
    #[must_use]
    pub const fn new(name: &'static str, rest: &'a [Bytes]) -> Self {
        Self { name, rest }
    }

    /// The command's name in lower case.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// How many are left.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rest.len()
    }

    /// Tells whether none is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The error of a wrong number of arguments to this command.
    #[must_use]
    pub fn wrong_arity(&self) -> Error {
        Error::WrongArity(self.name.to_owned())
    }

    /// Takes the next argument.
    ///
    /// # Errors
    /// [`Error::WrongArity`] when none is left.
    pub fn take(&mut self) -> Result<Bytes, Error> {
        let (first, rest) = self.rest.split_first().ok_or_else(|| self.wrong_arity())?;
        self.rest = rest;
        Ok(first.clone())
    }

    /// Takes the next argument as an integer.
    ///
    /// # Errors
    /// [`Error::NotInteger`], or [`Error::WrongArity`] when none is left.
    pub fn integer(&mut self) -> Result<i64, Error> {
        parse_integer(&self.take()?).ok_or(Error::NotInteger)
    }

    /// Takes the next argument if it is `keyword`, whatever its case.
    pub fn keyword(&mut self, keyword: &str) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if first.eq_ignore_ascii_case(keyword.as_bytes()) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Takes all that are left.
    #[must_use]
    pub fn remaining(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.rest).to_vec()
    }

    /// Takes a number of keys and then so many keys.
    ///
    /// # Errors
    /// Redis' text when the number is no integer above zero; `too_many` when fewer keys are left.
    pub fn counted_keys(&mut self, too_many: Error) -> Result<Vec<Bytes>, Error> {
        let count = parse_integer(&self.take()?).filter(|count| *count > 0);
        let count = count.ok_or(Error::text("ERR numkeys should be greater than 0"))?;
        let split = usize::try_from(count).ok().and_then(|count| self.rest.split_at_checked(count));
        let (keys, rest) = split.ok_or(too_many)?;
        self.rest = rest;
        Ok(keys.to_vec())
    }

    /// Takes all that are left as pairs.
    ///
    /// # Errors
    /// [`Error::WrongArity`] when their count is odd or zero.
    pub fn pairs(&mut self) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let (pairs, odd) = std::mem::take(&mut self.rest).as_chunks::<2>();
        if !odd.is_empty() || pairs.is_empty() {
            return Err(self.wrong_arity());
        }
        Ok(pairs.iter().map(|[key, value]| (key.clone(), value.clone())).collect())
    }

    /// Checks that none is left over.
    ///
    /// # Errors
    /// [`Error::Syntax`] when one is.
    pub const fn end(&self) -> Result<(), Error> {
        if self.rest.is_empty() { Ok(()) } else { Err(Error::Syntax) }
    }
}

/// Reads a 64-bit integer as Redis does: no spaces, no leading `+` or zeros, no `-0`.
/// Source: Redis 7.2, `string2ll`.
#[must_use]
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', ..] => digits.len() <= 19 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !canonical {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_redis_reads_them() {
        for (text, number) in [
            ("0", 0),
            ("-1", -1),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(parse_integer(text.as_bytes()), Some(number), "{text}");
        }
        for text in ["", "-", "+1", "01", "-0", " 1", "1 ", "1.5", "9223372036854775808", "abc"] {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text}");
        }
    }
}
