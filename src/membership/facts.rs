//! What a node tells about itself, and how that looks from the other nodes.
//!
//! Owns the names of the facts and their text forms. Does not spread them. Invariant: facts of an unknown name or form, told by
//! a newer version, are passed over and never refused.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::ids::{FormationId, NodeId};

/// What a node tells about itself: a few small facts that seldom change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its name for people.
    pub name: String,
    /// The address at which others reach it.
    pub address: SocketAddr,
    /// The version of its program.
    pub version: String,
    /// What it is to the Raft group, as text such as `voter` or `observer`; empty before it is anything.
    pub role: String,
    /// Where it is in its life.
    pub state: State,
    /// The formation that it belongs to, once it does.
    pub formation: Option<FormationId>,
    /// The host it runs on; nodes of one host fail together.
    pub host: String,
    /// The zone it runs in, or empty.
    pub zone: String,
    /// Where its Redis door listens, if it has one.
    pub resp: Option<SocketAddr>,
    /// Where its HTTP door listens, if it has one.
    pub http: Option<SocketAddr>,
    /// Facts without a field of their own, by name.
    pub others: BTreeMap<String, String>,
}

/// Where a node is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It waits for others to form a cluster with.
    Forming {
        /// With how many nodes it is to be formed, itself included.
        expect: u32,
    },
    /// It seeks its place in a cluster that exists.
    Joining,
    /// It serves.
    Ready,
    /// It is about to go.
    Leaving,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forming { expect } => write!(f, "forming {expect}"),
            Self::Joining => f.write_str("joining"),
            Self::Ready => f.write_str("ready"),
            Self::Leaving => f.write_str("leaving"),
        }
    }
}

/// A text that is no state this version knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownState;

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        match text {
            "joining" => Ok(Self::Joining),
            "ready" => Ok(Self::Ready),
            "leaving" => Ok(Self::Leaving),
            other => {
                let expect = other.strip_prefix("forming ").and_then(|n| n.parse().ok());
                expect.map(|expect| Self::Forming { expect }).ok_or(UnknownState)
            }
        }
    }
}

/// One node as this one sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: NodeId,
    /// What it told last.
    pub facts: Facts,
    /// Whether it gave a sign of life of late. A belief: neither answer is proof.
    pub alive: bool,
}

/// The nodes that were ever seen alive and are not yet forgotten, this one included.
pub type View = BTreeMap<NodeId, Member>;

/// The name of the fact that is told last when a node starts; a node without it is not shown.
pub(super) const STATE: &str = "state";
pub(super) const FORMATION: &str = "formation";
pub(super) const ROLE: &str = "role";

impl Facts {
    /// Gives the facts of a node that has none but a name and an address.
    #[must_use]
    pub fn new(name: &str, address: SocketAddr, state: State) -> Self {
        Self {
            name: name.to_owned(),
            address,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            role: String::new(),
            state,
            formation: None,
            host: String::new(),
            zone: String::new(),
            resp: None,
            http: None,
            others: BTreeMap::new(),
        }
    }

    /// Gives the facts as names and texts, the state last.
    pub(super) fn pairs(&self) -> Vec<(String, String)> {
        let text = |key: &str, value: String| (key.to_owned(), value);
        let mut pairs = vec![
            text("name", self.name.clone()),
            text("address", self.address.to_string()),
            text("version", self.version.clone()),
            text(ROLE, self.role.clone()),
            text("host", self.host.clone()),
            text("zone", self.zone.clone()),
        ];
        pairs.extend(self.formation.map(|id| text(FORMATION, id.to_string())));
        pairs.extend(self.resp.map(|address| text("resp", address.to_string())));
        pairs.extend(self.http.map(|address| text("http", address.to_string())));
        pairs.extend(self.others.iter().map(|(key, value)| (key.clone(), value.clone())));
        pairs.push(text(STATE, self.state.to_string()));
        pairs
    }

    /// Reads facts; none when they have not all arrived yet. `address` is the one they were gossiped from.
    pub(super) fn read<'a>(
        pairs: impl Iterator<Item = (&'a str, &'a str)>,
        address: SocketAddr,
    ) -> Option<Self> {
        let mut facts = Self::new("", address, State::Joining);
        facts.version.clear();
        let mut is_whole = false;
        for (key, value) in pairs {
            match key {
                "name" => value.clone_into(&mut facts.name),
                "address" => facts.address = value.parse().unwrap_or(address),
                "version" => value.clone_into(&mut facts.version),
                ROLE => value.clone_into(&mut facts.role),
                "host" => value.clone_into(&mut facts.host),
                "zone" => value.clone_into(&mut facts.zone),
                FORMATION => facts.formation = value.parse().ok(),
                "resp" => facts.resp = value.parse().ok(),
                "http" => facts.http = value.parse().ok(),
                STATE => {
                    facts.state = value.parse().unwrap_or(State::Joining);
                    is_whole = true;
                }
                other => {
                    facts.others.insert(other.to_owned(), value.to_owned());
                }
            }
        }
        is_whole.then_some(facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_survive_their_text_form() {
        let address = "10.0.0.1:7400".parse().unwrap();
        for state in [State::Forming { expect: 3 }, State::Joining, State::Ready, State::Leaving] {
            let mut facts = Facts::new("a", address, state);
            facts.formation = Some(FormationId::first(u64::MAX));
            facts.resp = Some("127.0.0.1:6379".parse().unwrap());
            facts.others.insert("load".into(), "7".into());
            let pairs = facts.pairs();
            assert_eq!(pairs.last().unwrap().0, STATE);
            let read = Facts::read(pairs.iter().map(|(k, v)| (&**k, &**v)), address);
            assert_eq!(read, Some(facts));
        }
    }

    #[test]
    fn facts_of_other_versions_are_passed_over() {
        let address = "10.0.0.1:7400".parse().unwrap();
        let pairs = [("state", "dreaming"), ("formation", "x"), ("resp", ""), ("new", "fact")];
        let facts = Facts::read(pairs.into_iter(), address).unwrap();
        assert_eq!((facts.state, facts.formation, facts.resp), (State::Joining, None, None));
        assert_eq!(facts.others["new"], "fact");
        assert_eq!(Facts::read([("name", "a")].into_iter(), address), None);
    }
}
