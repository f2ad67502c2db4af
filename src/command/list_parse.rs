//! How the words of a list command are read.
//!
//! Owns the parsers behind the rows of `list.rs`, and what those of `blocking.rs` share with them. Invariant: an error
//! is the one that Redis finds first.

use bytes::Bytes;

use super::Command;
use super::arguments::{Arguments, parse_integer};
use super::list::{End, ListCommand};
use super::random::{no_counterpart, positive_count};
use super::reply::Error;

const fn done(command: ListCommand) -> Result<Command, Error> {
    Ok(Command::List(command))
}

/// The end that the name of a command says.
fn named_end(arguments: &Arguments<'_>) -> End {
    if arguments.name().starts_with('l') { End::Left } else { End::Right }
}

/// Reads `LEFT` or `RIGHT`.
pub(super) fn end(arguments: &mut Arguments<'_>) -> Result<End, Error> {
    if arguments.keyword("left") {
        Ok(End::Left)
    } else if arguments.keyword("right") {
        Ok(End::Right)
    } else {
        Err(Error::Syntax)
    }
}

/// Reads `numkeys key [key …] <LEFT | RIGHT> [COUNT count]`.
pub(super) fn first_of(arguments: &mut Arguments<'_>) -> Result<(Vec<Bytes>, End, u64), Error> {
    let keys = arguments.counted_keys(Error::Syntax)?;
    let end = end(arguments)?;
    let mut count = 1;
    if !arguments.is_empty() {
        if !arguments.keyword("count") {
            return Err(Error::Syntax);
        }
        let given = arguments.take().map_err(|_| Error::Syntax)?;
        let given = parse_integer(&given).and_then(|count| u64::try_from(count).ok());
        let given = given.filter(|count| *count > 0);
        count = given.ok_or(Error::text("ERR count should be greater than 0"))?;
    }
    arguments.end()?;
    Ok((keys, end, count))
}

pub(super) fn push(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let end = named_end(arguments);
    let only_existing = arguments.name().ends_with('x');
    let (key, elements) = (arguments.take()?, arguments.remaining());
    done(ListCommand::Push { key, elements, end, only_existing })
}

pub(super) fn pop(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let end = named_end(arguments);
    let key = arguments.take()?;
    if arguments.len() > 1 {
        return Err(arguments.wrong_arity());
    }
    let count = if arguments.is_empty() { None } else { Some(positive_count(arguments)?) };
    done(ListCommand::Pop { key, end, count })
}

pub(super) fn pop_first(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (keys, end, count) = first_of(arguments)?;
    done(ListCommand::PopFirst { keys, end, count })
}

pub(super) fn move_element(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (source, destination) = (arguments.take()?, arguments.take()?);
    let (from, to) = match arguments.name() {
        "rpoplpush" => (End::Right, End::Left),
        _ => (end(arguments)?, end(arguments)?),
    };
    done(ListCommand::Move { source, destination, from, to })
}

pub(super) fn length(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    done(ListCommand::Length { key: arguments.take()? })
}

/// LRANGE and LTRIM.
pub(super) fn range(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (key, start, stop) = (arguments.take()?, arguments.integer()?, arguments.integer()?);
    done(match arguments.name() {
        "ltrim" => ListCommand::Trim { key, start, stop },
        _ => ListCommand::Range { key, start, stop },
    })
}

pub(super) fn index(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (key, index) = (arguments.take()?, parse_integer(&arguments.take()?));
    done(ListCommand::Index { key, index })
}

pub(super) fn set(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (key, index) = (arguments.take()?, parse_integer(&arguments.take()?));
    done(ListCommand::Set { key, index, element: arguments.take()? })
}

pub(super) fn insert(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let key = arguments.take()?;
    let after = arguments.keyword("after");
    if !after && !arguments.keyword("before") {
        return Err(Error::Syntax);
    }
    let (pivot, element) = (arguments.take()?, arguments.take()?);
    done(ListCommand::Insert { key, after, pivot, element })
}

pub(super) fn remove(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (key, count) = (arguments.take()?, arguments.integer()?);
    done(ListCommand::Remove { key, count, element: arguments.take()? })
}

pub(super) fn position(arguments: &mut Arguments<'_>) -> Result<Command, Error> {
    let (key, element) = (arguments.take()?, arguments.take()?);
    let (mut rank, mut count, mut compared_max) = (1, None, 0);
    while !arguments.is_empty() {
        if arguments.len() < 2 {
            return Err(Error::Syntax);
        }
        if arguments.keyword("rank") {
            rank = self::rank(arguments)?;
        } else if arguments.keyword("count") {
            count = Some(not_negative(arguments, "ERR COUNT can't be negative")?);
        } else if arguments.keyword("maxlen") {
            compared_max = not_negative(arguments, "ERR MAXLEN can't be negative")?;
        } else {
            return Err(Error::Syntax);
        }
    }
    done(ListCommand::Position { key, element, rank, count, compared_max })
}

fn rank(arguments: &mut Arguments<'_>) -> Result<i64, Error> {
    match arguments.integer()? {
        0 => Err(Error::text(
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list",
        )),
        i64::MIN => Err(no_counterpart()),
        rank => Ok(rank),
    }
}

fn not_negative(arguments: &mut Arguments<'_>, text: &'static str) -> Result<u64, Error> {
    let number = parse_integer(&arguments.take()?).and_then(|number| u64::try_from(number).ok());
    number.ok_or(Error::text(text))
}
