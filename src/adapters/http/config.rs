//! The settings of the HTTP door.
//!
//! Owns `[http]`. Invariant: without a word it is open to this machine only.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[http]`: the door for health, status and metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether the door opens. Default true.
    pub enabled: bool,
    /// The TCP address. Default `127.0.0.1:7380`. Port 0 takes any free one. It asks for no password: on an address
    /// that others reach, they can read the names and addresses of all nodes. On loopback it also takes POST /recover.
    pub listen: SocketAddr,
    /// How many connections may be open at once. Default 64. Raised: more memory. Lowered: the next one waits until
    /// one ends.
    pub connections_max: u16,
    /// How long a connection may go without a response: that bounds a slow request, a client that does not read, and an
    /// idle connection. Default 30 s. Raised: an idle client holds one of `connections_max` longer. Lowered: a client
    /// that asks rarely connects anew each time.
    #[serde(with = "crate::time::duration_text")]
    pub request_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: SocketAddr::from(([127, 0, 0, 1], 7380)),
            connections_max: 64,
            request_timeout: Duration::from_secs(30),
        }
    }
}
