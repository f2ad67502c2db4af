//! The `quorate` program: one node, or a whole cluster on this machine, from the command line.
//!
//! Owns the logs, the two output streams and the exit code: 0 after a clean end, 2 for wrong usage or configuration,
//! 1 otherwise. Invariant: standard output carries answers and `ready` lines only; logs and failures go to standard error.

mod cli;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::cli::Failure;
use crate::cli::arguments::{Arguments, Command};

/// glibc's keeps much of what snapshots and cuts have it take for a moment, and a node that runs for long grows by that.
#[cfg(all(feature = "jemalloc", not(target_env = "msvc")))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Some(Command::Keygen) => cli::keygen().and_then(|text| cli::answer(&text)),
        Some(Command::Status(flags)) => {
            cli::status::status(&flags).and_then(|text| cli::answer(&text))
        }
        Some(Command::Recover(flags)) => {
            cli::recover::recover(&flags).and_then(|text| cli::answer(&text))
        }
        Some(Command::Backup(flags)) => {
            cli::backup::backup(&flags).and_then(|text| cli::answer(&text))
        }
        Some(Command::CheckConfig(flags)) => cli::settings::check_config(&flags.file)
            .and_then(|()| cli::answer(&format!("{}: ok\n", flags.file.display()))),
        Some(Command::Dev(flags)) => log_to_stderr().and_then(|()| cli::dev::dev(&flags)),
        Some(Command::Serve(flags)) => log_to_stderr().and_then(|()| cli::serve::serve(&flags)),
        None => log_to_stderr().and_then(|()| cli::serve::serve(&arguments.serve)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(text)) => fail(2, &text),
        Err(Failure::Fatal(text)) => fail(1, &text),
    }
}

fn fail(code: u8, text: &str) -> ExitCode {
    // When standard error is closed there is nobody left to tell; the exit code still says it.
    drop(writeln!(io::stderr().lock(), "quorate: {text}"));
    ExitCode::from(code)
}

/// Sends logs to standard error, from the level that `QUORATE_LOG` names.
fn log_to_stderr() -> Result<(), Failure> {
    use tracing_subscriber::EnvFilter;
    let wrong = |what: String| Failure::Usage(format!("QUORATE_LOG: {what}"));
    let filter = match std::env::var("QUORATE_LOG") {
        Ok(text) => EnvFilter::try_new(text).map_err(|error| wrong(error.to_string()))?,
        Err(std::env::VarError::NotPresent) => EnvFilter::new("info,openraft=error,chitchat=warn"),
        Err(error @ std::env::VarError::NotUnicode(_)) => return Err(wrong(error.to_string())),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    Ok(())
}
