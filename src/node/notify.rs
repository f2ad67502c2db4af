//! Keyspace notifications: what listeners of this node are told about keys that changed, as Redis does it.
//!
//! Owns the flags of `notify-keyspace-events` and the two channels of an event. Publishes nothing itself. So far there are
//! events for what goes with its writer only; those of all other changes belong here too. Invariant: with no flag set
//! nothing is made. Source: <https://redis.io/docs/latest/develop/use/keyspace-notifications/>, Redis 7.2.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::keyspace::{Left, Taken, TakenWhat};

/// Which events are told, and on which channels: the letters of Redis' `notify-keyspace-events`.
///
/// ```text
/// K  on __keyspace@<db>__:<key>, with the event's name       E  on __keyevent@<db>__:<event>, with the key
/// g  del   $  strings   h  hashes   s  sets                  A  all of these and of those below
/// l  z  x  e  t  d  m  n  are taken and read back; there are no such events yet
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Flags(u16);

/// All letters in the order in which Redis reads them back.
const LETTERS: &[u8] = b"g$lshzxetdKEmn";
/// What `A` stands for: `g$lshzxetd`.
const ALL: u16 = (1 << 10) - 1;

/// A text that has other letters than the flags. Somebody must change it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' has letters other than KEg$lshzxetdmnA")]
pub struct UnknownFlag(String);

const fn bit(letter: u8) -> u16 {
    let mut at = 0;
    while at < LETTERS.len() {
        if LETTERS[at] == letter {
            return 1 << at;
        }
        at += 1;
    }
    0
}

impl Flags {
    const fn has(self, letter: u8) -> bool {
        self.0 & bit(letter) != 0
    }

    pub(super) const fn bits(self) -> u16 {
        self.0
    }

    pub(super) const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }
}

impl FromStr for Flags {
    type Err = UnknownFlag;

    fn from_str(text: &str) -> Result<Self, UnknownFlag> {
        let mut flags = 0;
        for letter in text.bytes() {
            flags |= match (letter, bit(letter)) {
                (b'A', _) => ALL,
                (_, 0) => return Err(UnknownFlag(text.to_owned())),
                (_, bit) => bit,
            };
        }
        Ok(Self(flags))
    }
}

impl TryFrom<String> for Flags {
    type Error = UnknownFlag;

    fn try_from(text: String) -> Result<Self, UnknownFlag> {
        text.parse()
    }
}

impl From<Flags> for String {
    fn from(flags: Flags) -> Self {
        flags.to_string()
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_all = self.0 & ALL == ALL;
        if is_all {
            f.write_str("A")?;
        }
        for letter in LETTERS {
            let is_told = is_all && ALL & bit(*letter) != 0;
            if self.has(*letter) && !is_told {
                write!(f, "{}", char::from(*letter))?;
            }
        }
        Ok(())
    }
}

/// Something that happened to a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Its database.
    pub database: u8,
    /// The key.
    pub key: Bytes,
    /// What happened.
    pub what: What,
}

/// What can happen to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// It was removed.
    Del,
    /// Fields of a hash were removed.
    HashDel,
    /// Members of a set were removed.
    SetRemove,
    /// A number was changed by an amount.
    IncrementBy,
    /// The number in a field was.
    HashIncrementBy,
}

impl What {
    const fn name(self) -> &'static str {
        match self {
            Self::Del => "del",
            Self::HashDel => "hdel",
            Self::SetRemove => "srem",
            Self::IncrementBy => "incrby",
            Self::HashIncrementBy => "hincrby",
        }
    }

    const fn letter(self) -> u8 {
        match self {
            Self::Del => b'g',
            Self::HashDel | Self::HashIncrementBy => b'h',
            Self::SetRemove => b's',
            Self::IncrementBy => b'$',
        }
    }
}

/// Gives what happened to keys when bound state was taken from them, in that order; what happened to one key several times
/// stands once, as after one command. A key of which nothing is left was deleted.
pub fn changes<'a>(taken: impl IntoIterator<Item = &'a Taken>) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut seen = BTreeSet::new();
    for Taken { database, key, what, left } in taken {
        let is_whole = matches!(what, TakenWhat::Key { .. });
        let part = match what {
            TakenWhat::Key { .. } => What::Del,
            TakenWhat::Field { .. } => What::HashDel,
            TakenWhat::Member { .. } => What::SetRemove,
            TakenWhat::Share { .. } => What::IncrementBy,
            TakenWhat::FieldShare { .. } => What::HashIncrementBy,
        };
        let (part, whole) = match left {
            Left::All => (None, None),
            Left::Others | Left::Less => (Some(part), None),
            Left::Nothing => (Some(part), (!is_whole).then_some(What::Del)),
        };
        for what in part.into_iter().chain(whole) {
            let change = Change { database: *database, key: key.clone(), what };
            if seen.insert(change.clone()) {
                changes.push(change);
            }
        }
    }
    changes
}

