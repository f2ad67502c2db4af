//! The settings of the Redis door.
//!
//! Owns `[resp]`. Does not open anything. Invariant: without a word the door is open to this machine only; each limit is
//! enforced where its key says.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use crate::pubsub::QueueLimits;

/// `[resp]`: the door for Redis clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether the door opens. Default true.
    pub enabled: bool,
    /// The TCP address. Default `127.0.0.1:6379`. Port 0 takes any free one. An address that other machines reach is
    /// refused without a password.
    pub listen: SocketAddr,
    /// The password of the user `default`. Default none: whoever reaches the address may do everything. Better kept in
    /// a file: see `password_file`.
    pub password: Option<Password>,
    /// A file that holds the password; spaces and line ends around it are left out. Default none. Beats `password`.
    pub password_file: Option<PathBuf>,
    /// How many clients may be connected at once. Default 10,000. Raised: more memory and file descriptors. Lowered: the
    /// next one is told `ERR max number of clients reached`.
    pub clients_max: usize,
    /// The longest argument. Default 16 MiB, as `cluster.value_max`. Raised: a client can claim more memory, and a value
    /// above `cluster.value_max` is refused all the same. Lowered: longer ones end the connection with both numbers.
    pub bulk_max: ByteSize,
    /// How many arguments a request may have. Default 1,048,576. Raised: a client can claim more memory. Lowered: larger
    /// requests end the connection with both numbers.
    pub arguments_max: usize,
    /// The largest request, all its arguments together, each with 32 bytes of bookkeeping. Default 64 MiB. Raised: a
    /// client can claim more memory. Lowered: larger ones end the connection with both numbers.
    pub request_max: ByteSize,
    /// How many commands of a pipeline are given to the node at once. Default 1,024. Raised: more throughput of very
    /// long pipelines, and larger log entries. Lowered: a pipeline takes more steps.
    pub pipeline_requests_max: usize,
    /// How many bytes of a pipeline are given to the node at once; a single larger command goes alone. Default 1 MiB.
    /// Raised, lowered: as `pipeline_requests_max`.
    pub pipeline_bytes_max: ByteSize,
    /// How many commands may be queued behind MULTI. Default 65,536. Raised: a client can claim more memory, and hold up
    /// all others longer. Lowered: more commands make EXEC fail, with both numbers.
    pub transaction_requests_max: usize,
    /// How many bytes the commands queued behind MULTI may have. Default 16 MiB. Raised: as above, and
    /// `transport.frame_max.append` must hold it. Lowered: more make EXEC fail, with both numbers.
    pub transaction_bytes_max: ByteSize,
    /// How many bytes of replies may wait for one client, which happens when a single reply is that large: a client that
    /// reads slowly is not read from until it catches up. Default 256 MiB. Raised: one client can claim more memory.
    /// Lowered: larger replies end the connection.
    pub output_max: ByteSize,
    /// How many bytes of messages may wait for a subscribed client, beside about 128 KiB that are on their way to its socket.
    /// Above it the client is cut off, or by its choice messages are dropped: see `QUORATE.SUBSCRIBER`. Default 32 MiB, as
    /// in Redis. Raised: a slow subscriber holds more memory. Lowered: a burst cuts off subscribers that would have caught
    /// up.
    pub output_pubsub_hard_max: ByteSize,
    /// How many bytes of messages may wait for a subscribed client for `output_pubsub_soft_time`. Default 8 MiB, as in
    /// Redis. Raised: a subscriber that stays behind holds more memory. Lowered: it is cut off at a smaller backlog.
    pub output_pubsub_soft_max: ByteSize,
    /// See `output_pubsub_soft_max`. Default 60 s, as in Redis. Raised: a subscriber may stay behind longer. Lowered: it
    /// has less time to catch up.
    #[serde(with = "crate::time::duration_text")]
    pub output_pubsub_soft_time: Duration,
    /// How long a client may be silent; subscribed and blocked ones are left alone. Default 0 s: for ever, as in Redis.
    /// Raised: a client that vanished without a word holds its place longer. Lowered: quiet clients must connect anew.
    #[serde(with = "crate::time::duration_text")]
    pub timeout_idle: Duration,
    /// How long a client may leave waiting replies unread. Default 60 s. Raised: a client that hangs holds its replies
    /// longer. Lowered: slow networks end connections.
    #[serde(with = "crate::time::duration_text")]
    pub timeout_write: Duration,
}

impl Config {
    /// How far a subscribed client may fall behind.
    pub(super) const fn queue_limits(&self) -> QueueLimits {
        QueueLimits {
            hard: self.output_pubsub_hard_max,
            soft: self.output_pubsub_soft_max,
            soft_time: self.output_pubsub_soft_time,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: SocketAddr::from(([127, 0, 0, 1], 6379)),
            password: None,
            password_file: None,
            clients_max: 10_000,
            bulk_max: ByteSize::mib(16),
            arguments_max: 1_048_576,
            request_max: ByteSize::mib(64),
            pipeline_requests_max: 1_024,
            pipeline_bytes_max: ByteSize::mib(1),
            transaction_requests_max: 65_536,
            transaction_bytes_max: ByteSize::mib(16),
            output_max: ByteSize::mib(256),
            output_pubsub_hard_max: ByteSize::mib(32),
            output_pubsub_soft_max: ByteSize::mib(8),
            output_pubsub_soft_time: Duration::from_secs(60),
            timeout_idle: Duration::ZERO,
            timeout_write: Duration::from_secs(60),
        }
    }
}

/// What a client must know. Not shown in logs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl Password {
    /// Takes the text as it is.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// Tells whether there is nothing to know.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells whether `attempt` is the password, in a time that does not depend on where they differ.
    #[must_use]
    pub fn matches(&self, attempt: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let mut difference = u8::from(own.len() != attempt.len());
        for (at, byte) in attempt.iter().enumerate() {
            difference |= byte ^ own.get(at % own.len().max(1)).unwrap_or(&0);
        }
        std::hint::black_box(difference) == 0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_matches() {
        let password = Password::new("secret".to_owned());
        assert!(password.matches(b"secret"));
        for wrong in ["", "s", "secre", "secrett", "secretsecret", "Secret"] {
            assert!(!password.matches(wrong.as_bytes()), "{wrong}");
        }
        assert_eq!(format!("{password:?}"), "Password");
    }
}
