//! From a message that has come to the queues of those on this node who listen.
//!
//! Owns the memory that all of them share: one piece for each message, with its channel and its payload. Does not decide who
//! listens, nor what a full queue loses. Invariant: a queue gets the messages of a run in their order, and its owner is woken once.

use bytes::{Bytes, BytesMut};

use super::hub::{Listener, State};
use super::interest::Event;
use super::queue::Pushed;
use super::table::SubscriberId;
use super::{Kind, Message, wire};

/// Smaller messages are copied out of the buffer they came in, which may be much larger than they are.
const COPY_MAX: usize = 16 * 1024;

/// A message on its way to listeners.
#[derive(Clone, Copy, Debug)]
pub(super) struct Post<'a> {
    pub(super) channel: &'a [u8],
    pub(super) payload: &'a Bytes,
    /// The log position of the last write of its publisher's node.
    pub(super) position: u64,
    /// The frame that it was encoded to, if it was; what is not encoded may be a small piece of a large read buffer.
    pub(super) frame: Option<&'a Bytes>,
}

impl Post<'_> {
    /// Gives channel and payload in one piece of memory that keeps nothing much larger alive.
    fn own(&self) -> (Bytes, Bytes) {
        let Self { channel, payload, frame, .. } = self;
        let length = channel.len();
        if let Some(frame) = frame {
            return wire::parts_of(frame, length);
        }
        let size = length.saturating_add(payload.len());
        if size >= COPY_MAX {
            return (Bytes::copy_from_slice(channel), (*payload).clone());
        }
        let mut own = BytesMut::with_capacity(size);
        own.extend_from_slice(channel);
        own.extend_from_slice(payload);
        let mut own = own.freeze();
        (own.split_to(length), own)
    }
}

/// Gives a payload that does not keep a much larger buffer alive.
pub(super) fn own(payload: &Bytes) -> Bytes {
    if payload.len() < COPY_MAX { Bytes::copy_from_slice(payload) } else { payload.clone() }
}

impl State {
    /// Delivers a message to the listeners of this node; gives how many subscriptions it reached.
    pub(super) fn deliver(&mut self, kind: Kind, post: Post<'_>) -> u64 {
        let mut reached = [0];
        self.deliver_run(kind, &[post], &mut reached);
        let [reached] = reached;
        reached
    }

    /// Delivers messages to one channel, in their order; adds to `reached` how many subscriptions each of them reached.
    pub(super) fn deliver_run(&mut self, kind: Kind, run: &[Post<'_>], reached: &mut [u64]) {
        let Some(Post { channel, .. }) = run.first() else { return };
        let mut owned: Vec<(Bytes, Bytes)> = Vec::new();
        let mut overflowed: Vec<SubscriberId> = Vec::new();
        self.table.matching(kind, channel, |found| {
            if owned.is_empty() {
                owned.extend(run.iter().map(Post::own));
            }
            let pattern = (found.kind == Kind::Pattern).then(|| found.name.clone());
            let messages = run.iter().zip(&owned).map(|(post, (channel, payload))| Message {
                kind: found.kind,
                pattern: pattern.clone(),
                channel: channel.clone(),
                payload: payload.clone(),
                position: post.position,
                is_ahead: false,
                replaced: 0,
            });
            let Listener { queue, policy } = found.listener;
            let mut reached = reached.iter_mut();
            queue.push_all(*policy, messages, |pushed| {
                let count = reached.next();
                match pushed {
                    Pushed::Queued => count.into_iter().for_each(|count| *count += 1),
                    Pushed::Overflowed => overflowed.push(found.subscriber),
                    Pushed::Dropped | Pushed::Ended => {}
                }
            });
        });
        for subscriber in overflowed {
            self.table.remove(subscriber);
            self.note(Event::Dropped(subscriber));
        }
    }
}
