//! Requests as programs make them of a Redis client that can only publish and subscribe: a reply channel for each request.
//!
//! Owns: two connections for each side, as ioredis needs them, one of which only subscribes; what goes over them. Does not
//! own: servers, measures. Invariant: as in ioredis, each command is written at once and many may be under way.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::client::encode;
use crate::failure::{Failure, Outcome};
use crate::reply::{Reply, decode};

/// How many messages may wait for the responder.
const BACKLOG: usize = 65_536;
/// How many channels are named in one SUBSCRIBE.
const BATCH: usize = 256;

/// One connection that is written by many and read by a task.
#[derive(Debug)]
struct Line {
    writer: AsyncMutex<OwnedWriteHalf>,
    reader: JoinHandle<()>,
}

impl Line {
    /// Connects; every reply goes to `take`.
    async fn open(address: SocketAddr, take: impl FnMut(Reply) + Send + 'static) -> Outcome<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        let reader = tokio::spawn(read(reader, take));
        Ok(Self { writer: AsyncMutex::new(writer), reader })
    }

    async fn say(&self, words: &[&[u8]]) -> Outcome {
        Ok(self.writer.lock().await.write_all(&encode(words)).await?)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Reads replies until the connection ends or sends what is no reply.
async fn read(mut reader: OwnedReadHalf, mut take: impl FnMut(Reply)) {
    let mut unread = Vec::new();
    loop {
        let mut start = 0;
        while let Ok(Some((reply, length))) = decode(unread.get(start..).unwrap_or_default()) {
            start += length;
            take(reply);
        }
        unread.drain(..start);
        match reader.read_buf(&mut unread).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// Reads a push of pub/sub: its kind, its channel and what comes third.
fn push(reply: &Reply) -> Option<(&[u8], &[u8], &Reply)> {
    let [kind, channel, third] = reply.elements()? else { return None };
    Some((kind.bytes()?, channel.bytes()?, third))
}

/// Who waits for something on a reply channel.
#[derive(Debug, Default)]
struct Slot {
    subscribed: Option<oneshot::Sender<()>>,
    reply: Option<oneshot::Sender<Vec<u8>>>,
}

type Slots = Arc<Mutex<BTreeMap<Vec<u8>, Slot>>>;

/// The side that asks.
#[derive(Debug)]
pub(super) struct Asker {
    subscriber: Line,
    publisher: Line,
    slots: Slots,
}

impl Asker {
    /// Opens both connections.
    pub(super) async fn connect(address: SocketAddr) -> Outcome<Self> {
        let slots = Slots::default();
        let waiting = Arc::clone(&slots);
        let subscriber = Line::open(address, move |reply| {
            let Some((kind, channel, third)) = push(&reply) else { return };
            let mut slots = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(slot) = slots.get_mut(channel) else { return };
            // Who waited may have given up.
            if kind == b"subscribe" {
                let _gone = slot.subscribed.take().map(|done| done.send(()));
            } else if kind == b"message" {
                let payload = third.bytes().unwrap_or_default().to_vec();
                let _gone = slot.reply.take().map(|done| done.send(payload));
            }
        })
        .await?;
        let publisher = Line::open(address, drop).await?;
        Ok(Self { subscriber, publisher, slots })
    }

    /// Subscribes to a reply channel, publishes the request, waits for the reply and unsubscribes.
    pub(super) async fn ask(&self, id: u64, channel: &[u8], payload: &[u8]) -> Outcome<Vec<u8>> {
        let name = format!("ipc:{id}").into_bytes();
        let (subscribed_tx, subscribed) = oneshot::channel();
        let (reply_tx, reply) = oneshot::channel();
        let slot = Slot { subscribed: Some(subscribed_tx), reply: Some(reply_tx) };
        self.slots().insert(name.clone(), slot);
        let gone = |_| Failure::new("the connection has ended");
        self.subscriber.say(&[b"SUBSCRIBE", &name]).await?;
        subscribed.await.map_err(gone)?;
        let request = [&name, &b" "[..], payload].concat();
        self.publisher.say(&[b"PUBLISH", channel, &request]).await?;
        let reply = reply.await.map_err(gone);
        self.slots().remove(&name);
        self.subscriber.say(&[b"UNSUBSCRIBE", &name]).await?;
        reply
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, BTreeMap<Vec<u8>, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The side that replies to everything.
#[derive(Debug)]
pub(super) struct Echo {
    subscriber: Line,
    acknowledged: AsyncMutex<mpsc::Receiver<()>>,
    replying: JoinHandle<Outcome>,
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.replying.abort();
    }
}

impl Echo {
    /// Opens both connections.
    pub(super) async fn connect(address: SocketAddr) -> Outcome<Self> {
        let (ack_tx, acknowledged) = mpsc::channel(BACKLOG);
        let (message_tx, mut messages) = mpsc::channel::<Vec<u8>>(BACKLOG);
        let subscriber = Line::open(address, move |reply| {
            let Some((kind, _, third)) = push(&reply) else { return };
            // A responder that is so far behind loses requests, which then fail.
            if kind == b"message" {
                let _full = message_tx.try_send(third.bytes().unwrap_or_default().to_vec());
            } else {
                let _full = ack_tx.try_send(());
            }
        })
        .await?;
        let publisher = Line::open(address, drop).await?;
        let replying = tokio::spawn(async move {
            while let Some(request) = messages.recv().await {
                let at = request.iter().position(|byte| *byte == b' ').unwrap_or_default();
                let (channel, payload) = request.split_at(at);
                publisher.say(&[b"PUBLISH", channel, payload.get(1..).unwrap_or_default()]).await?;
            }
            Ok(())
        });
        Ok(Self { subscriber, acknowledged: AsyncMutex::new(acknowledged), replying })
    }

    /// Replies on `<prefix>:0` and so on from now on.
    pub(super) async fn listen(&self, prefix: &str, count: usize) -> Outcome {
        self.change(b"SUBSCRIBE", prefix, count).await
    }

    /// Ends what [`Echo::listen`] began.
    pub(super) async fn unlisten(&self, prefix: &str, count: usize) -> Outcome {
        self.change(b"UNSUBSCRIBE", prefix, count).await
    }

    async fn change(&self, command: &[u8], prefix: &str, count: usize) -> Outcome {
        let names: Vec<String> = (0..count).map(|number| super::name(prefix, number)).collect();
        let mut acknowledged = self.acknowledged.lock().await;
        for batch in names.chunks(BATCH) {
            let mut words = vec![command];
            words.extend(batch.iter().map(String::as_bytes));
            self.subscriber.say(&words).await?;
            for _ in batch {
                let ended = || Failure::new("the connection has ended");
                acknowledged.recv().await.ok_or_else(ended)?;
            }
        }
        Ok(())
    }
}
