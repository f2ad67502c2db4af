//! The counts of commands that draw at random: `SPOP`, `SRANDMEMBER`, `HRANDFIELD`.
//!
//! Owns how many draws a client may ask for. Invariant: a parsed count asks for at most [`REPEATS_MAX`] draws that may
//! repeat; draws that do not repeat are bounded by the collection itself.

use super::arguments::{Arguments, parse_integer};
use super::reply::Error;

/// The most draws with repetition that one command may ask for (a negative count). Redis has no such limit and works
/// on a larger count until it runs out of memory.
pub const REPEATS_MAX: u64 = 1_048_576;

/// Reads a count whose sign says whether an element may come twice.
///
/// # Errors
/// [`Error::NotInteger`], Redis' text for the one integer without a counterpart, or ours for a count below
/// -[`REPEATS_MAX`].
pub(super) fn signed_count(arguments: &mut Arguments<'_>) -> Result<i64, Error> {
    let count = arguments.integer()?;
    if count == i64::MIN {
        return Err(no_counterpart());
    }
    if count < 0 && count.unsigned_abs() > REPEATS_MAX {
        return Err(Error::Text(
            format!("ERR value is out of range, at most {REPEATS_MAX} draws may repeat").into(),
        ));
    }
    Ok(count)
}

/// Redis' text for the smallest integer, which cannot be negated.
pub(super) const fn no_counterpart() -> Error {
    Error::text(
        "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
    )
}

/// Reads a count that must not be negative.
///
/// # Errors
/// [`Error::NotPositive`] when it is, or is no integer.
pub(super) fn positive_count(arguments: &mut Arguments<'_>) -> Result<u64, Error> {
    let count = parse_integer(&arguments.take()?);
    count.and_then(|count| u64::try_from(count).ok()).ok_or(Error::NotPositive)
}
