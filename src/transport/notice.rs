//! Warnings about peers that do not belong here, each said once in a while.
//!
//! Owns the memory of what was said to whom. Invariant: however many strangers knock, this holds at most
//! [`REMEMBERED_MAX`] entries and writes at most that many lines in [`PAUSE`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::hello;

/// How long the same kind of warning about the same address is held back.
const PAUSE: Duration = Duration::from_secs(10);
/// The most addresses and kinds remembered.
const REMEMBERED_MAX: usize = 1_024;

/// Which kind of event a warning tells of; each has its own pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// This node dialled and the two do not belong together.
    Dialled,
    /// A peer dialled and failed the TLS handshake.
    Handshake,
    /// A peer dialled and its hello was refused.
    Hello,
    /// A member sent what no node sends.
    Malformed,
}

#[derive(Debug, Default)]
pub(super) struct Notices(Mutex<BTreeMap<(SocketAddr, Kind), Instant>>);

/// Gives whom a warning is about. The ports of those who dial are theirs to choose, and do not count.
fn subject(address: SocketAddr, kind: Kind) -> SocketAddr {
    match kind {
        Kind::Dialled => address,
        Kind::Handshake | Kind::Hello | Kind::Malformed => SocketAddr::new(address.ip(), 0),
    }
}

impl Notices {
    /// Warns, unless the same was said a moment ago.
    pub(super) fn warn(&self, address: SocketAddr, kind: Kind, reason: &str) {
        if reason == hello::ITSELF {
            tracing::debug!(%address, "this address is this node's own");
        } else if self.is_due(subject(address, kind), kind) {
            match kind {
                Kind::Dialled => tracing::warn!(%address, "no link to this peer: {reason}"),
                Kind::Handshake => tracing::warn!(%address, "refused a handshake: {reason}"),
                Kind::Hello => tracing::warn!(%address, "refused a peer: {reason}"),
                Kind::Malformed => tracing::warn!(%address, "dropped a link: {reason}"),
            }
        }
    }

    /// Tells whether such a warning was given.
    #[cfg(test)]
    pub(super) fn has_said(&self, address: SocketAddr, kind: Kind) -> bool {
        self.0.lock().contains_key(&(subject(address, kind), kind))
    }

    fn is_due(&self, subject: SocketAddr, kind: Kind) -> bool {
        let now = Instant::now();
        let mut said = self.0.lock();
        if said.len() >= REMEMBERED_MAX {
            said.retain(|_, at| now.duration_since(*at) < PAUSE);
        }
        let is_due = match said.get(&(subject, kind)) {
            Some(at) => now.duration_since(*at) >= PAUSE,
            None => said.len() < REMEMBERED_MAX,
        };
        if is_due {
            said.insert((subject, kind), now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn warnings_are_held_back_and_their_memory_is_bounded() {
        let notices = Notices::default();
        let ip = |n: u32| SocketAddr::from((Ipv4Addr::from_bits(n), 0));
        assert!(notices.is_due(ip(1), Kind::Hello));
        assert!(!notices.is_due(ip(1), Kind::Hello));
        assert!(notices.is_due(ip(1), Kind::Handshake));
        tokio::time::advance(PAUSE).await;
        assert!(notices.is_due(ip(1), Kind::Hello));
        let said = (0..10_000).filter(|n| notices.is_due(ip(*n), Kind::Dialled)).count();
        assert!(said <= REMEMBERED_MAX, "{said}");
        assert!(notices.0.lock().len() <= REMEMBERED_MAX);
        tokio::time::advance(PAUSE).await;
        assert!(notices.is_due(ip(20_000), Kind::Dialled));
    }
}
