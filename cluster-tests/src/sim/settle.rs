//! The second phase: nothing is wrong any more, and the cluster has to come to rest.
//!
//! Owns what must hold then, and by when. Changes nothing but the data it writes to see whether that works. Invariant: what is
//! not there in time is a finding, with what the nodes say instead.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use quorate::Node;
use quorate::command::{Command, Operation, Reply, Request};
use quorate::node::Consistency;
use quorate::node::status::Role;
use quorate::pubsub::Kind;

use super::clients::perform::perform;
use super::setup::Workload;
use super::world::World;
use crate::history::{Answer, Call, Line, Outcome};

/// How long the cluster may take to come to rest, beside the time after which a silent voter is replaced.
const REST_MAX: Duration = Duration::from_secs(15);
/// How long a fresh write, a read or a message may take then.
const SERVED_MAX: Duration = Duration::from_secs(3);
/// The channel of the last messages.
const LAST_CHANNEL: &[u8] = b"last-words";

/// Waits until all is well; notes a finding if it is not in time.
pub fn wait_for_rest(world: &mut World) {
    let begun = world.now;
    let until = begun + REST_MAX + Duration::from_millis(world.setup.times.replace_after);
    if world.run_until(until, |world| unrest(world).is_none()) {
        let took = world.now - begun;
        world.note(format!("at rest after {took:?}"));
    } else if let Some(why) = unrest(world) {
        let says = says(world);
        world.find(format!("no rest within {:?}: {why}; {says}", until - begun));
    }
}

/// What every node says, for people.
fn says(world: &World) -> String {
    let statuses = world.statuses().into_iter().map(|(number, status)| {
        let raft = &status.raft;
        let (state, reason) = (&status.node.state, &status.node.reason);
        let voters: Vec<_> = status.voters.iter().map(ToString::to_string).collect();
        format!(
            "n{number} {} {state:?} {reason:?} {:?} term {} applied {} of {} voters {} sessions {} knows {:?} decision {:?}",
            status.node.id,
            raft.role,
            raft.term,
            raft.applied,
            raft.last_log,
            voters.join(" "),
            status.sessions,
            status.members.iter().filter(|member| member.alive).count(),
            status.manager.as_ref().map(|manager| &manager.decision),
        )
    });
    statuses.collect::<Vec<_>>().join("; ")
}

/// Why the cluster is not at rest; none if it is.
fn unrest(world: &World) -> Option<String> {
    if !world.is_whole() {
        return Some("not every node serves".to_owned());
    }
    let statuses = world.statuses();
    let leaders = statuses.iter().filter(|(_, status)| status.raft.role == Role::Leader);
    let leaders: Vec<usize> = leaders.map(|(number, _)| *number).collect();
    if leaders.len() != 1 {
        return Some(format!("leaders: {leaders:?}"));
    }
    let seen: BTreeSet<_> = statuses.iter().map(|(_, status)| status.raft.leader).collect();
    let formations: BTreeSet<_> = statuses.iter().map(|(_, s)| &s.cluster.formation).collect();
    let voters: BTreeSet<_> = statuses.iter().map(|(_, status)| &status.voters).collect();
    if seen.len() != 1 || formations.len() != 1 || voters.len() != 1 {
        return Some("they disagree on leader, formation or voters".to_owned());
    }
    let alive: BTreeSet<_> = statuses.iter().map(|(_, status)| status.node.id).collect();
    let voters = voters.first().map(|voters| voters.as_slice()).unwrap_or_default();
    let expected = usize::from(world.setup.voters_target).min(alive.len());
    let expected = expected - usize::from(expected.is_multiple_of(2));
    if voters.len() != expected || !voters.iter().all(|voter| alive.contains(voter)) {
        return Some(format!("{} voters, expected {expected} of the living", voters.len()));
    }
    if let Some((number, status)) =
        statuses.iter().find(|(_, status)| status.sessions != alive.len() as u64)
    {
        return Some(format!("n{number} knows of {} sessions", status.sessions));
    }
    None
}

/// Ends the load; everything that is under way must end too.
pub fn end_load(world: &mut World) {
    world.ground.stop();
    let wait = Duration::from_millis(3 * world.setup.patience) + SERVED_MAX;
    if !world.run_until(world.now + wait, |world| world.ground.under_way() == 0) {
        let left = world.ground.under_way();
        world.find(format!("{left} operations are stuck after {wait:?}"));
    }
}

