//! Who listens on this node, and to what. Pure: it holds listeners, and delivers nothing.
//!
//! Owns the subscriptions of all local subscribers and their limits. Does not know other nodes. Invariant: a subscription
//! stands in its subscriber's own set exactly when the subscriber stands among the listeners of that name.

use std::collections::BTreeMap;

use bytes::Bytes;
use indexmap::{IndexMap, IndexSet};

use super::patterns::Patterns;
use super::{Config, Error, Kind};

/// Names a subscriber of this node for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SubscriberId(u64);

/// Who listens to one name.
pub(super) type Listeners<L> = BTreeMap<SubscriberId, L>;

/// One subscription that a message reaches.
#[derive(Debug)]
pub(super) struct Match<'a, L> {
    pub(super) subscriber: SubscriberId,
    pub(super) listener: &'a L,
    pub(super) kind: Kind,
    /// The channel or pattern as it was subscribed to.
    pub(super) name: &'a Bytes,
}

/// The most that the table takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) name: u64,
    pub(super) per_subscriber: usize,
    pub(super) all: usize,
}

impl Limits {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            name: config.name_limit(),
            per_subscriber: config.subscriptions_per_subscriber_max,
            all: config.subscriptions_max,
        }
    }
}

#[derive(Debug)]
struct Own<L> {
    listener: L,
    channels: IndexSet<Bytes>,
    patterns: IndexSet<Bytes>,
    sharded: IndexSet<Bytes>,
}

impl<L> Own<L> {
    const fn names(&self, kind: Kind) -> &IndexSet<Bytes> {
        match kind {
            Kind::Channel => &self.channels,
            Kind::Pattern => &self.patterns,
            Kind::Sharded => &self.sharded,
        }
    }

    const fn names_mut(&mut self, kind: Kind) -> &mut IndexSet<Bytes> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Sharded => &mut self.sharded,
        }
    }

    fn count(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.sharded.len()
    }
}

/// The subscriptions of this node. `L` is what stands for a subscriber, or for one of its subscriptions, where messages are
/// delivered.
#[derive(Debug)]
pub(super) struct Table<L> {
    limits: Limits,
    channels: IndexMap<Bytes, Listeners<L>>,
    sharded: IndexMap<Bytes, Listeners<L>>,
    pub(super) patterns: Patterns<L>,
    subscribers: BTreeMap<SubscriberId, Own<L>>,
    /// Invariant: the sum of all subscribers' subscriptions.
    pub(super) count: usize,
    last_id: u64,
}

