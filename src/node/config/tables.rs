//! The tables that belong to no single room: `[cluster]` and `[node]`.
//!
//! Owns their keys and defaults. Does not hold relations between them. Invariant: what must be equal on all nodes is in
//! [`ClusterConfig::settings`], which the hello between two nodes compares.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use crate::ids::Label;
use crate::keyspace::Flags;
use crate::transport::Secret;

/// `[cluster]`: what all nodes share. What [`ClusterConfig::settings`] lists must be equal on all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterConfig {
    /// The name of the cluster. Nodes of clusters with different names refuse each other. Default `quorate`.
    pub id: Label,
    /// The file with the secret that all nodes share, as `quorate keygen` writes it. Default none: a random secret is
    /// drawn at start, and nobody can join.
    pub secret_file: Option<PathBuf>,
    /// The secret itself, where a program hands it in and no file shall hold it. Not a key of the file.
    #[serde(skip)]
    pub secret: Option<Secret>,
    /// A file with a second secret that is accepted too, while the secret of a running cluster is changed. Default none.
    pub secret_file_previous: Option<PathBuf>,
    /// How many nodes the first formation waits for. Default 1: a node without seeds forms a cluster alone, a node
    /// with seeds joins one. Raised: the first formation is safe against two halves that form apart, and needs that many nodes.
    pub bootstrap_expect: u16,
    /// How many nodes shall vote, as soon as so many live: 1, 3 or 5. Default 3. Raised: more nodes may die at once, each write
    /// waits for more answers. Lowered: the reverse.
    pub voters_target: u16,
    /// How long a voter may be silent until another node votes in its place. Default 10 s. Raised: a second death may come
    /// before the first is made good. Lowered: a voter that only stalls loses its vote, and votes move for nothing.
    #[serde(with = "crate::time::duration_text")]
    pub voter_replace_after: Duration,
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
    /// How long a process may be silent until its session ends in the replicated state. Default 2 s. Raised: what a dead
    /// process waited for is freed later. Lowered: a stalled process loses its session.
    #[serde(with = "crate::time::duration_text")]
    pub session_timeout: Duration,
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
            secret: None,
            secret_file_previous: None,
            bootstrap_expect: 1,
            voters_target: 3,
            voter_replace_after: Duration::from_secs(10),
            heartbeat_interval: Duration::from_millis(50),
            election_timeout_min: Duration::from_millis(200),
            election_timeout_max: Duration::from_millis(400),
            session_timeout: Duration::from_secs(2),
            key_max: ByteSize::kib(64),
            value_max: ByteSize::mib(16),
        }
    }
}

impl ClusterConfig {
    /// Lists the settings that must be equal on all nodes, as the hello between two nodes compares them.
    #[must_use]
    pub fn settings(&self) -> Vec<(String, String)> {
        let millis = |duration: Duration| format!("{duration:?}");
        let bytes = |size: ByteSize| size.as_u64().to_string();
        [
            ("cluster.voters_target", self.voters_target.to_string()),
            ("cluster.voter_replace_after", millis(self.voter_replace_after)),
            ("cluster.heartbeat_interval", millis(self.heartbeat_interval)),
            ("cluster.election_timeout_min", millis(self.election_timeout_min)),
            ("cluster.election_timeout_max", millis(self.election_timeout_max)),
            ("cluster.session_timeout", millis(self.session_timeout)),
            ("cluster.key_max", bytes(self.key_max)),
            ("cluster.value_max", bytes(self.value_max)),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .to_vec()
    }

    pub(super) const fn has_secret(&self) -> bool {
        self.secret_file.is_some() || self.secret.is_some()
    }
}

/// `[node]`: what concerns this node as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeConfig {
    /// The name in status and logs. Default none: the node's id.
    pub name: Option<Label>,
    /// The host this node runs on: nodes with the same one fail together, so that votes are spread over hosts. At most 255
    /// bytes. Default none: the machine's host name.
    pub host: Option<String>,
    /// The zone that the host stands in: votes are spread over zones first. At most 255 bytes. Default empty: not known.
    pub zone: String,
    /// The UDP address on which other nodes reach this one. Default `127.0.0.1:0`: this machine only, any free port.
    pub listen: SocketAddr,
    /// The address that other nodes are told. Default none: the one listened on.
    pub advertise: Option<SocketAddr>,
    /// The folder where this node keeps its log and its snapshots. Default none: all is in memory, and a restarted node is a new
    /// one. With it, acknowledged writes survive the loss of all processes at once, and each write waits for the disk.
    pub data_dir: Option<PathBuf>,
    /// Addresses (`host:port`) of nodes to join through. Default none. Raised: the join survives the death of more of them.
    pub seeds: Vec<String>,
    /// Which keyspace notifications this node gives its own listeners, in the letters of Redis. Default "": none. More letters:
    /// more work for each change of a key. `CONFIG SET notify-keyspace-events` changes it until the node stops.
    pub notify_keyspace_events: Flags,
    /// The folder in which each process of this host holds a lock that ends with it, by which the others tell that it is dead and
    /// not only cut off. On a local disk, the same for all processes of the host, writable by their user alone. Default none:
    /// `quorate-<user id>` in the folder for temporary files.
    pub lock_dir: Option<PathBuf>,
    /// The backup whose state the new cluster begins with. Not a key of the file, which is read at every start.
    #[serde(skip)]
    pub restore: Option<PathBuf>,
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
            host: None,
            zone: String::new(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise: None,
            data_dir: None,
            seeds: Vec::new(),
            notify_keyspace_events: Flags::default(),
            lock_dir: None,
            restore: None,
            certificate_file: None,
            key_file: None,
            authorities_file: None,
        }
    }
}
