//! The names of things: nodes, clusters, groups, formations, sessions, waits.
//!
//! Owns their shape and their text form. Does not decide when one is given out.
//! Invariant: every id is a plain number or a checked label, so it is safe in a log line, a DNS label and a URL.

mod formation;
mod placement;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use self::formation::FormationId;
pub use self::placement::Placement;

/// Names one start of one process for the life of a cluster.
///
/// A process that keeps nothing on disk takes a fresh one at every start, because a Raft id must never come back
/// with an empty log. 52 random bits, shown as 13 hexadecimal digits: exact in a JSON number and valid in a DNS label.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct NodeId(u64);

impl NodeId {
    const MASK: u64 = (1 << 52) - 1;

    /// Makes an id from 64 random bits, of which 52 are kept; never zero.
    #[must_use]
    pub const fn from_random(bits: u64) -> Self {
        let kept = bits & Self::MASK;
        Self(if kept == 0 { 1 } else { kept })
    }

    /// Gives the id as a number below 2^52.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// For openraft's own tests, which number their nodes from zero.
#[cfg(test)]
impl From<u64> for NodeId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:013x}", self.0)
    }
}

impl FromStr for NodeId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::NodeId(text.to_owned());
        if text.len() != 13 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let number = u64::from_str_radix(text, 16).map_err(|_| wrong())?;
        if number == 0 { Err(wrong()) } else { Ok(Self(number)) }
    }
}

/// Names a Raft group. There is one today; it is on the wire from the first day.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct GroupId(pub u16);

/// Names one process start as the replicated state knows it: the log index of the entry that opened the session
/// (Raft dissertation, section 6.3), so that a late copy of that entry can never bring an old session back.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

/// Names one client that waits for an element of a list (`BLPOP` and its kin): the session it came through, and a
/// number which grows with every wait of the cluster.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct WaitId {
    /// The session of the node that the client is connected to.
    pub session: SessionId,
    /// Grows by one with each wait, over all sessions.
    pub number: u64,
}

/// The name of a cluster or of a node: 1 to 63 of `a-z`, `0-9` and `-`, as in a DNS label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

impl Label {
    /// The most characters a label may have (RFC 1035, section 2.3.4).
    pub const LENGTH_MAX: usize = 63;

    /// Gives the label as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let fits = (1..=Self::LENGTH_MAX).contains(&text.len());
        if fits && text.bytes().all(allowed) && !text.starts_with('-') && !text.ends_with('-') {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::Label(text.to_owned()))
    }
}

impl TryFrom<String> for Label {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is not the name it was meant to be. Give up: it never becomes one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a node id.
    #[error("node id '{0}' is not 13 hexadecimal digits of a number from 1 to 2^52 - 1")]
    NodeId(String),
    /// Not a formation.
    #[error(
        "formation '{0}' is not two numbers of 16 hexadecimal digits with an epoch from 1 between them"
    )]
    Formation(String),
    /// Not a label.
    #[error(
        "name '{0}' is not 1 to 63 characters of a-z, 0-9 and '-' with a letter or digit at both ends"
    )]
    Label(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_id_survives_its_text_form() {
        for bits in [0, 1, 0xdead_beef, u64::MAX] {
            let id = NodeId::from_random(bits);
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(id.to_string().len(), 13);
        }
        assert!("".parse::<NodeId>().is_err());
        assert!("0000000000000".parse::<NodeId>().is_err());
        assert!("fffffffffffff0".parse::<NodeId>().is_err());
    }

    #[test]
    fn label_is_a_dns_label() {
        for good in ["a", "game-1", "0"] {
            assert!(good.parse::<Label>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a b", &"x".repeat(64)] {
            assert!(bad.parse::<Label>().is_err(), "{bad}");
        }
    }
}
