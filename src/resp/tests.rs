//! Requests at every split of their bytes, limits and their texts, copies, and encoder against decoder.
//!
//! Owns the tests of the room as a whole; the quoting rules are tested beside `inline.rs`.

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;

use super::decode::LARGE;
use super::value::DEPTH_MAX;
use super::*;

type Requests = Vec<Vec<Bytes>>;

/// Decodes all of `input`, which arrives in pieces of the given lengths and then the rest.
fn decode_pieces(
    limits: Limits,
    authenticated: bool,
    input: &[u8],
    cuts: &[usize],
) -> (Requests, Option<ProtocolError>) {
    let mut decoder = Decoder::new(limits);
    decoder.set_authenticated(authenticated);
    let mut buffer = BytesMut::new();
    let mut requests = Vec::new();
    let mut rest = input;
    for cut in cuts.iter().copied().chain([input.len()]) {
        let (piece, after) = rest.split_at(cut.min(rest.len()));
        rest = after;
        buffer.put_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(request)) => requests.push(request),
                Ok(None) => break,
                Err(error) => return (requests, Some(error)),
            }
        }
    }
    (requests, None)
}

/// Decodes as one piece, byte by byte and in all two-piece splits; all must agree.
#[track_caller]
fn decode_all_ways(input: &[u8]) -> (Requests, Option<ProtocolError>) {
    let whole = decode_pieces(Limits::default(), true, input, &[]);
    let single = vec![1; input.len()];
    assert_eq!(decode_pieces(Limits::default(), true, input, &single), whole);
    for cut in 0..input.len() {
        assert_eq!(decode_pieces(Limits::default(), true, input, &[cut]), whole, "cut at {cut}");
    }
    whole
}

#[track_caller]
fn check_requests(input: &[u8], expected: &[&[&str]]) {
    let (requests, error) = decode_all_ways(input);
    assert_eq!(error, None);
    assert_eq!(requests, expected, "{}", input.escape_ascii());
}

#[track_caller]
fn check_error(input: &[u8], expected: &str) {
    let (_, error) = decode_all_ways(input);
    let text = error.map(|error| error.to_string()).unwrap_or_default();
    assert_eq!(text, expected, "{}", input.escape_ascii());
}

#[test]
fn requests_are_the_same_at_every_split() {
    check_requests(b"PING\r\n", &[&["PING"]]);
    check_requests(b"SET k 'a b'\r\nGET k\n", &[&["SET", "k", "a b"], &["GET", "k"]]);
    check_requests(b"\r\n\n*0\r\n*-1\r\n*-10\r\nPING\r\n", &[&["PING"]]);
    check_requests(
        b"*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$1\r\na\r\n",
        &[&["PING"], &["ECHO", "a"]],
    );
    check_requests(b"*1\r\n$0\r\n\r\n", &[&[""]]);
    // The bytes behind an argument are not looked at.
    check_requests(
        b"*2\r\n$3\r\nGET\r\n$1\r\nkXX*1\r\n$4\r\nPING\r\n",
        &[&["GET", "k"], &["PING"]],
    );
    check_requests(b"*1\r\n$4\r\nPI", &[]);
}

#[test]
fn what_is_no_request_gets_the_text_of_redis() {
    for (input, text) in [
        ("*1\r\nfoo\r\n", "expected '$', got 'f'"),
        ("*1\r\n:4\r\n", "expected '$', got ':'"),
        ("*1\r\n\r\n", "expected '$', got '\r'"),
        ("*abc\r\n", "invalid multibulk length"),
        ("*\r\n", "invalid multibulk length"),
        ("*3000000000\r\n", "invalid multibulk length"),
        ("*2147483648\r\n", "invalid multibulk length"),
        ("*2\r\n$-5\r\n", "invalid bulk length"),
        ("*2\r\n$abc\r\n", "invalid bulk length"),
        ("*2\r\n$3\r\nGET\r\n$600000000\r\n", "invalid bulk length"),
        ("*2\r\n$99999999999999999999\r\n", "invalid bulk length"),
        ("set \"abc\r\n", "unbalanced quotes in request"),
        ("set 'abc'def 1\r\n", "unbalanced quotes in request"),
    ] {
        check_error(input.as_bytes(), &format!("ERR Protocol error: {text}"));
    }
}

