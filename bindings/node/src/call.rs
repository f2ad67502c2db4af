//! What JavaScript asks of a node, and how each of it is done.
//!
//! Owns the calls as data. Does not order them; a lane does. Invariant: a call ends exactly once, with a value or with a failure
//! whose code says what is known of its effect.

use std::time::Duration;

use bytes::Bytes;
use bytesize::ByteSize;
use quorate::command::entry::Binding;
use quorate::command::{self, Command, ListCommand, Operation, Reply, Request, table};
use quorate::node::{self, Interrupt};
use quorate::presence::{self, Asked, ClusterPresence, Presence as _};
use quorate::pubsub::{Kind, RequestError};
use quorate::{Config, Node};

use crate::listing::Listing;
use crate::value::{Failure, Value};

/// How a command is to be done; the bits are those of `lib/handle.cjs`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner(pub(crate) u32);

impl Manner {
    /// Replies are buffers in place of strings.
    pub(crate) const fn as_buffers(self) -> bool {
        self.0 & 1 != 0
    }

    /// What is written goes with this process.
    pub(crate) const fn is_bound(self) -> bool {
        self.0 & 2 != 0
    }

    /// It is a call of a presence, which tries again what nobody took or what may be done twice.
    pub(crate) const fn is_patient(self) -> bool {
        self.0 & 4 != 0
    }
}

/// A command, or why it is none.
pub(crate) type Parsed = Result<Command, command::Error>;

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    /// One command of Redis.
    Command { command: Parsed, manner: Manner, size: usize },
    /// Several in one indivisible step.
    Transaction { commands: Vec<Parsed>, manner: Manner },
    /// One command or several, of a presence.
    Presence { asked: Asked, class: Class, size: usize },
    /// A command of a presence that waits.
    Wait { words: Vec<Bytes> },
    /// Something of the driver.
    Driver(Listing),
    /// A message; the value is how many received it, if it is to be counted.
    Publish { channel: Bytes, payload: Bytes, is_counted: bool },
    /// Messages to a channel or pattern from now on.
    Subscribe { kind: Kind, name: Bytes },
    /// No more of them.
    Unsubscribe { kind: Kind, name: Bytes },
    /// The channels with a subscriber anywhere.
    Channels { pattern: Bytes },
    /// A request to whoever responds.
    Request { channel: Bytes, payload: Bytes, timeout: Duration, as_buffers: bool },
    /// The end of all calls before it.
    Flush,
}

/// With what a call may be under way at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// With other reads.
    Read,
    /// With nothing, but for messages.
    Write,
    /// With everything: the driver keeps the order of what is begun in it.
    Driver,
    /// Behind every write before it; nothing waits for it.
    Message,
    /// With everything.
    Free,
    /// With nothing but what is free.
    Flush,
}

/// How long the words of a command may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) key: usize,
    pub(crate) value: usize,
}

impl Limits {
    pub(crate) fn of(config: &Config) -> Self {
        let size = |size: ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
        Self { key: size(config.cluster.key_max), value: size(config.cluster.value_max) }
    }

    /// Makes a command of words, its name first, as the Redis door does.
    pub(crate) fn parse(self, words: &[Bytes]) -> Parsed {
        let longest = words.iter().map(Bytes::len).max().unwrap_or_default();
        if longest > self.key {
            let keys = table::keys_of(words);
            let key = keys.iter().map(Bytes::len).find(|size| *size > self.key);
            let over = |what, size, limit, name| {
                let text = format!(
                    "ERR {what} of {size} bytes exceeds the limit of {limit} bytes; raise cluster.{name} to allow it"
                );
                Err(command::Error::Text(text.into()))
            };
            if let Some(size) = key {
                return over("key", size, self.key, "key_max");
            }
            if longest > self.value {
                return over("argument", longest, self.value, "value_max");
            }
        }
        Command::parse(words)
    }
}

