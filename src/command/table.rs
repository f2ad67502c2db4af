//! The table of commands: what exists, with how many arguments, in which group, and who parses it.
//!
//! Owns what `COMMAND` tells about a command. The rows stand in the file of their type; the door's own commands
//! (connection, server, pub/sub, transactions) in `door.rs`. Invariant: a name stands in the table once.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::Command;
use super::arguments::Arguments;
use super::reply::Error;
use super::{door, hash, key, list, set, string};

/// How a command's arguments become a [`Command`].
pub type Parse = fn(&mut Arguments<'_>) -> Result<Command, Error>;

/// One row: a command that exists. Source of arity, flags and key positions: Redis 7.2, `COMMAND INFO`.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Its name in lower case.
    pub name: &'static str,
    /// How many words a request has, name included; negative means at least so many.
    pub arity: i8,
    /// Space-separated flags as `COMMAND INFO` gives them (`write`, `readonly`, `fast`, `blocking`, …).
    pub flags: &'static str,
    /// Position of the first key, of the last (negative from the end) and the step between; zeros for none.
    pub keys: (i8, i8, i8),
    /// The documentation group: `string`, `hash`, `pubsub`, …
    pub group: &'static str,
    /// One sentence, for `COMMAND DOCS`.
    pub summary: &'static str,
    /// Who parses it; `None` for a command that a door answers by itself.
    pub parse: Option<Parse>,
}

impl Spec {
    /// Tells whether `flag` is among the flags.
    #[must_use]
    pub fn has(&self, flag: &str) -> bool {
        self.flags.split(' ').any(|have| have == flag)
    }

    /// Tells whether a request of `words` words, name included, is the right length.
    #[must_use]
    pub fn accepts(&self, words: usize) -> bool {
        let wanted = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 { words >= wanted } else { words == wanted }
    }
}

fn rows() -> &'static BTreeMap<&'static str, &'static Spec> {
    static ROWS: OnceLock<BTreeMap<&'static str, &'static Spec>> = OnceLock::new();
    ROWS.get_or_init(|| {
        [string::SPECS, key::SPECS, set::SPECS, hash::SPECS, list::SPECS, door::SPECS]
            .into_iter()
            .flatten()
            .map(|spec| (spec.name, spec))
            .collect()
    })
}

/// Finds a command by its name, whatever its case.
#[must_use]
pub fn find(name: &[u8]) -> Option<&'static Spec> {
    const NAME_MAX: usize = 32;
    if name.len() > NAME_MAX {
        return None;
    }
    let mut lower = [0u8; NAME_MAX];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    rows().get(std::str::from_utf8(lower).ok()?).copied()
}

/// All commands in the order of their names.
pub fn all() -> impl Iterator<Item = &'static Spec> {
    rows().values().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_once_and_in_lower_case() {
        let all =
            [string::SPECS, key::SPECS, set::SPECS, hash::SPECS, list::SPECS, door::SPECS].concat();
        assert_eq!(all.len(), rows().len());
        for spec in all {
            assert_eq!(spec.name, spec.name.to_ascii_lowercase());
            assert!(!spec.summary.is_empty() && spec.summary.ends_with('.'), "{}", spec.name);
            let write_or_read = spec.has("write") || spec.has("readonly");
            assert!(spec.parse.is_none() || write_or_read, "{}", spec.name);
        }
    }

    #[test]
    fn find_ignores_case_and_survives_any_name() {
        assert_eq!(find(b"HgEt").map(|spec| spec.name), Some("hget"));
        assert!(find(&[0xff; 300]).is_none());
        assert!(find(b"").is_none());
    }
}
