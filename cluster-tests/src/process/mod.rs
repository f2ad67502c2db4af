//! Starts servers as processes and ends them.
//!
//! Owns: child processes with their folders and logs, free ports, signals, waiting for conditions. Does not
//! own: what is asked of the servers. Invariant: a process started here is killed and waited for when its
//! value is dropped, also when a test panics.

mod cluster;
mod diary;
mod group;
mod quorate;
mod redis;
mod view;

use std::fs::File;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

pub(crate) use cluster::restrict;
pub use cluster::{Cluster, FORM_DEADLINE};
pub use diary::Diary;
pub use group::{Group, Own, Plan};
pub use quorate::{Node, NodeOptions, binary, http_get, keygen, status};
pub use redis::{RedisServer, redis_server};
use tokio::time::{Instant, sleep};
pub use view::{Glimpse, View, look};

use crate::failure::{Failure, Outcome};

/// A child process with its output in files.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    folder: PathBuf,
}

/// The signals that tests send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the signals are named as the system names them")]
pub enum Signal {
    Term,
    Kill,
    Stop,
    Cont,
}

impl Process {
    /// Starts `command` with its output in `folder`, as `<name>.out` and `<name>.log`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(name: &str, mut command: Command, folder: &Path) -> Outcome<Self> {
        command.stdin(Stdio::null());
        command.stdout(File::create(folder.join(format!("{name}.out")))?);
        command.stderr(File::create(folder.join(format!("{name}.log")))?);
        let child = command.spawn().map_err(|error| {
            Failure::new(format!("cannot start {}: {error}", command.get_program().display()))
        })?;
        Ok(Self { name: name.to_owned(), child, folder: folder.to_owned() })
    }

    /// Returns the process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns what the process has written to standard output.
    #[must_use]
    pub fn output(&self) -> String {
        self.read("out")
    }

    /// Returns what the process has written to standard error.
    #[must_use]
    pub fn log(&self) -> String {
        self.read("log")
    }

    fn read(&self, ending: &str) -> String {
        let bytes = std::fs::read(self.folder.join(format!("{}.{ending}", self.name)));
        String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
    }

    /// Returns the last lines of the log, for a failure's text, and before them the first panic, if there was one.
    #[must_use]
    pub fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let panic = lines.iter().position(|line| line.contains("panicked at"));
        let panic = panic.and_then(|at| lines.get(at..lines.len().min(at + 3))).unwrap_or_default();
        let end = lines.get(lines.len().saturating_sub(15)..).unwrap_or_default();
        format!("the log of {} ends with:\n{}", self.name, [panic, end].concat().join("\n"))
    }

    /// Sends `signal`.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&mut self, signal: Signal) -> Outcome {
        let word = match signal {
            Signal::Kill => return Ok(self.child.kill()?),
            Signal::Term => "TERM",
            Signal::Stop => "STOP",
            Signal::Cont => "CONT",
        };
        let status =
            Command::new("sh").arg("-c").arg(format!("kill -{word} {}", self.pid())).status()?;
        if status.success() { Ok(()) } else { Err(Failure::new(format!("{} is gone", self.name))) }
    }

    /// Returns how the process ended, if it has.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn ended(&mut self) -> Outcome<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Returns why the process stopped, if it has: it must have ended with code 1 and a last line that says it.
    ///
    /// # Errors
    /// When it has ended in any other way.
    pub fn reason(&mut self) -> Outcome<Option<String>> {
        let Some(status) = self.ended()? else { return Ok(None) };
        let log = self.log();
        // The second is a program of these tests with a node inside.
        let says = |line| {
            ["quorate: ", "cluster-tests: "].iter().find_map(|it| str::strip_prefix(line, *it))
        };
        let why = log.lines().rev().find_map(says);
        match (status.code(), why) {
            (Some(1), Some(why)) if !log.contains("panicked at") => Ok(Some(why.to_owned())),
            _ => Err(Failure::new(format!("ended with {status}; {}", self.log_end()))),
        }
    }

    /// Waits for the end of the process.
    ///
    /// # Errors
    /// When it does not end within `patience`.
    pub async fn wait(&mut self, patience: Duration) -> Outcome<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                let text =
                    format!("{} still runs after {patience:?}; {}", self.name, self.log_end());
                return Err(Failure::new(text));
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Returns the processor time that the process has used so far, to a hundredth of a second.
    ///
    /// # Errors
    /// When the process is gone, or the system has no `/proc`.
    pub fn processor_time(&self) -> Outcome<Duration> {
        processor_time(self.pid())
    }

    /// Returns the memory that the process holds resident, in bytes.
    ///
    /// # Errors
    /// When the process is gone, or the system has no `/proc`.
    pub fn resident(&self) -> Outcome<u64> {
        resident(self.pid())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only if the process has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Returns the memory that process `pid` holds resident, in bytes.
///
/// # Errors
/// When the process is gone, or the system has no `/proc`.
pub fn resident(pid: u32) -> Outcome<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| Failure::new("no VmRSS in /proc"))
}

/// Returns the processor time that process `pid` has used so far, to a hundredth of a second.
///
/// # Errors
/// When the process is gone, or the system has no `/proc`.
pub fn processor_time(pid: u32) -> Outcome<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is a name in brackets, which may hold anything.
    let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split_whitespace());
    let mut ticks =
        fields.into_iter().flatten().skip(11).map_while(|field| field.parse::<u64>().ok());
    match (ticks.next(), ticks.next()) {
        // A hundred ticks a second on every Linux that there is.
        (Some(user), Some(system)) => Ok(Duration::from_millis(10 * (user + system))),
        _ => Err(Failure::new(format!("no times in /proc: {stat}"))),
    }
}

/// Waits until `check` returns something, asking every 10 ms.
///
/// # Errors
/// When `patience` is over, with what `check` said last.
pub async fn wait_for<T, F, W>(what: &str, patience: Duration, mut check: F) -> Outcome<T>
where
    F: FnMut() -> W,
    W: Future<Output = Outcome<T>>,
{
    let deadline = Instant::now() + patience;
    loop {
        match check().await {
            Ok(found) => return Ok(found),
            Err(failure) if Instant::now() > deadline => {
                return Err(failure.during(format!("waited {patience:?} for {what}")));
            }
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Finds `count` loopback addresses whose TCP and UDP ports are free at this moment.
///
/// # Errors
/// When the system has none.
pub fn free_addresses(count: usize) -> Outcome<Vec<SocketAddr>> {
    // All are held until all are found, so that no two are the same.
    let mut held = Vec::new();
    while held.len() < count {
        let tcp = TcpListener::bind("127.0.0.1:0")?;
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr()?) {
            held.push((tcp, udp));
        }
    }
    held.iter().map(|(tcp, _)| Ok(tcp.local_addr()?)).collect()
}
