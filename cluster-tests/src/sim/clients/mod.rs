//! The clients of a simulated game process: tasks in its runtime that use its node as the program around it would.
//!
//! Owns what each of them does next. Does not own what all share (`ground`), nor how one operation goes (`perform`). Invariant:
//! a client does one thing after the other, and one whose operation has no known outcome goes on under another number.

pub mod ground;
mod listen;
pub mod perform;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quorate::Node;
use quorate::command::{Operation, Request};
use quorate::node::Consistency;

use self::ground::Ground;
use super::host::Host;
use super::setup::{Setup, Workload, odds};
use crate::chance::Chance;
use crate::history::{Answer, Call, Outcome};

/// The fields of a hash.
const FIELDS: usize = 5;

/// Starts the clients of a process that has just been started.
pub fn start(host: &Host, setup: &Setup, ground: &Ground, chance: &mut Chance) {
    let machine = u8::try_from(host.number).unwrap_or(u8::MAX);
    for _ in 0..setup.clients {
        let client = Client {
            ground: ground.clone(),
            setup: setup.clone(),
            chance: chance.branch(),
            machine,
            number: ground.client(),
            published: 0,
            // A field of its own for each client of each process.
            field: u32::try_from(ground.value()).unwrap_or(u32::MAX),
            read: BTreeMap::new(),
            counted: BTreeMap::new(),
            leaves: host.leaves(),
        };
        host.spawn(|node| client.run(node));
    }
    if setup.workloads.contains(&Workload::PubSub) {
        let (ground, leaves, chance) = (ground.clone(), host.leaves(), chance.branch());
        host.spawn(move |node| listen::run(node, ground, machine, leaves, chance));
    }
    let ground = ground.clone();
    host.spawn(move |node| listen::tell_events(node, ground, machine));
}

/// One client.
struct Client {
    ground: Ground,
    setup: Setup,
    chance: Chance,
    machine: u8,
    number: u32,
    published: u64,
    field: u32,
    /// What it read last, to compare and set.
    read: BTreeMap<String, Option<u64>>,
    /// What local reads of counters gave last.
    counted: BTreeMap<String, i64>,
    /// Whether the node is on its way out.
    leaves: Arc<AtomicBool>,
}

impl Client {
    async fn run(mut self, node: Node) {
        node.ready().await;
        let everybody = self.setup.nodes * self.setup.clients;
        let pause = u64::try_from(everybody).unwrap_or(1) * 2_000 / self.setup.rate.max(1);
        loop {
            // Several at once now and then, so that operations overlap.
            if !odds(&mut self.chance, 25) {
                let pause = Duration::from_millis(pause * 4 / 3);
                tokio::time::sleep(self.chance.between(Duration::ZERO, pause)).await;
            }
            if self.ground.is_stopping() || self.leaves.load(Ordering::Relaxed) {
                return;
            }
            let Some(workload) = self.chance.pick(&self.setup.workloads) else { return };
            self.one(&node, workload).await;
        }
    }

    /// Does one operation.
    async fn one(&mut self, node: &Node, workload: Workload) {
        let key = self.ground.key(workload, &mut self.chance);
        if workload == Workload::Counter && odds(&mut self.chance, 15) {
            return self.read_local(node, key).await;
        }
        let call = self.choose(workload, &key);
        let (ground, patience) = (self.ground.clone(), Duration::from_millis(self.setup.patience));
        let _under_way = ground.begin();
        let number = self.number;
        let pending =
            ground.recorder().invoke(number, self.machine, &*key, call.clone(), ground.moment());
        let outcome = perform::perform(node, number, &key, &call, patience).await;
        if let Outcome::Ok(Answer::Value(value)) = &outcome {
            self.read.insert(key.clone(), *value);
        }
        if matches!(outcome, Outcome::Unknown(_)) {
            self.number = ground.client();
            self.published = 0;
            if !call.is_read() {
                ground.note_unknown(workload, &key);
            }
        }
        pending.complete(outcome, None, ground.moment());
    }

    /// Reads a counter as this node has it: behind perhaps, never going back.
    async fn read_local(&mut self, node: &Node, key: String) {
        let Some(command) = perform::command(&key, &Call::Count) else { return };
        let request = Request::One(Operation::new(0, command));
        let Ok(replies) = node.read(&[request], Consistency::Local).await else { return };
        let answer = replies.first().and_then(|reply| perform::answer(&Call::Count, reply));
        let Some(Answer::Number(number)) = answer else { return };
        let before = self.counted.insert(key.clone(), number).unwrap_or(i64::MIN);
        if number < before {
            let at = self.machine;
            self.ground.find(format!("local reads at n{at}: {key} was {before}, then {number}"));
        }
    }

    fn choose(&mut self, workload: Workload, key: &str) -> Call {
        let dice = self.chance.below(100);
        let known = self.ground.remembered(workload, key, &mut self.chance);
        let field = u32::try_from(self.chance.below(FIELDS)).unwrap_or(0);
        let fresh = || {
            let value = self.ground.value();
            self.ground.remember(workload, key, value);
            value
        };
        match workload {
            Workload::Register => match dice {
                0..40 => Call::Read,
                40..65 => Call::Write(fresh()),
                65..95 => Call::Cas { from: self.read.get(key).copied().flatten(), to: fresh() },
                _ => Call::Delete,
            },
            Workload::Set => match (dice, known) {
                (0..40, _) | (_, None) => Call::Add(fresh()),
                (40..60, Some(known)) => Call::Remove(known),
                (60..80, Some(known)) => Call::Contains(known),
                _ => Call::Members,
            },
            Workload::Hash => match dice {
                0..40 => Call::FieldSet { field, value: fresh() },
                40..60 => Call::FieldGet(field),
                60..75 => Call::FieldDelete(field),
                _ => Call::Fields,
            },
            Workload::Counter => match dice {
                0..60 => Call::Increment(i64::from(field) + 1),
                _ => Call::Count,
            },
            Workload::List => match dice {
                0..65 => Call::Append(fresh()),
                _ => Call::Range,
            },
            Workload::Expiry => match dice {
                0..35 => Call::WriteFor { value: fresh(), ttl_ms: 50 + 40 * (dice as u64) },
                35..80 => Call::Read,
                80..88 => Call::Write(fresh()),
                88..95 => Call::Persist,
                _ => Call::Delete,
            },
            Workload::Bound => match dice {
                0..45 => Call::Bind { field: self.field, value: fresh() },
                45..50 => Call::FieldDelete(self.field),
                _ => Call::BoundFields,
            },
            Workload::PubSub => {
                self.published += 1;
                Call::Publish { number: self.published }
            }
        }
    }
}
