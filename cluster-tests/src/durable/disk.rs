//! File systems that are small, or lose their power.
//!
//! Owns: mounting them, cutting them off, and taking them away again. Does not own: what lies on them. Invariant: what was
//! mounted here is unmounted when its value is dropped. Needs root.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::failure::{Failure, Outcome};

/// The size of a small disk, as `mount` reads it.
pub(super) const SMALL: &str = "6m";

/// Cuts a mounted file system off without writing its journal: `FS_IOC_SHUTDOWN` with `NOLOGFLUSH`.
const CUT: &str = "import fcntl, os, struct, sys\n\
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";

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
pub(super) struct Small(TempDir);

impl Small {
    /// Mounts one of `size`.
    pub(super) fn mount(size: &str) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let options = format!("size={size}");
        run("mount", &["-t", "tmpfs", "-o", &options, "tmpfs", text(folder.path())?])?;
        Ok(Self(folder))
    }

    pub(super) fn folder(&self) -> &Path {
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
pub(super) struct Image {
    file: PathBuf,
    folder: PathBuf,
    _both: TempDir,
}

impl Image {
    /// Makes and mounts one.
    pub(super) async fn make() -> Outcome<Self> {
        let both = tempfile::tempdir()?;
        let (file, folder) = (both.path().join("image"), both.path().join("mounted"));
        std::fs::create_dir(&folder)?;
        std::fs::File::create(&file)?.set_len(1024 * 1024 * 1024)?;
        let image = Self { file, folder, _both: both };
        let made = text(&image.file)?.to_owned();
        let mkfs = tokio::task::spawn_blocking(move || run("mkfs.ext4", &["-q", "-F", &made]));
        mkfs.await.map_err(|error| Failure::new(error.to_string()))??;
        image.mount()?;
        Ok(image)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn mount(&self) -> Outcome {
        run("mount", &["-o", "loop", text(&self.file)?, text(&self.folder)?])
    }

    /// Cuts the power: from now on every call fails, and what was not synced is lost.
    pub(super) fn cut(&mut self) -> Outcome {
        run("python3", &["-c", CUT, text(&self.folder)?])
    }

    /// Unmounts and mounts it, as a start of the machine does.
    pub(super) fn mount_again(&self) -> Outcome {
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
