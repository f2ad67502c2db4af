//! What deadline commands do.
//!
//! Owns the deadline half of `apply` and `read`; what the commands are stands in `command/expire.rs`. Invariant: whether
//! a key is alive is decided by the replicated clock; only the time that is left is told by the reader's.

use bytes::Bytes;

use super::access::{Reader, Writer};
use super::value::Record;
use crate::command::expire::{Expiry, Replace, Unit};
use crate::command::{Error, ExpireCommand, Reply};

impl Reader<'_> {
    pub(super) fn expire(&self, command: &ExpireCommand) -> Result<Reply, Error> {
        Ok(Reply::Integer(match command {
            ExpireCommand::Left { key, unit } => {
                let now = self.at.as_millis();
                in_unit(self.record(key), *unit, |deadline| deadline.saturating_sub(now))
            }
            ExpireCommand::Instant { key, unit } => {
                in_unit(self.record(key), *unit, |deadline| deadline)
            }
            ExpireCommand::Set { .. } | ExpireCommand::Clear { .. } => {
                unreachable!("a write does not reach the reader")
            }
        }))
    }
}

impl Writer<'_> {
    pub(super) fn expire(&mut self, command: &ExpireCommand) -> Result<Reply, Error> {
        match command {
            ExpireCommand::Set { key, expiry, replace } => {
                Ok(Reply::flag(self.expire_set(key, *expiry, *replace)))
            }
            ExpireCommand::Clear { key } => {
                let has_deadline =
                    self.reader().record(key).is_some_and(|record| record.deadline.is_some());
                Ok(Reply::flag(has_deadline && self.set_deadline(key, None)))
            }
            ExpireCommand::Left { .. } | ExpireCommand::Instant { .. } => {
                self.reader().expire(command)
            }
        }
    }

    fn expire_set(&mut self, key: &Bytes, expiry: Expiry, replace: Replace) -> bool {
        let Some(record) = self.reader().record(key) else {
            return false;
        };
        let deadline = expiry.deadline(self.now());
        let holds = match (replace, record.deadline) {
            (Replace::Always, _)
            | (Replace::Absent, None)
            | (Replace::Present, Some(_))
            | (Replace::Later, None) => true,
            (Replace::Absent, Some(_))
            | (Replace::Present | Replace::Earlier | Replace::PresentLater, None) => false,
            (Replace::Earlier, Some(old)) => deadline > old,
            (Replace::Later | Replace::PresentLater, Some(old)) => deadline < old,
        };
        holds && self.set_deadline(key, Some(deadline))
    }
}

/// What is said of a key's deadline in milliseconds: -2 without a key, -1 without a deadline, seconds to the nearest.
fn in_unit(record: Option<&Record>, unit: Unit, tell: impl FnOnce(u64) -> u64) -> i64 {
    let Some(record) = record else {
        return -2;
    };
    let Some(deadline) = record.deadline else {
        return -1;
    };
    let millis = tell(deadline.as_millis());
    let number = match unit {
        Unit::Milliseconds => millis,
        Unit::Seconds => millis.saturating_add(500) / 1000,
    };
    i64::try_from(number).unwrap_or(i64::MAX)
}
