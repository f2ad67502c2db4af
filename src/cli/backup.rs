//! `quorate backup`: the whole state of a running cluster in one file.
//!
//! Owns the file: it is written under another name, read back with every byte checked, and only then gets its own. Asks the
//! HTTP door of any node. Invariant: a file of the given name is a whole backup, or what stood there before.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate::storage::BackupFile;

use super::Failure;
use super::arguments::Backup;

/// How long the node may take to begin.
const BEGIN_MAX: Duration = Duration::from_secs(30);

/// Takes a backup; gives the text that says what is in the file.
pub(crate) fn backup(arguments: &Backup) -> Result<String, Failure> {
    let path = &arguments.file;
    let part = PathBuf::from(format!("{}.part", path.display()));
    let taken = take(&arguments.http, &part).and_then(|bytes| {
        let chunks = check(&part)?;
        let named = std::fs::rename(&part, path).and_then(|()| sync_folder(path));
        named.map_err(|error| failed(path, &error))?;
        Ok(format!("{}: {bytes} bytes in {chunks} chunks, whole\n", path.display()))
    });
    if taken.is_err() {
        // What is wrong is told already.
        let _removed = std::fs::remove_file(&part);
    }
    taken
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::Fatal(format!("{}: {error}", path.display()))
}

/// Writes what the door gives to `part`; gives how many bytes that are.
fn take(door: &str, part: &Path) -> Result<u64, Failure> {
    let url = format!("{}/backup", door.trim_end_matches('/'));
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_recv_response(Some(BEGIN_MAX))
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .into();
    let asked = |error: ureq::Error| Failure::Fatal(format!("cannot ask {url}: {error}"));
    let mut response = agent.get(&url).call().map_err(asked)?;
    if response.status() != 200 {
        let why = response.body_mut().with_config().limit(4_096).read_to_string();
        let why = why.unwrap_or_default();
        return Err(Failure::Fatal(format!("{url}: {}: {}", response.status(), why.trim())));
    }
    let mut file = File::create(part).map_err(|error| failed(part, &error))?;
    let mut body = response.body_mut().with_config().limit(u64::MAX).reader();
    let bytes = std::io::copy(&mut body, &mut file).map_err(|error| failed(part, &error))?;
    file.sync_all().map_err(|error| failed(part, &error))?;
    Ok(bytes)
}

/// Reads a backup and checks every byte; gives how many chunks it has.
fn check(part: &Path) -> Result<usize, Failure> {
    let pieces = BackupFile::open(part).map_err(|error| Failure::Fatal(error.to_string()))?;
    pieces.skip(1).try_fold(0_usize, |count, piece| match piece {
        Ok(_) => Ok(count.saturating_add(1)),
        Err(error) => Err(Failure::Fatal(error.to_string())),
    })
}

/// Makes the new name durable.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