#[test]
fn a_limit_names_itself_and_both_numbers() {
    check_error(
        b"*2\r\n$16777217\r\n",
        "ERR Protocol error: invalid bulk length: argument of 16777217 bytes exceeds limit of 16777216; \
         raise resp.bulk_max to allow it",
    );
    check_error(
        b"*1048577\r\n",
        "ERR Protocol error: invalid multibulk length: request of 1048577 arguments exceeds limit of \
         1048576; send several requests or raise resp.arguments_max",
    );
    let limits = Limits { request_max: 100, ..Limits::default() };
    let (_, error) =
        decode_pieces(limits, true, b"*3\r\n$20\r\n01234567890123456789\r\n$60\r\n", &[]);
    assert_eq!(error, Some(ProtocolError::RequestExceeded { size: 144, limit: 100 }));
}

#[test]
fn a_line_without_end_is_refused() {
    let endless = |start: &str| {
        let input = format!("{start}{}", "1".repeat(70_000));
        let cuts = [1_000; 69];
        decode_pieces(Limits::default(), true, input.as_bytes(), &cuts).1
    };
    assert_eq!(endless("a"), Some(ProtocolError::InlineExceeded));
    assert_eq!(endless("*"), Some(ProtocolError::MultibulkHeaderExceeded));
    assert_eq!(endless("*1\r\n$"), Some(ProtocolError::BulkHeaderExceeded));
}

#[test]
fn who_has_not_authenticated_may_send_little() {
    let decode = |input: &str| decode_pieces(Limits::default(), false, input.as_bytes(), &[]).1;
    assert_eq!(decode("*11\r\n"), Some(ProtocolError::UnauthenticatedMultibulkLength));
    assert_eq!(decode("*10\r\n$16384\r\n"), None);
    assert_eq!(decode("*10\r\n$16385\r\n"), Some(ProtocolError::UnauthenticatedBulkLength));
}

#[test]
fn a_browser_is_turned_away_in_silence() {
    for input in ["POST / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nhost: x\r\n", "*1\r\n$4\r\nPost\r\n"] {
        let (_, error) = decode_all_ways(input.as_bytes());
        assert!(error.is_some_and(|error| error.is_silent()), "{input}");
    }
}

#[test]
fn claimed_lengths_reserve_nothing() {
    let mut decoder = Decoder::new(Limits::default());
    let mut buffer = BytesMut::from(&b"*1000000\r\n$16777216\r\nab"[..]);
    assert_eq!(decoder.decode(&mut buffer), Ok(None));
    assert!(buffer.capacity() < 1024, "{} bytes reserved", buffer.capacity());
}

