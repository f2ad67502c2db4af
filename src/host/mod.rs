//! Which processes of this host live: each holds a lock that the kernel lets go when it dies.
//!
//! Owns the lock files, what can be said of a node by them, and the folders that they are in. Does not know Raft, and decides nothing. Invariants: what is
//! called dead has ended for certain; a file under a node's name was locked before it got that name, so that no start is
//! ever taken for a death; whatever is in doubt is unknown.

mod files;
mod folder;
mod memory;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

pub use self::folder::{Folder, Share, Turn};
pub use self::memory::MemoryHost;
use crate::ids::NodeId;

/// What is known of the process of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// It lives on this host; it may be stopped, or cut off.
    Alive,
    /// It lived on this host and has ended for certain.
    Dead {
        /// Whether it keeps its data on disk, so that it may come back with it.
        is_durable: bool,
    },
    /// Nothing: it runs elsewhere, never ran, or left cleanly.
    Unknown,
}

/// Where processes hold their locks.
#[derive(Clone, Debug)]
pub enum Place {
    /// A folder of lock files on a local disk.
    Folder(PathBuf),
    /// A host that exists in a test or simulation only.
    Memory(MemoryHost),
    /// Nowhere: of no node anything is known.
    Nowhere,
}

/// One node's hold, and its look at the others. Cheap to clone; the lock goes with the last clone, or with the process.
#[derive(Clone, Debug)]
pub struct Host(Arc<Hold>);

#[derive(Debug)]
enum Hold {
    File(files::LockFile),
    Memory(memory::Held),
    Nothing,
}

impl Place {
    /// The folder that the processes of one user share unless another is configured: `quorate-<user id>` in the folder for
    /// temporary files.
    ///
    /// # Errors
    /// When no file can be made there, by which the user's id is learnt.
    pub fn default_folder() -> Result<PathBuf, Error> {
        files::default_folder()
    }

    /// Takes the lock of `node` for this process. `is_durable` tells others whether it may come back after its death.
    ///
    /// # Errors
    /// When the folder cannot be used or may be changed by another user, or when a living process holds the node.
    pub fn hold(&self, node: NodeId, is_durable: bool) -> Result<Host, Error> {
        let hold = match self {
            Self::Folder(folder) => Hold::File(files::LockFile::hold(folder, node, is_durable)?),
            Self::Memory(host) => Hold::Memory(host.hold(node, is_durable)?),
            Self::Nowhere => Hold::Nothing,
        };
        Ok(Host(Arc::new(hold)))
    }

    /// Tells whether a living process of this host holds the lock of `node`. Cost: opens one file.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn is_held(&self, node: NodeId) -> Result<bool, Error> {
        match self {
            Self::Folder(folder) => files::is_held(folder, node)
                .map_err(|source| Error::Folder { folder: folder.clone(), source }),
            Self::Memory(host) => Ok(host.is_held(node)),
            Self::Nowhere => Ok(false),
        }
    }
}

impl Host {
    /// A hold on nothing, which knows nothing.
    #[must_use]
    pub fn nowhere() -> Self {
        Self(Arc::new(Hold::Nothing))
    }

    /// Tells what is known of the process of `node`. Cost: opens one file.
    #[must_use]
    pub fn evidence(&self, node: NodeId) -> Evidence {
        match &*self.0 {
            Hold::File(file) => file.evidence(node),
            Hold::Memory(held) => held.evidence(node),
            Hold::Nothing => Evidence::Unknown,
        }
    }

    /// Makes the lock file young, which sweepers of temporary files leave alone; to be done every few hours.
    pub fn renew(&self) {
        if let Hold::File(file) = &*self.0
            && let Err(error) = file.renew()
        {
            tracing::warn!(%error, "the lock file of this process could not be renewed");
        }
    }

    /// Lets the lock go, once the node has stopped for good. One that the others have let go leaves no trace; one that may
    /// still be counted on is from now on known to be dead.
    pub fn release(&self, is_let_go: bool) {
        match &*self.0 {
            Hold::File(file) => file.release(is_let_go),
            Hold::Memory(held) => held.release(is_let_go),
            Hold::Nothing => {}
        }
    }
}

/// Why a lock is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder or a file in it cannot be used. Somebody must change that, or name another folder.
    #[error("lock folder {}: {source}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another user could make the dead look alive or the living dead. Name another folder.
    #[error("lock folder {} {what}", folder.display())]
    Unsafe {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A process runs under this id already. Stop one of the two.
    #[error("a living process holds node {node} already")]
    Held {
        /// The node.
        node: NodeId,
    },
}
