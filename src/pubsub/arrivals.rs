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

impl StreamId {
    /// Gives the number that the publisher has given it.
    pub(super) const fn attempt(self) -> u64 {
        self.attempt
    }
}

/// What is known about one publisher.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    stream: StreamId,
    lane: u64,
    is_open: bool,
    /// Whether its last stream has ended because nothing more is published there.
    is_clean: bool,
    /// The number that the next message should have.
    expected: u64,
    /// How many messages came.
    pub(super) received: u64,
    /// How many are known to be missing.
    pub(super) missed: u64,
}

/// Messages that are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// How many; none when nobody knows, and perhaps none at all.
    pub(super) count: Option<u64>,
}

impl Gap {
    /// What may be missing of a lane that has ended.
    pub(super) const UNKNOWN: Self = Self { count: None };
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
    /// Of another lane, or after another start of the publisher, nobody knows what is missing, unless the one before was ended
    /// cleanly and this one is heard from its first message on.
    pub(super) fn open(
        &mut self,
        publisher: NodeId,
        hello: Hello,
    ) -> Result<(StreamId, Option<Gap>), End> {
        let Hello { generation, attempt, lane, next } = hello;
        let stream = StreamId { generation, attempt };
        let (received, missed) = (0, 0);
        let (is_open, is_clean) = (true, false);
        let fresh = Arrival { stream, lane, is_open, is_clean, expected: next, received, missed };
        let is_late = next > 0;
        let Some(arrival) = self.0.get_mut(&publisher) else {
            self.0.insert(publisher, fresh);
            return Ok((stream, is_late.then_some(Gap::UNKNOWN)));
        };
        if stream < arrival.stream {
            return Err(End::Superseded);
        }
        let gap = if arrival.stream.generation == generation && arrival.lane == lane {
            let gap = skip(arrival, next)?;
            *arrival = Arrival { stream, is_open, is_clean, ..*arrival };
            gap
        } else {
            let gap = (is_late || !arrival.is_clean).then_some(Gap::UNKNOWN);
            let is_same_start = arrival.stream.generation == generation;
            let (received, missed) =
                if is_same_start { (arrival.received, arrival.missed) } else { (0, 0) };
            *arrival = Arrival { received, missed, ..fresh };
            gap
        };
        Ok((stream, gap))
    }

