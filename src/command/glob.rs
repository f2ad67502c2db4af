//! Glob patterns as Redis matches them: `KEYS`, `SCAN … MATCH`, `PSUBSCRIBE`, `CONFIG GET`.
//!
//! Owns what `*`, `?`, `[…]` and `\` mean. Works on bytes and knows no text encoding or case. Invariant: a match takes
//! at most length of pattern times length of text steps and no memory, whatever the pattern (Redis' own is exponential).

/// Tells whether `pattern` matches all of `text`.
///
/// ```text
/// *      any bytes, none included        [abc]    one of these
/// ?      any one byte                    [a-z]    one of this range, whichever end comes first
/// \x     x itself, in a class too        [^…]     one that is not in the class
/// ```
///
/// A class that is not closed ends with the pattern; a `\` at the very end stands for itself; `[]` never matches.
/// Source: Redis 7.2, `stringmatchlen`.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    // Where to go on if what follows the last star does not match: behind that star, one byte later in the text. An
    // earlier star need not be tried again: whatever it could give up, the later one can skip.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let Some((b'*', behind)) = pattern.split_first() {
            if behind.is_empty() {
                return true;
            }
            pattern = behind;
            retry = Some((behind, text));
            continue;
        }
        let step = match text.split_first() {
            None if pattern.is_empty() => return true,
            None => return false,
            Some((byte, rest)) => match_one(pattern, *byte).map(|behind| (behind, rest)),
        };
        if let Some(next) = step {
            (pattern, text) = next;
            continue;
        }
        let Some((behind, from)) = retry else {
            return false;
        };
        let Some((_, from)) = from.split_first() else {
            return false;
        };
        (pattern, text) = (behind, from);
        retry = Some((behind, from));
    }
}

/// Matches one byte against the front of a pattern that does not begin with a star; gives the rest of the pattern.
fn match_one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [] => None,
        [b'?', rest @ ..] => Some(rest),
        [b'[', rest @ ..] => match_class(rest, byte),
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => (*literal == byte).then_some(rest),
    }
}

/// Matches one byte against a class whose opening bracket is taken off; gives what follows the class.
fn match_class(class: &[u8], byte: u8) -> Option<&[u8]> {
    let (negated, mut class) = match class {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, class),
    };
    let mut found = false;
    loop {
        class = match class {
            [b'\\', literal, rest @ ..] => {
                found |= *literal == byte;
                rest
            }
            [b']', rest @ ..] => return (found != negated).then_some(rest),
            [] => return (found != negated).then_some(class),
            [one, b'-', other, rest @ ..] => {
                found |= (*one.min(other)..=*one.max(other)).contains(&byte);
                rest
            }
            [literal, rest @ ..] => {
                found |= *literal == byte;
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        const KEYS: &str =
            "hello hallo hxllo hllo heello h[llo h*llo a\\b h^llo h-llo hbllo HELLO h]llo";
        for (pattern, expected) in [
            ("h?llo", "hello hallo hxllo h[llo h*llo h^llo h-llo hbllo h]llo"),
            ("h*llo", "hello hallo hxllo hllo heello h[llo h*llo h^llo h-llo hbllo h]llo"),
            ("h[ae]llo", "hello hallo"),
            ("h[^e]llo", "hallo hxllo h[llo h*llo h^llo h-llo hbllo h]llo"),
            ("h[!e]llo", "hello"),
            ("h[a-b]llo", "hallo hbllo"),
            ("h[b-a]llo", "hallo hbllo"),
            ("h\\*llo", "h*llo"),
            ("h\\[llo", "h[llo"),
            ("h[*]llo", "h*llo"),
            ("h[\\]]llo", "h]llo"),
            ("h[]]llo", ""),
            ("a\\\\b", "a\\b"),
            ("h[^a-z]llo", "h[llo h*llo h^llo h-llo h]llo"),
            ("h[ae", ""),
            ("hello\\", ""),
            ("**", KEYS),
            ("", ""),
            ("?????", "hello hallo hxllo h[llo h*llo h^llo h-llo hbllo HELLO h]llo"),
            ("h{a,e}llo", ""),
            ("h[-a]llo", "hallo h-llo"),
            ("h[a-]llo", ""),
            ("h[^^]llo", "hello hallo hxllo h[llo h*llo h-llo hbllo h]llo"),
            ("*\\", ""),
            ("[]hello", ""),
            ("h[e\\-x]llo", "hello hxllo h-llo"),
        ] {
            let matched: Vec<_> =
                KEYS.split(' ').filter(|key| matches(pattern.as_bytes(), key.as_bytes())).collect();
            assert_eq!(matched.join(" "), expected, "{pattern}");
        }
    }

    #[test]
    fn ends_of_pattern_and_text_behave_as_in_redis() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("**", "", true),
            ("?", "", false),
            ("a*", "a", true),
            ("h[ae", "ha", true),
            ("h[a-", "h-", true),
            ("h[^", "hx", true),
            ("h[", "h[", false),
            ("a\\", "a\\", true),
            ("new?line", "new\nline", true),
            ("*a*b", "xaxbxb", true),
            ("*ab*abc", "ababxabc", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_pattern_does_not_explode() {
        let pattern = [b"a*".repeat(500), b"b".to_vec()].concat();
        assert!(!matches(&pattern, &b"a".repeat(10_000)));
    }

    /// Redis' own algorithm, slow and plain.
    fn by_recursion(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', rest @ ..] => {
                (0..=text.len()).any(|skipped| by_recursion(rest, &text[skipped..]))
            }
            _ => text.split_first().is_some_and(|(byte, text)| {
                match_one(pattern, *byte).is_some_and(|rest| by_recursion(rest, text))
            }),
        }
    }

    proptest! {
        #[test]
        fn backtracking_to_the_last_star_is_enough(
            pattern in "[ab*?\\[\\]^-]{0,9}", text in "[ab]{0,9}",
        ) {
            let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(matches(pattern, text), by_recursion(pattern, text));
        }
    }
}