#[test]
fn a_small_argument_does_not_keep_the_read_buffer() {
    let mut decoder = Decoder::new(Limits::default());
    let mut buffer = BytesMut::from(&b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"[..]);
    let read_buffer = buffer.as_ptr_range();
    let words = decoder.decode(&mut buffer).unwrap().unwrap();
    for word in words {
        assert!(!read_buffer.contains(&word.as_ptr()));
        assert!(word.is_unique());
    }
}

#[test]
fn a_large_argument_is_taken_out_of_the_read_buffer_uncopied() {
    let value = vec![b'v'; LARGE * 4];
    let mut decoder = Decoder::new(Limits::default());
    let mut buffer = BytesMut::new();
    buffer.put_slice(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", value.len()).as_bytes());
    buffer.put_slice(&value[..10]);
    assert_eq!(decoder.decode(&mut buffer), Ok(None));
    // From here on the buffer begins with the value and holds nothing else.
    buffer.reserve(value.len());
    buffer.put_slice(&value[10..]);
    buffer.put_slice(b"\r\n*1\r\n$4\r\nPING\r\n");
    let place = buffer.as_ptr();
    let words = decoder.decode(&mut buffer).unwrap().unwrap();
    assert_eq!(words[2], value);
    assert_eq!(words[2].as_ptr(), place);
    assert_eq!(decoder.decode(&mut buffer), Ok(Some(vec![Bytes::from_static(b"PING")])));
}

fn request_bytes(words: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend(word);
        bytes.extend(b"\r\n");
    }
    bytes
}

fn any_word() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        9 => proptest::collection::vec(any::<u8>(), 0..20),
        1 => (LARGE - 2..LARGE + 2000).prop_map(|length| vec![b'x'; length]),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from);
    let leaf = prop_oneof![
        "[a-zA-Z ]{0,10}".prop_map(|text| Value::Status(Bytes::from(text))),
        "[A-Z]{1,5} [a-z ']{0,10}".prop_map(|text| Value::Error(Bytes::from(text))),
        any::<i64>().prop_map(Value::Integer),
        bytes().prop_map(Value::Bulk),
        Just(Value::Nil),
        any::<f64>()
            .prop_filter("nan differs from itself", |n| !n.is_nan())
            .prop_map(Value::Double),
        any::<bool>().prop_map(Value::Boolean),
        bytes().prop_map(|text| Value::Verbatim { format: Bytes::from_static(b"txt"), text }),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let items = || proptest::collection::vec(inner.clone(), 0..4);
        prop_oneof![
            items().prop_map(Value::Array),
            items().prop_map(Value::Set),
            items().prop_map(Value::Push),
            proptest::collection::vec((inner.clone(), inner.clone()), 0..4).prop_map(Value::Map),
        ]
    })
}