impl<L: Clone> Table<L> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            channels: IndexMap::new(),
            sharded: IndexMap::new(),
            patterns: Patterns::default(),
            subscribers: BTreeMap::new(),
            count: 0,
            last_id: 0,
        }
    }

    /// Adds a subscriber that listens to nothing yet. `listener` stands for it where it is not about one subscription.
    pub(super) fn add(&mut self, listener: L) -> SubscriberId {
        self.last_id += 1;
        let id = SubscriberId(self.last_id);
        let (channels, patterns, sharded) = Default::default();
        self.subscribers.insert(id, Own { listener, channels, patterns, sharded });
        id
    }

    /// Removes a subscriber with all its subscriptions, and gives what stood for it.
    pub(super) fn remove(&mut self, subscriber: SubscriberId) -> Option<L> {
        let own = self.subscribers.remove(&subscriber)?;
        self.count -= own.count();
        for kind in [Kind::Channel, Kind::Pattern, Kind::Sharded] {
            own.names(kind).iter().for_each(|name| self.forget(subscriber, kind, name));
        }
        Some(own.listener)
    }

    /// Adds a subscription, for which `listener` stands; false when it was there already, with another one perhaps.
    ///
    /// # Errors
    /// When a limit is reached, or the subscriber is not in the table any more.
    pub(super) fn subscribe(
        &mut self,
        subscriber: SubscriberId,
        kind: Kind,
        name: &[u8],
        listener: L,
    ) -> Result<bool, Error> {
        let own = self.subscribers.get_mut(&subscriber).ok_or(Error::Closed)?;
        if let Some(name) = own.names(kind).get(name).cloned() {
            self.listen(subscriber, kind, name, listener);
            return Ok(false);
        }
        let limits = self.limits;
        let size = name.len() as u64;
        if size > limits.name {
            return Err(Error::NameTooLong { size, limit: limits.name });
        }
        let count = own.count();
        if count >= limits.per_subscriber {
            return Err(Error::SubscriberFull { count, limit: limits.per_subscriber });
        }
        if self.count >= limits.all {
            return Err(Error::TableFull { count: self.count, limit: limits.all });
        }
        // A copy of its own: what was handed in may be a small piece of a large read buffer.
        let name = Bytes::copy_from_slice(name);
        own.names_mut(kind).insert(name.clone());
        self.count += 1;
        self.listen(subscriber, kind, name, listener);
        Ok(true)
    }

    /// Puts a subscriber among the listeners of a name.
    fn listen(&mut self, subscriber: SubscriberId, kind: Kind, name: Bytes, listener: L) {
        let channels = match kind {
            Kind::Pattern => return self.patterns.insert(name, subscriber, listener),
            Kind::Channel => &mut self.channels,
            Kind::Sharded => &mut self.sharded,
        };
        channels.entry(name).or_default().insert(subscriber, listener);
    }

    /// Removes a subscription; false when there was none.
    pub(super) fn unsubscribe(
        &mut self,
        subscriber: SubscriberId,
        kind: Kind,
        name: &[u8],
    ) -> bool {
        let own = self.subscribers.get_mut(&subscriber);
        let Some(name) = own.and_then(|own| own.names_mut(kind).swap_take(name)) else {
            return false;
        };
        self.count -= 1;
        self.forget(subscriber, kind, &name);
        true
    }

    /// Takes a subscriber from the listeners of a name.
    fn forget(&mut self, subscriber: SubscriberId, kind: Kind, name: &[u8]) {
        let channels = match kind {
            Kind::Pattern => return self.patterns.remove(name, subscriber),
            Kind::Channel => &mut self.channels,
            Kind::Sharded => &mut self.sharded,
        };
        let Some(listeners) = channels.get_mut(name) else { return };
        listeners.remove(&subscriber);
        if listeners.is_empty() {
            channels.swap_remove(name);
        }
    }

    /// Shows every subscription that a message to `channel` reaches: those by the channel first, then those by patterns.
    pub(super) fn matching(&self, kind: Kind, channel: &[u8], mut visit: impl FnMut(Match<'_, L>)) {
        let channels = match kind {
            Kind::Channel | Kind::Pattern => &self.channels,
            Kind::Sharded => &self.sharded,
        };
        if let Some((name, listeners)) = channels.get_key_value(channel) {
            let kind = if kind == Kind::Sharded { kind } else { Kind::Channel };
            for (&subscriber, listener) in listeners {
                visit(Match { subscriber, listener, kind, name });
            }
        }
        if kind == Kind::Sharded {
            return;
        }
        for (name, listeners) in self.patterns.matching(channel) {
            for (&subscriber, listener) in listeners {
                visit(Match { subscriber, listener, kind: Kind::Pattern, name });
            }
        }
    }

    /// Gives what a subscriber listens to.
    pub(super) fn subscriptions(&self, subscriber: SubscriberId, kind: Kind) -> Vec<Bytes> {
        let own = self.subscribers.get(&subscriber);
        own.map_or_else(Vec::new, |own| own.names(kind).iter().cloned().collect())
    }

    /// Gives how many names of one kind a subscriber listens to.
    pub(super) fn count_of(&self, subscriber: SubscriberId, kind: Kind) -> usize {
        self.subscribers.get(&subscriber).map_or(0, |own| own.names(kind).len())
    }

    /// Gives every name of one kind that somebody listens to.
    pub(super) fn names(&self, kind: Kind) -> Box<dyn ExactSizeIterator<Item = &Bytes> + '_> {
        match kind {
            Kind::Channel => Box::new(self.channels.keys()),
            Kind::Sharded => Box::new(self.sharded.keys()),
            Kind::Pattern => Box::new(self.patterns.names()),
        }
    }

    /// Gives up to `count` names of one kind that stand before the place `end`, and the place of the first of them. Who goes on
    /// from there until place 0 gets every name that stays: one that is removed is replaced by the last one, which was given.
    pub(super) fn names_before(&self, kind: Kind, end: usize, count: usize) -> (Vec<Bytes>, usize) {
        let end = end.min(self.names(kind).len());
        let from = end.saturating_sub(count);
        (self.names(kind).skip(from).take(end - from).cloned().collect(), from)
    }

    /// Gives how many subscribers listen to a channel by its name.
    pub(super) fn listeners(&self, kind: Kind, channel: &[u8]) -> usize {
        let channels = match kind {
            Kind::Channel | Kind::Pattern => &self.channels,
            Kind::Sharded => &self.sharded,
        };
        channels.get(channel).map_or(0, BTreeMap::len)
    }

    /// Gives how many different names of one kind somebody listens to.
    pub(super) fn name_count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Channel => self.channels.len(),
            Kind::Sharded => self.sharded.len(),
            Kind::Pattern => self.patterns.names().count(),
        }
    }

    /// Gives what stands for each subscriber with a subscription of which `is_meant` holds.
    pub(super) fn who(&self, is_meant: impl Fn(Kind, &[u8]) -> bool) -> impl Iterator<Item = &L> {
        let meant = move |own: &&Own<L>| {
            let kinds = [Kind::Channel, Kind::Pattern, Kind::Sharded];
            kinds.iter().any(|kind| own.names(*kind).iter().any(|name| is_meant(*kind, name)))
        };
        self.subscribers.values().filter(meant).map(|own| &own.listener)
    }

    /// Gives what was handed in for a subscriber by [`Table::add`].
    pub(super) fn listener(&self, subscriber: SubscriberId) -> Option<&L> {
        self.subscribers.get(&subscriber).map(|own| &own.listener)
    }

    /// Gives what was handed in for each subscriber that listens to something.
    pub(super) fn listening(&self) -> impl Iterator<Item = &L> {
        self.subscribers.values().filter(|own| own.count() > 0).map(|own| &own.listener)
    }

    /// Gives what was handed in for each subscriber by [`Table::add`].
    pub(super) fn all(&self) -> impl Iterator<Item = &L> {
        self.subscribers.values().map(|own| &own.listener)
    }
}
