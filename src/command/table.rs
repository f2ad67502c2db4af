//! The table of commands: what exists, with how many arguments, in which group, and who parses it.
//!
//! Owns what `COMMAND` tells about a command, and the errors for an unknown name or a wrong number of words. The rows stand
//! in the file of their type; those of the door's own commands (connection, server, pub/sub, transactions) in `door.rs`.
//! A row named `config|get` is a subcommand. Invariant: a name stands in the table once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::OnceLock;

use super::Command;
use super::arguments::{Arguments, parse_integer};
use super::reply::Error;
use super::{
    blocking, counter, database, door, expire, hash, inspect, key, list, set, set_algebra, string,
    unknown_command,
};
use bytes::Bytes;

/// How a command's arguments become a [`Command`].
pub type Parse = fn(&mut Arguments<'_>) -> Result<Command, Error>;

/// One row: a command that exists. Source of arity, flags and key positions: Redis 7.2, `COMMAND INFO`.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Its name in lower case; `config|get` for a subcommand.
    pub name: &'static str,
    /// How many words a request has, name included; negative means at least so many.
    pub arity: i8,
    /// Space-separated flags as `COMMAND INFO` gives them (`write`, `readonly`, `fast`, `blocking`, …).
    pub flags: &'static str,
    /// Position of the first key, of the last (negative from the end) and the step between; zeros for none, and for a
    /// command with the flag `movablekeys`, whose keys stand behind their number.
    pub keys: (i8, i8, i8),
    /// The documentation group: `string`, `hash`, `pubsub`, …
    pub group: &'static str,
    /// One sentence, for `COMMAND DOCS`.
    pub summary: &'static str,
    /// Who parses it; `None` for a command that a door answers by itself, and for a container of subcommands.
    pub parse: Option<Parse>,
}

/// Writes the rows of one documentation group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows(pub(super) &'static str);

impl Rows {
    /// A command on the one key that is its first argument.
    pub(super) const fn row(
        self,
        name: &'static str,
        arity: i8,
        flags: &'static str,
        summary: &'static str,
        parse: Parse,
    ) -> Spec {
        self.keyed(name, arity, flags, (1, 1, 1), summary, parse)
    }

    /// A command on other keys, or none.
    pub(super) const fn keyed(
        self,
        name: &'static str,
        arity: i8,
        flags: &'static str,
        keys: (i8, i8, i8),
        summary: &'static str,
        parse: Parse,
    ) -> Spec {
        Spec { name, arity, flags, keys, group: self.0, summary, parse: Some(parse) }
    }
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

const GROUPS: &[&[Spec]] = &[
    string::SPECS,
    counter::SPECS,
    key::SPECS,
    expire::SPECS,
    database::SPECS,
    inspect::SPECS,
    set::SPECS,
    set_algebra::SPECS,
    hash::SPECS,
    list::SPECS,
    blocking::SPECS,
    door::CONNECTION,
    door::SERVER,
    door::PUBSUB_AND_TRANSACTIONS,
];

/// A row, and whether it has subcommands.
type Row = (&'static Spec, bool);

fn rows() -> &'static BTreeMap<&'static str, Row> {
    static ROWS: OnceLock<BTreeMap<&'static str, Row>> = OnceLock::new();
    ROWS.get_or_init(|| {
        let all = || GROUPS.iter().copied().flatten();
        let containers: BTreeSet<_> =
            all().filter_map(|spec| spec.name.split_once('|')).map(|(name, _)| name).collect();
        all().map(|spec| (spec.name, (spec, containers.contains(spec.name)))).collect()
    })
}

/// The longest name that is looked up; every name in the table is shorter.
const NAME_MAX: usize = 32;

/// Finds a command by its name, whatever its case; a subcommand as `config|get`.
#[must_use]
pub fn find(name: &[u8]) -> Option<&'static Spec> {
    find_row(name).map(|(spec, _)| spec)
}

fn find_row(name: &[u8]) -> Option<Row> {
    if name.len() > NAME_MAX {
        return None;
    }
    let mut lower = [0u8; NAME_MAX];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    rows().get(std::str::from_utf8(lower).ok()?).copied()
}

/// Finds what a request means by its first words, and checks the number of words. A container such as `CONFIG` gives
/// the row of the subcommand (`config|get`); alone it gives its own row, where that is allowed (`COMMAND`).
///
/// # Errors
/// With Redis' text when the name or the subcommand is unknown or the number of words is wrong.
pub fn resolve(words: &[Bytes]) -> Result<&'static Spec, Error> {
    let unknown = || Error::Text(unknown_command(words).into());
    let name = words.first().filter(|name| !name.contains(&b'|')).ok_or_else(unknown)?;
    let (mut spec, is_container) = find_row(name).ok_or_else(unknown)?;
    if is_container && let Some(second) = words.get(1) {
        let whole = [name, &b"|"[..], second].concat();
        spec = find(&whole).ok_or_else(|| {
            let shown = second.get(..second.len().min(128)).unwrap_or_default();
            let shown = String::from_utf8_lossy(shown).replace(['\r', '\n'], " ");
            let name = spec.name.to_ascii_uppercase();
            Error::Text(format!("ERR unknown subcommand '{shown}'. Try {name} HELP.").into())
        })?;
    }
    if !spec.accepts(words.len()) {
        return Err(Error::WrongArity(spec.name.to_owned()));
    }
    Ok(spec)
}

