//! The contact addresses: those given as IP addresses, and those behind host names, which change.
//!
//! Owns name resolution. Does not decide whom to gossip with. Invariant: a simulation that gives IP addresses only never
//! asks the system to resolve anything.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;

use super::Error;

/// How long one name may take to resolve.
const LOOKUP_MAX: Duration = Duration::from_secs(5);

/// The seeds of a node, sorted by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seeds {
    pub(super) addresses: BTreeSet<SocketAddr>,
    /// Each is `host:port`.
    pub(super) names: Vec<String>,
}

impl Seeds {
    /// Sorts `host:port` texts; `own` is left out.
    pub(super) fn read(seeds: &[String], own: SocketAddr) -> Result<Self, Error> {
        let mut sorted = Self::default();
        for seed in seeds {
            if let Ok(address) = seed.parse::<SocketAddr>() {
                sorted.addresses.insert(address);
                continue;
            }
            let is_name = seed
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
            if !is_name {
                return Err(Error::Seed { seed: seed.clone() });
            }
            sorted.names.push(seed.clone());
        }
        sorted.addresses.remove(&own);
        Ok(sorted)
    }

    /// Resolves the names; one that cannot be resolved gives nothing this time.
    pub(super) async fn resolve(&self) -> BTreeSet<SocketAddr> {
        let mut found = BTreeSet::new();
        for name in &self.names {
            match timeout(LOOKUP_MAX, lookup_host(name)).await {
                Ok(Ok(addresses)) => found.extend(addresses),
                Ok(Err(error)) => tracing::warn!(seed = %name, "cannot resolve this seed: {error}"),
                Err(_) => tracing::warn!(seed = %name, "no answer for this seed's name"),
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_sorted_and_checked() {
        let own = "10.0.0.1:7400".parse().unwrap();
        let read = |seeds: &[&str]| {
            let seeds: Vec<_> = seeds.iter().map(|s| (*s).to_owned()).collect();
            Seeds::read(&seeds, own)
        };
        let seeds =
            read(&["10.0.0.1:7400", "10.0.0.2:7400", "[::1]:7400", "db.local:7400"]).unwrap();
        assert_eq!(seeds.addresses.len(), 2);
        assert_eq!(seeds.names, ["db.local:7400"]);
        for wrong in ["", "db.local", "db.local:", ":7400", "db.local:99999", "10.0.0.2"] {
            assert!(read(&[wrong]).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn names_are_resolved() {
        let seeds = Seeds { names: vec!["localhost:7400".into()], ..Seeds::default() };
        assert!(seeds.resolve().await.iter().any(|a| a.ip().is_loopback() && a.port() == 7_400));
    }
}
