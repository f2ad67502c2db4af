//! One suite for everything that calls itself a presence: one process, three nodes, a real Redis.
//!
//! Owns: the list of checks, and how they ask. Does not own: programs; what is started stands in `ground`.
//! Invariant: a check knows only the trait, and passes on a real redis-server, which proves it right.

pub mod clustered;
pub mod ground;
mod hashes;
mod lists;
mod messages;
mod order;
pub mod redis;
mod sets;
mod strings;

use std::fmt::Debug;
use std::pin::Pin;

use bytes::Bytes;
use quorate::presence::Error;

pub use self::ground::Ground;
use crate::failure::{Failure, Outcome};

/// A check under way.
pub type Running<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// A check, by its name.
pub type Check = (&'static str, for<'a> fn(&'a Ground) -> Running<'a>);

/// Names asynchronous functions of a [`Ground`] as checks.
macro_rules! checks {
    ($($name:ident),+ $(,)?) => {
        /// The checks of this file.
        pub(super) const CHECKS: &[super::Check] =
            &[$((stringify!($name), |ground| Box::pin($name(ground)))),+];
    };
}
use checks;

/// Expects that a call gives a value.
macro_rules! gives {
    ($call:expr, $wanted:expr) => {
        $crate::presence::is_given(stringify!($call), $call.await, $wanted)?
    };
}
use gives;

/// Expects that a call is refused with a text that begins so.
macro_rules! refused {
    ($call:expr, $wanted:expr) => {
        $crate::presence::is_refused(stringify!($call), $call.await, $wanted)?
    };
}
use refused;

/// All checks, in their order.
#[must_use]
pub fn all() -> Vec<Check> {
    [strings::CHECKS, hashes::CHECKS, sets::CHECKS, lists::CHECKS, messages::CHECKS, order::CHECKS]
        .concat()
}

fn is_given<T: PartialEq + Debug>(call: &str, found: Result<T, Error>, wanted: T) -> Outcome {
    match found {
        Ok(found) if found == wanted => Ok(()),
        found => Err(Failure::new(cut(format!("{call} gave {found:?}, not {wanted:?}")))),
    }
}

fn is_refused<T: Debug>(call: &str, found: Result<T, Error>, wanted: &str) -> Outcome {
    match found {
        Err(Error::Refused { text }) if text.starts_with(wanted) => Ok(()),
        found => {
            Err(Failure::new(cut(format!("{call} gave {found:?}, not a refusal as {wanted}"))))
        }
    }
}

fn same<T: PartialEq + Debug>(what: &str, found: T, wanted: T) -> Outcome {
    is_given(what, Ok(found), wanted)
}

/// Keeps a failure with a large value readable.
fn cut(text: String) -> String {
    text.chars().take(2_000).collect()
}

/// Values of texts.
fn values<const N: usize>(texts: [&'static str; N]) -> Vec<Bytes> {
    texts.into_iter().map(Bytes::from).collect()
}

/// The value of a text.
fn value(text: &'static str) -> Bytes {
    text.into()
}

/// What is wrong with a call, for a check that goes on only if it is well.
fn told(error: Error) -> Failure {
    Failure::new(error.to_string())
}
