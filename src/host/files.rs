//! Lock files: `<node id>.lock`, held by an advisory lock of the kernel for as long as the process lives.
//!
//! ```text
//! quorate 1 <LF> boot <id of the boot of this machine> <LF> durable yes|no <LF>     then, once found dead: dead <LF>
//! ```
//!
//! Owns their making, judging and clearing away. Invariants: a file is written and locked under another name before it is
//! renamed; one of another boot, or of another machine on a shared disk, proves nothing.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::{Error, Evidence};
use crate::ids::NodeId;

const ENDING: &str = "lock";
/// How long a file that was found dead stays, so that a cluster that still counts on its node can learn of it.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// The most bytes of a lock file that are read.
const SIZE_MAX: u64 = 512;
const FIRST_LINE: &str = "quorate 1";
const DEAD_LINE: &str = "dead";

/// Tells apart what one process makes at the same moment.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// The locked file of one node.
#[derive(Debug)]
pub(super) struct LockFile {
    folder: PathBuf,
    path: PathBuf,
    boot: String,
    /// None once it was let go.
    file: Mutex<Option<File>>,
}

impl LockFile {
    pub(super) fn hold(folder: &Path, node: NodeId, is_durable: bool) -> Result<Self, Error> {
        let failed = |source| Error::Folder { folder: folder.to_owned(), source };
        prepare(folder)?;
        let boot = boot().map_err(failed)?;
        let path = path_of(folder, node);
        if matches!(judge(&path, &boot), Evidence::Alive) {
            return Err(Error::Held { node });
        }
        clear_away(folder, &boot);
        let (temporary, mut file) = create_new(folder).map_err(failed)?;
        let made = file.lock().and_then(|()| {
            let durable = if is_durable { "yes" } else { "no" };
            write!(file, "{FIRST_LINE}\nboot {boot}\ndurable {durable}\n")?;
            fs::rename(&temporary, &path)
        });
        if let Err(source) = made {
            // What cannot be removed is cleared away some day.
            let _left = fs::remove_file(&temporary);
            return Err(failed(source));
        }
        Ok(Self { folder: folder.to_owned(), path, boot, file: Mutex::new(Some(file)) })
    }

    pub(super) fn evidence(&self, node: NodeId) -> Evidence {
        judge(&path_of(&self.folder, node), &self.boot)
    }

    /// Writes the first line again, so that the file is young.
    pub(super) fn renew(&self) -> io::Result<()> {
        match &mut *self.file.lock() {
            Some(file) => {
                file.seek(SeekFrom::Start(0))?;
                file.write_all(FIRST_LINE.as_bytes())
            }
            None => Ok(()),
        }
    }

    pub(super) fn release(&self, is_let_go: bool) {
        let file = self.file.lock().take();
        if file.is_some() && is_let_go {
            // One that stays says that the node is dead, which it is.
            let _left = fs::remove_file(&self.path);
        }
    }
}

