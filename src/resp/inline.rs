//! Splits an inline request into words, with quotes and escapes.
//!
//! Owns the quoting rules of a request that is typed as one line. Does not find the end of the line.
//! Invariant: work is linear in the line; no word is longer than the line.

use bytes::Bytes;

/// Quotes that do not close, or close in the middle of a word.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unbalanced;

/// Splits `line`, without its end, into words. Double quotes know `\xHH`, `\n`, `\r`, `\t`, `\b`, `\a` and take any other
/// escaped byte as it is; single quotes know `\'` only. Source: Redis 7.2, `sdssplitargs`.
pub(super) fn split(line: &[u8]) -> Result<Vec<Bytes>, Unbalanced> {
    // Redis works on C strings: what stands behind a zero byte is not seen.
    let mut rest = line.split(|byte| *byte == 0).next().unwrap_or(line);
    let mut words = Vec::new();
    loop {
        rest = skip_spaces(rest);
        if rest.is_empty() {
            return Ok(words);
        }
        let (word, after) = take_word(rest)?;
        words.push(Bytes::from(word));
        rest = after;
    }
}

/// What C's `isspace` skips.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn skip_spaces(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| !is_space(*byte)).unwrap_or(bytes.len());
    bytes.get(start..).unwrap_or_default()
}

fn take_word(mut rest: &[u8]) -> Result<(Vec<u8>, &[u8]), Unbalanced> {
    let mut word = Vec::new();
    while let Some((&byte, after)) = rest.split_first() {
        match byte {
            b'"' => return closed(take_double_quoted(after, &mut word)?, word),
            b'\'' => return closed(take_single_quoted(after, &mut word)?, word),
            // Words end at these; a vertical tab inside a word is part of it.
            b' ' | b'\t' | b'\n' | b'\r' => return Ok((word, after)),
            _ => word.push(byte),
        }
        rest = after;
    }
    Ok((word, rest))
}

/// A closing quote must stand before a space or the end.
fn closed(after: &[u8], word: Vec<u8>) -> Result<(Vec<u8>, &[u8]), Unbalanced> {
    match after.first() {
        Some(byte) if !is_space(*byte) => Err(Unbalanced),
        _ => Ok((word, after)),
    }
}

fn take_double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        rest = match rest {
            [] => return Err(Unbalanced),
            [b'"', after @ ..] => return Ok(after),
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(hex(*high) << 4 | hex(*low));
                after
            }
            [b'\\', escaped, after @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                after
            }
            [byte, after @ ..] => {
                word.push(*byte);
                after
            }
        }
    }
}

fn take_single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        rest = match rest {
            [] => return Err(Unbalanced),
            [b'\'', after @ ..] => return Ok(after),
            [b'\\', b'\'', after @ ..] => {
                word.push(b'\'');
                after
            }
            [byte, after @ ..] => {
                word.push(*byte);
                after
            }
        }
    }
}

const fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, words: &[&str]) {
        let found = split(line.as_bytes()).unwrap();
        assert_eq!(found, words, "{line}");
    }

    #[test]
    fn words_are_split_at_spaces_and_kept_inside_quotes() {
        check("", &[]);
        check("  \t ", &[]);
        check("GET k", &["GET", "k"]);
        check(" GET   k ", &["GET", "k"]);
        check("SET k 'a b'", &["SET", "k", "a b"]);
        check(r#"SET k "a\x41\n\q\"" '\' x\n'"#, &["SET", "k", "aA\nq\"", r"' x\n"]);
        check(r#"SET "" ''"#, &["SET", "", ""]);
        check(r#"a"b c""#, &["ab c"]);
        check(r#""\xZZ""#, &["xZZ"]);
        check("GET a\0 b", &["GET", "a"]);
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in ["set \"abc", "set 'abc'def 1", "set \"a\"b", "'", "\"\\", "\"\\\""] {
            assert_eq!(split(line.as_bytes()), Err(Unbalanced), "{line}");
        }
    }
}
