//! What each command of the program does.
//!
//! Owns the way from arguments to an exit code. Uses the public API of the library only. Invariant: wrong usage or
//! configuration is [`Failure::Usage`], whatever else goes wrong is [`Failure::Fatal`], and each is one line.

pub(crate) mod arguments;
pub(crate) mod dev;
pub(crate) mod serve;
pub(crate) mod settings;
pub(crate) mod status;

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
