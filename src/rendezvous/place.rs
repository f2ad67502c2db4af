//! The folder in which the processes of one cluster meet.
//!
//! Owns the names and the form of its files. Does not decide who forms or joins. Invariant: a member is shown only while its
//! process lives, and only once it is in the cluster.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rand::TryRng;

use super::Error;
use crate::host::{Folder, Place, Share, Turn};
use crate::ids::{Label, NodeId};
use crate::transport::Secret;

const SECRET: &str = "secret";
const TURN: &str = "turn";
const ENDING: &str = ".member";
const FIRST_LINE: &str = "quorate 1";

/// The folder of one cluster.
#[derive(Clone, Debug)]
pub(super) struct MeetingPlace(Folder);

/// The living members and where they are reached.
pub(super) type Members = BTreeMap<NodeId, SocketAddr>;

impl MeetingPlace {
    /// Opens the folder of the cluster `name` within `outer`, and makes both if they are not there.
    pub(super) fn open(outer: &Path, name: &Label) -> Result<Self, Error> {
        let outer = Folder::open(outer)?;
        Ok(Self(Folder::open(&outer.path().join(name.as_str()))?))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where a node of this place with this lock folder shows that it lives.
    pub(super) fn locks(&self, folder: Option<&PathBuf>) -> Place {
        folder.map_or_else(|| self.0.place(), |folder| Place::Folder(folder.clone()))
    }

    /// Takes the turn, if it is free now.
    pub(super) fn turn(&self, share: Share) -> Result<Option<Turn>, Error> {
        Ok(self.0.turn(TURN, share)?)
    }

    /// The secret, if one was made.
    pub(super) fn secret(&self) -> Result<Option<Secret>, Error> {
        let text = self.0.read(SECRET)?;
        Ok(text.map(|text| Secret::from_text(&text)).transpose()?)
    }

    /// The secret, which is made if there is none. For one process at a time.
    pub(super) fn secret_or_new(&self) -> Result<Secret, Error> {
        if let Some(secret) = self.secret()? {
            return Ok(secret);
        }
        let mut random = [0; 32];
        let filled = rand::rngs::SysRng.try_fill_bytes(&mut random);
        filled.map_err(|error| Error::Random(error.to_string()))?;
        let secret = Secret::generate(random);
        self.write_secret(&secret)?;
        Ok(secret)
    }

    fn write_secret(&self, secret: &Secret) -> Result<(), Error> {
        Ok(self.0.write(SECRET, &format!("{}\n", secret.to_text()))?)
    }

    /// Writes this member's file and the secret, as files that nobody takes for old.
    pub(super) fn show(
        &self,
        node: NodeId,
        address: SocketAddr,
        secret: Option<&Secret>,
    ) -> Result<(), Error> {
        self.0.write(&file_name(node), &format!("{FIRST_LINE}\naddress {address}\n"))?;
        secret.map_or(Ok(()), |secret| self.write_secret(secret))
    }

    /// Tells whether this member's file is there still, and the secret if it is the one of this place.
    pub(super) fn is_shown(&self, node: NodeId, has_secret: bool) -> Result<bool, Error> {
        let is_member_there = self.0.read(&file_name(node))?.is_some();
        Ok(is_member_there && (!has_secret || self.0.read(SECRET)?.is_some()))
    }

    /// Takes a member off the list.
    pub(super) fn withdraw(&self, node: NodeId) -> Result<(), Error> {
        Ok(self.0.remove(&file_name(node))?)
    }

    /// Lists the members whose processes live, and clears away what the others left.
    pub(super) fn members(&self, locks: &Place) -> Result<Members, Error> {
        let mut members = Members::new();
        for name in self.0.names()? {
            let Some(node) = name.strip_suffix(ENDING).and_then(|id| id.parse().ok()) else {
                continue;
            };
            if !locks.is_held(node)? {
                self.0.remove(&name)?;
            } else if let Some(text) = self.0.read(&name)? {
                let address = address(&text).ok_or_else(|| Error::Foreign {
                    folder: self.path().to_owned(),
                    what: format!("{name} holds no address"),
                })?;
                members.insert(node, address);
            }
        }
        Ok(members)
    }
}

fn file_name(node: NodeId) -> String {
    format!("{node}{ENDING}")
}

fn address(text: &str) -> Option<SocketAddr> {
    let mut lines = text.lines();
    if lines.next() != Some(FIRST_LINE) {
        return None;
    }
    lines.find_map(|line| line.strip_prefix("address ")?.parse().ok())
}
