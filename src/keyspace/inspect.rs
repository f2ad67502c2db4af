//! What commands tell that look behind a key.
//!
//! Owns the names of encodings and the estimate of memory; what the commands are stands in `command/inspect.rs`.
//! Invariant: what is told depends on the value alone, so that every node tells the same.

use bytes::Bytes;

use super::access::{Reader, Writer};
use super::value::{Record, Set, Value};
use crate::command::arguments::parse_integer;
use crate::command::inspect::{MEMORY_HELP, OBJECT_HELP};
use crate::command::{Error, InspectCommand, Reply};

/// The longest string that Redis keeps together with its header. Source: Redis 7.2, `OBJ_ENCODING_EMBSTR_SIZE_LIMIT`.
const EMBEDDED_MAX: usize = 44;

/// The most elements, and the longest one, of a hash or set that Redis keeps flat. Source: Redis 7.2,
/// `hash-max-listpack-entries`, `set-max-listpack-entries`, `…-value`.
const FLAT_ELEMENTS_MAX: usize = 128;
const FLAT_ELEMENT_MAX: usize = 64;

/// The most bytes of a list that Redis keeps flat. Source: Redis 7.2, `list-max-listpack-size` -2.
const FLAT_LIST_MAX: usize = 8 * 1024;

/// Integers below it are shared by Redis. Source: Redis 7.2, `OBJ_SHARED_INTEGERS`.
const SHARED_INTEGERS: i64 = 10_000;

/// What a key costs beside its bytes: its place in a shard, its record, a share of the table.
const KEY_COST: u64 = 128;

/// What an element costs beside its bytes, and what a number in a set of integers costs altogether.
const ELEMENT_COST: u64 = 48;
const INTEGER_COST: u64 = 8;

impl Reader<'_> {
    pub(super) fn inspect(&self, command: &InspectCommand) -> Result<Reply, Error> {
        let tell =
            |key: &Bytes, tell: &dyn Fn(&Record) -> Reply| self.peek(key).map_or(Reply::Nil, tell);
        Ok(match command {
            InspectCommand::Encoding { key } => tell(key, &|record| {
                Reply::Bulk(Bytes::from_static(encoding(&record.value).as_bytes()))
            }),
            InspectCommand::References { key } => tell(key, &|record| {
                Reply::Integer(if is_shared(&record.value) { i64::from(i32::MAX) } else { 1 })
            }),
            InspectCommand::Idle { key } => tell(key, &|_| Reply::Integer(0)),
            InspectCommand::Frequency { key } => tell(key, &|_| {
                Reply::Error(Error::text(
                    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
                ))
            }),
            InspectCommand::Memory { key, samples } => tell(key, &|record| {
                let bytes = memory(&record.value, *samples).saturating_add(key.len() as u64);
                Reply::Integer(i64::try_from(bytes.saturating_add(KEY_COST)).unwrap_or(i64::MAX))
            }),
            InspectCommand::Help { memory } => {
                let lines = if *memory { MEMORY_HELP } else { OBJECT_HELP };
                Reply::Array(lines.iter().copied().map(Reply::Status).collect())
            }
        })
    }
}

impl Writer<'_> {
    pub(super) fn inspect(&mut self, command: &InspectCommand) -> Result<Reply, Error> {
        self.reader().inspect(command)
    }
}

fn encoding(value: &Value) -> &'static str {
    match value {
        Value::String(text) if parse_integer(text).is_some() => "int",
        Value::String(text) if text.len() <= EMBEDDED_MAX => "embstr",
        Value::String(_) => "raw",
        Value::Hash(hash) => {
            let longest = hash.iter().map(|(field, value)| field.len().max(value.len()));
            flat_or_table(hash.len(), longest)
        }
        Value::Set(set) => match &**set {
            Set::Integers(_) => "intset",
            Set::Members(members) => flat_or_table(members.len(), members.iter().map(Bytes::len)),
        },
        Value::List(list) => {
            let mut bytes = 0_usize;
            let is_flat = list.iter().all(|element| {
                bytes = bytes.saturating_add(element.len()).saturating_add(2);
                bytes <= FLAT_LIST_MAX
            });
            if is_flat { "listpack" } else { "quicklist" }
        }
    }
}

fn flat_or_table(elements: usize, mut lengths: impl Iterator<Item = usize>) -> &'static str {
    let is_flat = elements <= FLAT_ELEMENTS_MAX && lengths.all(|length| length <= FLAT_ELEMENT_MAX);
    if is_flat { "listpack" } else { "hashtable" }
}

fn is_shared(value: &Value) -> bool {
    let Value::String(text) = value else {
        return false;
    };
    parse_integer(text).is_some_and(|number| (0..SHARED_INTEGERS).contains(&number))
}

/// The bytes of a value, estimated from its first `samples` elements, or all of them for 0.
fn memory(value: &Value, samples: u64) -> u64 {
    let measured = usize::try_from(samples).ok().filter(|samples| *samples > 0);
    let measured = measured.unwrap_or(usize::MAX);
    let cost = |bytes: &Bytes| ELEMENT_COST.saturating_add(bytes.len() as u64);
    match value {
        Value::String(text) => text.len() as u64,
        Value::Set(set) => match &**set {
            Set::Integers(numbers) => INTEGER_COST.saturating_mul(numbers.len() as u64),
            Set::Members(members) => extend(members.iter().take(measured).map(cost), members.len()),
        },
        Value::Hash(hash) => {
            let costs = hash.iter().map(|(field, value)| cost(field).saturating_add(cost(value)));
            extend(costs.take(measured), hash.len())
        }
        Value::List(list) => extend(list.iter().take(measured).map(cost), list.len()),
    }
}

/// What all elements cost if they are like the measured ones.
fn extend(costs: impl Iterator<Item = u64>, elements: usize) -> u64 {
    let (count, sum) = costs.fold((0_u64, 0_u64), |(count, sum), cost| {
        (count.saturating_add(1), sum.saturating_add(cost))
    });
    let whole = u128::from(sum).saturating_mul(elements as u128) / u128::from(count.max(1));
    u64::try_from(whole).unwrap_or(u64::MAX)
}