impl Call {
    /// Makes a call of the words of a command, its name first.
    pub(crate) fn command(words: Vec<Bytes>, limits: Limits, manner: Manner) -> Self {
        let command = limits.parse(&words);
        let size = words.iter().map(Bytes::len).sum();
        match command.as_ref().map(Class::of) {
            Ok(Class::Free) if manner.is_patient() => Self::Wait { words },
            Ok(class) if manner.is_patient() => {
                Self::Presence { asked: Asked::one(words), class, size }
            }
            Ok(_) | Err(_) => Self::Command { command, manner, size },
        }
    }

    /// Makes a call of several commands, each its name first.
    pub(crate) fn transaction(commands: Vec<Vec<Bytes>>, limits: Limits, manner: Manner) -> Self {
        if manner.is_patient() {
            let size = commands.iter().flatten().map(Bytes::len).sum();
            let asked = Asked::transaction(commands);
            return Self::Presence { asked, class: Class::Write, size };
        }
        let commands = commands.iter().map(|words| limits.parse(words)).collect();
        Self::Transaction { commands, manner }
    }

    /// Tells with what it may be under way.
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Command { command, .. } => command.as_ref().map_or(Class::Read, Class::of),
            Self::Transaction { .. } => Class::Write,
            Self::Presence { class, .. } => *class,
            Self::Driver(_) => Class::Driver,
            Self::Publish { .. }
            | Self::Subscribe { .. }
            | Self::Unsubscribe { .. }
            | Self::Channels { .. } => Class::Message,
            Self::Wait { .. } | Self::Request { .. } => Class::Free,
            Self::Flush => Class::Flush,
        }
    }

    /// Gives about how many bytes it has, if it can be done together with what waits behind it.
    pub(crate) fn together(&self) -> Option<usize> {
        if let Self::Presence { size, .. } = self {
            return Some(*size);
        }
        if let Self::Command { command: Ok(command), size, .. } = self {
            return (!command.is_blocking()).then_some(*size);
        }
        None
    }
}

impl Class {
    fn of(command: &Command) -> Self {
        match command {
            command if command.is_blocking() => Self::Free,
            command if command.is_write() => Self::Write,
            _ => Self::Read,
        }
    }
}

/// Does one command.
pub(crate) async fn command(node: Node, command: Parsed, manner: Manner) -> Value {
    let command = match command {
        Ok(command) => command,
        Err(error) => return Value::Error(Failure::coded(error.to_string())),
    };
    let operation = Operation { database: 0, binding: binding(manner), command };
    let done = if let Command::List(list) = &operation.command
        && operation.command.is_blocking()
    {
        let timeout = ListCommand::timeout(list);
        node.wait(operation, time_out(timeout)).await
    } else {
        let mut replies = node.execute(vec![Request::One(operation)]).await;
        replies.pop().unwrap_or(Err(node::Error::Stopped))
    };
    node_value(done, manner)
}

/// Does several commands in one step. One that is wrong by itself has its error in its place, as with Redis.
pub(crate) async fn transaction(node: Node, commands: Vec<Parsed>, manner: Manner) -> Value {
    let binding = binding(manner);
    let operation =
        |command: &Command| Operation { database: 0, binding, command: command.clone() };
    let operations: Vec<Operation> = commands.iter().flatten().map(operation).collect();
    let mut replies = Vec::new();
    if !operations.is_empty() {
        let request = Request::Transaction { watched: Vec::new(), operations };
        match node.execute(vec![request]).await.pop() {
            Some(Ok(Reply::Array(done))) => replies = done,
            Some(Ok(reply)) => return Value::of_reply(reply, manner.as_buffers()),
            Some(Err(error)) => return failed(&error),
            None => return failed(&node::Error::Stopped),
        }
    }
    let mut replies = replies.into_iter();
    let each = commands.into_iter().map(|command| match command {
        Ok(_) => replies.next().unwrap_or(Reply::Nil),
        Err(error) => Reply::Error(error),
    });
    Value::Array(each.map(|reply| Value::of_reply(reply, manner.as_buffers())).collect())
}

