//! What the nodes of a cluster say of it, put together.
//!
//! Owns: asking all doors for `/status` at once, and who leads by the highest term. Does not own: what follows from it.
//! Invariant: a node that does not answer within a second counts as silent, and holds nobody up longer.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::quorate::status;
use crate::door::Door;

/// How long a node may take to tell its status.
const PATIENCE: Duration = Duration::from_secs(1);

/// What one node says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glimpse {
    /// Its place.
    pub slot: usize,
    /// `leader`, `follower` or `observer`.
    pub role: String,
    /// Its state: `ready` if it serves.
    pub state: String,
    /// Its term.
    pub term: u64,
    /// The ids of the voters, as it knows them.
    pub voters: Vec<String>,
}

/// What all nodes that answer say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// One for each node that answered, in the order of the doors.
    pub glimpses: Vec<Glimpse>,
}

impl View {
    /// Returns the one that leads: of several that think so, the one of the latest term.
    #[must_use]
    pub fn leader(&self) -> Option<&Glimpse> {
        let leaders = self.glimpses.iter().filter(|glimpse| glimpse.role == "leader");
        leaders.max_by_key(|glimpse| glimpse.term)
    }

    /// Returns how many vote, and how many of them are behind `doors`, by the word of the leader.
    #[must_use]
    pub fn voters(&self, doors: &[Door]) -> Option<(usize, usize)> {
        let voters = &self.leader()?.voters;
        let live = voters.iter().filter(|id| doors.iter().any(|door| door.id == **id)).count();
        Some((voters.len(), live))
    }

    /// Returns how many nodes serve.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.glimpses.iter().filter(|glimpse| glimpse.state == "ready").count()
    }
}

/// Asks all `doors` at once.
pub async fn look(doors: &[Door]) -> View {
    let mut asked = JoinSet::new();
    for door in doors {
        asked.spawn(glimpse(door.slot, door.http));
    }
    let mut glimpses: Vec<Glimpse> = asked.join_all().await.into_iter().flatten().collect();
    glimpses.sort_by_key(|glimpse| doors.iter().position(|door| door.slot == glimpse.slot));
    View { glimpses }
}

async fn glimpse(slot: usize, http: SocketAddr) -> Option<Glimpse> {
    let told = timeout(PATIENCE, status(http)).await.ok()?.ok()?;
    let text = |path: &str| told.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let voters = told.pointer("/voters")?.as_array()?;
    Some(Glimpse {
        slot,
        role: text("/raft/role")?,
        state: text("/node/state")?,
        term: told.pointer("/raft/term")?.as_u64()?,
        voters: voters.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_who_lead_the_one_of_the_later_term_does() {
        let glimpse = |slot, role: &str, term, voters: &[&str]| Glimpse {
            slot,
            role: role.into(),
            state: "ready".into(),
            term,
            voters: voters.iter().map(|id| (*id).to_owned()).collect(),
        };
        let view = View {
            glimpses: vec![
                glimpse(1, "leader", 3, &["a", "b"]),
                glimpse(2, "leader", 4, &["a", "b", "c"]),
                glimpse(3, "follower", 9, &[]),
            ],
        };
        assert_eq!(view.leader().map(|leader| leader.slot), Some(2));
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let door = |slot, id: &str| Door {
            slot,
            id: id.into(),
            resp: address,
            http: address,
            password: None,
        };
        assert_eq!(view.voters(&[door(1, "a"), door(2, "b"), door(4, "d")]), Some((3, 2)));
        assert_eq!(View::default().voters(&[]), None);
        assert_eq!(view.ready(), 3);
    }
}
