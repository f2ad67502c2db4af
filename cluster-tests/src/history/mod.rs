//! What happened in a run: operations of clients with what is known of each, messages heard, faults, processes, leaders.
//!
//! Owns: the lines of a history and their form as JSON. Does not own: how they come about, who judges them (`check`). It asks no
//! clock: times are nanoseconds since the run began, handed in by whoever records. Invariant: an operation that was begun
//! has exactly one line, and one whose end nobody saw is `unknown`, never `failed`.

mod file;
mod recorder;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::file::{parse, read, write};
pub use self::recorder::{LINES_MAX, Pending, Recorder};

/// How many characters of an outcome are printed.
const OUTCOME_TOLD_MAX: usize = 400;

/// Nanoseconds since the run began.
pub type Nanos = u64;

/// One operation of one client, from its invocation to what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// Who asked. A client asks one thing after the other; after an unknown outcome its number is not used again.
    pub client: u32,
    /// The number of the node that it asked.
    pub node: u8,
    /// The key or channel.
    pub key: String,
    /// What it asked.
    pub call: Call,
    /// When it began.
    pub invoked: Nanos,
    /// When its outcome was there; for an unknown one, when the client gave up.
    pub returned: Nanos,
    /// What is known of it.
    pub outcome: Outcome,
    /// The log index at which it took effect or up to which it has read, where that was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
}

/// What is known of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It took effect between its invocation and its return, and this is the answer.
    Ok(Answer),
    /// It surely has no effect, and will never have one.
    Failed(String),
    /// It may have taken effect, may still do so at any later time, or never.
    Unknown(String),
}

/// What a client asks; each belongs to one workload. Values that are written are unique in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Register: reads the value. Answer: `Value`.
    Read,
    /// Register: sets the value. Answer: `None`.
    Write(u64),
    /// Register: sets `to` if the value is `from`. Answer: `Yes(whether it did)`.
    Cas {
        /// What the value must be; none: there must be none.
        from: Option<u64>,
        /// What it becomes.
        to: u64,
    },
    /// Register: removes the value. Answer: `Yes(whether there was one)` or `None`.
    Delete,
    /// Set: adds an element. Answer: `Yes(whether it is new)` or `None`.
    Add(u64),
    /// Set: removes an element. Answer: `Yes(whether it was there)` or `None`.
    Remove(u64),
    /// Set: asks for an element. Answer: `Yes`.
    Contains(u64),
    /// Set: reads all elements. Answer: `Values`.
    Members,
    /// Hash: sets a field. Answer: `Yes(whether the field is new)` or `None`.
    FieldSet {
        /// The field.
        field: u32,
        /// Its value.
        value: u64,
    },
    /// Hash: reads a field. Answer: `Value`.
    FieldGet(u32),
    /// Hash or bound state: removes a field. Answer: `Yes(whether it was there)` or `None`.
    FieldDelete(u32),
    /// Hash: reads all fields. Answer: `Pairs`.
    Fields,
    /// Counter: adds. Answer: `Number(the sum)` or `None`.
    Increment(i64),
    /// Counter: reads the sum. Answer: `Number`.
    Count,
    /// List: appends. Answer: `Number(the length)` or `None`.
    Append(u64),
    /// List: reads all of it. Answer: `Values` in their order.
    Range,
    /// Expiry, beside `Read`, `Write`, `Delete`: sets the value for a time. Answer: `None`.
    WriteFor {
        /// The value.
        value: u64,
        /// For how many milliseconds.
        ttl_ms: u64,
    },
    /// Expiry: lets the value stay. Answer: `Yes(whether it had an end)`.
    Persist,
    /// Bound state: sets a field that goes with the session of the node that is asked. Answer: `Yes` or `None`.
    Bind {
        /// The field.
        field: u32,
        /// Its value.
        value: u64,
    },
    /// Bound state: reads all fields. Answer: `Pairs`.
    BoundFields,
    /// Messages: publishes to the channel that is the key. Client and number name the message; a client's numbers grow.
    Publish {
        /// Which message of this client.
        number: u64,
    },
}

/// The answer to an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It is done, and nothing more was told.
    None,
    /// A value, or that there is none.
    Value(Option<u64>),
    /// Whether it did something, or whether something is so.
    Yes(bool),
    /// A number.
    Number(i64),
    /// Values; the order counts in a list only.
    Values(Vec<u64>),
    /// Fields and their values.
    Pairs(Vec<(u32, u64)>),
}

