//! Where a Redis is, and how patient a presence is with it.
//!
//! Owns the settings and what they make of the `redis` crate's clients. Does not connect. Invariant: what is wrong with a setting
//! is found when it is opened, and a password is never shown.

use std::fmt;
use std::time::Duration;

use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::{Client, ConnectionInfo, IntoConnectionInfo, RedisError, TlsCertificates};
use serde::{Deserialize, Serialize};

use super::super::Error;
use crate::pubsub::QueueLimits;

/// Which Redis a [`RedisPresence`](super::RedisPresence) asks.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedisConfig {
    /// Where it is: `redis://[user[:password]@]host[:port][/database]`, or `rediss://…` for TLS. Default one,
    /// `redis://127.0.0.1:6379`. More than one only with `is_cluster`: nodes to begin with.
    pub servers: Vec<String>,
    /// Whether they are nodes of a Redis Cluster. Default false. Keys of one call must then be in one slot.
    pub is_cluster: bool,
    /// The user, if it is not in the address. Default none. Older servers know only passwords.
    pub username: Option<String>,
    /// The password, if it is not in the address. Default none.
    pub password: Option<String>,
    /// The database, if it is not in the address. Default none, which is 0. A Redis Cluster has only 0.
    pub database: Option<u16>,
    /// The certificate, as PEM, that the server's is signed with. Default none: what the system trusts. Needs `rediss://`.
    pub root_certificate: Option<String>,
    /// How long a call is tried again that nobody took, or that may be done twice, while the server cannot be reached. Default
    /// 10 s; time in which the whole process was stopped does not count. Raised: callers wait longer before they hear that
    /// the server is down. Lowered: a restart of the server fails calls.
    #[serde(with = "crate::time::duration_text")]
    pub patience: Duration,
    /// How long a try to connect may take. Default 5 s. Raised: a server that does not answer is held on to for longer.
    /// Lowered: a slow network is not overcome.
    #[serde(with = "crate::time::duration_text")]
    pub connect_timeout: Duration,
    /// How long a reply may take before nobody knows whether the command was done, and how long the connection for messages
    /// may be silent before it is asked for a sign of life, and then before it is taken for broken. Default 10 s. Raised: a
    /// server that hangs holds callers longer, and a broken connection is found later. Lowered: a slow command fails.
    #[serde(with = "crate::time::duration_text")]
    pub reply_timeout: Duration,
    /// How far a subscription may fall behind; see [`Config::subscription`](super::super::Config::subscription).
    pub subscription: QueueLimits,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            servers: vec!["redis://127.0.0.1:6379".to_owned()],
            is_cluster: false,
            username: None,
            password: None,
            database: None,
            root_certificate: None,
            patience: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            reply_timeout: Duration::from_secs(10),
            subscription: QueueLimits::default(),
        }
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Addresses and passwords are secrets.
        f.debug_struct("RedisConfig")
            .field("servers", &self.servers.len())
            .field("is_cluster", &self.is_cluster)
            .field("database", &self.database)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

impl RedisConfig {
    /// The settings for one server at `address`, and the defaults.
    #[must_use]
    pub fn at(address: impl Into<String>) -> Self {
        Self { servers: vec![address.into()], ..Self::default() }
    }

    /// Clients of single servers, the first of which is the server if it is no Redis Cluster.
    pub(super) fn clients(&self) -> Result<Vec<Client>, Error> {
        if self.servers.is_empty() || (self.servers.len() > 1 && !self.is_cluster) {
            let count = self.servers.len();
            let text = format!("servers: {count} addresses, where one is needed, or is_cluster");
            return Err(Error::Setting { text });
        }
        if self.is_cluster && self.database.is_some_and(|database| database > 0) {
            let text = "database: a Redis Cluster has only database 0".to_owned();
            return Err(Error::Setting { text });
        }
        self.servers.iter().map(|address| self.client(address)).collect()
    }

    /// A client of the Redis Cluster, if it is one.
    pub(super) fn cluster(&self) -> Result<Option<ClusterClient>, Error> {
        if !self.is_cluster {
            return Ok(None);
        }
        let infos = self.servers.iter().map(|address| self.info(address));
        let infos = infos.collect::<Result<Vec<_>, _>>()?;
        let builder = ClusterClientBuilder::new(infos)
            .connection_timeout(self.connect_timeout)
            .response_timeout(self.reply_timeout);
        let builder = match self.certificates() {
            Some(certificates) => builder.certs(certificates),
            None => builder,
        };
        builder.build().map(Some).map_err(|error| unusable("servers", &error))
    }

    fn client(&self, address: &str) -> Result<Client, Error> {
        let info = self.info(address)?;
        let client = match self.certificates() {
            Some(certificates) => Client::build_with_tls(info, certificates),
            None => Client::open(info),
        };
        client.map_err(|error| unusable("root_certificate", &error))
    }

    fn info(&self, address: &str) -> Result<ConnectionInfo, Error> {
        let info = address.into_connection_info().map_err(|error| unusable("servers", &error))?;
        let mut settings = info.redis_settings().clone();
        if let Some(username) = &self.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password);
        }
        if let Some(database) = self.database {
            settings = settings.set_db(i64::from(database));
        }
        Ok(info.set_redis_settings(settings))
    }

    fn certificates(&self) -> Option<TlsCertificates> {
        let root_cert = self.root_certificate.clone()?.into_bytes();
        Some(TlsCertificates { client_tls: None, root_cert: Some(root_cert) })
    }
}

fn unusable(key: &str, error: &RedisError) -> Error {
    Error::Setting { text: format!("{key}: {error}") }
}