/// Does calls that go together, in their order: all of them are of a presence, or none is.
pub(crate) async fn together(
    node: Node,
    presence: ClusterPresence,
    calls: Vec<Call>,
) -> Vec<Value> {
    let (mut all_asked, mut requests, mut manners) = (Vec::new(), Vec::new(), Vec::new());
    for call in calls {
        if let Call::Presence { asked, .. } = call {
            all_asked.push(asked);
        } else if let Call::Command { command: Ok(command), manner, .. } = call {
            let operation = Operation { database: 0, binding: binding(manner), command };
            requests.push(Request::One(operation));
            manners.push(manner);
        }
    }
    if !all_asked.is_empty() {
        return presence.execute(all_asked).await.into_iter().map(presence_value).collect();
    }
    let replies = node.execute(requests).await.into_iter().zip(manners);
    replies.map(|(reply, manner)| node_value(reply, manner)).collect()
}

fn node_value(reply: Result<Reply, node::Error>, manner: Manner) -> Value {
    match reply {
        Ok(reply) => Value::of_reply(reply, manner.as_buffers()),
        Err(error) => failed(&error),
    }
}

/// Does a command of a presence that waits.
pub(crate) async fn wait(presence: ClusterPresence, words: Vec<Bytes>) -> Value {
    presence_value(presence.wait(words).await)
}

fn presence_value(done: Result<Reply, presence::Error>) -> Value {
    match done {
        Ok(reply) => Value::of_reply(reply, false),
        Err(error) => presence_failed(&error),
    }
}

/// Why a presence did not do what it was asked, as JavaScript is told.
pub(crate) fn presence_failed(error: &presence::Error) -> Value {
    let text = error.to_string();
    let is_stopped = matches!(error, presence::Error::ShutDown);
    Value::Error(if is_stopped { Failure::new("STOPPED", text) } else { Failure::coded(text) })
}

/// Asks whoever responds.
pub(crate) async fn request(
    node: Node,
    channel: Bytes,
    payload: Bytes,
    timeout: Duration,
    as_buffers: bool,
) -> Value {
    match node.request(&channel, payload, timeout).await {
        Ok(reply) => Value::bulk(reply, as_buffers),
        Err(error) => Value::Error(Failure::new(code_of(&error), error.to_string())),
    }
}

/// Gives the names of channels.
pub(crate) async fn channels(node: Node, pattern: Bytes) -> Value {
    let channels = node.channels(Kind::Channel, Some(pattern)).await;
    Value::Array(channels.into_iter().map(Value::Text).collect())
}

/// Why the node did not answer, as JavaScript is told.
pub(crate) fn failed(error: &node::Error) -> Value {
    let code = match error {
        node::Error::Stopped => "STOPPED",
        node::Error::TooLarge { .. } => "TOOLARGE",
        node::Error::TryAgain | node::Error::Unknown | node::Error::ClusterDown { .. } => {
            return Value::Error(Failure::coded(error.to_string()));
        }
    };
    Value::Error(Failure::new(code, error.to_string()))
}

const fn code_of(error: &RequestError) -> &'static str {
    match error {
        RequestError::NoResponders => "NORESPONDERS",
        RequestError::Gone { .. } => "GONE",
        RequestError::Declined => "DECLINED",
        RequestError::Timeout { .. } => "TIMEOUT",
        RequestError::Busy { .. }
        | RequestError::TooMany { .. }
        | RequestError::LinkFull { .. } => "BUSY",
        RequestError::TooLarge { .. }
        | RequestError::NameTooLong { .. }
        | RequestError::ReplyTooLarge { .. } => "TOOLARGE",
        RequestError::Closed { .. } => "STOPPED",
    }
}

const fn binding(manner: Manner) -> Binding {
    if manner.is_bound() { Binding::Node } else { Binding::None }
}

async fn time_out(timeout: Option<Duration>) -> Interrupt {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
    Interrupt::Timeout
}
