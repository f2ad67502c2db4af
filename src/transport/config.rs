//! What an operator may change about the transport, and the limits it enforces.
//!
//! Owns the keys of the `[transport]` table and their defaults. Does not hold what must be equal on all nodes; that
//! is in [`Identity::settings`](super::Identity). Invariant: every limit here is enforced somewhere in this room.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::{Class, Error};

/// The keys of the `[transport]` table. All are per node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How often an idle connection is probed. Default 500 ms. Raised: less idle traffic, but it must stay below
    /// `idle_timeout`, or idle links die. Lowered: more packets, no earlier detection.
    #[serde(with = "crate::time::duration_text")]
    pub keep_alive: Duration,
    /// After how long without a packet a connection counts as dead. Default 1.5 s. Raised: a silently dead peer is
    /// noticed later. Lowered: a stalled peer (a long pause of its process) is cut off and must be dialled again.
    #[serde(with = "crate::time::duration_text")]
    pub idle_timeout: Duration,
    /// How long a connection may take until its hello is answered, and a stream until it has named its purpose.
    /// Default 3 s. Raised: half-open attempts hold memory longer. Lowered: a slow peer cannot join.
    #[serde(with = "crate::time::duration_text")]
    pub handshake_timeout: Duration,
    /// How many incoming handshakes may be under way at once. Default 256. Raised: a flood costs more memory and
    /// processor time. Lowered: a large fleet that starts at once needs more attempts.
    pub handshakes_max: usize,
    /// How many of them may come from one IP address. Default 64. Raised: one host can take more of `handshakes_max`.
    /// Lowered: many processes on one host that start at once need more attempts.
    pub handshakes_per_ip_max: usize,
    /// How many incoming connections one node may hold. Default 2: the one it uses and the one it has just replaced.
    /// The oldest is closed when there are more. Raised: only costs memory. Lowered to 1: a peer that dials again
    /// loses what was still in flight on the connection before.
    pub connections_per_node_max: usize,
    /// How many different nodes may be connected to this one at once. Default 1024. Raised: more memory. Lowered:
    /// nodes beyond it are refused with this number.
    pub nodes_max: usize,
    /// How many streams a peer may hold open on one connection. Default 64. Raised: more memory a peer can claim.
    /// Lowered: below about 16, a peer waits for a stream that never becomes free.
    pub streams_max: u32,
    /// How much unread data one stream may hold here. Default 256 KiB. Raised: more throughput over long distances
    /// and more delay for small messages beside large ones. Lowered: the reverse. Source: measured, a fan-in of
    /// saturating senders keeps its delay low only while peers × window stays near `socket_buffer`.
    pub stream_window: ByteSize,
    /// How much unread data all streams of one connection may hold here. Default 16 MiB = `streams_max` × 256 KiB, so that a
    /// stream which nobody reads cannot hold up the others. Raised: a peer can claim more memory. Lowered: it can.
    pub connection_window: ByteSize,
    /// How much sent and not yet acknowledged data one connection may hold. Default 8 MiB. Raised: more memory per
    /// peer. Lowered: less throughput over long distances.
    pub send_window: ByteSize,
    /// How many bytes of datagrams one connection may hold that are not sent yet, and that were received and not taken in yet.
    /// Default 256 KiB, at least 16 KiB. When there are more, the oldest are dropped. Raised: a burst of unreliable messages
    /// survives, and what is sent over a slow link is older. Lowered: the reverse.
    pub datagram_buffer: ByteSize,
    /// The size asked of the kernel for each of the socket's two buffers. Default 1 MiB. Raised: fewer lost packets in
    /// a burst, more delay under a standing load. Lowered: the reverse. A clamped size is logged once.
    pub socket_buffer: ByteSize,
    /// How many calls to one peer and class may be under way. Default 4096. Raised: more memory. Lowered: calls wait
    /// for others to return.
    pub calls_max: usize,
    /// How many bytes the requests of those calls may have. Default 32 MiB. Raised: a slow peer holds more memory
    /// here. Lowered: calls wait for others to return.
    pub outbox_max: ByteSize,
    /// The largest frame of each class. A peer that sends a larger one loses the stream, before anything is allocated.
    pub frame_max: FrameMax,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_millis(500),
            idle_timeout: Duration::from_millis(1_500),
            handshake_timeout: Duration::from_secs(3),
            handshakes_max: 256,
            handshakes_per_ip_max: 64,
            connections_per_node_max: 2,
            nodes_max: 1_024,
            streams_max: 64,
            stream_window: ByteSize::kib(256),
            connection_window: ByteSize::mib(16),
            send_window: ByteSize::mib(8),
            datagram_buffer: ByteSize::kib(256),
            socket_buffer: ByteSize::mib(1),
            calls_max: 4_096,
            outbox_max: ByteSize::mib(32),
            frame_max: FrameMax::default(),
        }
    }
}

