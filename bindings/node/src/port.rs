//! The one way from a node to its JavaScript: answers, messages and events, in order, many at a time.
//!
//! Owns what waits for the event loop. Does not know what it means. Invariants: the event loop is woken once for all that waits,
//! and never kept alive; the sum of what waits is bounded where the source can wait, which messages and events can.

use std::collections::VecDeque;

use napi::Status;
use napi::bindgen_prelude::Function;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::value::Value;

/// How many items may wait before sources that can wait do.
const WAITING_MAX: usize = 4096;

type Wake = ThreadsafeFunction<(), (), (), Status, false, true>;

/// What an item is; the numbers are those of `lib/handle.cjs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The answer to a call.
    Answer = 0,
    /// The failure of a call.
    Failure = 1,
    /// A message to a lane.
    Message = 2,
    /// A lane has lost messages.
    Lost = 3,
    /// Something that an application must know.
    Event = 4,
    /// Somebody asks something of a responder.
    Request = 5,
}

/// One item: what it is, the call, lane or listener it is for, and its content.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) kind: Kind,
    pub(crate) to: u32,
    pub(crate) value: Value,
}

#[derive(Default)]
struct Waiting {
    items: VecDeque<Item>,
    is_woken: bool,
}

/// The way to the event loop of one JavaScript thread.
pub(crate) struct Port {
    waiting: Mutex<Waiting>,
    wake: Wake,
    taken: Notify,
}

impl Port {
    /// Makes a port that calls `wake` on the thread of JavaScript when there is something to take.
    pub(crate) fn new(wake: &Function<'_, (), ()>) -> napi::Result<Self> {
        let wake = wake
            .build_threadsafe_function::<()>()
            .weak::<true>()
            .callee_handled::<false>()
            .build()?;
        Ok(Self { waiting: Mutex::default(), wake, taken: Notify::new() })
    }

    /// Puts items behind those that wait.
    pub(crate) fn put(&self, items: impl IntoIterator<Item = Item>) {
        let mut waiting = self.waiting.lock();
        waiting.items.extend(items);
        if waiting.items.is_empty() || std::mem::replace(&mut waiting.is_woken, true) {
            return;
        }
        drop(waiting);
        // When the thread of JavaScript ends nobody is left to be told.
        let _closing = self.wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
    }

    /// Puts the end of a call.
    pub(crate) fn answer(&self, call: u32, value: Value) {
        let is_failure = matches!(value, Value::Error(_));
        let kind = if is_failure { Kind::Failure } else { Kind::Answer };
        self.put([Item { kind, to: call, value }]);
    }

    /// Waits until there is room for what can wait.
    pub(crate) async fn room(&self) {
        loop {
            let taken = self.taken.notified();
            if self.waiting.lock().items.len() < WAITING_MAX {
                return;
            }
            taken.await;
        }
    }

    /// Takes all that waits, as `kind, to, value` in turn.
    pub(crate) fn take(&self) -> Vec<Value> {
        let mut waiting = self.waiting.lock();
        waiting.is_woken = false;
        let items = std::mem::take(&mut waiting.items);
        drop(waiting);
        self.taken.notify_waiters();
        let flat = |item: Item| {
            [Value::Number(item.kind as i64), Value::Number(i64::from(item.to)), item.value]
        };
        items.into_iter().flat_map(flat).collect()
    }
}