/// Where messages were lost, as the product tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossCause {
    /// In the subscriber's own queue.
    Slow,
    /// On the way from this node.
    Link(u8),
    /// On the way from nodes that are not told apart.
    Links,
    /// Something else was missed; no message of a client.
    Keyspace,
}

/// What became of the attempt to install a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Installation {
    /// It is there.
    Installed,
    /// It is surely not there.
    Skipped,
    /// Nobody knows.
    Indeterminate,
}

/// What happened to the process of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    /// It was started.
    Started,
    /// It was killed, or the power of its machine was cut.
    Killed,
    /// It was stopped, and lives.
    Paused,
    /// It goes on.
    Continued,
    /// It has left as planned, or was told to; its session ends at once.
    Left,
    /// It ended by itself.
    Ended,
    /// It was told that its session has ended while it lives.
    SessionEnded,
    /// It was told that it has a session again, and that what it had bound is back.
    SessionRenewed,
}

/// What a run was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Head {
    /// The seed from which all follows.
    pub rng_seed: u64,
    /// How many nodes it began with.
    pub nodes: u8,
    /// What clients did.
    pub workload: String,
    /// Which faults there were.
    pub faults: String,
    /// When it began, for people.
    pub started: String,
}

/// One line of a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Line {
    /// What the run was; the first line.
    Head(Head),
    /// An operation.
    Operation(Operation),
    /// A subscriber got a message.
    Heard {
        /// When.
        at: Nanos,
        /// The subscriber's node.
        node: u8,
        /// Who got it.
        subscriber: u32,
        /// The channel that it came by.
        channel: String,
        /// The client that published it.
        publisher: u32,
        /// Its number.
        number: u64,
    },
    /// A subscription is confirmed.
    Subscribed {
        /// When the subscriber asked for it.
        invoked: Nanos,
        /// When it was confirmed.
        at: Nanos,
        /// The subscriber's node.
        node: u8,
        /// Who subscribed.
        subscriber: u32,
        /// To which channel.
        channel: String,
    },
    /// A subscription has ended: by the subscriber's wish, or because its connection has.
    Unsubscribed {
        /// When the subscriber asked for it, or when its connection was last seen.
        invoked: Nanos,
        /// When it was confirmed.
        at: Nanos,
        /// The subscriber's node.
        node: u8,
        /// Who had subscribed.
        subscriber: u32,
        /// To which channel.
        channel: String,
    },
    /// A subscriber was told that messages are missing.
    Lost {
        /// When.
        at: Nanos,
        /// The subscriber's node.
        node: u8,
        /// Who was told.
        subscriber: u32,
        /// Where they were lost.
        cause: LossCause,
        /// How many, where that was told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u64>,
    },
    /// A fault. Written when it begins, with no end, and once more with the same `at` and `family` when it has ended.
    Fault {
        /// When it began.
        at: Nanos,
        /// When it ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Nanos>,
        /// Of which kind it is.
        family: String,
        /// What was done to whom.
        text: String,
        /// Whether it was there.
        outcome: Installation,
    },
    /// Something happened to the process of a node.
    Process {
        /// When.
        at: Nanos,
        /// Which node.
        node: u8,
        /// What.
        what: Happening,
    },
    /// A node was seen to lead.
    Leader {
        /// When.
        at: Nanos,
        /// Which node; none when there was none.
        node: Option<u8>,
        /// In which term.
        term: u64,
    },
    /// What the process of a node held and had used. It has no part in any verdict.
    Sample {
        /// When.
        at: Nanos,
        /// Which node.
        node: u8,
        /// Bytes of memory that are resident.
        resident: u64,
        /// Milliseconds of processor time since the process began.
        processor_ms: u64,
        /// Bytes of its log, as the node tells them; none when it did not answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        log: Option<u64>,
        /// Bytes of its folder on disk; none without one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data: Option<u64>,
    },
    /// A remark for people.
    Note {
        /// When.
        at: Nanos,
        /// What.
        text: String,
    },
    /// So many lines were not kept; no verdict is possible then.
    Overflow {
        /// How many.
        lines: u64,
    },
}

impl Line {
    /// Gives the latest time that the line speaks of.
    #[must_use]
    pub fn at(&self) -> Nanos {
        match self {
            Self::Head(_) | Self::Overflow { .. } => 0,
            Self::Operation(operation) => operation.returned,
            Self::Heard { at, .. }
            | Self::Subscribed { at, .. }
            | Self::Unsubscribed { at, .. }
            | Self::Lost { at, .. }
            | Self::Process { at, .. }
            | Self::Leader { at, .. }
            | Self::Sample { at, .. }
            | Self::Note { at, .. } => *at,
            Self::Fault { at, until, .. } => until.unwrap_or(*at),
        }
    }
}