fn encode(value: &Value, encoder: &mut Encoder<'_>) {
    match value {
        Value::Status(text) => encoder.status(std::str::from_utf8(text).unwrap()),
        Value::Error(text) => encoder.error(std::str::from_utf8(text).unwrap()),
        Value::Integer(number) => encoder.integer(*number),
        Value::Bulk(bytes) => encoder.bulk(bytes),
        Value::Nil => encoder.nil(),
        Value::Double(number) => encoder.double(*number),
        Value::Boolean(flag) => encoder.boolean(*flag),
        Value::Verbatim { text, .. } => encoder.verbatim(text),
        Value::BigNumber(_) => panic!("not encoded by a door"),
        Value::Array(items) => {
            encoder.array(items.len());
            items.iter().for_each(|item| encode(item, encoder));
        }
        Value::Set(items) => {
            encoder.set(items.len());
            items.iter().for_each(|item| encode(item, encoder));
        }
        Value::Push(items) => {
            encoder.push(items.len());
            items.iter().for_each(|item| encode(item, encoder));
        }
        Value::Map(pairs) => {
            encoder.map(pairs.len());
            for (key, value) in pairs {
                encode(key, encoder);
                encode(value, encoder);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_requests_survive_any_split(
        requests in proptest::collection::vec(proptest::collection::vec(any_word(), 1..6), 0..5),
        cuts in proptest::collection::vec(1usize..5000, 0..60),
    ) {
        let input: Vec<u8> = requests.iter().flat_map(|words| request_bytes(words)).collect();
        let (decoded, error) = decode_pieces(Limits::default(), true, &input, &cuts);
        prop_assume!(!error.is_some_and(|error| error.is_silent()));
        prop_assert_eq!(error, None);
        prop_assert_eq!(decoded, requests);
    }

    #[test]
    fn any_bytes_give_the_same_at_any_split(
        input in "(\\*[0-9-]{1,2}\r\n|\\$[0-4]\r\n|[a-z'\" ]{0,4}|\r|\n|\r\n|\\PC){0,40}",
        cuts in proptest::collection::vec(1usize..9, 0..20),
    ) {
        let whole = decode_pieces(Limits::default(), true, input.as_bytes(), &[]);
        prop_assert_eq!(decode_pieces(Limits::default(), true, input.as_bytes(), &cuts), whole);
    }

    #[test]
    fn any_bytes_at_all_are_survived(input in proptest::collection::vec(any::<u8>(), 0..200)) {
        decode_pieces(Limits::default(), false, &input, &[3, 7]);
        let mut buffer = BytesMut::from(&input[..]);
        while let Ok(Some(_)) = decode_value(&mut buffer) {}
    }

    #[test]
    fn a_reply_reads_back_as_it_was_written(value in any_value(), cut in any::<prop::sample::Index>()) {
        let mut out = BytesMut::new();
        encode(&value, &mut Encoder::new(&mut out, Version::Resp3));
        let mut half = BytesMut::from(&out[..cut.index(out.len())]);
        prop_assert_eq!(decode_value(&mut half), Ok(None));
        out.put_slice(b"+next");
        prop_assert_eq!(decode_value(&mut out), Ok(Some(value)));
        prop_assert_eq!(&out[..], b"+next");
    }

    #[test]
    fn no_text_breaks_out_of_its_line(text in any::<String>(), version in prop_oneof![
        Just(Version::Resp2), Just(Version::Resp3),
    ]) {
        let mut out = BytesMut::new();
        let mut encoder = Encoder::new(&mut out, version);
        encoder.error(&text);
        encoder.status(&text);
        prop_assert!(matches!(decode_value(&mut out), Ok(Some(Value::Error(_)))));
        prop_assert!(matches!(decode_value(&mut out), Ok(Some(Value::Status(_)))));
        prop_assert!(out.is_empty());
    }
}

#[test]
fn resp2_gives_something_else_for_what_it_lacks() {
    let write = |version| {
        let mut out = BytesMut::new();
        let mut encoder = Encoder::new(&mut out, version);
        encoder.nil();
        encoder.nil_array();
        encoder.map(1);
        encoder.set(2);
        encoder.push(3);
        encoder.double(1.5);
        encoder.boolean(true);
        encoder.verbatim(b"text");
        String::from_utf8(out.to_vec()).unwrap()
    };
    let resp2 = "$-1\r\n*-1\r\n*2\r\n*2\r\n*3\r\n$3\r\n1.5\r\n:1\r\n$4\r\ntext\r\n";
    let resp3 = "_\r\n_\r\n%1\r\n~2\r\n>3\r\n,1.5\r\n#t\r\n=8\r\ntxt:text\r\n";
    assert_eq!(write(Version::Resp2), resp2);
    assert_eq!(write(Version::Resp3), resp3);
}

#[test]
fn integers_are_written_whole() {
    for number in [0, 7, -1, 1234567890, i64::MAX, i64::MIN] {
        let mut out = BytesMut::new();
        Encoder::new(&mut out, Version::Resp2).integer(number);
        assert_eq!(out, format!(":{number}\r\n"));
    }
}

#[test]
fn replies_that_nest_too_deep_or_lie_are_refused() {
    let decode = |input: String| decode_value(&mut BytesMut::from(input.as_bytes()));
    assert_eq!(
        decode(format!("{}:1\r\n", "*1\r\n".repeat(DEPTH_MAX + 1))),
        Err(ValueError::TooDeep)
    );
    assert!(decode(format!("{}:1\r\n", "*1\r\n".repeat(DEPTH_MAX))).is_ok_and(|v| v.is_some()));
    assert!(matches!(decode("$9999999999\r\n".to_owned()), Err(ValueError::TooLong { .. })));
    assert!(matches!(
        decode("?1\r\n".to_owned()),
        Err(ValueError::Malformed { mark: b'?', at: 0 })
    ));
    assert_eq!(decode("*9223372036854775807\r\n:1\r\n".to_owned()), Ok(None));
    let described = "|1\r\n+ttl\r\n:5\r\n$1\r\nv\r\n".to_owned();
    assert_eq!(decode(described), Ok(Some(Value::Bulk(Bytes::from_static(b"v")))));
}