/// Tells whether a living process holds the lock of `node`.
pub(super) fn is_held(folder: &Path, node: NodeId) -> io::Result<bool> {
    let file = match File::open(path_of(folder, node)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn path_of(folder: &Path, node: NodeId) -> PathBuf {
    folder.join(format!("{node}.{ENDING}"))
}

/// Judges the file at `path`. Whatever goes wrong proves nothing.
fn judge(path: &Path, boot: &str) -> Evidence {
    let Ok(file) = File::open(path) else {
        return Evidence::Unknown;
    };
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Evidence::Alive,
        Err(TryLockError::Error(_)) => Evidence::Unknown,
        Ok(()) => {
            let told = read(&file).unwrap_or_default();
            match told.is_of(boot) {
                true => Evidence::Dead { is_durable: told.is_durable },
                false => Evidence::Unknown,
            }
        }
    }
}

/// What a lock file says.
#[derive(Debug, Default)]
struct Told {
    boot: Option<String>,
    is_durable: bool,
    is_found_dead: bool,
}

impl Told {
    fn is_of(&self, boot: &str) -> bool {
        self.boot.as_deref() == Some(boot)
    }
}

fn read(file: &File) -> io::Result<Told> {
    let mut text = String::new();
    file.take(SIZE_MAX).read_to_string(&mut text)?;
    let mut lines = text.lines();
    if lines.next() != Some(FIRST_LINE) {
        return Ok(Told::default());
    }
    let mut told = Told { is_durable: true, ..Told::default() };
    for line in lines {
        match line.split_once(' ') {
            Some(("boot", id)) => told.boot = Some(id.to_owned()),
            Some(("durable", answer)) => told.is_durable = answer != "no",
            None if line == DEAD_LINE => told.is_found_dead = true,
            Some(_) | None => {}
        }
    }
    Ok(told)
}

/// Makes the folder, or sees to it that nobody else can change what is in it.
pub(super) fn prepare(folder: &Path) -> Result<(), Error> {
    let failed = |source| Error::Folder { folder: folder.to_owned(), source };
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    let there = fs::symlink_metadata(folder).map_err(failed)?;
    let wrong = |what| Err(Error::Unsafe { folder: folder.to_owned(), what });
    if !there.is_dir() {
        return wrong("is no folder");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let (path, file) = create_new(folder).map_err(failed)?;
        let own = file.metadata().map(|own| own.uid());
        // What cannot be removed is cleared away some day.
        let _left = fs::remove_file(path);
        if there.uid() != own.map_err(failed)? {
            return wrong("belongs to another user");
        }
        if there.mode() & 0o022 != 0 {
            return wrong("can be changed by other users");
        }
    }
    Ok(())
}

pub(super) fn default_folder() -> Result<PathBuf, Error> {
    let temporary = std::env::temp_dir();
    #[cfg(unix)]
    let name = {
        use std::os::unix::fs::MetadataExt;
        let failed = |source| Error::Folder { folder: temporary.clone(), source };
        // A file of one's own tells who one is.
        let (path, file) = create_new(&temporary).map_err(failed)?;
        let own = file.metadata().map(|own| own.uid());
        let _left = fs::remove_file(path);
        format!("quorate-{}", own.map_err(failed)?)
    };
    #[cfg(not(unix))]
    let name = "quorate";
    Ok(temporary.join(name))
}

/// Makes a file for this user alone, under a name that nobody else uses.
pub(super) fn create_new(folder: &Path) -> io::Result<(PathBuf, File)> {
    let process = std::process::id();
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    for _ in 0..1000 {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".quorate-{process}-{number}.new"));
        match options.open(&path) {
            // Left over from a process of the same number.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other.map(|file| (path, file)),
        }
    }
    Err(io::Error::other("all names for a new file are taken"))
}

/// Tells which boot of which machine this is, where the system tells it.
fn boot() -> io::Result<String> {
    match fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(id) => Ok(id.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok("unknown".to_owned()),
        Err(error) => Err(error),
    }
}

/// Removes the files of those who have been dead for long: one is marked when it is first found dead, and removed when the
/// mark is a day old. A file of another boot goes a day after that boot.
fn clear_away(folder: &Path, boot: &str) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let is_ours = |path: &PathBuf| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        match ending {
            Some(ENDING) => name.parse::<NodeId>().is_ok(),
            Some("new") => name.starts_with(".quorate-"),
            Some(_) | None => false,
        }
    };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_ours) {
        // One that cannot be cleared away is left where it is.
        let _left = clear_one(&path, boot);
    }
}

fn clear_one(path: &Path, boot: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).append(true).open(path)?;
    if file.try_lock().is_err() {
        return Ok(());
    }
    let told = read(&file)?;
    let age = file.metadata()?.modified()?.elapsed().unwrap_or_default();
    if age < KEPT {
        return Ok(());
    }
    if told.is_found_dead || !told.is_of(boot) {
        return fs::remove_file(path);
    }
    writeln!(file, "{DEAD_LINE}")
}
