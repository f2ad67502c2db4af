//! What a node is told before it starts: the sum of the rooms' settings, in the shape of the TOML file.
//!
//! Owns `[cluster]`, `[node]`, and the relations between keys of different rooms; each other table belongs to its room.
//! Invariant: what [`File::from_toml`] gives out holds every relation that [`File::check`]
//! knows; `config/node.toml` explains each key and is equal to the defaults, by a test.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};

use crate::ids::Label;

/// The settings of a node, without doors.
pub type Config = File<Unread, Unread>;

/// A whole configuration: the node's tables, and those of its doors, whose types the program hands in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    default,
    bound(deserialize = "R: Default + Deserialize<'de>, H: Default + Deserialize<'de>")
)]
pub struct File<R, H> {
    /// What must be equal on all nodes.
    pub cluster: ClusterConfig,
    /// What concerns this node as a whole.
    pub node: NodeConfig,
    /// The Redis door.
    pub resp: R,
    /// The door for health, status and metrics.
    pub http: H,
}

/// The table of a door that is not there: whatever it holds is passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Unread;

impl<'de> Deserialize<'de> for Unread {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(input).map(|_| Self)
    }
}

/// `[cluster]`: what must be equal on all nodes. A node whose fingerprint of it differs is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterConfig {
    /// The name of the cluster. Nodes of clusters with different names refuse each other. Default `quorate`.
    pub id: Label,
    /// The file with the secret that all nodes share, as `quorate keygen` writes it. Default none: a random secret is
    /// drawn at start, and nobody can join.
    pub secret_file: Option<PathBuf>,
    /// A file with a second secret that is accepted too, while the secret of a running cluster is changed. Default none.
    pub secret_file_previous: Option<PathBuf>,
    /// How many nodes the first formation waits for. Default 1: a node without seeds forms a cluster alone, a node
    /// with seeds joins one. Raised: the first formation is safe against two halves that form apart, and needs that many nodes.
    pub bootstrap_expect: u16,
    /// How many nodes of the first formation vote: 1, 3 or 5. Default 3. Raised: more nodes may die at once, each write
    /// waits for more answers. Lowered: the reverse.
    pub voters: u16,
    /// How often the leader shows that it lives. Default 50 ms. Raised: fewer packets, a later notice of its death.
    /// Lowered: more packets. At most half of `election_timeout_min`.
    #[serde(with = "crate::time::duration_text")]
    pub heartbeat_interval: Duration,
    /// The least silence after which a voter stands for election. Default 200 ms. Raised: writes stop for longer when the leader
    /// dies. Lowered: a pause of the leader is taken for its death.
    #[serde(with = "crate::time::duration_text")]
    pub election_timeout_min: Duration,
    /// The greatest such silence; each voter draws one between the two. Default 400 ms. Raised: fewer tied elections, a
    /// later leader. Lowered: the reverse. It is also how long a follower holds to a leader it has heard.
    #[serde(with = "crate::time::duration_text")]
    pub election_timeout_max: Duration,
    /// The longest key. Default 64 KiB. Raised: a client can make the state larger. Lowered: longer keys get an error.
    pub key_max: ByteSize,
    /// The largest value, and the largest single argument. Default 16 MiB. Raised: a larger write holds up the ones behind it,
    /// and the frames of `[transport]` must hold it. Lowered: larger values get an error.
    pub value_max: ByteSize,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            id: "quorate".parse().expect("seven letters are a label"),
            secret_file: None,
            secret_file_previous: None,
            bootstrap_expect: 1,
            voters: 3,
            heartbeat_interval: Duration::from_millis(50),
            election_timeout_min: Duration::from_millis(200),
            election_timeout_max: Duration::from_millis(400),
            key_max: ByteSize::kib(64),
            value_max: ByteSize::mib(16),
        }
    }
}

/// `[node]`: what concerns this node as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeConfig {
    /// The name in status and logs. Default none: the node's id.
    pub name: Option<Label>,
    /// The UDP address on which other nodes reach this one. Default `127.0.0.1:0`: this machine only, any free port.
    pub listen: SocketAddr,
    /// The address that other nodes are told. Default none: the one listened on.
    pub advertise: Option<SocketAddr>,
    /// Addresses (`host:port`) of nodes to join through. Default none. Raised: the join survives the death of more of them.
    pub seeds: Vec<String>,
    /// The certificate chain of this node as PEM, in place of a secret; the two keys below go with it. Default none.
    pub certificate_file: Option<PathBuf>,
    /// The private key of that certificate. Default none.
    pub key_file: Option<PathBuf>,
    /// The authorities whose certificates are accepted. Default none.
    pub authorities_file: Option<PathBuf>,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            name: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise: None,
            seeds: Vec::new(),
            certificate_file: None,
            key_file: None,
            authorities_file: None,
        }
    }
}