/// Has every node write, read and publish, and waits until all have done so.
pub fn last_words(world: &mut World) {
    let expected = world.statuses().len();
    let finished = Arc::new(Mutex::new(0));
    let subscribed = Arc::new(tokio::sync::Barrier::new(expected.max(1)));
    let keys = Arc::new(keys(world));
    let machines: Vec<usize> = world.statuses().into_iter().map(|(number, _)| number).collect();
    for (place, number) in machines.iter().enumerate() {
        let task = LastWords {
            ground: world.ground.clone(),
            node: u8::try_from(*number).unwrap_or(u8::MAX),
            place,
            nodes: expected,
            keys: Arc::clone(&keys),
            subscribed: Arc::clone(&subscribed),
        };
        let finished = Arc::clone(&finished);
        world.hosts[*number].spawn(move |node| async move {
            task.run(&node).await;
            *finished.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        });
    }
    let count = || *finished.lock().unwrap_or_else(PoisonError::into_inner);
    if !world.run_until(world.now + 5 * SERVED_MAX, |_| count() == expected) {
        world.find(format!("{} of {expected} nodes have said their last words", count()));
    }
}

/// All keys that were used, with how each is read.
fn keys(world: &World) -> Vec<(String, Call)> {
    let lines = world.ground.recorder().lines();
    let mut keys = BTreeMap::new();
    for line in &lines {
        let Line::Operation(operation) = line else { continue };
        let call = match &operation.call {
            Call::Publish { .. } => continue,
            Call::Add(_) | Call::Remove(_) | Call::Contains(_) | Call::Members => Call::Members,
            Call::Increment(_) | Call::Count => Call::Count,
            Call::Append(_) | Call::Range => Call::Range,
            Call::Bind { .. } | Call::BoundFields => Call::BoundFields,
            Call::FieldSet { .. } | Call::FieldGet(_) | Call::Fields => Call::Fields,
            Call::FieldDelete(_) => {
                let is_bound = operation.key.starts_with("bound");
                if is_bound { Call::BoundFields } else { Call::Fields }
            }
            _ => Call::Read,
        };
        keys.entry(operation.key.clone()).or_insert(call);
    }
    keys.into_iter().collect()
}

/// What one node has to do at the end.
struct LastWords {
    ground: super::clients::ground::Ground,
    node: u8,
    place: usize,
    nodes: usize,
    keys: Arc<Vec<(String, Call)>>,
    subscribed: Arc<tokio::sync::Barrier>,
}

impl LastWords {
    async fn run(self, node: &Node) {
        self.write(node).await;
        for (at, (key, call)) in self.keys.iter().enumerate() {
            // Each key at two nodes.
            if at % self.nodes == self.place || (at + 1) % self.nodes == self.place {
                self.read(node, key, call).await;
            }
        }
        self.speak(node).await;
    }

    async fn write(&self, node: &Node) {
        let key = format!("last-{}", self.node);
        let call = Call::Write(self.ground.value());
        self.must(node, &key, call, |answer| matches!(answer, Answer::None)).await;
        let read = Call::Read;
        self.must(node, &key, read, |answer| matches!(answer, Answer::Value(Some(_)))).await;
    }

    async fn read(&self, node: &Node, key: &str, call: &Call) {
        self.must(node, key, call.clone(), |_| true).await;
    }

    /// Does what must work now.
    async fn must(&self, node: &Node, key: &str, call: Call, is_right: impl Fn(&Answer) -> bool) {
        let client = self.ground.client();
        let _under_way = self.ground.begin();
        let recorder = self.ground.recorder();
        let pending = recorder.invoke(client, self.node, key, call.clone(), self.ground.moment());
        let outcome = perform(node, client, key, &call, SERVED_MAX).await;
        match &outcome {
            Outcome::Ok(answer) if is_right(answer) => {}
            other => {
                let n = self.node;
                self.ground.find(format!("at rest, n{n}: {key} {call:?} gave {other:?}"));
            }
        }
        pending.complete(outcome, None, self.ground.moment());
    }

