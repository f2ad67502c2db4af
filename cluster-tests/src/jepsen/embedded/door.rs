//! The door of the program with a node inside: the words of a request become calls of the Rust interface.
//!
//! Owns: the small protocol (requests and replies in the frames of RESP3, one request at a time) and what each word calls:
//! `Node::execute`, `Node::revision`, `Node::bound`, `Node::publish`, a subscriber. Does not own: judgement. Invariant: nothing
//! goes through the Redis door's own code.
#![expect(clippy::wildcard_enum_match_arm, reason = "few of many kinds are meant, here and later")]

use bytes::{Bytes, BytesMut};
use quorate::command::{Command, Operation, Reply, Request, Watched};
use quorate::node::Node;
use quorate::pubsub::{Cause, Delivery, Kind, Policy, Subscriber};
use quorate::resp::{Decoder, Encoder, Limits, Version};
use quorate::time::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::failure::{Failure, Outcome};

/// What the reply to `HELLO` says, so that clients know where they are.
pub(crate) const GREETING: &str = "embedded";

/// Takes clients in for ever.
pub(super) async fn serve(node: &Node, listener: &TcpListener) -> Outcome {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let guest = Guest { node: node.clone(), stream, is_bound: false, subscriber: None };
        // Whatever ends a connection, its client sees it.
        drop(tokio::spawn(async move { drop(guest.converse().await) }));
    }
}

struct Guest {
    node: Node,
    stream: TcpStream,
    is_bound: bool,
    subscriber: Option<Subscriber>,
}

enum Came {
    Bytes(usize),
    Delivery(Delivery),
}

impl Guest {
    async fn converse(mut self) -> Outcome {
        let mut decoder = Decoder::new(Limits::default());
        decoder.set_authenticated(true);
        let (mut unread, mut out) = (BytesMut::new(), BytesMut::new());
        loop {
            let decoded = decoder.decode(&mut unread).map_err(|e| Failure::new(e.to_string()))?;
            if let Some(words) = decoded {
                self.answer(&words, &mut out).await;
            } else {
                match self.next(&mut unread).await? {
                    Came::Bytes(0) => return Ok(()),
                    Came::Bytes(_) => continue,
                    Came::Delivery(delivery) => write_delivery(&delivery, &mut out),
                }
            }
            self.stream.write_all(&out).await?;
            out.clear();
        }
    }

    async fn next(&mut self, unread: &mut BytesMut) -> Outcome<Came> {
        let Some(subscriber) = &self.subscriber else {
            return Ok(Came::Bytes(self.stream.read_buf(unread).await?));
        };
        tokio::select! {
            read = self.stream.read_buf(unread) => Ok(Came::Bytes(read?)),
            heard = subscriber.receive() => {
                heard.map(Came::Delivery).map_err(|error| Failure::new(error.to_string()))
            }
        }
    }

    async fn answer(&mut self, words: &[Bytes], out: &mut BytesMut) {
        let name = words.first().map(|word| word.to_ascii_uppercase()).unwrap_or_default();
        if let (b"UNSUBSCRIBE", [channel]) = (&name[..], words.get(1..).unwrap_or_default()) {
            return self.unsubscribe(channel, out);
        }
        let mut to = Encoder::new(out, Version::Resp3);
        match (&name[..], words.get(1..).unwrap_or_default()) {
            (b"HELLO", _) => to.bulk(GREETING.as_bytes()),
            (b"AUTH" | b"QUORATE.SUBSCRIBER", _) => to.ok(),
            (b"TIME", _) => {
                let millis = Clock::system().now().as_millis();
                to.array(2);
                to.bulk((millis / 1_000).to_string().as_bytes());
                to.bulk((millis % 1_000 * 1_000).to_string().as_bytes());
            }
            (b"QUORATE.BIND", _) => {
                self.is_bound = true;
                to.ok();
            }
            (b"PUBLISH", [channel, payload]) => {
                match self.node.publish(Kind::Channel, channel, payload.clone()) {
                    Ok(count) => to.integer(i64::try_from(count.await).unwrap_or(i64::MAX)),
                    Err(error) => to.error(&format!("CLUSTERDOWN {error}")),
                }
            }
            (b"SUBSCRIBE", [channel]) => self.subscribe(channel, &mut to).await,
            (b"CAS", [key, from, value]) => match self.swap(key, from, value).await {
                Ok(reply) => write(&reply, &mut to),
                Err(text) => to.error(&text),
            },
            _ => match self.execute(words).await {
                Ok(reply) => write(&reply, &mut to),
                Err(text) => to.error(&text),
            },
        }
    }

    async fn subscribe(&mut self, channel: &Bytes, to: &mut Encoder<'_>) {
        let subscriber = self.subscriber.get_or_insert_with(|| self.node.subscriber());
        match subscriber.subscribe_with(Kind::Channel, channel, Policy::DropOldest) {
            Ok(subscription) => {
                if subscription.in_effect().await {
                    confirm("subscribe", channel, to);
                } else {
                    to.error("CLUSTERDOWN this node has stopped");
                }
            }
            Err(error) => to.error(&format!("CLUSTERDOWN {error}")),
        }
    }