impl<R, H> File<R, H>
where
    R: Default + DeserializeOwned,
    H: Default + DeserializeOwned,
{
    /// Reads TOML text, without holding the relations between keys: flags may still change it.
    ///
    /// # Errors
    /// When the text is no TOML, names an unknown key, or gives a key a value of another kind.
    pub fn read(text: &str) -> Result<Self, Error> {
        toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let before = text.get(..start).unwrap_or_default();
            Error::Text {
                line: before.matches('\n').count() + 1,
                message: error.message().trim().replace('\n', ", "),
            }
        })
    }

    /// Reads TOML text and holds every relation between its keys.
    ///
    /// # Errors
    /// As [`File::read`] and [`File::check`].
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        let config = Self::read(text)?;
        config.check()?;
        Ok(config)
    }
}

impl<R, H> File<R, H> {
    /// Takes the tables of the doors out.
    pub fn split(self) -> (Config, R, H) {
        let Self { cluster, node, resp, http } = self;
        (Config { cluster, node, resp: Unread, http: Unread }, resp, http)
    }

    /// Holds the relations between keys that no single key can see.
    ///
    /// # Errors
    /// The first relation that does not hold, with both keys and both values.
    pub fn check(&self) -> Result<(), Error> {
        self.check_cluster()?;
        self.check_node()
    }

    fn check_cluster(&self) -> Result<(), Error> {
        let cluster = &self.cluster;
        if ![1, 3, 5].contains(&cluster.voters) {
            return Err(Error::range("cluster.voters", cluster.voters, "1, 3 or 5"));
        }
        if !(1..=NODES_MAX).contains(&cluster.bootstrap_expect) {
            let allowed = "a number from 1 to 128";
            return Err(Error::range(
                "cluster.bootstrap_expect",
                cluster.bootstrap_expect,
                allowed,
            ));
        }
        if cluster.heartbeat_interval < Duration::from_millis(5) {
            let found = format!("{:?}", cluster.heartbeat_interval);
            return Err(Error::range("cluster.heartbeat_interval", found, "at least 5ms"));
        }
        let heartbeat = ("cluster.heartbeat_interval", cluster.heartbeat_interval);
        let shortest = ("cluster.election_timeout_min", cluster.election_timeout_min);
        let longest = ("cluster.election_timeout_max", cluster.election_timeout_max);
        if heartbeat.1 > shortest.1 / 2 {
            return Err(Error::relation(heartbeat, "at most half of", shortest));
        }
        if shortest.1 >= longest.1 {
            return Err(Error::relation(shortest, "less than", longest));
        }
        if cluster.secret_file_previous.is_some() && cluster.secret_file.is_none() {
            let (key, missing) = ("cluster.secret_file_previous", "cluster.secret_file");
            return Err(Error::Missing { key, missing });
        }
        Ok(())
    }

    fn check_node(&self) -> Result<(), Error> {
        let (cluster, node) = (&self.cluster, &self.node);
        let pem = [
            ("node.certificate_file", &node.certificate_file),
            ("node.key_file", &node.key_file),
            ("node.authorities_file", &node.authorities_file),
        ];
        let given = pem.iter().find(|(_, file)| file.is_some());
        let lacking = pem.iter().find(|(_, file)| file.is_none());
        if let (Some((key, _)), Some((missing, _))) = (given, lacking) {
            return Err(Error::Missing { key, missing });
        }
        if given.is_some() && cluster.secret_file.is_some() {
            return Err(Error::Both { one: "cluster.secret_file", other: "node.certificate_file" });
        }
        let can_be_joined = given.is_some() || cluster.secret_file.is_some();
        if !can_be_joined && !node.seeds.is_empty() {
            return Err(Error::Missing { key: "node.seeds", missing: "cluster.secret_file" });
        }
        if !can_be_joined && cluster.bootstrap_expect > 1 {
            let (key, missing) = ("cluster.bootstrap_expect", "cluster.secret_file");
            return Err(Error::Missing { key, missing });
        }
        if node.listen.ip().is_unspecified() && node.advertise.is_none() {
            return Err(Error::Missing {
                key: "node.listen on every address",
                missing: "node.advertise",
            });
        }
        if let Some(advertise) = node.advertise
            && (advertise.ip().is_unspecified() || advertise.port() == 0)
        {
            return Err(Error::range("node.advertise", advertise, "an address others can reach"));
        }
        for seed in &node.seeds {
            let port = seed.rsplit_once(':').and_then(|(host, port)| {
                (!host.is_empty()).then(|| port.parse::<u16>().ok()).flatten()
            });
            if matches!(port, None | Some(0)) {
                return Err(Error::range("node.seeds", seed, "host:port"));
            }
        }
        Ok(())
    }
}

