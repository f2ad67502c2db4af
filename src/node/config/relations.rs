//! The relations between keys that no single key can see.
//!
//! Owns what must hold between rooms. Changes nothing. Invariant: each refusal names both keys and both values.

use std::time::Duration;

use bytesize::ByteSize;

use super::{Error, File};

/// What a frame holds beside the largest value: its key, its names and its numbers.
const FRAME_MARGIN: ByteSize = ByteSize::mib(1);

/// The longest name of a host or zone.
const LABEL_MAX: usize = 255;
const LABEL_FORM: &str = "at most 255 bytes without control characters";

/// The most nodes that a first formation may wait for.
const NODES_MAX: u16 = 128;

/// The most patterns of `[[bind]]`: each write is held against all of them.
const PATTERNS_MAX: usize = 1024;

impl<R, H> File<R, H> {
    /// Holds the relations between keys that no single key can see.
    ///
    /// # Errors
    /// The first relation that does not hold, with both keys and both values.
    pub fn check(&self) -> Result<(), Error> {
        self.check_cluster()?;
        self.check_node()?;
        self.check_bind()?;
        self.transport.check().map_err(|error| Error::Room(format!("transport: {error}")))?;
        self.membership.check().map_err(|error| Error::Room(error.to_string()))?;
        self.check_sizes()
    }

    fn check_cluster(&self) -> Result<(), Error> {
        let cluster = &self.cluster;
        if self.node.restore.is_some() {
            for (other, is_given) in [
                ("node.seeds", !self.node.seeds.is_empty()),
                ("cluster.bootstrap_expect", cluster.bootstrap_expect > 1),
            ] {
                if is_given {
                    return Err(Error::Both { one: "--restore", other });
                }
            }
        }
        if ![1, 3, 5].contains(&cluster.voters_target) {
            return Err(Error::range("cluster.voters_target", cluster.voters_target, "1, 3 or 5"));
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
        let session = ("cluster.session_timeout", cluster.session_timeout);
        if session.1 < longest.1 {
            return Err(Error::relation(session, "at least", longest));
        }
        let replace = ("cluster.voter_replace_after", cluster.voter_replace_after);
        if replace.1 < session.1 {
            return Err(Error::relation(replace, "at least", session));
        }
        if cluster.secret_file_previous.is_some() && !cluster.has_secret() {
            let (key, missing) = ("cluster.secret_file_previous", "cluster.secret_file");
            return Err(Error::Missing { key, missing });
        }
        Ok(())
    }

    fn check_bind(&self) -> Result<(), Error> {
        if self.bind.len() > PATTERNS_MAX {
            return Err(Error::range("bind", self.bind.len(), "at most 1024 patterns"));
        }
        let key_max = self.cluster.key_max.as_u64();
        let wrong = self.bind.iter().find_map(|bind| Some((&bind.key, bind.mistake(key_max)?)));
        match wrong {
            Some((key, allowed)) => Err(Error::range("bind.key", format!("'{key}'"), allowed)),
            None => Ok(()),
        }
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
        if given.is_some() && cluster.has_secret() {
            return Err(Error::Both { one: "cluster.secret_file", other: "node.certificate_file" });
        }
        if !self.can_be_joined() && !node.seeds.is_empty() {
            return Err(Error::Missing { key: "node.seeds", missing: "cluster.secret_file" });
        }
        if !self.can_be_joined() && cluster.bootstrap_expect > 1 {
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
        let host = node.host.as_deref().unwrap_or_default();
        for (key, text) in [("node.host", host), ("node.zone", &node.zone)] {
            if text.len() > LABEL_MAX || text.chars().any(char::is_control) {
                return Err(Error::range(key, text.escape_debug(), LABEL_FORM));
            }
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

    fn check_sizes(&self) -> Result<(), Error> {
        let (cluster, transport) = (&self.cluster, &self.transport);
        let key = ("cluster.key_max", cluster.key_max);
        let value = ("cluster.value_max", cluster.value_max);
        if key.1 > value.1 {
            return Err(Error::relation(key, "at most", value));
        }
        let frames = &transport.frame_max;
        for frame in [
            ("transport.frame_max.append", frames.append),
            ("transport.frame_max.forward", frames.forward),
            ("transport.frame_max.snapshot", frames.snapshot),
            ("transport.frame_max.follow", frames.follow),
        ] {
            if value.1 + FRAME_MARGIN > frame.1 {
                return Err(Error::relation(frame, "at least 1 MiB above", value));
            }
        }
        let batch = ("consensus.batch_bytes_max", self.consensus.batch_bytes_max);
        let append = ("transport.frame_max.append", frames.append);
        if batch.1 + FRAME_MARGIN > append.1 {
            return Err(Error::relation(append, "at least 1 MiB above", batch));
        }
        let publish = ("transport.frame_max.publish", frames.publish);
        let message = ("pubsub.message_max", self.pubsub.message_max);
        if message.1 + FRAME_MARGIN > publish.1 {
            return Err(Error::relation(publish, "at least 1 MiB above", message));
        }
        let redial = ("pubsub.redial_min", self.pubsub.redial_min);
        let redial_max = ("pubsub.redial_max", self.pubsub.redial_max);
        if redial.1 > redial_max.1 {
            return Err(Error::relation(redial, "at most", redial_max));
        }
        let outbox = ("transport.outbox_max", transport.outbox_max);
        if outbox.1 < frames.forward {
            let forward = ("transport.frame_max.forward", frames.forward);
            return Err(Error::relation(outbox, "at least", forward));
        }
        Ok(())
    }
}
