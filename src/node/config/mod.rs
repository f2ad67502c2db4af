//! What a node is told before it starts: the sum of the rooms' settings, in the shape of the TOML file.
//!
//! Owns the reading of the file. Each table of a room belongs to that room. Invariant: what [`File::from_toml`] gives out
//! holds every relation that [`File::check`] knows; `config/node.toml` explains each key and equals the defaults, by a test.

mod error;
mod relations;
mod tables;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};

pub use self::error::Error;
pub use self::tables::{ClusterConfig, NodeConfig};
use super::bind::Bind;
use crate::consensus;
use crate::membership;
use crate::pubsub;
use crate::transport::{self, Credentials, Secret};

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
    /// Keys whose writes go with their writer. Default none. Raised: each write is held against more patterns.
    pub bind: Vec<Bind>,
    /// What all nodes share.
    pub cluster: ClusterConfig,
    /// What concerns this node as a whole.
    pub node: NodeConfig,
    /// Bytes between nodes.
    pub transport: transport::Config,
    /// Who is here.
    pub membership: membership::Config,
    /// One order of writes.
    pub consensus: consensus::Config,
    /// Messages to listeners.
    pub pubsub: pubsub::Config,
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
        let Self { bind, cluster, node, transport, membership, consensus, pubsub, resp, http } =
            self;
        let (no_resp, no_http) = (Unread, Unread);
        let config = Config {
            bind,
            cluster,
            node,
            transport,
            membership,
            consensus,
            pubsub,
            resp: no_resp,
            http: no_http,
        };
        (config, resp, http)
    }

    /// Gives what proves that this node belongs to the cluster, from the files that the keys name. Without any, a secret of
    /// `random` bytes, which nobody else has.
    ///
    /// # Errors
    /// When a file cannot be read or holds no secret; the text names the file.
    pub fn credentials(&self, random: [u8; 32]) -> Result<Credentials, Error> {
        let (cluster, node) = (&self.cluster, &self.node);
        if let (Some(certificate), Some(key), Some(authorities)) =
            (&node.certificate_file, &node.key_file, &node.authorities_file)
        {
            let (certificate, key) = (certificate.clone(), key.clone());
            return Ok(Credentials::Pem { certificate, key, authorities: authorities.clone() });
        }
        let read = |path: &PathBuf| Secret::read(path).map_err(|e| Error::Secret(e.to_string()));
        let current = match (&cluster.secret, &cluster.secret_file) {
            (Some(secret), _) => secret.clone(),
            (None, Some(path)) => read(path)?,
            (None, None) => Secret::generate(random),
        };
        let previous = cluster.secret_file_previous.as_ref().map(read).transpose()?;
        Ok(Credentials::Secret { current, previous })
    }

    /// Tells whether other nodes can join: whether they can have what proves that they belong to it.
    #[must_use]
    pub const fn can_be_joined(&self) -> bool {
        self.node.certificate_file.is_some() || self.cluster.has_secret()
    }
}
