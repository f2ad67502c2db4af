//! What a client that listens hears: messages, confirmations, and the news that messages were lost.
//!
//! Owns: telling the pushes of RESP3 apart. Does not own: the connection, or what should have come. Invariant: whatever is no
//! such push is handed back as the reply that it is, and never dropped.

use std::fmt;
use std::time::Duration;

use crate::client::{Arrival, Client, REPLY_DEADLINE, encode};
use crate::door::Door;
use crate::failure::{Failure, Outcome};
use crate::reply::Reply;

/// One thing that arrived on a connection that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A message on a channel.
    Message {
        /// The channel.
        channel: Vec<u8>,
        /// What was published.
        payload: Vec<u8>,
    },
    /// `subscribe` or `unsubscribe` has been done.
    Confirmed {
        /// Which of the two.
        what: String,
        /// The channel.
        channel: Vec<u8>,
    },
    /// Messages are missing.
    Lost(Loss),
    /// The reply to a command.
    Reply(Reply),
    /// The server closed the connection.
    Closed,
    /// Nothing within the time given.
    Nothing,
}

/// The push `["quorate.lost", cause, count or nil, publisher or nil]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Where messages were lost: `slow` or `link`.
    pub cause: String,
    /// How many, if anybody can know.
    pub count: Option<u64>,
    /// The id of the node that published them.
    pub publisher: Option<String>,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cause, count, publisher } = self;
        let count = count.map_or_else(|| "unknown".into(), |count| count.to_string());
        let publisher = publisher.as_deref().unwrap_or("nobody");
        write!(f, "quorate.lost {cause}, count {count}, publisher {publisher}")
    }
}

impl Heard {
    /// Tells what `reply` is.
    #[must_use]
    pub fn of(reply: Reply) -> Self {
        let Reply::Push(items) = &reply else { return Self::Reply(reply) };
        let text = |at: usize| Some(String::from_utf8_lossy(items.get(at)?.bytes()?).into_owned());
        let bytes = |at: usize| items.get(at).and_then(Reply::bytes).map(<[u8]>::to_vec);
        match (text(0).as_deref(), bytes(1), bytes(2)) {
            (Some("message"), Some(channel), Some(payload)) => Self::Message { channel, payload },
            (Some(what @ ("subscribe" | "unsubscribe")), Some(channel), _) => {
                Self::Confirmed { what: what.to_owned(), channel }
            }
            (Some("quorate.lost"), Some(_), _) => Self::Lost(Loss {
                cause: text(1).unwrap_or_default(),
                count: items.get(2).and_then(Reply::integer).and_then(|n| u64::try_from(n).ok()),
                publisher: text(3),
            }),
            _ => Self::Reply(reply),
        }
    }
}

/// Waits up to `patience` for what comes next on `client`.
///
/// # Errors
/// When what arrives is not RESP.
///
/// # Cancel safety
/// Safe: what has arrived stays in the client until it is returned.
pub async fn hear(client: &mut Client, patience: Duration) -> Outcome<Heard> {
    Ok(match client.next(patience).await? {
        Arrival::Reply(reply) => Heard::of(reply),
        Arrival::Closed => Heard::Closed,
        Arrival::Nothing => Heard::Nothing,
    })
}

/// Connects through `door` and chooses RESP3, in which losses are told.
///
/// # Errors
/// When the node does not let it in, or does not speak RESP3.
pub async fn open(door: &Door) -> Outcome<Client> {
    let mut client = door.open().await?;
    let reply = client.ask("HELLO 3").await?;
    if let Some(text) = reply.error_text() {
        return Err(Failure::new(text));
    }
    Ok(client)
}

/// Subscribes to `channel` and waits for the confirmation; what else is heard meanwhile goes to `other`.
///
/// # Errors
/// When the connection ends or the confirmation does not come in time.
pub async fn subscribe(
    client: &mut Client,
    channel: &[u8],
    mut other: impl FnMut(Heard),
) -> Outcome {
    client.send(&encode(&[b"SUBSCRIBE", channel])).await?;
    loop {
        match hear(client, REPLY_DEADLINE).await? {
            Heard::Confirmed { what, channel: confirmed }
                if what == "subscribe" && confirmed == channel =>
            {
                return Ok(());
            }
            Heard::Closed => return Err(Failure::new("closed instead of a confirmation")),
            Heard::Nothing => {
                let text = format!("no confirmation of SUBSCRIBE within {REPLY_DEADLINE:?}");
                return Err(Failure::new(text));
            }
            heard @ (Heard::Message { .. }
            | Heard::Confirmed { .. }
            | Heard::Lost(_)
            | Heard::Reply(_)) => other(heard),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::decode;

    fn heard(bytes: &str) -> Heard {
        Heard::of(decode(bytes.as_bytes()).unwrap().unwrap().0)
    }

    #[test]
    fn pushes_are_told_apart() {
        let message = heard(">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\np\r\n");
        assert_eq!(message, Heard::Message { channel: b"c".into(), payload: b"p".into() });
        let confirmed = heard(">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
        let wanted = Heard::Confirmed { what: "subscribe".into(), channel: b"c".into() };
        assert_eq!(confirmed, wanted);
        let link = heard(">4\r\n$12\r\nquorate.lost\r\n$4\r\nlink\r\n_\r\n$2\r\nab\r\n");
        let loss = Loss { cause: "link".into(), count: None, publisher: Some("ab".into()) };
        assert_eq!(link, Heard::Lost(loss));
        let slow = heard(">4\r\n$12\r\nquorate.lost\r\n$4\r\nslow\r\n:7\r\n_\r\n");
        let loss = Loss { cause: "slow".into(), count: Some(7), publisher: None };
        assert_eq!(slow, Heard::Lost(loss));
        assert_eq!(heard(":1\r\n"), Heard::Reply(Reply::Integer(1)));
        assert!(matches!(heard(">1\r\n$3\r\nodd\r\n"), Heard::Reply(Reply::Push(_))));
    }
}
