//! The threads on which all nodes of this process run.
//!
//! Owns one Tokio runtime. Does not block the thread of JavaScript. Invariant: it lives as long as the process, so that no
//! thread of JavaScript ever waits for its end.

use std::io;
use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};

/// Enough for a game server's share of a cluster; JavaScript has the rest of the machine.
const THREADS: usize = 2;

/// Gives the runtime, and starts it when it is asked for first.
pub(crate) fn runtime() -> io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let built = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("quorate")
        .enable_all()
        .build()?;
    Ok(RUNTIME.get_or_init(|| built))
}