    /// Ends a subscription. What waits of it is told before the confirmation.
    fn unsubscribe(&self, channel: &Bytes, out: &mut BytesMut) {
        let own = self.subscriber.as_ref();
        let Some(own) = own.filter(|own| own.unsubscribe(Kind::Channel, channel)) else {
            return Encoder::new(out, Version::Resp3).error("ERR not subscribed");
        };
        let mut waiting = own.meter().read().queued;
        while waiting > 0
            && let Ok(Some(delivery)) = own.try_receive()
        {
            waiting -= u64::from(matches!(delivery, Delivery::Message(_)));
            write_delivery(&delivery, out);
        }
        confirm("unsubscribe", channel, &mut Encoder::new(out, Version::Resp3));
    }

    async fn execute(&self, words: &[Bytes]) -> Result<Reply, String> {
        self.request(Request::One(operation(words)?)).await
    }

    async fn request(&self, request: Request) -> Result<Reply, String> {
        let replies = if self.is_bound && request.is_write() {
            self.node.bound().execute(vec![request]).await
        } else {
            self.node.execute(vec![request]).await
        };
        let reply = replies.into_iter().next_back();
        reply.ok_or("UNKNOWN no reply")?.map_err(|error| error.to_string())
    }

    /// Sets `key` to `value` if it holds `from`; an empty `from` stands for a key that is not there.
    async fn swap(&self, key: &Bytes, from: &Bytes, value: &Bytes) -> Result<Reply, String> {
        // What fails before the transaction is sent surely had no effect, whatever the error says.
        let early = |text: String| format!("TRYAGAIN before the transaction: {text}");
        let revision = self.node.revision().await.map_err(|error| early(error.to_string()))?;
        let held = self.execute(&["GET".into(), key.clone()]).await.map_err(early)?;
        let is_held = match &held {
            Reply::Nil => from.is_empty(),
            Reply::Bulk(bytes) => bytes == from,
            other => return Err(format!("ERR read {other:?}")),
        };
        if !is_held {
            return Ok(Reply::Integer(0));
        }
        let watched = vec![Watched { database: 0, key: key.clone(), revision }];
        let set = operation(&["SET".into(), key.clone(), value.clone()])?;
        let request = Request::Transaction { watched, operations: vec![set] };
        Ok(match self.request(request).await? {
            Reply::Nil | Reply::NilArray => Reply::Integer(0),
            Reply::Array(_) => Reply::Integer(1),
            other => other,
        })
    }
}

fn operation(words: &[Bytes]) -> Result<Operation, String> {
    let command = Command::parse(words).map_err(|error| error.to_string())?;
    Ok(Operation::new(0, command))
}

fn confirm(what: &str, channel: &Bytes, to: &mut Encoder<'_>) {
    to.push(3);
    to.bulk(what.as_bytes());
    to.bulk(channel);
    to.integer(1);
}

fn write_delivery(delivery: &Delivery, out: &mut BytesMut) {
    let mut to = Encoder::new(out, Version::Resp3);
    match delivery {
        Delivery::Message(message) => {
            to.push(3);
            to.bulk(b"message");
            to.bulk(&message.channel);
            to.bulk(&message.payload);
        }
        Delivery::Lost(lost) => {
            let (cause, publisher): (&[u8], _) = match lost.cause {
                Cause::Slow => (b"slow", None),
                Cause::Link { publisher } => (b"link", Some(publisher.to_string())),
                Cause::Links => (b"link", None),
                Cause::Keyspace => (b"keyspace", None),
            };
            to.push(4);
            to.bulk(b"quorate.lost");
            to.bulk(cause);
            match lost.count {
                Some(count) => to.integer(i64::try_from(count).unwrap_or(i64::MAX)),
                None => to.nil(),
            }
            match publisher {
                Some(publisher) => to.bulk(publisher.as_bytes()),
                None => to.nil(),
            }
        }
    }
}

fn write(reply: &Reply, to: &mut Encoder<'_>) {
    match reply {
        Reply::Ok => to.ok(),
        Reply::Status(text) => to.status(text),
        Reply::Nil | Reply::NilArray => to.nil(),
        Reply::Integer(number) => to.integer(*number),
        Reply::Bulk(bytes) => to.bulk(bytes),
        Reply::Error(error) => to.error(&error.to_string()),
        Reply::Blocked(_) => to.error("ERR this command cannot wait here"),
        Reply::Array(items) | Reply::Set(items) | Reply::Map(items) | Reply::Pairs(items) => {
            // Flat: who reads it knows what is paired.
            to.array(items.len());
            items.iter().for_each(|item| write(item, to));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver;

    #[tokio::test]
    async fn an_unsubscription_is_confirmed_behind_the_messages_that_came_before_it() {
        let nodes = driver::nodes(1).await.expect("a node");
        let node = nodes[0].clone();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let stream = TcpStream::connect(address).await.expect("a connection");
        let mut guest = Guest { node: node.clone(), stream, is_bound: false, subscriber: None };
        let request = |word: &'static str| [Bytes::from(word), Bytes::from("c")];
        let mut out = BytesMut::new();
        guest.answer(&request("SUBSCRIBE"), &mut out).await;
        out.clear();
        for payload in ["one", "two"] {
            drop(node.publish(Kind::Channel, b"c", payload.into()).expect("published"));
        }
        guest.answer(&request("UNSUBSCRIBE"), &mut out).await;
        let text = String::from_utf8_lossy(&out).into_owned();
        let at = |word: &str| text.find(word).expect(&text);
        assert!(at("one") < at("two") && at("two") < at("unsubscribe"), "{text}");
        let subscriber = guest.subscriber.expect("a subscriber");
        assert!(subscriber.try_receive().is_ok_and(|next| next.is_none()), "nothing comes after");
        node.leave().await;
    }
}
