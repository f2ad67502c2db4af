//! The streams by which peers' messages come in. Pure: it reads none.
//!
//! Owns which stream of a publisher is the valid one, and the count of missing messages. Does not know what is in a message.
//! Invariant: of one publisher's streams only the newest is heard, and on it numbers only grow; so nothing comes twice and
//! nothing out of order.

use std::collections::BTreeMap;

use super::wire::Hello;
use crate::ids::NodeId;

/// The incoming streams by publisher.
#[derive(Debug, Default)]
pub(super) struct Arrivals(BTreeMap<NodeId, Arrival>);

/// Names one stream of a publisher; the greater one is the newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StreamId {
    generation: u64,
    attempt: u64,
}

/// What is known about one publisher.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    stream: StreamId,
    lane: u64,
    is_open: bool,
    /// The number that the next message should have.
    expected: u64,
    /// How many messages came.
    pub(super) received: u64,
    /// How many are known to be missing.
    pub(super) missed: u64,
}

/// Why nothing more is to be read from a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum End {
    #[error("a newer stream has taken its place")]
    Superseded,
    #[error("message {found} after message {expected} was due")]
    Backwards { expected: u64, found: u64 },
}

impl Arrivals {
    /// Begins to hear a stream instead of the one before. A later stream of the same lane shows what the break has cost.
    pub(super) fn open(&mut self, publisher: NodeId, hello: Hello) -> Result<StreamId, End> {
        let Hello { generation, attempt, lane, next } = hello;
        let stream = StreamId { generation, attempt };
        let fresh = Arrival { stream, lane, is_open: true, expected: next, received: 0, missed: 0 };
        let arrival = self.0.entry(publisher).or_insert(fresh);
        if stream < arrival.stream {
            return Err(End::Superseded);
        }
        if arrival.stream.generation != generation {
            *arrival = fresh;
        } else if arrival.lane == lane {
            skip(arrival, next)?;
        } else {
            *arrival = Arrival { received: arrival.received, missed: arrival.missed, ..fresh };
        }
        arrival.stream = stream;
        arrival.is_open = true;
        Ok(stream)
    }

    /// Takes in the number that the next message has.
    pub(super) fn run(
        &mut self,
        publisher: NodeId,
        stream: StreamId,
        first: u64,
    ) -> Result<(), End> {
        skip(self.current(publisher, stream)?, first)
    }

    /// Counts a message.
    pub(super) fn message(&mut self, publisher: NodeId, stream: StreamId) -> Result<(), End> {
        let arrival = self.current(publisher, stream)?;
        arrival.expected = arrival.expected.saturating_add(1);
        arrival.received += 1;
        Ok(())
    }

    /// Tells whether a stream is the one that is heard.
    pub(super) fn check(&mut self, publisher: NodeId, stream: StreamId) -> Result<(), End> {
        self.current(publisher, stream).map(|_| ())
    }

    fn current(&mut self, publisher: NodeId, stream: StreamId) -> Result<&mut Arrival, End> {
        let arrival = self.0.get_mut(&publisher).filter(|arrival| arrival.stream == stream);
        arrival.ok_or(End::Superseded)
    }

    /// Notes that a stream has ended. Its numbers are remembered for a peer that has a lane, so that what is missing will
    /// be counted.
    pub(super) fn close(&mut self, publisher: NodeId, stream: StreamId, is_linked: bool) {
        if let Ok(arrival) = self.current(publisher, stream) {
            arrival.is_open = false;
            if !is_linked {
                self.0.remove(&publisher);
            }
        }
    }

    /// Forgets a peer that has no lane any more, unless its stream is still heard.
    pub(super) fn unlinked(&mut self, publisher: NodeId) {
        if self.0.get(&publisher).is_some_and(|arrival| !arrival.is_open) {
            self.0.remove(&publisher);
        }
    }

    /// Gives what came from a peer.
    pub(super) fn get(&self, publisher: NodeId) -> Option<&Arrival> {
        self.0.get(&publisher)
    }
}

/// Goes on to message `next`; those between are missing.
fn skip(arrival: &mut Arrival, next: u64) -> Result<(), End> {
    let expected = arrival.expected;
    let gap = next.checked_sub(expected).ok_or(End::Backwards { expected, found: next })?;
    arrival.missed = arrival.missed.saturating_add(gap);
    arrival.expected = next;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn hello(generation: u64, attempt: u64, lane: u64, next: u64) -> Hello {
        Hello { generation, attempt, lane, next }
    }

    fn publisher() -> NodeId {
        NodeId::from_random(1)
    }

    #[test]
    fn missing_messages_are_counted_within_and_between_streams() {
        let mut arrivals = Arrivals::default();
        let first = arrivals.open(publisher(), hello(1, 1, 1, 10)).unwrap();
        arrivals.run(publisher(), first, 10).unwrap();
        arrivals.message(publisher(), first).unwrap();
        arrivals.run(publisher(), first, 13).unwrap();
        arrivals.message(publisher(), first).unwrap();
        assert_eq!(arrivals.get(publisher()).unwrap().missed, 2);
        arrivals.close(publisher(), first, true);
        let second = arrivals.open(publisher(), hello(1, 2, 1, 20)).unwrap();
        let arrival = arrivals.get(publisher()).unwrap();
        assert_eq!((arrival.missed, arrival.received), (8, 2));
        let backwards = End::Backwards { expected: 20, found: 19 };
        assert_eq!(arrivals.run(publisher(), second, 19), Err(backwards));
    }

    #[test]
    fn another_lane_or_another_start_begins_anew() {
        let mut arrivals = Arrivals::default();
        arrivals.open(publisher(), hello(1, 5, 1, 100)).unwrap();
        arrivals.open(publisher(), hello(1, 6, 2, 0)).unwrap();
        assert_eq!(arrivals.get(publisher()).unwrap().missed, 0);
        arrivals.open(publisher(), hello(2, 1, 1, 50)).unwrap();
        assert_eq!(arrivals.get(publisher()).unwrap().missed, 0);
    }

    #[test]
    fn only_the_newest_stream_is_heard() {
        let mut arrivals = Arrivals::default();
        let old = arrivals.open(publisher(), hello(1, 1, 1, 0)).unwrap();
        let new = arrivals.open(publisher(), hello(1, 2, 1, 0)).unwrap();
        assert_eq!(arrivals.message(publisher(), old), Err(End::Superseded));
        assert_eq!(arrivals.message(publisher(), new), Ok(()));
        assert_eq!(arrivals.open(publisher(), hello(1, 1, 1, 0)), Err(End::Superseded));
        arrivals.close(publisher(), old, false);
        assert_eq!(arrivals.check(publisher(), new), Ok(()));
        arrivals.unlinked(publisher());
        assert_eq!(arrivals.check(publisher(), new), Ok(()));
        arrivals.close(publisher(), new, false);
        assert!(arrivals.get(publisher()).is_none());
    }
}
