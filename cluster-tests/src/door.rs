//! The doors of nodes that come and go, and what is known of a write that was sent through one.
//!
//! Owns: where a node is reached, the effect of one write, times and their figures. Does not own: what is
//! written. Invariant: a write counts as done only if its reply arrived, and as refused only if the reply promises that it
//! had no effect; everything else is unknown.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::chance::Chance;
use crate::client::{Arrival, Client, encode};
use crate::failure::{Failure, Outcome};
use crate::reply::Reply;

/// How long a client waits for one reply: longer than a node waits for an outcome, so that the node tells it first.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(15);
/// How long a node may take to accept a connection; one that is paused takes for ever.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// The replies that promise that nothing happened.
const REFUSALS: [&str; 2] = ["TRYAGAIN", "CLUSTERDOWN"];

/// Where one start of a node is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// Its place, which a later start of it shares.
    pub slot: usize,
    /// The node's id.
    pub id: String,
    /// Its RESP address.
    pub resp: SocketAddr,
    /// Its HTTP address.
    pub http: SocketAddr,
    /// What a client must say first.
    pub password: Option<String>,
}

impl Door {
    /// Connects a client.
    ///
    /// # Errors
    /// When the node does not let it in within two seconds.
    pub async fn open(&self) -> Outcome<Client> {
        let opening = async {
            let mut client = Client::connect(self.resp).await?;
            if let Some(password) = &self.password {
                let reply = client.call(&[b"AUTH", password.as_bytes()]).await?;
                if let Some(text) = reply.error_text() {
                    return Err(Failure::new(text));
                }
            }
            Ok(client)
        };
        let late = |_| Failure::new(format!("n{} lets nobody in", self.slot));
        timeout(CONNECT_DEADLINE, opening).await.map_err(late)?
    }
}

/// Draws one of `doors`, not that of `slot` if there is another.
pub fn another(doors: &[Door], slot: Option<usize>, chance: &mut Chance) -> Option<Door> {
    let others: Vec<&Door> = doors.iter().filter(|door| Some(door.slot) != slot).collect();
    chance.pick(&others).or_else(|| doors.first()).cloned()
}

/// What is known of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// It happened, with this reply.
    Done(Reply),
    /// The node says that it surely did not.
    Refused(String),
    /// The node says that it may have, or says nothing in time.
    Unknown(String),
    /// The connection ended without a reply.
    Cut,
}

impl Effect {
    /// Judges a reply.
    #[must_use]
    pub fn of(reply: Reply) -> Self {
        match reply.error_text() {
            None => Self::Done(reply),
            Some(text) if REFUSALS.iter().any(|word| text.starts_with(word)) => Self::Refused(text),
            Some(text) => Self::Unknown(text),
        }
    }
}

/// Sends one command and waits for what becomes of it.
pub async fn attempt(client: &mut Client, arguments: &[&[u8]]) -> Effect {
    if let Err(failure) = client.send(&encode(arguments)).await {
        return Effect::Unknown(failure.to_string());
    }
    match client.next(WRITE_DEADLINE).await {
        Ok(Arrival::Reply(reply)) => Effect::of(reply),
        Ok(Arrival::Closed) => Effect::Cut,
        Ok(Arrival::Nothing) => Effect::Unknown(format!("no reply within {WRITE_DEADLINE:?}")),
        Err(failure) => Effect::Unknown(failure.to_string()),
    }
}

/// Checks that `key<n>` holds `n` for each of `numbers`.
///
/// # Errors
/// When one does not.
pub async fn check_keys(client: &mut Client, prefix: &str, numbers: &[u64]) -> Outcome {
    for batch in numbers.chunks(500) {
        let keys: Vec<String> = batch.iter().map(|number| format!("{prefix}{number}")).collect();
        let mut command: Vec<&[u8]> = vec![b"MGET"];
        command.extend(keys.iter().map(String::as_bytes));
        let reply = client.call(&command).await?;
        let values = reply.elements().ok_or_else(|| Failure::new(format!("MGET: {reply}")))?;
        for (number, value) in batch.iter().zip(values) {
            if *value != Reply::Bulk(number.to_string().into_bytes()) {
                let text = format!("{prefix}{number} was acknowledged and is {value}");
                return Err(Failure::new(text));
            }
        }
    }
    Ok(())
}

/// Reads a number; a key that is not there counts as 0.
///
/// # Errors
/// When it is no number, or the node refuses.
pub async fn read_number(client: &mut Client, arguments: &[&[u8]]) -> Outcome<u64> {
    let reply = client.call(arguments).await?;
    if matches!(reply, Reply::NilBulk | Reply::Null) {
        return Ok(0);
    }
    let text = reply.bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    text.and_then(|text| text.parse().ok()).ok_or_else(|| Failure::new(format!("read {reply}")))
}

/// Returns the longest time between two of `times` that follow each other, from the last one up to `from` on.
#[must_use]
pub fn longest_gap(times: &[Instant], from: Instant) -> Option<Duration> {
    let mut times = times.to_vec();
    times.sort_unstable();
    let first = times.iter().rposition(|time| *time <= from)?;
    let pairs = times.get(first..)?.windows(2);
    pairs.filter_map(|pair| Some(*pair.last()? - *pair.first()?)).max()
}

/// Sorts `times` and returns the middle, the one that 99 of 100 do not exceed, and the longest.
pub fn figures(times: &mut [Duration]) -> Option<[Duration; 3]> {
    times.sort_unstable();
    let last = times.len().checked_sub(1)?;
    Some([*times.get(times.len() / 2)?, *times.get(last * 99 / 100)?, *times.get(last)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_are_judged_by_what_the_reply_promises() {
        let error = |text: &str| Effect::of(Reply::Error(text.as_bytes().to_vec()));
        assert_eq!(Effect::of(Reply::Integer(1)), Effect::Done(Reply::Integer(1)));
        assert!(matches!(error("TRYAGAIN later"), Effect::Refused(_)));
        assert!(matches!(error("CLUSTERDOWN no"), Effect::Refused(_)));
        assert!(matches!(error("UNKNOWN"), Effect::Unknown(_)));
        assert!(matches!(error("ERR what"), Effect::Unknown(_)));
    }

    #[test]
    fn the_gap_begins_with_the_last_write_before() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let times = [at(1400), at(0), at(500), at(990), at(1450)];
        assert_eq!(longest_gap(&times, at(1000)), Some(Duration::from_millis(410)));
        assert_eq!(longest_gap(&times, at(1400)), Some(Duration::from_millis(50)));
        assert_eq!(longest_gap(&times[..1], at(1000)), None);
        let mut times: Vec<Duration> = (0..=100).map(Duration::from_millis).collect();
        assert_eq!(figures(&mut times), Some([50, 99, 100].map(Duration::from_millis)));
        assert_eq!(figures(&mut []), None);
    }

    #[test]
    fn another_door_is_taken_while_there_is_one() {
        let door = |slot| {
            let address = SocketAddr::from(([127, 0, 0, 1], 1));
            Door { slot, id: String::new(), resp: address, http: address, password: None }
        };
        let mut chance = Chance::new(Some(1));
        let doors = [door(1), door(2)];
        assert_eq!(another(&doors, Some(1), &mut chance).map(|door| door.slot), Some(2));
        assert_eq!(another(&doors[..1], Some(1), &mut chance).map(|door| door.slot), Some(1));
        assert_eq!(another(&[], None, &mut chance), None);
    }
}
