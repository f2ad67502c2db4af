//! Who responds on this node, and how much each has to do. Pure: it hands nothing over.
//!
//! Owns the choice among the responders of a channel, which is by turns, and their limits. Does not know who asks.
//! Invariant: no responder ever has more to answer than its limits say.

use std::collections::BTreeMap;

use bytes::Bytes;
use indexmap::IndexMap;

use super::error::Unit;
use crate::pubsub::{Config, Error};

/// Names a responder of this node for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ResponderId(u64);

/// The most that is taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) name: u64,
    pub(super) responders: usize,
    pub(super) requests: u64,
    pub(super) bytes: u64,
}

impl Limits {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            name: config.name_limit(),
            responders: config.subscriptions_max,
            requests: config.responder_requests_max as u64,
            bytes: config.responder_bytes_max.as_u64(),
        }
    }
}

/// Who gets a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// This one, to whose load it was added.
    Chosen(ResponderId),
    /// There are some, and all have as much as they may.
    Busy { waiting: u64, limit: u64, unit: Unit },
    /// There is none.
    Nobody,
}

/// The responders of this node.
#[derive(Debug)]
pub(super) struct Responders {
    limits: Limits,
    channels: IndexMap<Bytes, Turns>,
    loads: BTreeMap<ResponderId, Load>,
    last_id: u64,
}

/// The responders of one channel.
#[derive(Debug, Default)]
struct Turns {
    responders: Vec<ResponderId>,
    next: usize,
}

/// What one responder has to answer.
#[derive(Debug)]
struct Load {
    channel: Bytes,
    requests: u64,
    bytes: u64,
}

impl Responders {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, channels: IndexMap::new(), loads: BTreeMap::new(), last_id: 0 }
    }

    /// Adds a responder.
    ///
    /// # Errors
    /// When the name is too long, or there are as many as may be.
    pub(super) fn open(&mut self, channel: &[u8]) -> Result<ResponderId, Error> {
        let (size, limit) = (channel.len() as u64, self.limits.name);
        if size > limit {
            return Err(Error::NameTooLong { size, limit });
        }
        let (count, limit) = (self.loads.len(), self.limits.responders);
        if count >= limit {
            return Err(Error::TableFull { count, limit });
        }
        self.last_id += 1;
        let id = ResponderId(self.last_id);
        let channel = Bytes::copy_from_slice(channel);
        self.channels.entry(channel.clone()).or_default().responders.push(id);
        self.loads.insert(id, Load { channel, requests: 0, bytes: 0 });
        Ok(id)
    }

    /// Removes a responder with all that it has to answer.
    pub(super) fn close(&mut self, responder: ResponderId) {
        let Some(load) = self.loads.remove(&responder) else { return };
        let Some(turns) = self.channels.get_mut(&load.channel) else { return };
        turns.responders.retain(|other| *other != responder);
        if turns.responders.is_empty() {
            self.channels.swap_remove(&load.channel);
        }
    }

    /// Tells whether somebody here responds to a channel.
    pub(super) fn has(&self, channel: &[u8]) -> bool {
        self.channels.contains_key(channel)
    }

    /// Chooses who gets a request of `size` bytes.
    pub(super) fn choose(&mut self, channel: &[u8], size: u64) -> Choice {
        let Some(turns) = self.channels.get_mut(channel) else { return Choice::Nobody };
        let count = turns.responders.len();
        let mut busy = Choice::Nobody;
        for step in 0..count {
            let at = (turns.next + step) % count;
            let Some(id) = turns.responders.get(at).copied() else { break };
            let Some(load) = self.loads.get_mut(&id) else { break };
            match self.limits.judge(load, size) {
                None => {
                    load.requests += 1;
                    load.bytes = load.bytes.saturating_add(size);
                    turns.next = at + 1;
                    return Choice::Chosen(id);
                }
                Some(reason) => busy = reason,
            }
        }
        busy
    }

    /// Takes an answered request from a responder's load.
    pub(super) fn done(&mut self, responder: ResponderId, size: u64) {
        if let Some(load) = self.loads.get_mut(&responder) {
            load.requests = load.requests.saturating_sub(1);
            load.bytes = load.bytes.saturating_sub(size);
        }
    }

    /// Gives how many responders there are.
    pub(super) fn len(&self) -> usize {
        self.loads.len()
    }
}

impl Limits {
    /// Tells why a responder can take no request of `size` bytes. One that has nothing to do takes any.
    fn judge(&self, load: &Load, size: u64) -> Option<Choice> {
        let (waiting, limit) = (load.requests, self.requests);
        if waiting >= limit {
            return Some(Choice::Busy { waiting, limit, unit: Unit::Requests });
        }
        let (waiting, limit) = (load.bytes, self.bytes);
        let is_over = waiting.saturating_add(size) > limit && waiting > 0;
        is_over.then_some(Choice::Busy { waiting, limit, unit: Unit::Bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { name: 8, responders: 3, requests: 2, bytes: 100 };

    #[test]
    fn responders_of_a_channel_take_turns() {
        let mut responders = Responders::new(LIMITS);
        assert_eq!(responders.choose(b"c", 1), Choice::Nobody);
        let (one, two) = (responders.open(b"c").unwrap(), responders.open(b"c").unwrap());
        let other = responders.open(b"d").unwrap();
        let turns = [one, two, one, two].map(Choice::Chosen);
        assert_eq!(turns.map(|_| responders.choose(b"c", 1)), turns);
        let busy = Choice::Busy { waiting: 2, limit: 2, unit: Unit::Requests };
        assert_eq!(responders.choose(b"c", 1), busy);
        responders.done(two, 1);
        assert_eq!(responders.choose(b"c", 1), Choice::Chosen(two));
        responders.close(two);
        assert_eq!(responders.choose(b"c", 1), busy);
        responders.close(one);
        assert!(!responders.has(b"c"));
        assert_eq!(responders.choose(b"d", 1), Choice::Chosen(other));
    }

    #[test]
    fn bytes_are_bounded_but_an_idle_responder_takes_anything() {
        let mut responders = Responders::new(LIMITS);
        let one = responders.open(b"c").unwrap();
        assert_eq!(responders.choose(b"c", 1_000), Choice::Chosen(one));
        let busy = Choice::Busy { waiting: 1_000, limit: 100, unit: Unit::Bytes };
        assert_eq!(responders.choose(b"c", 1), busy);
        responders.done(one, 1_000);
        assert_eq!(responders.choose(b"c", 1), Choice::Chosen(one));
    }

    #[test]
    fn there_are_no_more_than_the_limit() {
        let mut responders = Responders::new(LIMITS);
        let first = responders.open(b"c").unwrap();
        (0..2).for_each(|_| assert!(responders.open(b"c").is_ok()));
        assert_eq!(responders.open(b"c"), Err(Error::TableFull { count: 3, limit: 3 }));
        responders.close(first);
        responders.close(first);
        assert!(responders.open(b"c").is_ok());
        let long = Error::NameTooLong { size: 9, limit: 8 };
        assert_eq!(responders.open(b"123456789"), Err(long));
    }
}
