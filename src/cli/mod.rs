//! What each command of the program does.
//!
//! Owns the way from arguments to an exit code. Uses the public API of the library only. Invariant: wrong usage or
//! configuration is [`Failure::Usage`], whatever else goes wrong is [`Failure::Fatal`], and each is one line.

pub(crate) mod arguments;
pub(crate) mod backup;
pub(crate) mod dev;
pub(crate) mod recover;
pub(crate) mod serve;
pub(crate) mod settings;
pub(crate) mod status;

use std::io::{self, Write};

use quorate::node::StartError;
use quorate::rendezvous;
use quorate::transport::Secret;
use rand::TryRng;
use rand::rngs::SysRng;

/// Why the program ends without having done what was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Somebody must change a flag, a file or what occupies an address. Exit code 2.
    Usage(String),
    /// It was well asked and could not be done, or ended on its own. Exit code 1.
    Fatal(String),
}

impl Failure {
    /// Tells what somebody must change from what went wrong on its own.
    pub(crate) fn of_node(error: &StartError) -> Self {
        let text = error.to_string();
        if error.is_configuration() { Self::Usage(text) } else { Self::Fatal(text) }
    }

    /// The same of a node that was to find its cluster by itself.
    pub(crate) fn of_meeting(error: &rendezvous::Error) -> Self {
        let text = error.to_string();
        if error.is_configuration() { Self::Usage(text) } else { Self::Fatal(text) }
    }
}

/// Draws 32 bytes that nobody can guess.
pub(crate) fn random_bytes() -> Result<[u8; 32], Failure> {
    let mut bytes = [0; 32];
    SysRng.try_fill_bytes(&mut bytes).map_err(|error| {
        Failure::Fatal(format!("the operating system gives no random bytes: {error}"))
    })?;
    Ok(bytes)
}

/// Makes a new cluster secret: 64 hexadecimal digits and a line end.
pub(crate) fn keygen() -> Result<String, Failure> {
    Ok(format!("{}\n", Secret::generate(random_bytes()?).to_text()))
}

/// Writes an answer to standard output.
pub(crate) fn answer(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Failure::Fatal(format!("cannot write to standard output: {error}")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn keygen_makes_a_secret_that_a_node_takes_and_never_the_same() {
        let (one, other) = (keygen().unwrap(), keygen().unwrap());
        assert!(one.len() == 65 && one.ends_with('\n') && one != other);
        assert!(Secret::from_text(&one).is_ok());
    }

    #[test]
    fn readme_lists_every_command_that_exists_and_no_other() {
        let mut groups: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for spec in quorate::command::table::all() {
            groups.entry(spec.group).or_default().push(spec.name.to_uppercase());
        }
        let mut table = String::from("| group | commands |\n|---|---|\n");
        for (group, names) in groups {
            table.push_str(&format!("| {group} | {} |\n", names.join(" ")));
        }
        let readme = include_str!("../../README.md");
        let listed = readme.split("<!-- commands -->\n").nth(1).unwrap_or_default();
        assert!(
            listed == table,
            "README.md lists\n{listed}\nand the table of commands has\n{table}"
        );
    }
}
