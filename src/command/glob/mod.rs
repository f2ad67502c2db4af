//! Glob patterns as Redis matches them: `KEYS`, `SCAN … MATCH`, `PSUBSCRIBE`, `CONFIG GET`.
//!
//! Owns what `*`, `?`, `[…]` and `\` mean. Works on bytes and knows no text encoding or case. Invariant: what a match costs
//! does not depend on luck: a few steps for each byte of the text, and for a pattern made to be slow one for each 64 pairs
//! of a byte of the pattern and one of the text (Redis' own takes as many as there are pairs).

mod compiled;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::OnceLock;

use self::compiled::Compiled;

/// A pattern with more stars that something follows matches nothing. Source: Redis 7.2.6, `stringmatchlen`.
const STARS_MAX: usize = 1000;

/// How many bytes of the pattern are looked at for each byte of the text before the pattern is compiled, and how many at
/// least: more than any pattern takes that is not made to be slow.
const STEPS_PER_BYTE: usize = 16;
const STEPS_MIN: usize = 4096;

/// Tells whether `pattern` matches all of `text`.
///
/// ```text
/// *      any bytes, none included        [abc]    one of these
/// ?      any one byte                    [a-z]    one of this range, whichever end comes first
/// \x     x itself, in a class too        [^…]     one that is not in the class
/// ```
///
/// A class that is not closed ends with the pattern; a `\` at the very end stands for itself; `[]` never matches. The
/// bytes of a range are signed, as Redis has them on x86: `[\x01-\xff]` is from -1 to 1. An empty text is matched by
/// the empty pattern alone, so that `*` does not match it. Source: Redis 7.2, `stringmatchlen`.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    Glob::new(pattern).matches(text)
}

/// A pattern that is held against many texts.
#[derive(Debug)]
pub struct Glob<'a> {
    pattern: &'a [u8],
    /// Whether it is a star that matches the empty text, too.
    is_all: bool,
    /// Made when a match has taken too long.
    compiled: OnceLock<Compiled>,
}

impl<'a> Glob<'a> {
    /// Takes a pattern as [`matches()`] does.
    #[must_use]
    pub const fn new(pattern: &'a [u8]) -> Self {
        Self { pattern, is_all: false, compiled: OnceLock::new() }
    }

    /// Takes a pattern as KEYS and SCAN do: a lone `*` means all, what is empty included.
    #[must_use]
    pub const fn of_names(pattern: &'a [u8]) -> Self {
        Self { pattern, is_all: matches!(pattern, b"*"), compiled: OnceLock::new() }
    }

    /// Tells whether the pattern matches all of `text`.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        if text.is_empty() || self.is_all {
            return self.is_all || self.pattern.is_empty();
        }
        if let Some(compiled) = self.compiled.get() {
            return compiled.matches(text);
        }
        let steps = text.len().saturating_mul(STEPS_PER_BYTE).max(STEPS_MIN);
        walk(self.pattern, text, steps).unwrap_or_else(|| {
            self.compiled.get_or_init(|| Compiled::new(self.pattern)).matches(text)
        })
    }
}

/// Gives where the bytes of a pattern stand that match themselves and nothing else, neighbours in one range. Bytes behind a
/// `\` are left out.
#[must_use]
pub fn literals(pattern: &[u8]) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut rest = pattern;
    while let Some((element, behind)) = next(rest) {
        let place =
            pattern.len().saturating_sub(rest.len())..pattern.len().saturating_sub(behind.len());
        if matches!(element, Element::Byte(_)) && place.len() == 1 {
            match found.last_mut().filter(|range| range.end == place.start) {
                Some(range) => range.end = place.end,
                None => found.push(place),
            }
        }
        rest = behind;
    }
    found
}

/// What stands at the front of a pattern.
enum Element<'a> {
    /// One star or more.
    Stars,
    /// This byte.
    Byte(u8),
    /// Any byte.
    Any,
    /// A byte in this class, whose opening bracket is taken off, and which may go on behind its end.
    Class(&'a [u8]),
}

/// Gives the front of a pattern, and what follows it.
fn next(pattern: &[u8]) -> Option<(Element<'_>, &[u8])> {
    Some(match pattern {
        [] => return None,
        [b'*', rest @ ..] => {
            let more = rest.iter().take_while(|byte| **byte == b'*').count();
            (Element::Stars, rest.get(more..).unwrap_or_default())
        }
        [b'?', rest @ ..] => (Element::Any, rest),
        [b'[', rest @ ..] => (Element::Class(rest), class(rest, |_, _| ()).1),
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => (Element::Byte(*literal), rest),
    })
}

/// Shows the ranges of a class, a single byte as a range of its own; gives whether it is negated, and what follows it.
fn class(class: &[u8], mut show: impl FnMut(u8, u8)) -> (bool, &[u8]) {
    let (is_negated, mut class) = match class {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, class),
    };
    loop {
        class = match class {
            [b'\\', literal, rest @ ..] => {
                show(*literal, *literal);
                rest
            }
            [] => return (is_negated, class),
            [b']', rest @ ..] => return (is_negated, rest),
            [one, b'-', other, rest @ ..] => {
                if one.cast_signed() <= other.cast_signed() {
                    show(*one, *other);
                } else {
                    show(*other, *one);
                }
                rest
            }
            [literal, rest @ ..] => {
                show(*literal, *literal);
                rest
            }
        };
    }
}

/// Matches without memory, as long as that takes no more than `steps`. The text is not empty.
fn walk(mut pattern: &[u8], mut text: &[u8], mut steps: usize) -> Option<bool> {
    // Where to go on if what follows the last star does not match: behind that star, one byte later in the text. An
    // earlier star need not be tried again: whatever it could give up, the later one can skip.
    let mut retry: Option<(&[u8], &[u8])> = None;
    let mut stars = 0_usize;
    loop {
        let front = next(pattern);
        let length = pattern.len().saturating_sub(front.as_ref().map_or(0, |(_, rest)| rest.len()));
        steps = steps.checked_sub(length.max(1))?;
        if let Some((Element::Stars, behind)) = front {
            stars = stars.saturating_add(1);
            if behind.is_empty() || stars > STARS_MAX {
                return Some(behind.is_empty());
            }
            pattern = behind;
            retry = Some((behind, text));
            continue;
        }
        let Some((byte, rest)) = text.split_first() else {
            return Some(front.is_none());
        };
        let fitting = front.filter(|(element, _)| element.fits(*byte));
        let step = fitting.map(|(_, behind)| (behind, rest));
        if let Some(next) = step {
            (pattern, text) = next;
            continue;
        }
        let Some((behind, from)) = retry else {
            return Some(false);
        };
        let Some((_, from)) = from.split_first() else {
            return Some(false);
        };
        (pattern, text) = (behind, from);
        retry = Some((behind, from));
    }
}

impl Element<'_> {
    fn fits(&self, byte: u8) -> bool {
        match self {
            Self::Stars => false,
            Self::Byte(literal) => *literal == byte,
            Self::Any => true,
            Self::Class(ranges) => {
                let mut is_in = false;
                let (is_negated, _) = class(ranges, |low, high| {
                    is_in |= (low.cast_signed()..=high.cast_signed()).contains(&byte.cast_signed());
                });
                is_in != is_negated
            }
        }
    }
}
