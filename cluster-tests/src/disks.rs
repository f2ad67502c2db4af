//! File systems that are small, get full, or lose their power.
//!
//! Owns: mounting them, filling them, cutting them off, and taking them away again. Does not own: what lies on them.
//! Invariant: what was mounted here is unmounted when its value is dropped, and the loop device goes with the mount. Needs root.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::failure::{Failure, Outcome};

/// The size of a small disk, as `mount` reads it.
pub const SMALL: &str = "6m";

/// Cuts a mounted file system off without writing its journal: `FS_IOC_SHUTDOWN` with `NOLOGFLUSH`.
const CUT: &str = "import fcntl, os, struct, sys\n\
for folder in sys.argv[1:]:\n  fcntl.ioctl(os.open(folder, os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";
/// The file that takes all room.
const FILLER: &str = "filler";

fn run(program: &str, arguments: &[&str]) -> Outcome {
    let output = Command::new(program).args(arguments).output()?;
    if output.status.success() {
        return Ok(());
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!("{program} {}: {}", arguments.join(" "), error.trim())))
}

fn text(path: &Path) -> Outcome<&str> {
    path.to_str().ok_or_else(|| Failure::new(format!("{} is no text", path.display())))
}

/// A small disk in memory.
#[derive(Debug)]
pub struct Small(TempDir);

impl Small {
    /// Mounts one of `size`.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn mount(size: &str) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let options = format!("size={size}");
        run("mount", &["-t", "tmpfs", "-o", &options, "tmpfs", text(folder.path())?])?;
        Ok(Self(folder))
    }

    /// Returns where it is mounted.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // A process that is not yet gone may hold it; lazily, it goes with that process.
        drop(Command::new("umount").arg("-l").arg(self.0.path()).output());
    }
}

/// A file system in a file.
#[derive(Debug)]
pub struct Image {
    file: PathBuf,
    folder: PathBuf,
    _both: TempDir,
}

impl Image {
    /// Makes and mounts one of this many bytes.
    ///
    /// # Errors
    /// When the system refuses, or `mkfs.ext4` is not there.
    pub async fn make(bytes: u64) -> Outcome<Self> {
        let both = tempfile::tempdir()?;
        let (file, folder) = (both.path().join("image"), both.path().join("mounted"));
        std::fs::create_dir(&folder)?;
        std::fs::File::create(&file)?.set_len(bytes)?;
        let image = Self { file, folder, _both: both };
        let made = text(&image.file)?.to_owned();
        let mkfs =
            tokio::task::spawn_blocking(move || run("mkfs.ext4", &["-q", "-F", "-m", "0", &made]));
        mkfs.await.map_err(|error| Failure::new(error.to_string()))??;
        image.mount()?;
        Ok(image)
    }

    /// Returns where it is mounted.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn mount(&self) -> Outcome {
        run("mount", &["-o", "loop", text(&self.file)?, text(&self.folder)?])
    }

    /// Cuts the power: from now on every call fails, and what was not synced is lost.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn cut(&self) -> Outcome {
        cut(&[self])
    }

    /// Unmounts and mounts it, as a start of the machine does.
    ///
    /// # Errors
    /// While a process still uses it.
    pub fn mount_again(&self) -> Outcome {
        // It stays unmounted after a first try that could not mount it.
        drop(Command::new("umount").arg(&self.folder).output());
        if std::fs::read_to_string("/proc/mounts")?.contains(text(&self.folder)?) {
            return Err(Failure::new("it is still in use"));
        }
        self.mount()
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.folder).output());
    }
}

/// Cuts the power of all `images`, the next one at once.
///
/// # Errors
/// When the system refuses.
pub fn cut(images: &[&Image]) -> Outcome {
    let mut arguments = vec!["-c", CUT];
    for image in images {
        arguments.push(text(&image.folder)?);
    }
    run("python3", &arguments)
}

/// Takes all the room that is left below `folder`, into one file.
///
/// # Errors
/// When there is room left all the same.
pub fn fill(folder: &Path) -> Outcome {
    let filler = folder.join(FILLER);
    let df = Command::new("df").args(["--output=avail", "-B1"]).arg(folder).output()?;
    let df = String::from_utf8_lossy(&df.stdout).into_owned();
    if let Some(left) = df.lines().last().map(str::trim) {
        // What it cannot take whole the pieces below take.
        drop(run("fallocate", &["-l", left, text(&filler)?]));
    }
    let mut filler = std::fs::File::options().append(true).create(true).open(filler)?;
    // In smaller and smaller pieces, since the last whole one may leave some room.
    for piece in [1 << 20, 64 << 10, 4 << 10, 512] {
        while filler.write_all(&vec![b'f'; piece]).and_then(|()| filler.sync_data()).is_ok() {}
    }
    let more = folder.join("more");
    let took = std::fs::write(&more, [b'm'; 8192]);
    drop(std::fs::remove_file(more));
    match took {
        Ok(()) => {
            Err(Failure::new(format!("{} has room although it was filled", folder.display())))
        }
        Err(_) => Ok(()),
    }
}

/// Makes room again.
///
/// # Errors
/// When the system refuses.
pub fn clear(folder: &Path) -> Outcome {
    let filler = folder.join(FILLER);
    if filler.exists() { Ok(std::fs::remove_file(filler)?) } else { Ok(()) }
}
