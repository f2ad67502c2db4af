//! `quorate serve`: one node with its doors, from its start to a clean leave.
//!
//! Owns the `ready` line and what ends the program. Invariant: a node that stops on its own ends the program with a failure.

use super::arguments::Serve;
use super::{Failure, settings};

/// Runs one node until a signal asks it to leave.
pub(crate) fn serve(flags: &Serve) -> Result<(), Failure> {
    let _settings = settings::settings(flags)?;
    Err(Failure::Fatal("the node is still being built".to_owned()))
}
