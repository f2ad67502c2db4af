//! Readers at the other nodes, which look without a pause.
//!
//! Owns: the readers and what they saw last. Does not own: what may be seen. Invariant: a reader ends with a failure at the
//! first answer that shows half, and a node that refuses or is gone is no answer.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::state::{Hold, Sight};
use crate::client::{Arrival, Client};
use crate::failure::{Failure, Outcome};
use crate::reply::Reply;

/// Between two questions, so that readers leave the processor to the nodes.
const PAUSE: Duration = Duration::from_millis(1);
/// How long one answer may take; longer ones count as none.
const ANSWER: Duration = Duration::from_secs(15);

/// What a reader saw last.
#[derive(Debug, Clone, Copy)]
struct Seen {
    sight: Sight,
    /// When the first of the answers came that all show this.
    since: Instant,
    /// When the question of the last one was asked.
    asked: Instant,
}

type Last = Option<Seen>;

/// Readers under way.
#[derive(Debug)]
pub(super) struct Watchers(Vec<Watcher>);

#[derive(Debug)]
struct Watcher {
    place: String,
    seen: watch::Receiver<Last>,
    task: JoinHandle<Outcome>,
}

impl Drop for Watchers {
    fn drop(&mut self) {
        self.0.iter().for_each(|watcher| watcher.task.abort());
    }
}

impl Watchers {
    /// Starts two readers at each address: one asks for everything in one transaction, one for the fields alone.
    #[must_use]
    pub(super) fn start(addresses: &[SocketAddr], hold: Hold) -> Self {
        let mut watchers = Vec::new();
        for address in addresses {
            for whole in [true, false] {
                let (seen_tx, seen) = watch::channel(None);
                let task = tokio::spawn(look(*address, hold, whole, seen_tx));
                let place = format!("{} at {address}", if whole { "transaction" } else { "HLEN" });
                watchers.push(Watcher { place, seen, task });
            }
        }
        Self(watchers)
    }

    /// Waits until every reader has seen `sight` in an answer to a question asked at any time; returns when the last did.
    ///
    /// # Errors
    /// When one does not within `patience`, or one saw half.
    pub(super) async fn all_see(&mut self, sight: Sight, patience: Duration) -> Outcome<Instant> {
        let mut last = None;
        let deadline = Instant::now() + patience;
        for watcher in &mut self.0 {
            match watcher.wait(deadline, |seen| seen.sight == sight).await? {
                Some(seen) => last = last.max(Some(seen.since)),
                None => {
                    let saw = *watcher.seen.borrow();
                    let saw = saw.map(|seen| (seen.sight, seen.asked.elapsed()));
                    let text = format!("{sight:?} not seen within {patience:?}, last {saw:?} ago");
                    return Err(Failure::new(text).during(&watcher.place));
                }
            }
        }
        last.ok_or_else(|| Failure::new("no readers"))
    }

    /// Waits until every reader has had an answer to a question that began after now, and sees `sight` in it.
    ///
    /// # Errors
    /// When one sees something else, or has no answer within ten seconds.
    pub(super) async fn still_see(&mut self, sight: Sight) -> Outcome {
        let begin = Instant::now();
        for watcher in &mut self.0 {
            let deadline = begin + Duration::from_secs(10);
            let seen = watcher.wait(deadline, |seen| seen.asked > begin).await?;
            let seen = seen.map(|seen| seen.sight);
            if seen != Some(sight) {
                let text = format!("saw {seen:?} instead of {sight:?}");
                return Err(Failure::new(text).during(&watcher.place));
            }
        }
        Ok(())
    }
}

impl Watcher {
    /// Waits for an answer as `wanted`; none when there was none before `deadline`.
    async fn wait(
        &mut self,
        deadline: Instant,
        wanted: impl Fn(&Seen) -> bool,
    ) -> Outcome<Option<Seen>> {
        let wanted = |seen: &Last| seen.as_ref().is_some_and(&wanted);
        let seen = tokio::time::timeout_at(deadline, self.seen.wait_for(wanted)).await;
        match seen.map(|seen| seen.map(|seen| *seen)) {
            Ok(Ok(seen)) => Ok(seen),
            Ok(Err(_)) => Err(self.failure().await),
            Err(_) => Ok(None),
        }
    }

    async fn failure(&mut self) -> Failure {
        let failure = match (&mut self.task).await {
            Ok(Err(failure)) => failure,
            Ok(Ok(())) => Failure::new("the reader ended"),
            Err(error) => Failure::new(error.to_string()),
        };
        failure.during(&self.place)
    }
}

async fn look(
    address: SocketAddr,
    hold: Hold,
    whole: bool,
    seen_tx: watch::Sender<Last>,
) -> Outcome {
    let question = hold.question();
    let mut client = None;
    let mut last: Last = None;
    loop {
        sleep(PAUSE).await;
        let Some(open) = &mut client else {
            client = Client::connect(address).await.ok();
            continue;
        };
        let asked = Instant::now();
        let answer = if whole { ask_all(open, &question).await } else { ask_fields(open).await };
        let sight = match answer {
            None => {
                client = None;
                continue;
            }
            Some(Reply::Error(_)) => continue,
            Some(Reply::Integer(count)) => hold.sight_of_fields(count)?,
            Some(answer) => hold.sight(&answer)?,
        };
        let since = last.filter(|last| last.sight == sight).map(|last| last.since);
        last = Some(Seen { sight, since: since.unwrap_or_else(Instant::now), asked });
        seen_tx.send_replace(last);
    }
}

/// Returns the reply to EXEC, or none if the connection is of no use any more.
async fn ask_all(client: &mut Client, question: &[u8]) -> Option<Reply> {
    client.send(question).await.ok()?;
    let mut last = None;
    for _ in 0..Hold::REPLIES {
        let Ok(Arrival::Reply(reply)) = client.next(ANSWER).await else { return None };
        last = Some(reply);
    }
    last
}

async fn ask_fields(client: &mut Client) -> Option<Reply> {
    client.send(b"HLEN fields\r\n").await.ok()?;
    match client.next(ANSWER).await {
        Ok(Arrival::Reply(reply)) => Some(reply),
        Ok(Arrival::Closed | Arrival::Nothing) | Err(_) => None,
    }
}
