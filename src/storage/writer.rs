//! Who writes the log: one thread that takes all that waits, writes and syncs it at once, and tells those who wait.
//!
//! Owns the queue. Does not know what is written. Invariants: batches are written in the order in which they were given; nobody is
//! told before the sync has returned; after a failure everybody is told of it and nothing more is written.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::disk::Disk;
use super::error::Error;
use super::wal::{Layout, Recovered, Wal, Write};

/// How many batches may wait; who has one more waits for room.
const QUEUE_MAX: usize = 4096;
/// So many batches are written at once at most.
const DRAIN_MAX: usize = 1024;

/// What is called once a batch is durable, or never will be.
pub type Done = Box<dyn FnOnce(Result<(), Error>) + Send>;

struct Batch<E> {
    writes: Vec<Write<E>>,
    done: Done,
}

enum Queue<E> {
    /// To the thread of a disk that takes its time.
    Thread(mpsc::Sender<Batch<E>>),
    /// A disk that takes none.
    Inline(Arc<Mutex<Wal<E>>>),
}

/// The way into a log. Cheap to clone. The thread ends, and the disk is let go, with the last clone.
pub struct LogWriter<E> {
    queue: Queue<E>,
    failure: Arc<OnceLock<Error>>,
}

impl<E> Clone for LogWriter<E> {
    fn clone(&self) -> Self {
        let queue = match &self.queue {
            Queue::Thread(outbox) => Queue::Thread(outbox.clone()),
            Queue::Inline(wal) => Queue::Inline(Arc::clone(wal)),
        };
        Self { queue, failure: Arc::clone(&self.failure) }
    }
}

impl<E> fmt::Debug for LogWriter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogWriter").field("failure", &self.failure).finish_non_exhaustive()
    }
}

impl<E: Send + Sync + 'static> LogWriter<E> {
    /// Opens the log that is on a disk, or begins one with the values of `fresh`; gives what it holds. `encode` makes the bytes of
    /// an entry, on the thread that writes.
    ///
    /// # Errors
    /// When what is there cannot be read, is damaged or of another version; then nothing is changed.
    pub fn open(
        disk: Arc<dyn Disk>,
        layout: Layout,
        encode: fn(&E, &mut BytesMut),
        fresh: BTreeMap<u8, Bytes>,
    ) -> Result<(Self, Recovered), Error> {
        let is_blocking = disk.is_blocking();
        let place = disk.place("");
        let (wal, recovered) = Wal::open(disk, layout, encode, fresh)?;
        let failure = Arc::new(OnceLock::new());
        if !is_blocking {
            let queue = Queue::Inline(Arc::new(Mutex::new(wal)));
            return Ok((Self { queue, failure }, recovered));
        }
        let (outbox, inbox) = mpsc::channel(QUEUE_MAX);
        let noted = Arc::clone(&failure);
        let thread = std::thread::Builder::new().name("log".to_owned());
        let thread = thread.spawn(move || run(wal, inbox, &noted));
        thread.map_err(Error::io(place, "start a thread for it"))?;
        Ok((Self { queue: Queue::Thread(outbox), failure }, recovered))
    }

    /// Takes writes that are durable together or not at all; calls `done` then. Comes back as soon as they are queued.
    ///
    /// # Cancel safety
    /// What is cancelled before it was queued is never written, and `done` is dropped.
    pub async fn submit(&self, writes: Vec<Write<E>>, done: Done) {
        match &self.queue {
            Queue::Thread(outbox) => {
                if let Err(mpsc::error::SendError(batch)) =
                    outbox.send(Batch { writes, done }).await
                {
                    (batch.done)(Err(self.failure().unwrap_or(Error::Ended)));
                }
            }
            Queue::Inline(wal) => {
                let written = wal.lock().write(std::iter::once(&writes));
                note(&self.failure, &written);
                done(written);
            }
        }
    }

    /// Writes, and waits until it is durable. For threads that may wait.
    ///
    /// # Errors
    /// When that failed, or anything before it.
    pub fn write(&self, writes: Vec<Write<E>>) -> Result<(), Error> {
        match &self.queue {
            Queue::Thread(outbox) => {
                let (done, durable) = std::sync::mpsc::sync_channel(1);
                let done: Done = Box::new(move |written| _ = done.send(written));
                let sent = outbox.blocking_send(Batch { writes, done });
                sent.map_err(|_| self.failure().unwrap_or(Error::Ended))?;
                durable.recv().map_err(|_| Error::Ended)?
            }
            Queue::Inline(wal) => {
                let written = wal.lock().write(std::iter::once(&writes));
                note(&self.failure, &written);
                written
            }
        }
    }

    /// Why nothing is written any more, if something failed.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        self.failure.get().cloned()
    }
}

fn note(failure: &OnceLock<Error>, written: &Result<(), Error>) {
    if let Err(error) = written {
        failure.get_or_init(|| error.clone());
    }
}

/// The thread: takes what waits, writes it, tells.
fn run<E>(mut wal: Wal<E>, mut inbox: mpsc::Receiver<Batch<E>>, failure: &OnceLock<Error>) {
    let (mut writes, mut waiting) = (Vec::new(), Vec::new());
    while let Some(first) = inbox.blocking_recv() {
        let mut next = Some(first);
        while let Some(Batch { writes: batch, done }) = next {
            writes.push(batch);
            waiting.push(done);
            next = (writes.len() < DRAIN_MAX).then(|| inbox.try_recv().ok()).flatten();
        }
        let written = wal.write(writes.iter());
        note(failure, &written);
        for done in waiting.drain(..) {
            done(written.clone());
        }
        writes.clear();
    }
}
