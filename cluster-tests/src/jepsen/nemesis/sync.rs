//! System calls of a node's disk that fail or take long.
//!
//! Owns: `strace` on a running node, which puts errors and delays into its calls. Does not own: when that comes. Invariant: a node
//! whose sync or write failed stops and says so; one whose syncs are slow goes on; `strace` is gone after `heal`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::recovery::{poke, provoke, recovered, start_somehow};
use super::whom::Whom;
use super::{Family, Fault, Field, Harm, Mode};
use crate::failure::{Failure, Outcome};
use crate::process::{Process, Signal, wait_for};

/// What is done to which calls, and what a node that stops for it must say; nothing where it must go on.
struct Way {
    mode: Mode,
    whom: Whom,
    calls: &'static str,
    fault: &'static str,
    says: Option<&'static str>,
}

const EIO: &str = "Input/output error";
const FULL: &str = "No space left on device";
const SYNCS: &str = "fdatasync,fsync";
const SLOW: &str = "delay_exit=50000";

const WAYS: [Way; 5] = [
    Way {
        mode: "leader's sync fails",
        whom: Whom::Leader,
        calls: SYNCS,
        fault: "error=EIO",
        says: Some(EIO),
    },
    Way {
        mode: "follower's sync fails",
        whom: Whom::Follower,
        calls: SYNCS,
        fault: "error=EIO",
        says: Some(EIO),
    },
    Way {
        mode: "leader's sync is slow",
        whom: Whom::Leader,
        calls: SYNCS,
        fault: SLOW,
        says: None,
    },
    Way {
        mode: "follower's sync is slow",
        whom: Whom::Follower,
        calls: SYNCS,
        fault: SLOW,
        says: None,
    },
    Way {
        mode: "a write finds no space",
        whom: Whom::Follower,
        calls: "pwrite64",
        fault: "error=ENOSPC",
        says: Some(FULL),
    },
];
/// How long `strace` may take to attach and to meet a call, and to go.
const PATIENCE: Duration = Duration::from_secs(8);

/// Tells by the `/proc/PID/status` of a process whether `tracer` holds it. One that has ended counts, too: a call of the first thread
/// that was attached may have ended it before anybody looked.
fn is_met(status: &str, tracer: u32) -> bool {
    let held = format!("TracerPid:\t{tracer}");
    status.is_empty() || status.lines().any(|line| line == held || line.starts_with("State:\tZ"))
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Sync {
    strace: Option<Process>,
    stopped: Option<usize>,
    count: usize,
}

impl Sync {
    /// Attaches to the node in `slot`; returns the file in which the calls are told.
    async fn attach(&mut self, field: &Field, slot: usize, way: &Way) -> Outcome<PathBuf> {
        let pid =
            field.group.pid(slot).ok_or_else(|| Failure::new(format!("n{slot} does not run")))?;
        self.count += 1;
        let calls = field.group.folder().join(format!("n{slot}.strace{}", self.count));
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-p", &pid.to_string(), "-o"]).arg(&calls);
        command.args(["-e", &format!("trace={}", way.calls)]);
        command.args(["-e", &format!("inject={}:{}", way.calls, way.fault)]);
        let process =
            Process::start(&format!("strace{}", self.count), command, field.group.folder())?;
        let strace = self.strace.insert(process);
        let tracer = strace.pid();
        wait_for("strace to attach", PATIENCE, || {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let told =
                if is_met(&status, tracer) { Ok(()) } else { Err(Failure::new(strace.log())) };
            async move { told }
        })
        .await?;
        Ok(calls)
    }

    /// Attaches, and sees that a call was met: by the end of the node, or by what `strace` tells.
    async fn begin(&mut self, field: &mut Field, slot: usize, way: &Way) -> Outcome<String> {
        let calls = self.attach(field, slot, way).await?;
        if let Some(says) = way.says {
            let why = provoke(field, slot, 1024, PATIENCE).await?;
            let why =
                why.ok_or_else(|| Failure::new(format!("n{slot} still runs after {PATIENCE:?}")))?;
            self.stopped = Some(slot);
            return if why.contains(says) {
                Ok(format!("n{slot}, which stopped: {why}"))
            } else {
                Err(Failure::new(format!("n{slot} stopped and does not say `{says}`: {why}")))
            };
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let told = std::fs::read_to_string(&calls).unwrap_or_default();
            let met = told.matches("(DELAYED)").count();
            if met > 0 {
                return Ok(format!("n{slot}, {} for {}", way.fault, way.calls));
            }
            if Instant::now() > deadline {
                return Err(Failure::new(format!(
                    "no call of n{slot} was met within {PATIENCE:?}"
                )));
            }
            poke(field, 1024, Duration::from_secs(1)).await;
        }
    }

    /// Detaches, and starts a node that has stopped.
    pub(super) async fn undo(&mut self, field: &mut Field) -> Outcome {
        if let Some(mut strace) = self.strace.take()
            && strace.ended()?.is_none()
        {
            // It may end by itself right now, with its node.
            drop(strace.signal(Signal::Term));
            strace.wait(PATIENCE).await?;
        }
        match self.stopped.take() {
            Some(slot) => start_somehow(field, &[slot]).await,
            None => Ok(()),
        }
    }
}

impl Harm for Sync {
    fn required(&self, _nodes: usize) -> Vec<Mode> {
        WAYS.iter().map(|way| way.mode).collect()
    }

    async fn install(&mut self, field: &mut Field) -> Fault {
        let mode = field.turn(Family::SyncError, &WAYS.map(|way| way.mode));
        let Some(way) = WAYS.into_iter().find(|way| way.mode == mode) else {
            return Fault::skipped(Family::SyncError, mode, "no such way");
        };
        if !field.group.is_durable() {
            return Fault::skipped(Family::SyncError, mode, "the nodes keep nothing on disk");
        }
        let slot = match way.whom.choose(field).await.map(|slots| slots.first().copied()) {
            Ok(Some(slot)) => slot,
            Ok(None) => return Fault::skipped(Family::SyncError, mode, "no node"),
            Err(failure) => return Fault::skipped(Family::SyncError, mode, failure.to_string()),
        };
        match self.begin(field, slot, &way).await {
            Ok(told) => Fault::installed(Family::SyncError, mode, told),
            Err(failure) => Fault::indeterminate(Family::SyncError, mode, failure.to_string()),
        }
    }

    async fn hold(&mut self, _field: &mut Field, time: Duration) -> Outcome {
        sleep(time).await;
        Ok(())
    }

    async fn heal(&mut self, field: &mut Field) -> Outcome {
        self.undo(field).await?;
        recovered(field).await
    }
}

#[cfg(test)]
mod tests {
    use super::is_met;

    #[test]
    fn a_node_that_ended_at_its_first_call_was_met() {
        let status = |state: &str, tracer: u32| {
            format!("Name:\tquorate\nState:\t{state}\nPid:\t9\nTracerPid:\t{tracer}\nUid:\t0\n")
        };
        assert!(is_met(&status("S (sleeping)", 12), 12));
        assert!(is_met(&status("Z (zombie)", 0), 12), "it is not traced any more");
        assert!(is_met("", 12), "it is gone");
        assert!(!is_met(&status("S (sleeping)", 0), 12));
        assert!(!is_met(&status("S (sleeping)", 123), 12), "somebody else traces it");
    }
}
