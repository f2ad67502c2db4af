//! Keyspace notifications: what happened to keys, as Redis names it, noted while entries are applied.
//!
//! Owns the flags of `notify-keyspace-events`, the names of the events and their letters. Publishes nothing. Invariants: what
//! is noted is no part of the state, so that replicas with different flags stay equal; with no flag set nothing is noted.
//! Source: <https://redis.io/docs/latest/develop/use/keyspace-notifications/>, Redis 7.2.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Left, Taken, TakenWhat};

/// Which events are told, and on which channels: the letters of Redis' `notify-keyspace-events`.
///
/// ```text
/// K  on __keyspace@<db>__:<key>, with the event's name       E  on __keyevent@<db>__:<event>, with the key
/// g  del, expire, rename_from …   $  strings   l  lists   s  sets   h  hashes   x  expired
/// A  all of these, and z  t  d, of which there are no events
/// n  a key that was not there before   m  a read of a key that is not there   (neither is in A)
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
    /// No events.
    pub const NONE: Self = Self(0);

    /// Tells whether events are told on the channels of keys.
    #[must_use]
    pub const fn by_key(self) -> bool {
        self.0 & const { bit(b'K') } != 0
    }

    /// Tells whether events are told on the channels of events.
    #[must_use]
    pub const fn by_event(self) -> bool {
        self.0 & const { bit(b'E') } != 0
    }

    /// Tells whether any event can be told: whether there is a channel and something to be told on it.
    #[must_use]
    pub const fn is_any(self) -> bool {
        (self.by_key() || self.by_event()) && self.0 & const { ALL | bit(b'm') | bit(b'n') } != 0
    }

    /// Tells whether reads of keys that are not there are told.
    #[must_use]
    pub const fn has_misses(self) -> bool {
        self.is_any() && self.0 & What::Miss.bit() != 0
    }

    /// The flags as a number, for an atomic.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// The flags of [`Flags::bits`].
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
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
            if self.0 & bit(*letter) != 0 && !is_told {
                write!(f, "{}", char::from(*letter))?;
            }
        }
        Ok(())
    }
}

/// Something that happened to a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Notification {
    /// Its database.
    pub database: u8,
    /// The key.
    pub key: Bytes,
    /// What happened.
    pub what: What,
}

/// Declares the events with their letters and their names.
macro_rules! events {
    ($($(#[$doc:meta])* $what:ident $letter:literal $name:literal,)*) => {
        /// What can happen to a key. The name in quotes is Redis'.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum What { $($(#[$doc])* #[doc = concat!(" `", $name, "`.")] $what,)* }

        impl What {
            /// Gives the event's name in Redis.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$what => $name,)* }
            }

            /// The flag that turns it on.
            const fn bit(self) -> u16 {
                match self { $(Self::$what => const { bit($letter) },)* }
            }

            /// All events, for tests that must forget none.
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$what,)*];
        }
    };
}

events! {
    /// It was removed, by a command or because nothing was left in it:
    Delete b'g' "del",
    /// It got a deadline:
    Expire b'g' "expire",
    /// It lost its deadline:
    Persist b'g' "persist",
    /// It went to another name:
    RenameFrom b'g' "rename_from",
    /// It came from another name:
    RenameTo b'g' "rename_to",
    /// It went to another database:
    MoveFrom b'g' "move_from",
    /// It came from another database:
    MoveTo b'g' "move_to",
    /// It was made a copy of another:
    CopyTo b'g' "copy_to",
    /// A string was put:
    Set b'$' "set",
    /// A part of a string was overwritten:
    SetRange b'$' "setrange",
    /// A string became longer:
    Append b'$' "append",
    /// A number was changed by an amount:
    IncrementBy b'$' "incrby",
    /// A number was changed by a fraction:
    IncrementByFloat b'$' "incrbyfloat",
    /// Elements came in at the left:
    PushLeft b'l' "lpush",
    /// Elements came in at the right:
    PushRight b'l' "rpush",
    /// Elements were taken off the left:
    PopLeft b'l' "lpop",
    /// Elements were taken off the right:
    PopRight b'l' "rpop",
    /// An element came in beside another:
    Insert b'l' "linsert",
    /// An element was replaced:
    SetElement b'l' "lset",
    /// Elements of a list were removed:
    RemoveElements b'l' "lrem",
    /// A list was cut:
    Trim b'l' "ltrim",
    /// Members came into a set:
    AddMembers b's' "sadd",
    /// Members of a set were removed:
    RemoveMembers b's' "srem",
    /// Members of a set were taken:
    PopMembers b's' "spop",
    /// An intersection was put:
    StoreIntersection b's' "sinterstore",
    /// A union was put:
    StoreUnion b's' "sunionstore",
    /// A difference was put:
    StoreDifference b's' "sdiffstore",
    /// Fields of a hash were set:
    SetFields b'h' "hset",
    /// Fields of a hash were removed:
    DeleteFields b'h' "hdel",
    /// The number in a field was changed by an amount:
    IncrementField b'h' "hincrby",
    /// The number in a field was changed by a fraction:
    IncrementFieldByFloat b'h' "hincrbyfloat",
    /// Its time was over:
    Expired b'x' "expired",
    /// It was not there before:
    New b'n' "new",
    /// A read looked for it and it was not there:
    Miss b'm' "keymiss",
}

