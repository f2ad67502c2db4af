//! Who forms the cluster and who joins it.
//!
//! Owns the decision, and the members' files as long as their nodes serve. Invariants: who forms has the turn alone until it is
//! a member for all to see; who joins shares the turn until it is one, so that nobody can form a second cluster meanwhile; and
//! whoever could not join gives its node up before it gives the turn back.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::Error;
use super::place::{MeetingPlace, Members};
use crate::host::{Place, Share};
use crate::node::status::State;
use crate::node::{Config, Node};
use crate::transport::Secret;

/// How often is looked whether the turn is free; no file tells of it.
const LOOK: Duration = Duration::from_millis(10);
/// How often a process that joins looks whether those live through whom it does.
const LOOK_AT_MEMBERS: Duration = Duration::from_millis(50);
/// How long a process goes on that has the state of a cluster whose other members are dead: it may be the survivor who
/// goes on by itself.
const SURVIVAL_MAX: Duration = Duration::from_secs(3);
/// How long it may take to give a node up.
const GIVE_UP_MAX: Duration = Duration::from_secs(5);
/// How often a member looks whether its files are there.
const LOOK_AT_FILES: Duration = Duration::from_secs(10);
/// After how long it writes them again all the same: sweepers of temporary files take what is days old, all of it at once.
const RENEW: Duration = Duration::from_secs(3600);

/// Starts a node and takes it into the cluster of this place.
pub(super) async fn meet(
    place: &MeetingPlace,
    config: &Config,
    patience: Duration,
) -> Result<Node, Error> {
    let meeting = Meeting {
        place,
        config,
        locks: place.locks(config.node.lock_dir.as_ref()),
        needs_secret: !config.can_be_joined(),
        began: Instant::now(),
        patience,
    };
    loop {
        if let Some(node) = meeting.attempt().await? {
            return Ok(node);
        }
        if meeting.is_late() {
            return Err(meeting.late()?);
        }
        sleep(LOOK).await;
    }
}

struct Meeting<'a> {
    place: &'a MeetingPlace,
    config: &'a Config,
    locks: Place,
    /// Whether the secret is the one of the place.
    needs_secret: bool,
    began: Instant,
    patience: Duration,
}

impl Meeting<'_> {
    fn members(&self) -> Result<Members, Error> {
        self.place.members(&self.locks)
    }

    fn is_late(&self) -> bool {
        self.began.elapsed() > self.patience
    }

    fn late(&self) -> Result<Error, Error> {
        let (folder, members) = (self.place.path().to_owned(), self.members()?.len());
        Ok(Error::Late { folder, members, waited: self.began.elapsed() })
    }

    /// Joins if there is somebody to join, forms if there is nobody and it is this one's turn; none when neither could be done.
    async fn attempt(&self) -> Result<Option<Node>, Error> {
        if let Some(_turn) = self.place.turn(Share::Together)? {
            let members = self.members()?;
            if !members.is_empty() {
                return self.join(&members).await;
            }
        }
        if let Some(_turn) = self.place.turn(Share::Alone)?
            && self.members()?.is_empty()
        {
            return self.form().await.map(Some);
        }
        Ok(None)
    }

    async fn form(&self) -> Result<Node, Error> {
        let secret = self.needs_secret.then(|| self.place.secret_or_new()).transpose()?;
        let node = self.start(Vec::new(), secret.as_ref()).await?;
        let formed = tokio::select! {
            () = node.ready() => self.show(&node, secret),
            why = node.stopped() => Err(Error::Stopped(why)),
        };
        if formed.is_err() {
            give_up(&node).await;
        }
        formed.map(|()| node)
    }

    async fn join(&self, members: &Members) -> Result<Option<Node>, Error> {
        let secret = if self.needs_secret { self.place.secret()? } else { None };
        if self.needs_secret && secret.is_none() {
            // A member will write it again.
            return Ok(None);
        }
        let seeds = members.values().map(ToString::to_string).collect();
        let node = self.start(seeds, secret.as_ref()).await?;
        let joined = tokio::select! {
            () = node.ready() => self.show(&node, secret).map(|()| true),
            why = node.stopped() => Err(Error::Stopped(why)),
            nobody = self.nobody_is_left(&node, members) => nobody.map(|()| false),
        };
        if !matches!(joined, Ok(true)) {
            give_up(&node).await;
        }
        Ok(joined?.then_some(node))
    }

    async fn start(&self, seeds: Vec<String>, secret: Option<&Secret>) -> Result<Node, Error> {
        let mut config = self.config.clone();
        config.node.seeds = seeds;
        config.cluster.secret = secret.cloned().or(config.cluster.secret);
        // It is large, and programs put what they await here into tasks of their own.
        Ok(Box::pin(Node::start(config)).await?)
    }

    /// Comes back when there is no hope left to join through `seeds`: they are dead, or take too long.
    async fn nobody_is_left(&self, node: &Node, seeds: &Members) -> Result<(), Error> {
        let mut looks = interval(LOOK_AT_MEMBERS);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut dead_since = None;
        loop {
            looks.tick().await;
            if self.is_late() {
                return Err(self.late()?);
            }
            if self.members()?.keys().any(|member| seeds.contains_key(member)) {
                dead_since = None;
                continue;
            }
            let since = *dead_since.get_or_insert_with(Instant::now);
            let has_state = node.status().node.state != State::Joining;
            if !has_state || since.elapsed() > SURVIVAL_MAX {
                tracing::info!(node = %node.id(), "those died through whom this node was to join");
                return Ok(());
            }
        }
    }

    /// Shows a node that is in the cluster to those who come later, for as long as it serves.
    fn show(&self, node: &Node, secret: Option<Secret>) -> Result<(), Error> {
        self.place.show(node.id(), node.address(), secret.as_ref())?;
        tokio::spawn(keep_up(self.place.clone(), node.clone(), secret));
        Ok(())
    }
}

async fn give_up(node: &Node) {
    if timeout(GIVE_UP_MAX, node.leave()).await.is_err() {
        tracing::warn!(node = %node.id(), "a node that was given up has not ended in {GIVE_UP_MAX:?}");
    }
}

async fn keep_up(place: MeetingPlace, node: Node, secret: Option<Secret>) {
    let mut looks = interval(LOOK_AT_FILES);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shown = Instant::now();
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = node.ends() => break,
        }
        let is_there = place.is_shown(node.id(), secret.is_some());
        let is_due = shown.elapsed() > RENEW || matches!(is_there, Ok(false));
        if !is_due {
            continue;
        }
        match place.show(node.id(), node.address(), secret.as_ref()) {
            Ok(()) => shown = Instant::now(),
            Err(error) => tracing::warn!(%error, "others may not find this process"),
        }
    }
    if let Err(error) = place.withdraw(node.id()) {
        tracing::warn!(%error, "a node that leaves is still shown to others");
    }
}
