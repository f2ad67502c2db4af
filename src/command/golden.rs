//! Golden bytes: how each command, entry and reply is encoded, kept in `golden.txt`.
//!
//! Owns the comparison. A log or a snapshot that was written yesterday is read by tomorrow's node, so a changed line is a
//! change of format: do it on purpose, raise `codec::VERSION` if it was ever released, and write the file anew with
//! `QUORATE_GOLDEN=write cargo test golden`. Invariant: every variant of every command has a line.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use bytes::Bytes;

use super::bound::Exchange;
use super::{
    Action, BoundCommand, Command, Entry, Error, ListCommand, Operation, Reply, Request, Watched,
};
use crate::codec;
use crate::ids::{NodeId, Placement, SessionId, WaitId};
use crate::time::Timestamp;

/// What a line begins with that is no request: a value made by [`values`].
const MADE: char = '@';

/// Those of them that are commands: a door or the node makes them.
const COMMANDS: [&str; 4] = ["@end-wait", "@exchange", "@release", "@set-field"];

fn path() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/command/golden.txt")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all that is written");
        text
    })
}

fn command(request: &str) -> Command {
    let words: Vec<_> =
        request.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    Command::parse(&words).unwrap_or_else(|error| panic!("{request}: {error}"))
}

/// The opening of a session.
fn open() -> Action {
    let placement = Placement {
        name: "game-1".to_owned(),
        address: "127.0.0.1:7380".parse().unwrap(),
        host: "host-1".to_owned(),
        zone: "zone-1".to_owned(),
    };
    Action::Open { nonce: 9, node: NodeId::from_random(4_660), placement }
}

fn set_field() -> BoundCommand {
    let (key, field, value) = (Bytes::from("h"), Bytes::from("f"), Bytes::from("v"));
    BoundCommand::SetField { key, field, value }
}

fn exchange() -> BoundCommand {
    let one = |field: &'static str, value: Option<&'static str>| Exchange {
        field: field.into(),
        held: "v".into(),
        value: value.map(Bytes::from),
    };
    BoundCommand::Exchange { key: "h".into(), fields: vec![one("f", Some("w")), one("g", None)] }
}

/// Values that no request of a client becomes, with their encoding.
fn values() -> BTreeMap<&'static str, Bytes> {
    let operation = |request| Operation::new(3, command(request));
    let entry =
        |action| codec::encode(&Entry { at: Timestamp::from_millis(1_800_000_000_000), action });
    let session = SessionId(77);
    let watched = vec![Watched { database: 3, key: Bytes::from_static(b"k"), revision: 1_000_000 }];
    let operations = vec![operation("INCR n"), operation("GET k")];
    let requests =
        [Request::One(operation("SET k v")), Request::Transaction { watched, operations }];
    let bulk = |text: &'static str| Reply::Bulk(Bytes::from_static(text.as_bytes()));
    let replies = vec![
        Reply::Ok,
        Reply::Status("string"),
        Reply::Nil,
        Reply::NilArray,
        Reply::Integer(-1),
        bulk("b"),
        Reply::Array(vec![Reply::Integer(1)]),
        Reply::Set(vec![bulk("m")]),
        Reply::Map(vec![bulk("f"), bulk("v")]),
        Reply::Pairs(vec![bulk("f"), bulk("v")]),
        Reply::Blocked(WaitId { session, number: 5 }),
    ];
    let errors = [
        Error::WrongType,
        Error::WrongArity("get".to_owned()),
        Error::Syntax,
        Error::NotInteger,
        Error::NotFloat,
        Error::HashNotInteger,
        Error::HashNotFloat,
        Error::Overflow,
        Error::DecrementOverflow,
        Error::NotFinite,
        Error::ValueNotFinite,
        Error::InvalidExpire("set".to_owned()),
        Error::NoSuchKey,
        Error::IndexOutOfRange,
        Error::NotPositive,
        Error::DatabaseOutOfRange,
        Error::TooLong { size: 9, limit: 8 },
        Error::text("ERR other"),
    ];
    BTreeMap::from([
        ("@open", entry(open())),
        (
            "@batch",
            entry(Action::Batch { session, serial: 6, acknowledged: 4, requests: requests.into() }),
        ),
        ("@expire", entry(Action::Expire { session })),
        (
            "@end-wait",
            codec::encode(&Command::List(ListCommand::EndWait {
                wait: WaitId { session, number: 5 },
                unblocked: true,
            })),
        ),
        ("@release", codec::encode(&Command::Bound(BoundCommand::Release { client: 5 }))),
        ("@set-field", codec::encode(&Command::Bound(set_field()))),
        ("@exchange", codec::encode(&Command::Bound(exchange()))),
        ("@tick", entry(Action::Tick)),
        ("@replies", codec::encode(&Reply::Array(replies))),
        ("@errors", codec::encode(&errors.map(Reply::Error).to_vec())),
    ])
}

#[test]
fn every_golden_line_holds() {
    let text = std::fs::read_to_string(path()).unwrap();
    let mut values = values();
    let mut written = String::new();
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        if line.is_empty() || line.starts_with('#') {
            writeln!(written, "{line}").unwrap();
            continue;
        }
        let (request, expected) = line.split_once(" => ").unwrap_or((line, ""));
        let bytes = match request.strip_prefix(MADE) {
            Some(_) => values.remove(request).unwrap_or_else(|| panic!("{request} is not made")),
            None => {
                let command = command(request);
                let bytes = codec::encode(&command);
                assert_eq!(codec::decode::<Command>(&bytes).unwrap(), command, "{request}");
                bytes
            }
        };
        if !request.starts_with(MADE) || COMMANDS.contains(&request) {
            seen.insert(bytes[1..3].to_vec());
            seen.insert(bytes.iter().skip(1).take(3).copied().collect());
        }
        writeln!(written, "{request} => {}", hex(&bytes)).unwrap();
        if std::env::var_os("QUORATE_GOLDEN").is_none() {
            assert_eq!(hex(&bytes), expected, "{request}");
        }
    }
    if std::env::var_os("QUORATE_GOLDEN").is_some() {
        std::fs::write(path(), written).unwrap();
    }
    assert_eq!(values.keys().collect::<Vec<_>>(), Vec::<&&str>::new(), "without a golden line");
    let blocking = codec::encode(&command("BLPOP k 0"))[1..3].to_vec();
    let all = variants(&[]).into_iter().flat_map(|kind| variants(&kind));
    let missing: Vec<_> =
        all.chain(variants(&blocking)).filter(|variant| !seen.contains(variant)).collect();
    assert!(missing.is_empty(), "commands without a golden line, as bytes: {missing:?}");
}

/// The bytes of all variants of the enum that stands behind `prefix` in a command. How many it has, the error of a number
/// that is too large tells.
fn variants(prefix: &[u8]) -> Vec<Vec<u8>> {
    const TOO_LARGE: u8 = 250;
    let bytes = [&[codec::VERSION][..], prefix, &[TOO_LARGE]].concat();
    let error = codec::decode::<Command>(&bytes).expect_err("no enum is so large").to_string();
    let count = error.rsplit_once("variant index 0 <= i < ").map(|(_, count)| count);
    let count = count.unwrap_or_else(|| panic!("an error that tells no count: {error}"));
    let digits: String = count.chars().take_while(char::is_ascii_digit).collect();
    (0..digits.parse().unwrap()).map(|variant: u8| [prefix, &[variant]].concat()).collect()
}