impl Config {
    /// Checks the values and their relations.
    ///
    /// # Errors
    /// [`Error::Fatal`] names the keys and the numbers.
    pub fn check(&self) -> Result<(), Error> {
        if self.keep_alive >= self.idle_timeout {
            return Err(Error::fatal(format!(
                "keep_alive of {:?} is not below idle_timeout of {:?}",
                self.keep_alive, self.idle_timeout
            )));
        }
        let counts = [
            ("handshakes_max", self.handshakes_max, 1),
            ("handshakes_per_ip_max", self.handshakes_per_ip_max, 1),
            ("connections_per_node_max", self.connections_per_node_max, 1),
            ("nodes_max", self.nodes_max, 1),
            ("streams_max", usize::try_from(self.streams_max).unwrap_or(usize::MAX), 16),
            ("calls_max", self.calls_max, 1),
        ];
        let sizes = [
            ("stream_window", self.stream_window, ByteSize::kib(16)),
            ("connection_window", self.connection_window, self.stream_window),
            ("send_window", self.send_window, ByteSize::kib(16)),
            ("datagram_buffer", self.datagram_buffer, ByteSize::kib(16)),
        ];
        if let Some((key, count, least)) = counts.iter().find(|(_, count, least)| count < least) {
            return Err(Error::fatal(format!("{key} of {count} is below the least, {least}")));
        }
        if let Some((key, size, least)) = sizes.iter().find(|(_, size, least)| size < least) {
            return Err(Error::fatal(format!("{key} of {size} is below the least, {least}")));
        }
        let most = ByteSize::gib(1);
        let frames = Class::ALL.map(|class| (class, self.frame_max.configured(class)));
        if let Some((class, size)) = frames.iter().find(|(_, size)| *size > most) {
            return Err(Error::fatal(format!("frame_max.{class} of {size} exceeds {most}")));
        }
        Ok(())
    }
}

/// The largest frame of each class, not counting its length prefix. Raised: a peer can claim more memory per stream.
/// Lowered: what does not fit is refused with both numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FrameMax {
    /// Gossip messages. Default 128 KiB; the gossip itself never makes one above 64 KiB.
    pub gossip: ByteSize,
    /// Votes, read indices, formation and other small calls. Default 1 MiB.
    pub control: ByteSize,
    /// Log entries for voters. Default 32 MiB; must hold the largest value and some more.
    pub append: ByteSize,
    /// Pieces of a snapshot. Default 32 MiB. A piece is about 1 MiB unless one element alone is larger.
    pub snapshot: ByteSize,
    /// Commands handed to the leader, and their replies. Default 32 MiB; must hold the largest value and some more.
    pub forward: ByteSize,
    /// Published messages. Default 32 MiB; must hold the largest message and some more.
    pub publish: ByteSize,
    /// Entries and pieces of a snapshot for observers. Default 32 MiB; must hold the largest value and some more.
    pub follow: ByteSize,
}

impl Default for FrameMax {
    fn default() -> Self {
        Self {
            gossip: ByteSize::kib(128),
            control: ByteSize::mib(1),
            append: ByteSize::mib(32),
            snapshot: ByteSize::mib(32),
            forward: ByteSize::mib(32),
            publish: ByteSize::mib(32),
            follow: ByteSize::mib(32),
        }
    }
}

impl FrameMax {
    /// Gives the limit of `class` in bytes; never above 1 GiB, so that it fits the length prefix.
    #[must_use]
    pub fn of(&self, class: Class) -> usize {
        let limit = self.configured(class).as_u64().min(ByteSize::gib(1).as_u64());
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    const fn configured(&self, class: Class) -> ByteSize {
        match class {
            Class::Gossip => self.gossip,
            Class::Control => self.control,
            Class::Append => self.append,
            Class::Snapshot => self.snapshot,
            Class::Forward => self.forward,
            Class::Publish => self.publish,
            Class::Follow => self.follow,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(config: &Config, words: &[&str]) {
        let error = config.check().unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }

    #[test]
    fn wrong_values_are_refused_with_key_and_numbers() {
        let good = Config::default();
        good.check().unwrap();
        let keep_alive = good.idle_timeout;
        check_refused(&Config { keep_alive, ..good.clone() }, &["keep_alive", "idle_timeout"]);
        check_refused(&Config { streams_max: 1, ..good.clone() }, &["streams_max of 1", "16"]);
        let connection_window = ByteSize::kib(64);
        let config = Config { connection_window, ..good.clone() };
        check_refused(&config, &["connection_window of 64", "256"]);
        let mut config = good;
        config.frame_max.append = ByteSize::gib(2);
        check_refused(&config, &["frame_max.append of 2"]);
    }
}
