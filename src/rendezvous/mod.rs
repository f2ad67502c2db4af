//! Processes of one user on one machine find each other without any configuration, and form one cluster.
//!
//! Owns the question who forms and who joins, and the folder through which processes meet. Does not own the node, nor the locks
//! that tell who lives; `node` and `host` do. Invariant: a cluster is formed only by a process that has the folder's turn
//! alone and sees that no living process is in one; who joins shares the turn until it is in, or has given up.
//!
//! ```text
//! <folder of the user>/<name of the cluster>/
//!   secret               what proves that a process belongs to the cluster, made once
//!   turn                 alone: who forms a cluster; together: those who join it
//!   <node id>.lock       held by the process as long as it lives; see `host`
//!   <node id>.member     the address of a node that is in the cluster; it counts while the lock is held
//! ```

mod meet;
mod place;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use self::place::MeetingPlace;
use crate::host;
use crate::ids::{self, Label};
use crate::node::{self, Config, Node};
use crate::transport;

/// How long a process looks for its cluster before it gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// The environment variable that names the folder in which each cluster has a folder of its own.
pub const FOLDER_VARIABLE: &str = "QUORATE_RENDEZVOUS";

/// Starts a node in the cluster called `name` of this user on this machine, and forms that cluster when no living process is in
/// it. Comes back when the node is ready. The processes meet in the folder that `QUORATE_RENDEZVOUS` names, else in
/// `quorate-<user id>` in the folder for temporary files.
///
/// `config` says the rest. Unless it says otherwise the secret comes from the folder, and so do the locks by which the
/// others know of a death at once and go on by themselves, even one of two. The state lives as long as one of the processes does.
///
/// # Errors
/// When the folder cannot be used or belongs to another user, when `config` contradicts a rendezvous (it names seeds or a
/// data folder), when the node does not start, or when nobody could be joined within 30 s.
///
/// # Cancel safety
/// Not safe: a node that was started goes on.
pub async fn start(name: &str, config: Config) -> Result<Node, Error> {
    start_in(&default_folder()?, name, config).await
}

/// The same in a folder of the caller's choice, in which each cluster has a folder of its own. It is made if it is not there,
/// and must be on a local disk.
///
/// # Errors
/// As [`start`].
///
/// # Cancel safety
/// As [`start`].
pub async fn start_in(folder: &Path, name: &str, config: Config) -> Result<Node, Error> {
    let name: Label = name.parse()?;
    let place = MeetingPlace::open(folder, &name)?;
    let config = fit(config, name, &place)?;
    meet::meet(&place, &config, PATIENCE).await
}

/// The folder in which processes meet unless they are told another: the one that `QUORATE_RENDEZVOUS` names, else
/// `quorate-<user id>` in the folder for temporary files. It is not below `XDG_RUNTIME_DIR`: a service has none, and the
/// one of a user is taken away at the logout that a service outlives.
///
/// # Errors
/// When the user's id cannot be learnt.
pub fn default_folder() -> Result<PathBuf, Error> {
    match std::env::var_os(FOLDER_VARIABLE).filter(|folder| !folder.is_empty()) {
        Some(folder) => Ok(folder.into()),
        None => Ok(host::Place::default_folder()?),
    }
}

/// Makes the configuration one of a cluster that meets in `place`.
fn fit(mut config: Config, name: Label, place: &MeetingPlace) -> Result<Config, Error> {
    let Config { cluster, node, .. } = &config;
    for (key, is_given) in [
        ("node.seeds", !node.seeds.is_empty()),
        ("node.data_dir", node.data_dir.is_some()),
        ("restore", node.restore.is_some()),
        ("cluster.bootstrap_expect", cluster.bootstrap_expect > 1),
    ] {
        if is_given {
            return Err(Error::Key { key });
        }
    }
    config.cluster.id = name;
    config.node.lock_dir.get_or_insert_with(|| place.path().to_owned());
    Ok(config)
}

/// Why a process is in no cluster.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is no label. Choose another.
    #[error("name of a cluster: {0}")]
    Name(#[from] ids::Error),
    /// The folder cannot be used, or another user owns it. Somebody must change that, or name another.
    #[error("{0}")]
    Folder(#[from] host::Error),
    /// A file in the folder holds what nobody here wrote. Remove it, once no process of the cluster runs.
    #[error("rendezvous folder {}: {what}", folder.display())]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A key that is for clusters whose nodes are told of each other. Leave it out, or use [`Node::start`].
    #[error("{key} cannot be given where processes find each other by themselves")]
    Key {
        /// The key.
        key: &'static str,
    },
    /// The secret could not be made or read.
    #[error("{0}")]
    Secret(#[from] transport::Error),
    /// The system has no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(String),
    /// The node does not start.
    #[error("{0}")]
    Node(#[from] node::StartError),
    /// The node could not go on.
    #[error("the node stopped: {0}")]
    Stopped(String),
    /// Processes that live did not let this one in: they are stopped, or too busy. Try again.
    #[error(
        "in no cluster after {waited:?}: {members} living processes are in {}, and none let this one in",
        folder.display()
    )]
    Late {
        /// Where they meet.
        folder: PathBuf,
        /// How many there are.
        members: usize,
        /// For how long this process has tried.
        waited: Duration,
    },
}

impl Error {
    /// Tells whether somebody must change a name, a key or a folder before another try can succeed.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        match self {
            Self::Name(_)
            | Self::Folder(_)
            | Self::Foreign { .. }
            | Self::Key { .. }
            | Self::Secret(_) => true,
            Self::Node(error) => error.is_configuration(),
            Self::Random(_) | Self::Stopped(_) | Self::Late { .. } => false,
        }
    }
}
