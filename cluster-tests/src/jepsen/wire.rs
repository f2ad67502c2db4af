//! One client's connection to a node, through the Redis door or to the program with a node inside.
//!
//! Owns: the handshake (RESP3, password), one request after the other, and what came of it. Does not own: what is asked. Invariant: a
//! connection on which a request stayed without its reply is never used again.

use std::time::Duration;

use tokio::time::timeout;

use super::embedded;
use super::errors::{self, Effect};
use crate::client::{Arrival, Client, encode};
use crate::door::Door;
use crate::failure::{Failure, Outcome};
use crate::reply::Reply;

/// How long a node may take to let a client in; one that is paused takes for ever.
const CONNECT_DEADLINE: Duration = Duration::from_secs(1);

/// A request as words.
pub(super) type Words = Vec<Vec<u8>>;

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// A reply that is no error.
    Reply(Reply),
    /// Surely no effect.
    Refused(String),
    /// Nobody knows. The connection may go on only after an error reply.
    Unknown { text: String, is_usable: bool },
    /// An error that no workload should provoke.
    Unexpected(String),
}

/// A connection.
#[derive(Debug)]
pub(super) struct Wire {
    client: Client,
    /// The place of the node.
    pub(super) slot: usize,
    /// Whether the other end is the program with a node inside.
    pub(super) is_embedded: bool,
}

impl Wire {
    /// Connects and says hello.
    ///
    /// # Errors
    /// When the node does not let it in in time.
    pub(super) async fn open(door: &Door) -> Outcome<Self> {
        let late = |_| Failure::new(format!("n{} lets nobody in", door.slot));
        let client =
            timeout(CONNECT_DEADLINE, Client::connect(door.resp)).await.map_err(late)??;
        let mut wire = Self { client, slot: door.slot, is_embedded: false };
        let mut hello: Vec<&[u8]> = vec![b"HELLO", b"3"];
        if let Some(password) = &door.password {
            hello.extend([&b"AUTH"[..], b"default", password.as_bytes()]);
        }
        wire.send(&hello).await?;
        match wire.next(CONNECT_DEADLINE).await? {
            Arrival::Reply(Reply::Bulk(word)) if word == embedded::GREETING.as_bytes() => {
                wire.is_embedded = true;
                Ok(wire)
            }
            Arrival::Reply(Reply::Map(_)) => Ok(wire),
            other @ (Arrival::Reply(_) | Arrival::Closed | Arrival::Nothing) => {
                Err(Failure::new(format!("n{} greets with {other:?}", door.slot)))
            }
        }
    }

    /// Sends a request without waiting.
    ///
    /// # Errors
    /// When the node does not take the bytes.
    pub(super) async fn send(&mut self, words: &[&[u8]]) -> Outcome {
        self.client.send(&encode(words)).await
    }

    /// Waits for what comes next.
    ///
    /// # Errors
    /// When it is not RESP.
    pub(super) async fn next(&mut self, patience: Duration) -> Outcome<Arrival> {
        self.client.next(patience).await
    }

    /// Sends requests together, and gives the reply to the last one. An error reply to an earlier one counts if the last is one, too.
    pub(super) async fn ask_all(&mut self, requests: &[Words], patience: Duration) -> Told {
        let mut bytes = Vec::new();
        for words in requests {
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            bytes.extend(encode(&words));
        }
        let lost = |text: String| Told::Unknown { text, is_usable: false };
        if let Err(failure) = self.client.send(&bytes).await {
            return lost(failure.to_string());
        }
        let mut last = lost("nothing was asked".to_owned());
        for _ in requests {
            last = match self.client.next(patience).await {
                Ok(Arrival::Reply(reply)) => told(reply),
                Ok(Arrival::Closed) => return lost("the connection ended".to_owned()),
                Ok(Arrival::Nothing) => return lost(format!("no reply within {patience:?}")),
                Err(failure) => return lost(failure.to_string()),
            };
        }
        last
    }

    /// Sends one request and waits for what comes of it.
    pub(super) async fn ask(&mut self, words: Words, patience: Duration) -> Told {
        self.ask_all(&[words], patience).await
    }
}

fn told(reply: Reply) -> Told {
    let Some(text) = reply.error_text() else { return Told::Reply(reply) };
    match errors::effect(&text) {
        Effect::None => Told::Refused(text),
        Effect::Unknown => Told::Unknown { text, is_usable: true },
        Effect::Unexpected => Told::Unexpected(text),
    }
}

/// Makes a request of texts.
pub(super) fn words(texts: &[&str]) -> Words {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