/// All commands in the order of their names, without subcommands.
pub fn all() -> impl Iterator<Item = &'static Spec> {
    rows().values().map(|(spec, _)| *spec).filter(|spec| !spec.name.contains('|'))
}

/// The subcommands of a container in the order of their names; none for any other command.
pub fn subcommands(container: &str) -> impl Iterator<Item = &'static Spec> + use<'_> {
    let is_of =
        move |name: &str| name.strip_prefix(container).is_some_and(|rest| rest.starts_with('|'));
    let behind = rows().range::<str, _>((Bound::Excluded(container), Bound::Unbounded));
    behind
        .map(|(_, (spec, _))| *spec)
        .take_while(move |spec| spec.name.starts_with(container))
        .filter(move |spec| is_of(spec.name))
}

/// The keys in a request, in their order, as `COMMAND GETKEYS` gives them; none if it is no valid request.
#[must_use]
pub fn keys_of(words: &[Bytes]) -> Vec<Bytes> {
    let Ok(spec) = resolve(words) else {
        return Vec::new();
    };
    if spec.has("movablekeys") {
        // The time-out of a blocking command stands before the number.
        let first = if spec.has("blocking") { 3 } else { 2 };
        let count = words.get(first - 1).and_then(|count| parse_integer(count));
        let count = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
        return words.iter().skip(first).take(count).cloned().collect();
    }
    let place = |place: i8| usize::try_from(place).unwrap_or(0);
    let (first, last, step) = spec.keys;
    if first == 0 {
        return Vec::new();
    }
    let behind = match last < 0 {
        true => words.len().saturating_sub(usize::from(last.unsigned_abs()) - 1),
        false => place(last) + 1,
    };
    let keys = words.iter().take(behind).skip(place(first));
    keys.step_by(place(step).max(1)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_once_and_in_lower_case() {
        let all = GROUPS.concat();
        assert_eq!(all.len(), rows().len());
        for spec in all {
            assert_eq!(spec.name, spec.name.to_ascii_lowercase());
            assert!(!spec.summary.is_empty() && spec.summary.ends_with('.'), "{}", spec.name);
            let write_or_read = spec.has("write") || spec.has("readonly");
            assert!(spec.parse.is_none() || write_or_read, "{}", spec.name);
            assert!(spec.name.len() < NAME_MAX && spec.arity != 0, "{}", spec.name);
        }
    }

    #[test]
    fn find_ignores_case_and_survives_any_name() {
        assert_eq!(find(b"HgEt").map(|spec| spec.name), Some("hget"));
        assert!(find(&[0xff; 300]).is_none());
        assert!(find(b"").is_none());
    }

    fn words(request: &str) -> Vec<Bytes> {
        request.split_whitespace().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    #[test]
    fn requests_resolve_to_rows_or_to_the_errors_of_redis() {
        for (request, expected) in [
            ("GET k", "get"),
            ("config get save", "config|get"),
            ("COMMAND", "command"),
            ("command count", "command|count"),
            ("object ENCODING k", "object|encoding"),
            ("config", "ERR wrong number of arguments for 'config' command"),
            ("config get", "ERR wrong number of arguments for 'config|get' command"),
            ("CLIENT FOO", "ERR unknown subcommand 'FOO'. Try CLIENT HELP."),
            (
                "config|get save",
                "ERR unknown command 'config|get', with args beginning with: 'save' ",
            ),
            ("get", "ERR wrong number of arguments for 'get' command"),
            (
                "sentinel masters",
                "ERR unknown command 'sentinel', with args beginning with: 'masters' ",
            ),
            ("", "ERR unknown command '', with args beginning with: "),
        ] {
            let found = resolve(&words(request)).map(|spec| spec.name.to_owned());
            assert_eq!(found.unwrap_or_else(|e| e.to_string()), expected, "{request}");
        }
        assert!(all().all(|spec| !spec.name.contains('|')));
        assert_eq!(
            subcommands("memory").map(|spec| spec.name).collect::<Vec<_>>(),
            ["memory|help", "memory|usage"]
        );
        assert_eq!(subcommands("get").count(), 0, "getdel and getex are none");
    }

    #[test]
    fn keys_are_found_where_the_row_says() {
        for (request, expected) in [
            ("set k v", "k"),
            ("mset a 1 b 2", "a b"),
            ("del a b c", "a b c"),
            ("rename a b", "a b"),
            ("object encoding k", "k"),
            ("memory usage k samples 5", "k"),
            ("ping", ""),
            ("nonsense k", ""),
            ("get", ""),
        ] {
            assert_eq!(keys_of(&words(request)), words(expected), "{request}");
        }
    }
}