impl Operation {
    /// Gives the answer, if it surely took effect.
    #[must_use]
    pub const fn answer(&self) -> Option<&Answer> {
        match &self.outcome {
            Outcome::Ok(answer) => Some(answer),
            Outcome::Failed(_) | Outcome::Unknown(_) => None,
        }
    }

    /// Tells whether it surely took effect.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        matches!(self.outcome, Outcome::Ok(_))
    }

    /// Tells whether it surely has no effect.
    #[must_use]
    pub const fn is_failed(&self) -> bool {
        matches!(self.outcome, Outcome::Failed(_))
    }

    /// Gives when it had taken effect at the latest: an unknown one may do so for ever.
    #[must_use]
    pub const fn effective_by(&self) -> Nanos {
        if self.is_ok() { self.returned } else { Nanos::MAX }
    }
}

impl Call {
    /// Tells whether it changes nothing.
    #[must_use]
    pub const fn is_read(&self) -> bool {
        match self {
            Self::Read
            | Self::Contains(_)
            | Self::Members
            | Self::FieldGet(_)
            | Self::Fields
            | Self::Count
            | Self::Range
            | Self::BoundFields => true,
            Self::Write(_)
            | Self::Cas { .. }
            | Self::Delete
            | Self::Add(_)
            | Self::Remove(_)
            | Self::FieldSet { .. }
            | Self::FieldDelete(_)
            | Self::Increment(_)
            | Self::Append(_)
            | Self::WriteFor { .. }
            | Self::Persist
            | Self::Bind { .. }
            | Self::Publish { .. } => false,
        }
    }
}

/// Writes nanoseconds as seconds.
pub(crate) struct Seconds(pub(crate) Nanos);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == Nanos::MAX {
            return f.write_str("ever");
        }
        write!(f, "{}.{:06}", self.0 / 1_000_000_000, self.0 % 1_000_000_000 / 1000)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, node, key, call, invoked, returned, outcome, index } = self;
        write!(f, "{}..{} ", Seconds(*invoked), Seconds(*returned))?;
        let mut outcome = format!("{outcome:?}");
        if let Some((end, _)) = outcome.char_indices().nth(OUTCOME_TOLD_MAX) {
            outcome.truncate(end);
            outcome.push_str("...");
        }
        write!(f, "client {client} at n{node}: {key} {call:?} -> {outcome}")?;
        index.map_or(Ok(()), |index| write!(f, " at index {index}"))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name =
            |node: &Option<u8>| node.map_or_else(|| "nobody".to_owned(), |n| format!("n{n}"));
        if !matches!(self, Self::Head(_) | Self::Operation(_) | Self::Overflow { .. }) {
            write!(f, "{} ", Seconds(self.at()))?;
        }
        match self {
            Self::Head(head) => write!(f, "{head:?}"),
            Self::Operation(operation) => operation.fmt(f),
            Self::Heard { node, subscriber, channel, publisher, number, .. } => {
                let message = format!("message {number} of client {publisher}");
                write!(f, "subscriber {subscriber} at n{node} heard {message} on {channel}")
            }
            Self::Subscribed { node, subscriber, channel, .. } => {
                write!(f, "subscriber {subscriber} at n{node} is subscribed to {channel}")
            }
            Self::Unsubscribed { node, subscriber, channel, .. } => {
                write!(f, "subscriber {subscriber} at n{node} is no longer subscribed to {channel}")
            }
            Self::Lost { node, subscriber, cause, count, .. } => {
                write!(
                    f,
                    "subscriber {subscriber} at n{node} was told of a loss: {cause:?}, {count:?}"
                )
            }
            Self::Fault { at, family, text, outcome, .. } => {
                write!(f, "fault since {}: {family}: {text} ({outcome:?})", Seconds(*at))
            }
            Self::Process { node, what, .. } => write!(f, "n{node}: {what:?}"),
            Self::Leader { node, term, .. } => write!(f, "{} leads in term {term}", name(node)),
            Self::Note { text, .. } => f.write_str(text),
            Self::Overflow { lines } => write!(f, "{lines} lines were not kept"),
            sample @ Self::Sample { .. } => write!(f, "{sample:?}"),
        }
    }
}

#[cfg(test)]
mod tests;