/// The most nodes that a first formation may wait for.
const NODES_MAX: u16 = 128;

/// A configuration that cannot be used. Give up: somebody must change it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not TOML, an unknown key, or a value of another kind.
    #[error("line {line}: {message}")]
    Text {
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// A value that is not allowed whatever the other keys say.
    #[error("{key} of {found} is not {allowed}")]
    Range {
        /// The key.
        key: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// Two values that do not fit each other.
    #[error("{key} of {found} must be {rule} {other} of {other_found}")]
    Relation {
        /// The key that is too large or too small.
        key: &'static str,
        /// Its value.
        found: String,
        /// How they must relate.
        rule: &'static str,
        /// The key it is held against.
        other: &'static str,
        /// Its value.
        other_found: String,
    },
    /// A key that makes no sense without another one.
    #[error("{key} needs {missing} too")]
    Missing {
        /// The key that is given.
        key: &'static str,
        /// The key that is not.
        missing: &'static str,
    },
    /// Two keys of which one only may be given.
    #[error("{one} and {other} exclude each other")]
    Both {
        /// The one.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
}

impl Error {
    fn range(key: &'static str, found: impl fmt::Display, allowed: &'static str) -> Self {
        Self::Range { key, found: found.to_string(), allowed }
    }

    fn relation<T: fmt::Debug>(
        (key, found): (&'static str, T),
        rule: &'static str,
        (other, other_found): (&'static str, T),
    ) -> Self {
        let (found, other_found) = (format!("{found:?}"), format!("{other_found:?}"));
        Self::Relation { key, found, rule, other, other_found }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        Config::from_toml(text).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn nothing_at_all_is_the_default() {
        assert_eq!(Config::from_toml("").unwrap(), Config::default());
        assert!(Config::from_toml("[resp]\nanything = 1\n").is_ok());
    }

    #[test]
    fn unknown_key_is_refused_with_its_name_and_line() {
        let text = refusal("[cluster]\nid = \"a\"\nheartbeet = \"1s\"\n");
        assert!(text.starts_with("line 3: unknown field `heartbeet`"), "{text}");
        assert!(refusal("[clutser]\n").contains("unknown field `clutser`"));
        assert!(refusal("[cluster]\nid = \"A b\"").contains("'A b'"));
        assert!(refusal("[cluster]\nheartbeat_interval = 50").starts_with("line 2: "));
    }

    #[test]
    fn broken_relation_names_both_keys_and_both_values() {
        for (toml, expected) in [
            (
                "cluster = { heartbeat_interval = \"150ms\" }",
                "cluster.heartbeat_interval of 150ms must be at most half of \
                 cluster.election_timeout_min of 200ms",
            ),
            (
                "cluster = { election_timeout_max = \"200ms\" }",
                "cluster.election_timeout_min of 200ms must be less than \
                 cluster.election_timeout_max of 200ms",
            ),
            ("cluster = { voters = 2 }", "cluster.voters of 2 is not 1, 3 or 5"),
            (
                "cluster = { bootstrap_expect = 0 }",
                "cluster.bootstrap_expect of 0 is not a number from 1 to 128",
            ),
            (
                "cluster = { bootstrap_expect = 3 }",
                "cluster.bootstrap_expect needs cluster.secret_file too",
            ),
            ("node = { seeds = [\"a:1\"] }", "node.seeds needs cluster.secret_file too"),
            ("node = { key_file = \"k\" }", "node.key_file needs node.certificate_file too"),
            (
                "cluster = { secret_file = \"s\" }\nnode = { seeds = [\"a\"] }",
                "node.seeds of a is not host:port",
            ),
            (
                "node = { listen = \"0.0.0.0:1\" }",
                "node.listen on every address needs node.advertise too",
            ),
            (
                "node = { advertise = \"10.0.0.1:0\" }",
                "node.advertise of 10.0.0.1:0 is not an address others can reach",
            ),
        ] {
            assert_eq!(refusal(toml), expected, "{toml}");
        }
    }
}
