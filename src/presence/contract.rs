//! The contract of a presence: 33 calls, as the game servers that wrote for Redis know them.
//!
//! Owns what each call means, and the calls that are one Redis command. Does not know who replies. Invariant: Redis 7.2's
//! replies are the reference; where a Node.js presence hides a reply, it is given here.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::reading::Answer;
use super::{Asked, Error, Subscription};
use crate::command::Reply;

/// What the processes of a game share: strings, hashes, sets, lists, counters, and messages to topics.
///
/// Keys, fields and topics are text, values are bytes. All processes see one order of writes; a read sees every write that
/// was answered before it began. Messages are delivered at most once, and one publisher's in their order, across topics too.
///
/// # Errors
/// Every call: [`Error::Unavailable`] when nobody took it for long, [`Error::Unknown`] when it may have been done nevertheless,
/// [`Error::ShutDown`] after [`Presence::shutdown`]. [`Error::Refused`] with Redis' text as said at the call;
/// `WRONGTYPE` stands for the refusal of a key that holds another type.
///
/// # Cancel safety
/// A command whose future is dropped may still take effect.
#[async_trait]
pub trait Presence: std::fmt::Debug + Send + Sync + 'static {
    /// Asks commands that take effect in their order, and gives each its reply; a refusal is a reply. The other calls are
    /// made of this, and any other command of Redis on keys can be.
    async fn execute(&self, asked: Vec<Asked>) -> Vec<Result<Reply, Error>>;

    /// Asks a command that waits for an element of a list (`BRPOP`, `BLPOP`, `BLMOVE`, …), by its words.
    async fn wait(&self, words: Vec<Bytes>) -> Result<Reply, Error>;

    /// Opens a subscription to nothing yet: see [`Subscription::add`]. Messages to all topics that are added come in the order
    /// in which their publisher sent them.
    fn listen(&self) -> Subscription;

    /// Ends all subscriptions of this presence to `topic`. What came before can still be taken from them; then they end.
    ///
    /// ```text
    /// UNSUBSCRIBE topic
    /// ```
    async fn unsubscribe(&self, topic: &str) -> Result<(), Error>;

    /// Publishes to whoever has subscribed to `topic`, in any process and this one. On its way when this returns, behind all
    /// that this presence published before.
    ///
    /// ```text
    /// PUBLISH topic payload
    /// ```
    ///
    /// Refused: a message or a topic that is too large ([`Error::Messages`]).
    async fn publish(&self, topic: &str, payload: Bytes) -> Result<(), Error>;

    /// Gives the topics that match a glob of Redis and that somebody has subscribed to, in any process, in their order.
    ///
    /// ```text
    /// PUBSUB CHANNELS pattern
    /// ```
    async fn channels(&self, pattern: &str) -> Result<Vec<String>, Error>;

    /// Sets how many subscriptions of this presence one topic may have before a warning is logged, once for each topic; 0 for
    /// none at all, which is the default.
    fn set_max_listeners(&self, most: usize);

    /// Ends the presence: its subscriptions end, and later calls fail with [`Error::ShutDown`]. A node beneath it stays.
    ///
    /// ```text
    /// QUIT
    /// ```
    async fn shutdown(&self);

    /// Asks one command by its words, its name first; a refusal is a reply.
    async fn command(&self, words: Vec<Bytes>) -> Result<Reply, Error> {
        let mut replies = self.execute(vec![Asked::one(words)]).await;
        replies.pop().unwrap_or(Err(Error::ShutDown))
    }

    /// Subscribes to one topic; a process may have several subscriptions to it, which each get everything. In effect when
    /// this returns: every later publish, by any process, is delivered. Ends when it is dropped.
    ///
    /// ```text
    /// SUBSCRIBE topic
    /// ```
    ///
    /// Refused: a topic that is too long, or one subscription too many ([`Error::Messages`]).
    async fn subscribe(&self, topic: &str) -> Result<Subscription, Error> {
        let subscription = self.listen().of_one_topic();
        subscription.add(topic).await?;
        Ok(subscription)
    }

    /// Tells whether a key exists, of any type.
    ///
    /// ```text
    /// EXISTS key
    /// ```
    async fn exists(&self, key: &str) -> Result<bool, Error> {
        answer(self, "EXISTS", &[key]).await?.flag()
    }

    /// Sets a key to a string, whatever it held, and drops its deadline.
    ///
    /// ```text
    /// SET key value
    /// ```
    ///
    /// Refused: a value that is too large.
    async fn set(&self, key: &str, value: Bytes) -> Result<(), Error> {
        answer_with(self, "SET", &[key], [value]).await?.done()
    }

    /// Sets a key to a string that expires.
    ///
    /// ```text
    /// SETEX key seconds value
    /// ```
    ///
    /// Refused: `ERR invalid expire time in 'setex' command` for 0 seconds and less; nothing is stored then.
    async fn setex(&self, key: &str, value: Bytes, seconds: i64) -> Result<(), Error> {
        answer_with(self, "SETEX", &[key, &seconds.to_string()], [value]).await?.done()
    }

    /// Lets a key expire; at 0 seconds and less it is gone at once. Gives false when there is no such key.
    ///
    /// ```text
    /// EXPIRE key seconds
    /// ```
    ///
    /// Refused: `ERR invalid expire time in 'expire' command` for a time that cannot be.
    async fn expire(&self, key: &str, seconds: i64) -> Result<bool, Error> {
        answer(self, "EXPIRE", &[key, &seconds.to_string()]).await?.flag()
    }

    /// Gives the string at a key, if there is one.
    ///
    /// ```text
    /// GET key
    /// ```
    ///
    /// Refused: `WRONGTYPE`.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        answer(self, "GET", &[key]).await?.value()
    }

    /// Removes a key of any type; gives false when there was none.
    ///
    /// ```text
    /// DEL key
    /// ```
    async fn del(&self, key: &str) -> Result<bool, Error> {
        answer(self, "DEL", &[key]).await?.flag()
    }

    /// Adds members to a set; gives how many were new.
    ///
    /// ```text
    /// SADD key member [member …]
    /// ```
    ///
    /// Refused: `WRONGTYPE`, and no member at all.
    async fn sadd(&self, key: &str, members: Vec<Bytes>) -> Result<u64, Error> {
        answer_with(self, "SADD", &[key], members).await?.count()
    }

    /// Gives the members of a set, none if there is no such key.
    ///
    /// ```text
    /// SMEMBERS key
    /// ```
    ///
    /// Refused: `WRONGTYPE`.
    async fn smembers(&self, key: &str) -> Result<Vec<Bytes>, Error> {
        answer(self, "SMEMBERS", &[key]).await?.values()
    }

    /// Tells whether a set has a member.
    ///
    /// ```text
    /// SISMEMBER key member
    /// ```
    ///
    /// Refused: `WRONGTYPE`.
    async fn sismember(&self, key: &str, member: Bytes) -> Result<bool, Error> {
        answer_with(self, "SISMEMBER", &[key], [member]).await?.flag()
    }

    /// Removes members from a set; gives how many were there.
    ///
    /// ```text
    /// SREM key member [member …]
    /// ```
    ///
    /// Refused: `WRONGTYPE`, and no member at all.
    async fn srem(&self, key: &str, members: Vec<Bytes>) -> Result<u64, Error> {
        answer_with(self, "SREM", &[key], members).await?.count()
    }

    /// Gives how many members a set has.
    ///
    /// ```text
    /// SCARD key
    /// ```
    ///
    /// Refused: `WRONGTYPE`.
    async fn scard(&self, key: &str) -> Result<u64, Error> {
        answer(self, "SCARD", &[key]).await?.count()
    }

    /// Gives the members that all sets have; none as soon as one key is missing.
    ///
    /// ```text
    /// SINTER key [key …]
    /// ```
    ///
    /// Refused: `WRONGTYPE`, and `ERR wrong number of arguments for 'sinter' command` without a key.
    async fn sinter(&self, keys: &[&str]) -> Result<Vec<Bytes>, Error> {
        answer(self, "SINTER", keys).await?.values()
    }

    /// Sets a field of a hash; gives true when it is new, false when it was overwritten.
    ///
    /// ```text
    /// HSET key field value
    /// ```
    ///
    /// Refused: `WRONGTYPE`, and a value that is too large.
    async fn hset(&self, key: &str, field: &str, value: Bytes) -> Result<bool, Error> {
        answer_with(self, "HSET", &[key, field], [value]).await?.flag()
    }

    /// Adds to the number in a field of a hash, which counts as 0 when it is missing; gives the sum.
    ///
    /// ```text
    /// HINCRBY key field by
    /// ```
    ///
    /// Refused: `WRONGTYPE`, `ERR hash value is not an integer`, and `ERR increment or decrement would overflow`.
    async fn hincrby(&self, key: &str, field: &str, by: i64) -> Result<i64, Error> {
        answer(self, "HINCRBY", &[key, field, &by.to_string()]).await?.number()
    }

    /// As [`Presence::hincrby`], and lets the whole hash expire, in one indivisible step.
    ///
    /// ```text
    /// MULTI
    /// HINCRBY key field by
    /// EXPIRE key seconds
    /// EXEC
    /// ```
    ///
    /// Refused: as [`Presence::hincrby`]; the deadline is set nevertheless. A deadline that cannot be is passed over, and the
    /// sum is kept, as a Redis presence does.
    async fn hincrbyex(&self, key: &str, field: &str, by: i64, seconds: i64) -> Result<i64, Error> {
        let add = words("HINCRBY", &[key, field, &by.to_string()]);
        let expire = words("EXPIRE", &[key, &seconds.to_string()]);
        let mut replies = self.execute(vec![Asked::transaction(vec![add, expire])]).await;
        let reply = replies.pop().unwrap_or(Err(Error::ShutDown))?;
        Answer::new("HINCRBY", reply)?.first()?.number()
    }

    /// Gives a field of a hash, if it is there.
    ///
    /// ```text
    /// HGET key field
    /// ```
    ///
    /// Refused: `WRONGTYPE`.
    async fn hget(&self, key: &str, field: &str) -> Result<Option<Bytes>, Error> {
        answer(self, "HGET", &[key, field]).await?.value()
    }

    /// Gives all fields of a hash with their values, in no certain order; none if there is no such key.
    ///
    /// ```text
    /// HGETALL key
    /// ```
    ///
    /// Refused: `WRONGTYPE`.
    async fn hgetall(&self, key: &str) -> Result<Vec<(String, Bytes)>, Error> {
        answer(self, "HGETALL", &[key]).await?.pairs()
    }

    /// Removes a field of a hash; gives false when it was not there.
    ///
    /// ```text
    /// HDEL key field
    /// ```
    ///
    /// Refused: `WRONGTYPE`.
    async fn hdel(&self, key: &str, field: &str) -> Result<bool, Error> {
        answer(self, "HDEL", &[key, field]).await?.flag()
    }

    /// Gives how many fields a hash has.
    ///
    /// ```text
    /// HLEN key
    /// ```
    ///
    /// Refused: `WRONGTYPE`.
    async fn hlen(&self, key: &str) -> Result<u64, Error> {
        answer(self, "HLEN", &[key]).await?.count()
    }

    /// Adds 1 to the number at a key, which counts as 0 when it is missing; gives the sum.
    ///
    /// ```text
    /// INCR key
    /// ```
    ///
    /// Refused: `WRONGTYPE`, `ERR value is not an integer or out of range`, and `ERR increment or decrement would overflow`.
    async fn incr(&self, key: &str) -> Result<i64, Error> {
        answer(self, "INCR", &[key]).await?.number()
    }

    /// Takes 1 from the number at a key, as [`Presence::incr`].
    ///
    /// ```text
    /// DECR key
    /// ```
    ///
    /// Refused: as [`Presence::incr`].
    async fn decr(&self, key: &str) -> Result<i64, Error> {
        answer(self, "DECR", &[key]).await?.number()
    }

    /// Gives how many elements a list has.
    ///
    /// ```text
    /// LLEN key
    /// ```
    ///
    /// Refused: `WRONGTYPE`.
    async fn llen(&self, key: &str) -> Result<u64, Error> {
        answer(self, "LLEN", &[key]).await?.count()
    }

    /// Appends elements to the right of a list, one after the other; gives how many it has then.
    ///
    /// ```text
    /// RPUSH key element [element …]
    /// ```
    ///
    /// Refused: `WRONGTYPE`, and no element at all.
    async fn rpush(&self, key: &str, elements: Vec<Bytes>) -> Result<u64, Error> {
        answer_with(self, "RPUSH", &[key], elements).await?.count()
    }

    /// Appends elements to the left of a list, one after the other, so that the last one stands first; gives how many it has
    /// then.
    ///
    /// ```text
    /// LPUSH key element [element …]
    /// ```
    ///
    /// Refused: `WRONGTYPE`, and no element at all.
    async fn lpush(&self, key: &str, elements: Vec<Bytes>) -> Result<u64, Error> {
        answer_with(self, "LPUSH", &[key], elements).await?.count()
    }

    /// Takes the right-most element of a list, if there is one.
    ///
    /// ```text
    /// RPOP key
    /// ```
    ///
    /// Refused: `WRONGTYPE`.
    async fn rpop(&self, key: &str) -> Result<Option<Bytes>, Error> {
        answer(self, "RPOP", &[key]).await?.value()
    }

    /// Takes the left-most element of a list, if there is one.
    ///
    /// ```text
    /// LPOP key
    /// ```
    ///
    /// Refused: `WRONGTYPE`.
    async fn lpop(&self, key: &str) -> Result<Option<Bytes>, Error> {
        answer(self, "LPOP", &[key]).await?.value()
    }

    /// Takes the right-most element of the first list that has one, or waits for it, at most `timeout`, or for ever. Gives the
    /// key and the element. Whoever has waited longest, in any process, is served first; the other calls go on meanwhile.
    ///
    /// ```text
    /// BRPOP key [key …] timeout
    /// ```
    ///
    /// Refused: `WRONGTYPE`, and no key at all.
    ///
    /// # Cancel safety
    /// Dropping the future ends the wait; an element that was given at that moment is gone.
    async fn brpop(
        &self,
        keys: &[&str],
        timeout: Option<Duration>,
    ) -> Result<Option<(String, Bytes)>, Error> {
        let mut asked = words("BRPOP", keys);
        asked.push(seconds(timeout).into());
        let answer = Answer::new("BRPOP", self.wait(asked).await?)?;
        Ok(answer.pairs()?.pop())
    }
}

/// A time-out as Redis reads it, where 0 is for ever and anything shorter than a millisecond is one.
fn seconds(timeout: Option<Duration>) -> String {
    let shortest = Duration::from_millis(1);
    timeout.map_or_else(|| "0".to_owned(), |time| time.max(shortest).as_secs_f64().to_string())
}

fn words(command: &'static str, texts: &[&str]) -> Vec<Bytes> {
    let texts = texts.iter().map(|text| Bytes::copy_from_slice(text.as_bytes()));
    std::iter::once(Bytes::from_static(command.as_bytes())).chain(texts).collect()
}

async fn answer<P: Presence + ?Sized>(
    presence: &P,
    command: &'static str,
    texts: &[&str],
) -> Result<Answer, Error> {
    answer_with(presence, command, texts, []).await
}

async fn answer_with<P: Presence + ?Sized>(
    presence: &P,
    command: &'static str,
    texts: &[&str],
    values: impl IntoIterator<Item = Bytes> + Send,
) -> Result<Answer, Error> {
    let mut asked = words(command, texts);
    asked.extend(values);
    Answer::new(command, presence.command(asked).await?)
}
