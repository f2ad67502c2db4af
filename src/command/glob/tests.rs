//! Tests of globs: by examples that redis-server has answered, and against two other ways to match.
//!
//! Owns the plain matcher. Invariant: it is Redis' algorithm step by step, without any shortcut for time.

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
        ("*", "", false),
        ("**", "", false),
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
fn ranges_are_of_signed_bytes() {
    for (pattern, matched, others) in [
        (&b"[\x01-\xff]"[..], &b"\xff\x00\x01"[..], &b"\x02a\x80\xfe"[..]),
        (b"[\x80-\xff]", b"\x80\x90\xff", b"\x00a\x7f"),
        (b"[a-\xff]", b"a\xff\x00B", b"b\x80"),
        (b"[^\x7f-\x80]", b"", b"\x00\x7f\x80\xff"),
    ] {
        let compiled = Compiled::new(pattern);
        for (text, expected) in [(matched, true), (others, false)] {
            for byte in text {
                assert_eq!(matches(pattern, &[*byte]), expected, "{pattern:?} {byte}");
                assert_eq!(compiled.matches(&[*byte]), expected, "{pattern:?} {byte}");
            }
        }
    }
}

#[test]
fn a_lone_star_means_every_name() {
    for (pattern, expected) in [("*", true), ("**", false), ("", true), ("?", false)] {
        assert_eq!(Glob::of_names(pattern.as_bytes()).matches(b""), expected, "{pattern}");
    }
    assert!(Glob::of_names(b"*").matches(b"a"));
}

#[test]
fn more_than_a_thousand_stars_match_nothing() {
    for (stars, rest, expected) in [(1000, "", true), (1000, "*", true), (1001, "", false)] {
        let pattern = "**a".repeat(stars) + rest;
        let text = b"a".repeat(stars + 1);
        let text = &text[usize::from(rest.is_empty())..];
        assert_eq!(matches(pattern.as_bytes(), text), expected);
        assert_eq!(Compiled::new(pattern.as_bytes()).matches(text), expected);
    }
}

#[test]
fn literal_bytes_are_found() {
    for (pattern, expected) in [
        ("room:*:x", "room: :x"),
        ("*", ""),
        ("", ""),
        ("a\\bc[de]f[gh", "a c f"),
        ("a\\", "a\\"),
        ("plain]", "plain]"),
        ("?]", "]"),
        ("a?b**c", "a b c"),
    ] {
        let found: Vec<&str> =
            literals(pattern.as_bytes()).into_iter().map(|place| &pattern[place]).collect();
        assert_eq!(found.join(" "), expected, "{pattern}");
    }
}

/// Longer than a block of the search, with pieces of several blocks.
#[test]
fn long_pieces_are_found_wherever_they_stand() {
    let mut text: Vec<u8> = (0..90_000_u32).map(|n| if n % 7 == 0 { b'b' } else { b'a' }).collect();
    text[80_000] = b'x';
    for (before, behind) in [(40_000, 9_999), (63, 0), (64, 1), (0, 64), (16_384, 5), (1, 70)] {
        let piece = [b"?".repeat(before), b"x".to_vec(), b"[ab]".repeat(behind)].concat();
        let pattern = [b"*", &piece[..], b"*"].concat();
        let compiled = Compiled::new(&pattern);
        assert!(compiled.matches(&text));
        let piece = compiled.pieces[1].as_slice();
        assert_eq!(compiled.find_by_places(piece, &text), Some(80_000 - before));
        assert_eq!(compiled.find_by_places(piece, &text[..80_000]), None);
    }
}

/// Hundreds of millions of steps each where every byte of the pattern is held against every one of the text.
#[test]
fn patterns_made_to_be_slow_are_not() {
    let a = |count| b"a".repeat(count);
    let text = a(16_384);
    for pattern in [
        [b"*", &a(8_000)[..], b"b*"].concat(),
        [b"*", &b"[ab]".repeat(4_000)[..], b"b*"].concat(),
        [b"*", &b"?".repeat(8_000)[..], b"b*"].concat(),
        [&b"a*".repeat(900)[..], b"b*"].concat(),
        [b"*[", &b"b".repeat(100_000)[..], b"]"].concat(),
        [b"*", &a(60)[..], b"b"].concat().repeat(250),
        [b"*", &b"[^b-c]".repeat(3_000)[..], b"[b-z]*"].concat(),
    ] {
        let glob = Glob::new(&pattern);
        assert!(!glob.matches(&text) && !glob.matches(&text));
    }
}

/// What Redis does, step by step.
fn plainly(mut pattern: &[u8], mut text: &[u8]) -> bool {
    while let (Some((first, rest)), Some((byte, others))) =
        (pattern.split_first(), text.split_first())
    {
        let mut is_fitting = true;
        let mut behind = rest;
        match first {
            b'*' => {
                while let Some((b'*', rest)) = behind.split_first() {
                    behind = rest;
                }
                return behind.is_empty()
                    || (0..text.len()).any(|skipped| plainly(behind, &text[skipped..]));
            }
            b'?' => {}
            b'[' => (is_fitting, behind) = in_class(rest, *byte),
            b'\\' if !rest.is_empty() => {
                is_fitting = rest[0] == *byte;
                behind = &rest[1..];
            }
            literal => is_fitting = literal == byte,
        }
        if !is_fitting {
            return false;
        }
        (pattern, text) = (behind, others);
        if text.is_empty() {
            let stars = pattern.iter().take_while(|byte| **byte == b'*').count();
            pattern = &pattern[stars..];
        }
    }
    pattern.is_empty() && text.is_empty()
}

fn in_class(mut class: &[u8], byte: u8) -> (bool, &[u8]) {
    let is_negated = class.first() == Some(&b'^');
    if is_negated {
        class = &class[1..];
    }
    let mut is_in = false;
    loop {
        let taken = match class {
            [b'\\', literal, ..] => {
                is_in |= *literal == byte;
                2
            }
            [b']', rest @ ..] => return (is_in != is_negated, rest),
            [] => return (is_in != is_negated, class),
            [one, b'-', other, ..] => {
                let (one, other, byte) = (*one as i8, *other as i8, byte as i8);
                is_in |= (one.min(other)..=one.max(other)).contains(&byte);
                3
            }
            [literal, ..] => {
                is_in |= *literal == byte;
                1
            }
        };
        class = &class[taken..];
    }
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        8 => prop::sample::select(&b"ab"[..]),
        8 => prop::sample::select(&b"*?[]^\\-"[..]),
        1 => any::<u8>(),
    ];
    prop::collection::vec(byte, 0..most)
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![12 => prop::sample::select(&b"ab"[..]), 1 => any::<u8>()];
    prop_oneof![prop::collection::vec(byte, 0..12), bytes(12)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn every_way_to_match_is_redis_way(pattern in bytes(12), text in text()) {
        let expected = plainly(&pattern, &text);
        prop_assert_eq!(matches(&pattern, &text), expected);
        if !text.is_empty() {
            prop_assert_eq!(Compiled::new(&pattern).matches(&text), expected);
        }
    }

    #[test]
    fn a_search_by_places_finds_the_first(
        piece in bytes(6), times in 1..40_usize, text in "[ab]{0,300}",
    ) {
        let pattern = [b"*", &piece.repeat(times)[..], b"*"].concat();
        let compiled = Compiled::new(&pattern);
        let text = text.as_bytes();
        for piece in compiled.pieces.iter().filter(|piece| piece.len() <= text.len()) {
            let found = compiled.find_by_places(piece, text);
            prop_assert_eq!(found, compiled.find(piece, text));
        }
    }
}
