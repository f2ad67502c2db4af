//! Which writes go with their writer because the configuration says so: `[[bind]]`.
//!
//! Owns the match of a command's keys with the patterns. Pure; does not decide for whom a write is bound: the caller knows
//! its client. Invariant: without a pattern a command is not looked at.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::command::glob::Glob;
use crate::command::set_algebra::AlgebraCommand;
use crate::command::{Command, CounterCommand, HashCommand, SetCommand, StringCommand};

/// `[[bind]]`: keys whose writes go with their writer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    /// The keys, as a pattern of Redis (`*`, `?`, `[…]`, `\`). It needs one.
    pub key: String,
    /// With whose end goes what a Redis client writes there. Default: with its connection. What a program writes through
    /// [`Node::execute`](super::Node::execute) goes with the node either way.
    #[serde(default)]
    pub to: BindTo,
}

/// With whose end a bound write goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BindTo {
    /// The connection it came through, and with its node.
    #[default]
    Connection,
    /// The session of the node it came through.
    Node,
}

impl Bind {
    /// What is wrong with the pattern, if anything is.
    pub(crate) fn mistake(&self, key_max: u64) -> Option<&'static str> {
        let bytes = self.key.as_bytes();
        if bytes.is_empty() || bytes.len() as u64 > key_max {
            return Some("a pattern of 1 to cluster.key_max bytes");
        }
        let (mut at, mut is_open) = (0usize, false);
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'\\' => at = at.saturating_add(1),
                b'[' => is_open = true,
                b']' => is_open = false,
                _ => {}
            }
            at = at.saturating_add(1);
        }
        if at > bytes.len() {
            return Some("a pattern, because nothing follows its last '\\'");
        }
        is_open.then_some("a pattern, because its '[' is not closed")
    }
}

/// The patterns of one node. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Patterns(Arc<[(Box<[u8]>, BindTo)]>);

impl Patterns {
    pub(crate) fn new(rules: &[Bind]) -> Self {
        Self(rules.iter().map(|rule| (rule.key.as_bytes().into(), rule.to)).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells with whose end the effect of a command goes, if a pattern says so. Of several patterns that match the first one
    /// decides; a command that writes several keys (MSET) is bound only if all of them match, and then as its first key is.
    /// Cost: nothing without patterns, else O(patterns) for a write that can be bound.
    #[must_use]
    pub fn to(&self, command: &Command) -> Option<BindTo> {
        if self.is_empty() {
            return None;
        }
        match command {
            Command::String(command) => self.of_string(command),
            Command::Counter(CounterCommand::Add { key, .. }) => self.of_key(key),
            Command::Hash(
                HashCommand::Set { key, .. }
                | HashCommand::SetIfAbsent { key, .. }
                | HashCommand::Increment { key, .. },
            ) => self.of_key(key),
            Command::Set(
                SetCommand::Add { key, .. }
                | SetCommand::Move { destination: key, .. }
                | SetCommand::Algebra(AlgebraCommand::Store { destination: key, .. }),
            ) => self.of_key(key),
            // Nothing else makes what can be bound.
            Command::Counter(_)
            | Command::Hash(_)
            | Command::Set(_)
            | Command::Key(_)
            | Command::Expire(_)
            | Command::Database(_)
            | Command::Inspect(_)
            | Command::List(_)
            | Command::Bound(_) => None,
        }
    }

    fn of_string(&self, command: &StringCommand) -> Option<BindTo> {
        match command {
            StringCommand::Set { key, .. }
            | StringCommand::SetNew { key, .. }
            | StringCommand::Append { key, .. }
            | StringCommand::SetRange { key, .. } => self.of_key(key),
            StringCommand::SetMany { pairs } | StringCommand::SetManyNew { pairs } => {
                let mut all = pairs.iter().map(|(key, _)| self.of_key(key));
                let first = all.next()??;
                all.all(|to| to.is_some()).then_some(first)
            }
            StringCommand::Get { .. }
            | StringCommand::Take { .. }
            | StringCommand::GetAndExpire { .. }
            | StringCommand::GetMany { .. }
            | StringCommand::Length { .. }
            | StringCommand::GetRange { .. } => None,
        }
    }

    fn of_key(&self, key: &[u8]) -> Option<BindTo> {
        let found = self.0.iter().find(|(pattern, _)| Glob::of_names(pattern).matches(key));
        found.map(|(_, to)| *to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(key: &str, to: BindTo) -> Bind {
        Bind { key: key.to_owned(), to }
    }

    fn to(patterns: &Patterns, request: &str) -> Option<BindTo> {
        let words: Vec<_> = request.split(' ').map(|word| word.to_owned().into()).collect();
        patterns.to(&Command::parse(&words).unwrap())
    }

    #[test]
    fn the_first_pattern_that_matches_the_written_key_decides() {
        let patterns = Patterns::new(&[
            rule("roomcaches", BindTo::Connection),
            rule("room*", BindTo::Node),
            rule("n:[0-9]", BindTo::Node),
        ]);
        let (connection, node) = (Some(BindTo::Connection), Some(BindTo::Node));
        for (request, expected) in [
            ("HSET roomcaches f v", connection),
            ("HSETNX roomcaches f v", connection),
            ("HINCRBY roomcount f 1", node),
            ("HDEL roomcaches f", None),
            ("HGETALL roomcaches", None),
            ("SET n:1 v", node),
            ("SET n:x v", None),
            ("GETSET n:1 v", node),
            ("SETEX n:1 9 v", node),
            ("APPEND n:1 v", node),
            ("INCR n:1", node),
            ("INCRBYFLOAT n:1 1", None),
            ("SADD roomcaches m", connection),
            ("SMOVE a roomcaches m", connection),
            ("SUNIONSTORE roomcaches a b", connection),
            ("RPUSH roomcaches e", None),
            ("DEL roomcaches", None),
            ("MSET roomcaches 1 rooms 2", connection),
            ("MSET rooms 1 other 2", None),
            ("MSETNX other 1 rooms 2", None),
        ] {
            assert_eq!(to(&patterns, request), expected, "{request}");
        }
        assert_eq!(to(&Patterns::default(), "SET n:1 v"), None);
    }

    #[test]
    fn a_pattern_that_can_only_be_a_mistake_is_named() {
        for good in ["a", "*", "a[bc]?", "\\[a", "a\\\\", "[\\]]"] {
            assert_eq!(rule(good, BindTo::Node).mistake(64), None, "{good}");
        }
        for bad in ["", "a[b", "a\\", &"x".repeat(65)] {
            assert!(rule(bad, BindTo::Node).mistake(64).is_some(), "{bad}");
        }
    }
}