/// Gives the messages about a change: channel and payload, none when the flags leave it out.
pub fn messages(flags: Flags, change: &Change) -> impl Iterator<Item = (Bytes, Bytes)> {
    let Change { database, key, what } = change;
    let is_told = flags.has(what.letter());
    let on_key = (is_told && flags.has(b'K')).then(|| {
        let channel = [format!("__keyspace@{database}__:").as_bytes(), key].concat();
        (Bytes::from(channel), Bytes::from_static(what.name().as_bytes()))
    });
    let on_event = (is_told && flags.has(b'E'))
        .then(|| (Bytes::from(format!("__keyevent@{database}__:{}", what.name())), key.clone()));
    on_key.into_iter().chain(on_event)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(flags: &str, what: What) -> Vec<String> {
        let change = Change { database: 3, key: "k".into(), what };
        let flags = flags.parse().unwrap();
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        messages(flags, &change).map(|(c, p)| format!("{} {}", text(c), text(p))).collect()
    }

    #[test]
    fn flags_are_read_and_told_as_redis_does() {
        for (text, told) in [
            ("", ""),
            ("KEA", "AKE"),
            ("Kg$lshzxetd", "AK"),
            ("hK", "hK"),
            ("Kx", "xK"),
            ("AKEmn", "AKEmn"),
            ("KKK", "K"),
        ] {
            assert_eq!(text.parse::<Flags>().unwrap().to_string(), told);
        }
        let refused = "KEq".parse::<Flags>().unwrap_err();
        assert_eq!(refused.to_string(), "'KEq' has letters other than KEg$lshzxetdmnA");
    }

    #[test]
    fn what_is_taken_becomes_one_change_for_each_key_and_kind() {
        let taken =
            |key: &str, what, left| Taken { database: 0, key: key.to_owned().into(), what, left };
        let field =
            |field: &'static str| TakenWhat::Field { field: field.into(), value: "v".into() };
        let member = TakenWhat::Member { member: "m".into() };
        let all = [
            taken("h", field("a"), Left::Others),
            taken("h", field("b"), Left::Nothing),
            taken("i", field("a"), Left::Others),
            taken("k", TakenWhat::Key { value: "v".into(), deadline: None }, Left::Nothing),
            taken("s", member.clone(), Left::All),
            taken("t", member, Left::Others),
            taken("n", TakenWhat::Share { amount: 2 }, Left::Less),
            taken("o", TakenWhat::Share { amount: 2 }, Left::Nothing),
            taken("g", TakenWhat::FieldShare { field: "f".into(), amount: 1 }, Left::Less),
        ];
        let told = changes(&all).into_iter().map(|change| {
            format!("{} {}", change.what.name(), String::from_utf8_lossy(&change.key))
        });
        let expected = [
            "hdel h",
            "del h",
            "hdel i",
            "del k",
            "srem t",
            "incrby n",
            "incrby o",
            "del o",
            "hincrby g",
        ];
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn an_event_is_told_on_the_channels_that_the_flags_name() {
        let both = ["__keyspace@3__:k hdel", "__keyevent@3__:hdel k"];
        assert_eq!(shown("KEA", What::HashDel), both);
        assert_eq!(shown("Kh", What::HashDel), both[..1]);
        assert_eq!(shown("Eh", What::HashDel), both[1..]);
        assert!(shown("h", What::HashDel).is_empty(), "on no channel");
        assert!(shown("KEg$s", What::HashDel).is_empty(), "not of that kind");
        assert_eq!(shown("Eg", What::Del), ["__keyevent@3__:del k"]);
        assert_eq!(shown("Es", What::SetRemove), ["__keyevent@3__:srem k"]);
        assert_eq!(shown("E$", What::IncrementBy), ["__keyevent@3__:incrby k"]);
        assert_eq!(shown("Eh", What::HashIncrementBy), ["__keyevent@3__:hincrby k"]);
        assert!(shown("", What::Del).is_empty());
    }
}