    /// Takes in the number that the next message has; gives how many are missing before it.
    pub(super) fn run(
        &mut self,
        publisher: NodeId,
        stream: StreamId,
        first: u64,
    ) -> Result<Option<Gap>, End> {
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

    /// Notes that a stream has ended. Its numbers are remembered until [`Arrivals::forget`], so that what is missing will be
    /// counted.
    pub(super) fn close(&mut self, publisher: NodeId, stream: StreamId, is_clean: bool) {
        if let Ok(arrival) = self.current(publisher, stream) {
            arrival.is_open = false;
            arrival.is_clean = is_clean;
        }
    }

    /// Forgets a peer whose stream has ended, and gives what may be missing of it.
    pub(super) fn forget(&mut self, publisher: NodeId) -> Option<Gap> {
        self.0.get(&publisher).filter(|arrival| !arrival.is_open)?;
        let arrival = self.0.remove(&publisher)?;
        (!arrival.is_clean).then_some(Gap::UNKNOWN)
    }

    /// Gives what came from a peer.
    pub(super) fn get(&self, publisher: NodeId) -> Option<&Arrival> {
        self.0.get(&publisher)
    }
}

/// Goes on to message `next`; those between are missing.
fn skip(arrival: &mut Arrival, next: u64) -> Result<Option<Gap>, End> {
    let expected = arrival.expected;
    let gap = next.checked_sub(expected).ok_or(End::Backwards { expected, found: next })?;
    arrival.missed = arrival.missed.saturating_add(gap);
    arrival.expected = next;
    Ok((gap > 0).then_some(Gap { count: Some(gap) }))
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

    const fn missing(count: u64) -> Option<Gap> {
        Some(Gap { count: Some(count) })
    }

    #[test]
    fn missing_messages_are_counted_within_and_between_streams() {
        let mut arrivals = Arrivals::default();
        let (first, gap) = arrivals.open(publisher(), hello(1, 1, 1, 0)).unwrap();
        assert_eq!(gap, None);
        assert_eq!(arrivals.run(publisher(), first, 0), Ok(None));
        arrivals.message(publisher(), first).unwrap();
        assert_eq!(arrivals.run(publisher(), first, 3), Ok(missing(2)));
        arrivals.message(publisher(), first).unwrap();
        assert_eq!(arrivals.get(publisher()).unwrap().missed, 2);
        arrivals.close(publisher(), first, false);
        let (second, gap) = arrivals.open(publisher(), hello(1, 2, 1, 10)).unwrap();
        assert_eq!(gap, missing(6));
        let arrival = arrivals.get(publisher()).unwrap();
        assert_eq!((arrival.missed, arrival.received), (8, 2));
        let backwards = End::Backwards { expected: 10, found: 9 };
        assert_eq!(arrivals.run(publisher(), second, 9), Err(backwards));
    }

    #[test]
    fn of_another_lane_or_another_start_nobody_knows_what_is_missing() {
        let mut arrivals = Arrivals::default();
        let open = |arrivals: &mut Arrivals, hello| arrivals.open(publisher(), hello).unwrap();
        assert_eq!(open(&mut arrivals, hello(1, 5, 1, 100)).1, Some(Gap::UNKNOWN));
        let (stream, gap) = open(&mut arrivals, hello(1, 6, 2, 0));
        assert_eq!(gap, Some(Gap::UNKNOWN));
        arrivals.close(publisher(), stream, false);
        let (stream, gap) = open(&mut arrivals, hello(2, 1, 1, 0));
        assert_eq!(gap, Some(Gap::UNKNOWN));
        assert_eq!(arrivals.get(publisher()).unwrap().missed, 0);
        arrivals.close(publisher(), stream, true);
        let (stream, gap) = open(&mut arrivals, hello(3, 1, 1, 0));
        assert_eq!(gap, None, "the start before has said all that it had to");
        arrivals.close(publisher(), stream, true);
        assert_eq!(open(&mut arrivals, hello(4, 1, 1, 7)).1, Some(Gap::UNKNOWN));
    }

    #[test]
    fn what_may_be_missing_of_a_publisher_that_is_forgotten_is_told() {
        let mut arrivals = Arrivals::default();
        let (stream, gap) = arrivals.open(publisher(), hello(1, 1, 1, 0)).unwrap();
        assert_eq!(gap, None);
        assert_eq!(arrivals.forget(publisher()), None, "it is heard");
        arrivals.close(publisher(), stream, false);
        assert_eq!(arrivals.forget(publisher()), Some(Gap::UNKNOWN));
        assert_eq!(arrivals.forget(publisher()), None);
        let (stream, _) = arrivals.open(publisher(), hello(1, 2, 1, 0)).unwrap();
        arrivals.close(publisher(), stream, true);
        assert_eq!(arrivals.forget(publisher()), None, "it has ended cleanly");
    }

    #[test]
    fn only_the_newest_stream_is_heard() {
        let mut arrivals = Arrivals::default();
        let (old, _) = arrivals.open(publisher(), hello(1, 1, 1, 0)).unwrap();
        let (new, _) = arrivals.open(publisher(), hello(1, 2, 1, 0)).unwrap();
        assert_eq!(arrivals.message(publisher(), old), Err(End::Superseded));
        assert_eq!(arrivals.message(publisher(), new), Ok(()));
        assert_eq!(arrivals.open(publisher(), hello(1, 1, 1, 0)), Err(End::Superseded));
        arrivals.close(publisher(), old, false);
        assert_eq!(arrivals.forget(publisher()), None);
        assert_eq!(arrivals.check(publisher(), new), Ok(()));
        arrivals.close(publisher(), new, false);
        assert!(arrivals.forget(publisher()).is_some());
        assert!(arrivals.get(publisher()).is_none());
    }
}