    /// Publishes once everybody listens, and waits for what everybody publishes.
    async fn speak(&self, node: &Node) {
        let subscriber = node.subscriber();
        let Ok(subscription) = subscriber.subscribe(Kind::Channel, LAST_CHANNEL) else {
            return self.ground.find(format!("at rest, n{}: no subscription", self.node));
        };
        subscription.in_effect().await;
        self.subscribed.wait().await;
        let payload = Bytes::from(vec![self.node]);
        if node.publish(Kind::Channel, LAST_CHANNEL, payload).is_err() {
            return self.ground.find(format!("at rest, n{}: nothing can be published", self.node));
        }
        let mut heard = BTreeSet::new();
        let all = async {
            while heard.len() < self.nodes {
                match subscriber.receive().await {
                    Ok(delivery) => heard.extend(delivery.message().map(|message| message.payload)),
                    Err(_) => return,
                }
            }
        };
        let in_time = tokio::time::timeout(SERVED_MAX, all).await.is_ok();
        if !in_time || heard.len() < self.nodes {
            let (n, few, all) = (self.node, heard.len(), self.nodes);
            self.ground.find(format!("at rest, n{n} heard {few} of {all} nodes"));
        }
    }
}

/// Compares what all nodes have, once they have applied equally much; gives a digest of it.
pub fn compare_states(world: &mut World) -> u64 {
    let applied = |world: &World| -> BTreeSet<u64> {
        world.statuses().iter().map(|(_, status)| status.raft.applied).collect()
    };
    for _ in 0..20 {
        let until = world.now + Duration::from_millis(500);
        if !world.run_until(until, |world| applied(world).len() == 1) {
            continue;
        }
        let before = applied(world);
        let dumps = dump_all(world);
        if applied(world) != before {
            continue;
        }
        let distinct: BTreeSet<&String> = dumps.values().collect();
        if distinct.len() > 1 {
            world.find(format!("states differ at equal positions: {dumps:?}"));
        }
        return distinct.first().map_or(0, |dump| super::run::digest(dump.as_bytes()));
    }
    let says = says(world);
    world.find(format!("the nodes never had applied equally much: {says}"));
    0
}

/// Takes what each node has of each key, in one step.
fn dump_all(world: &mut World) -> BTreeMap<usize, String> {
    let mut keys = keys(world);
    keys.retain(|(key, _)| !key.starts_with(&name_of(Workload::PubSub)));
    let keys = Arc::new(keys);
    let dumps = Arc::new(Mutex::new(BTreeMap::new()));
    let machines: Vec<usize> = world.statuses().into_iter().map(|(number, _)| number).collect();
    for number in machines {
        let (keys, dumps) = (Arc::clone(&keys), Arc::clone(&dumps));
        world.hosts[number].spawn(move |node| async move {
            let text = dump(&node, &keys).await;
            dumps.lock().unwrap_or_else(PoisonError::into_inner).insert(number, text);
        });
    }
    world.step();
    std::mem::take(&mut *dumps.lock().unwrap_or_else(PoisonError::into_inner))
}

fn name_of(workload: Workload) -> String {
    let name = serde_json::to_value(workload).ok();
    name.as_ref().and_then(|name| name.as_str()).unwrap_or_default().to_owned()
}

async fn dump(node: &Node, keys: &[(String, Call)]) -> String {
    let mut text = String::new();
    for (key, call) in keys {
        let Some(command) = super::clients::perform::command(key, call) else { continue };
        let mut requests = vec![Request::One(Operation::new(0, command))];
        if let Ok(ends) = Command::parse(&["PEXPIRETIME".into(), Bytes::from(key.clone())]) {
            requests.push(Request::One(Operation::new(0, ends)));
        }
        let replies = node.read(&requests, Consistency::Local).await.unwrap_or_default();
        let replies: Vec<Reply> = replies.into_iter().map(sorted).collect();
        // What was never there, or is gone, is the same on all.
        text.push_str(&format!("{key} {replies:?}\n"));
    }
    text
}

/// Gives elements of sets and fields an order.
fn sorted(reply: Reply) -> Reply {
    match reply {
        Reply::Set(mut items) => {
            items.sort_by_key(|item| format!("{item:?}"));
            Reply::Set(items)
        }
        Reply::Map(items) => {
            let mut pairs: Vec<String> = items.chunks(2).map(|pair| format!("{pair:?}")).collect();
            pairs.sort();
            Reply::Bulk(Bytes::from(pairs.concat()))
        }
        other => other,
    }
}
