//! Looks at processes once in a while and takes down what they hold: memory, processor time, log, disk.
//!
//! Owns: reading `/proc`, folders and the status page. Does not own: which processes there are, the history. Invariant: a sample
//! is of the process that it names; where the ids in `/proc` are those of another namespace there are none.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::failure::{Failure, Outcome};
use crate::history::{Line, Nanos, Recorder};
use crate::process::{processor_time, resident, status};

/// How long a node may take to tell the size of its log.
const PATIENCE: Duration = Duration::from_millis(500);

/// A process to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The number of its node.
    pub node: u8,
    /// Its id.
    pub pid: u32,
    /// Where it tells its status, if it does.
    pub http: Option<SocketAddr>,
    /// Its folder on disk, if it has one.
    pub data: Option<PathBuf>,
}

/// Samples under way, until this is dropped.
#[derive(Debug)]
pub struct Sampler(JoinHandle<()>);

impl Sampler {
    /// Looks at all `subjects`, as they are then, every so often; times count from `begun`.
    ///
    /// # Errors
    /// When `/proc` is not that of this process, so that nobody can be looked at.
    pub fn start(
        recorder: &Recorder,
        begun: Instant,
        every: Duration,
        subjects: watch::Receiver<Vec<Subject>>,
    ) -> Outcome<Self> {
        let here = std::fs::read_link("/proc/self").unwrap_or_default();
        if here != Path::new(&std::process::id().to_string()) {
            return Err(Failure::new("/proc is that of another namespace"));
        }
        let recorder = recorder.clone();
        Ok(Self(tokio::spawn(async move {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let now = subjects.borrow().clone();
                for subject in now {
                    let at = Nanos::try_from(begun.elapsed().as_nanos()).unwrap_or(Nanos::MAX);
                    // One that has just ended has nothing to tell.
                    if let Ok(line) = sample(&subject, at).await {
                        recorder.record(line);
                    }
                }
            }
        })))
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Looks at one process once.
///
/// # Errors
/// When there is no such process.
pub async fn sample(subject: &Subject, at: Nanos) -> Outcome<Line> {
    let resident = resident(subject.pid)?;
    let processor = processor_time(subject.pid)?;
    let told = match subject.http {
        Some(http) => timeout(PATIENCE, status(http)).await.ok().and_then(Result::ok),
        None => None,
    };
    let log = told.and_then(|told| told.pointer("/raft/log_bytes")?.as_u64());
    Ok(Line::Sample {
        at,
        node: subject.node,
        resident,
        processor_ms: u64::try_from(processor.as_millis()).unwrap_or(u64::MAX),
        log,
        data: subject.data.as_deref().map(size),
    })
}

/// Adds up the sizes of all files of a folder; what goes away meanwhile does not count.
#[must_use]
pub fn size(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let one = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => size(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    };
    entries.flatten().map(one).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_process_is_seen_with_its_folder() -> Outcome {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("deep"))?;
        std::fs::write(folder.path().join("deep/file"), [0; 1000])?;
        std::fs::write(folder.path().join("file"), [0; 24])?;
        let subject = Subject {
            node: 2,
            pid: std::process::id(),
            http: None,
            data: Some(folder.path().to_owned()),
        };
        let Line::Sample { at: 7, node: 2, resident, log: None, data: Some(1024), .. } =
            sample(&subject, 7).await?
        else {
            return Err(Failure::new("another line"));
        };
        assert!(resident > 1 << 20, "{resident}");
        let gone = Subject { pid: u32::MAX, ..subject.clone() };
        assert!(sample(&gone, 7).await.is_err());

        let recorder = Recorder::new();
        let subjects = watch::Sender::new(vec![gone, subject]);
        let every = Duration::from_millis(1);
        let sampler = Sampler::start(&recorder, Instant::now(), every, subjects.subscribe())?;
        while recorder.len() < 3 {
            tokio::task::yield_now().await;
        }
        drop(sampler);
        assert!(recorder.lines().iter().all(|line| matches!(line, Line::Sample { node: 2, .. })));
        Ok(())
    }
}