impl Notification {
    /// Tells whether `flags` want it told.
    #[must_use]
    pub const fn is_in(&self, flags: Flags) -> bool {
        flags.0 & self.what.bit() != 0
    }
}

/// What has been noted and not yet been taken.
#[derive(Debug, Default)]
pub(super) struct Notifications {
    /// What is noted; nothing when no channel would tell it.
    flags: Flags,
    noted: Vec<Notification>,
}

impl Notifications {
    /// Changes what is noted from now on.
    pub(super) const fn set_flags(&mut self, flags: Flags) {
        self.flags = if flags.is_any() { flags } else { Flags::NONE };
    }

    /// Tells whether this event is noted, for what must be looked up to note it.
    pub(super) const fn wants(&self, what: What) -> bool {
        self.flags.0 & what.bit() != 0
    }

    /// Notes an event, if it is wanted.
    #[inline]
    pub(super) fn note(&mut self, database: u8, key: &Bytes, what: What) {
        if self.flags.0 != 0 && self.wants(what) {
            self.noted.push(Notification { database, key: key.clone(), what });
        }
    }

    /// Notes what happened when bound state was taken. What happened to one key several times is noted once, as after one
    /// command; a key of which nothing is left was deleted.
    pub(super) fn note_taken<'a>(&mut self, taken: impl IntoIterator<Item = &'a Taken>) {
        if self.flags.0 == 0 {
            return;
        }
        let mut seen = BTreeSet::new();
        for Taken { database, key, what, left } in taken {
            let part = match what {
                TakenWhat::Key { .. } => What::Delete,
                TakenWhat::Field { .. } => What::DeleteFields,
                TakenWhat::Member { .. } => What::RemoveMembers,
                TakenWhat::Share { .. } => What::IncrementBy,
                TakenWhat::FieldShare { .. } => What::IncrementField,
            };
            let (part, whole) = match left {
                Left::All => (None, None),
                Left::Others | Left::Less => (Some(part), None),
                Left::Nothing => (Some(part), (part != What::Delete).then_some(What::Delete)),
            };
            for what in part.into_iter().chain(whole) {
                if seen.insert((*database, key, what)) {
                    self.note(*database, key, what);
                }
            }
        }
    }

    /// Takes what was noted.
    pub(super) fn take(&mut self) -> Vec<Notification> {
        std::mem::take(&mut self.noted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn nothing_is_noted_without_a_channel_or_a_letter() {
        for text in ["", "K", "E", "KE", "A", "g$lshxnm", "Kg", "KEA", "En"] {
            let flags: Flags = text.parse().unwrap();
            let mut notifications = Notifications::default();
            notifications.set_flags(flags);
            for what in What::ALL {
                notifications.note(0, &"k".into(), *what);
            }
            let noted = notifications.take();
            assert_eq!(noted.is_empty(), !flags.is_any(), "{text}");
            assert!(noted.iter().all(|notification| notification.is_in(flags)));
            assert!(notifications.take().is_empty(), "they are given once");
        }
    }

    #[test]
    fn events_have_distinct_names_and_a_letter() {
        let names: BTreeSet<_> = What::ALL.iter().map(|what| what.name()).collect();
        assert_eq!(names.len(), What::ALL.len());
        assert!(What::ALL.iter().all(|what| what.bit().count_ones() == 1));
    }

    #[test]
    fn what_is_taken_is_noted_once_for_each_key_and_kind() {
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
        let mut notifications = Notifications::default();
        notifications.note_taken(&all);
        assert!(notifications.take().is_empty());
        notifications.set_flags("KA".parse().unwrap());
        notifications.note_taken(&all);
        let told = notifications.take().into_iter().map(|notification| {
            let Notification { key, what, .. } = notification;
            format!("{} {}", what.name(), String::from_utf8_lossy(&key))
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
}
