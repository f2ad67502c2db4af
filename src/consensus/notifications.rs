//! Keyspace notifications on their way from the applied entries to the node.
//!
//! Owns the flags that the entries are applied with, and the bounded queue. Tells nobody. Invariants: putting never waits; an
//! entry's notifications are queued before anybody hears its replies, all of them or none; what is missing stands as a loss in
//! its place.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU16, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::keyspace::{Flags, Notification};

/// How many notifications may wait.
const WAITING_MAX: usize = 256 * 1024;
/// How many bytes their keys may have.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// What the node must tell the listeners of keyspace notifications.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// This happened, in this order.
    Noted {
        /// The flags when it was applied.
        flags: Flags,
        /// What happened: the notifications of one entry.
        notifications: Vec<Notification>,
    },
    /// Notifications are missing here: so many, or nobody knows how many, because this node has taken a whole state over.
    Lost {
        /// How many.
        count: Option<u64>,
    },
}

#[derive(Debug, Default)]
struct Waiting {
    queue: VecDeque<Told>,
    notifications: usize,
    bytes: usize,
    is_closed: bool,
}

/// Notifications that wait for the node.
#[derive(Debug, Default)]
pub struct Notifications {
    /// The bits of [`Flags`].
    flags: AtomicU16,
    waiting: Mutex<Waiting>,
    changed: Notify,
}

impl Notifications {
    /// What is noted of the entries that are applied from now on.
    pub(super) fn flags(&self) -> Flags {
        Flags::from_bits(self.flags.load(Ordering::Relaxed))
    }

    /// Changes what is noted of the entries that are applied from now on; nothing at first.
    pub fn set_flags(&self, flags: Flags) {
        self.flags.store(flags.bits(), Ordering::Relaxed);
    }

    /// Puts the notifications of an entry at the end, or their loss if there are too many.
    pub(super) fn put(&self, flags: Flags, notifications: Vec<Notification>) {
        let bytes = notifications.iter().map(|notification| notification.key.len()).sum::<usize>();
        let count = notifications.len();
        let mut waiting = self.waiting.lock();
        if waiting.is_closed || count == 0 {
            return;
        }
        let fits = waiting.notifications.saturating_add(count) <= WAITING_MAX
            && waiting.bytes.saturating_add(bytes) <= BYTES_MAX;
        if fits {
            waiting.notifications = waiting.notifications.saturating_add(count);
            waiting.bytes = waiting.bytes.saturating_add(bytes);
            waiting.queue.push_back(Told::Noted { flags, notifications });
        } else {
            waiting.lose(Some(count as u64));
        }
        drop(waiting);
        self.changed.notify_one();
    }

    /// Notes that nobody knows what has happened up to here, if anybody would be told.
    pub(super) fn lose(&self) {
        if self.flags().is_any() {
            self.waiting.lock().lose(None);
            self.changed.notify_one();
        }
    }

    /// Ends [`Notifications::next`].
    pub(super) fn close(&self) {
        self.waiting.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Waits for what is to be told next; gives none when consensus has stopped. For one caller.
    ///
    /// # Cancel safety
    /// Safe: it is taken only when it is returned.
    pub async fn next(&self) -> Option<Told> {
        loop {
            // Who comes between this and the wait wakes it.
            let (told, is_closed) = self.waiting.lock().take();
            if told.is_some() || is_closed {
                return told;
            }
            self.changed.notified().await;
        }
    }
}

impl Waiting {
    fn lose(&mut self, more: Option<u64>) {
        if let Some(Told::Lost { count }) = self.queue.back_mut() {
            *count = count.zip(more).map(|(count, more)| count.saturating_add(more));
        } else {
            self.queue.push_back(Told::Lost { count: more });
        }
    }

    /// Takes what is next, and tells whether nothing comes any more if that is none.
    fn take(&mut self) -> (Option<Told>, bool) {
        let told = self.queue.pop_front();
        if let Some(Told::Noted { notifications, .. }) = &told {
            let bytes = notifications.iter().map(|notification| notification.key.len());
            self.notifications = self.notifications.saturating_sub(notifications.len());
            self.bytes = self.bytes.saturating_sub(bytes.sum());
        }
        (told, self.is_closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::What;

    fn some(count: usize) -> Vec<Notification> {
        vec![Notification { database: 0, key: "k".into(), what: What::Set }; count]
    }

    #[tokio::test]
    async fn what_does_not_fit_is_counted_in_its_place() {
        let told = Notifications::default();
        let flags: Flags = "KEA".parse().unwrap();
        told.put(flags, some(WAITING_MAX - 1));
        told.put(flags, some(2));
        told.put(flags, some(3));
        told.put(flags, some(1));
        told.put(flags, some(1));
        let counts = |told: Option<Told>| match told.expect("it is not closed") {
            Told::Noted { notifications, .. } => (notifications.len(), None),
            Told::Lost { count } => (0, count),
        };
        assert_eq!(counts(told.next().await), (WAITING_MAX - 1, None));
        assert_eq!(counts(told.next().await), (0, Some(5)));
        told.put(flags, some(WAITING_MAX - 1));
        assert_eq!(counts(told.next().await), (1, None));
        assert_eq!(counts(told.next().await), (0, Some(1)));
        assert_eq!(counts(told.next().await), (WAITING_MAX - 1, None));
        let long =
            Notification { database: 0, key: vec![0; BYTES_MAX + 1].into(), what: What::Set };
        told.put(flags, vec![long]);
        assert_eq!(counts(told.next().await), (0, Some(1)));
        told.close();
        assert_eq!(told.next().await, None);
    }

    #[tokio::test]
    async fn a_state_that_was_taken_over_is_a_loss_of_nobody_knows_how_many() {
        let told = Notifications::default();
        told.lose();
        told.set_flags("KEA".parse().unwrap());
        assert!(told.waiting.lock().queue.is_empty(), "nobody is told anything");
        told.put(told.flags(), some(WAITING_MAX + 1));
        told.lose();
        assert_eq!(told.next().await, Some(Told::Lost { count: None }));
    }
}
