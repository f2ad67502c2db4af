//! What bound state costs, and what it costs to keep replies until they are acknowledged.
//!
//! Owns the budgets below, for one core of about 3 GHz with nothing else to do. Invariant: what is compared is measured in
//! one run, on keyspaces that differ in nothing else.
//!
//! ```text
//!                                             budget    measured (least of 100 samples; SET, INCR, HSET, SADD)
//! a write that binds nothing
//!   nothing is bound                          as before the side table, within a tenth: one comparison
//!   something else is bound                   2 times   1.0, 1.6, 1.2, 1.5 times: one look-up in the side table
//! a write that binds 1 of 4,096 of its owner  5 times   1.5, 3.6, 2.5, 4.4 times, 0.6 µs at most
//! end of 1,000 bound fields and 1,000 keys    2 ms      1.03 ms, in one entry, on each node
//! replies of 16 requests
//!   acknowledged 4 batches later              1.1 times 1.00 times as much as at once: they are kept by reference
//!   acknowledged 1,000 batches later          1.3 times 1.13 times, and 1,000 times 16 replies in memory
//! ```

use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use quorate::command::entry::Binding;
use quorate::command::{Action, Command, Entry, Operation, Request};
use quorate::ids::{NodeId, Placement, SessionId};
use quorate::keyspace::{Keyspace, Limits};
use quorate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const SESSION: SessionId = SessionId(1);

/// How many keys the measured requests go to.
const SPREAD: usize = 4_096;

/// How many requests a batch has.
const BATCH: usize = 16;

fn request(binding: Binding, words: &[&str]) -> Request {
    let words: Vec<_> = words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    let command = Command::parse(&words).expect("the benchmark's own requests are valid");
    Request::One(Operation { database: 0, binding, command })
}

/// A keyspace behind a log with one session.
struct Log {
    keyspace: Keyspace,
    serial: u64,
}

impl Log {
    fn new() -> Self {
        let mut keyspace = Keyspace::new(Limits::default());
        let placement = Placement::new("bench", "127.0.0.1:1".parse().expect("an address"));
        let open = Action::Open { nonce: 1, node: NodeId::from_random(1), placement };
        keyspace.apply(SESSION.0, &Entry { at: NOW, action: open });
        Self { keyspace, serial: 0 }
    }

    /// Applies a batch that acknowledges all but the last `lag` before it.
    fn batch(&mut self, requests: &Arc<[Request]>, lag: u64) {
        self.serial += 1;
        let action = Action::Batch {
            session: SESSION,
            serial: self.serial,
            acknowledged: (self.serial - 1).saturating_sub(lag),
            requests: Arc::clone(requests),
        };
        black_box(self.keyspace.apply(self.serial + 1, &Entry { at: NOW, action }));
    }
}

/// Batches of one request each to keys spread over all.
fn batches(binding: Binding, make: impl Fn(&str) -> Vec<String>) -> Vec<Arc<[Request]>> {
    let one = |number: usize| {
        let words = make(&format!("key:{number:08}"));
        request(binding, &words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let requests: Vec<_> = (0..SPREAD).map(|number| one(number * 7_919 % SPREAD)).collect();
    requests.chunks(BATCH).map(|chunk| chunk.to_vec().into()).collect()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn writes(criterion: &mut Criterion) {
    type Make = fn(&str) -> Vec<String>;
    let commands: [(&str, Make); 4] = [
        ("set", |key| words(&["SET", key, "34"])),
        ("incr", |key| words(&["INCR", &format!("n-{key}")])),
        ("hset", |key| words(&["HSET", "hash", key, "value"])),
        ("sadd", |key| words(&["SADD", "set", key])),
    ];
    for (name, make) in commands {
        let mut group = criterion.benchmark_group(format!("{name}-16"));
        let cases = [
            ("nothing-bound", Binding::None, false),
            ("something-else-bound", Binding::None, true),
            ("bound", Binding::Client(1), false),
        ];
        for (case, binding, is_other_bound) in cases {
            let mut log = Log::new();
            if is_other_bound {
                log.batch(&[request(Binding::Node, &["SET", "other", "v"])].into(), 0);
            }
            let batches = batches(binding, make);
            batches.iter().for_each(|batch| log.batch(batch, 0));
            let mut next = batches.iter().cycle();
            group.bench_function(case, |bencher| {
                bencher.iter(|| log.batch(next.next().expect("there is one"), 0));
            });
        }
        group.finish();
    }
}

fn end(criterion: &mut Criterion) {
    const COUNT: usize = 1_000;
    let fields: Vec<_> = (0..COUNT)
        .map(|number| request(Binding::Node, &["HSET", "rooms", &format!("f{number}"), "value"]))
        .collect();
    let keys = (0..COUNT)
        .map(|number| request(Binding::Node, &["SET", &format!("room:{number}"), "value"]));
    let requests: Arc<[Request]> = fields.into_iter().chain(keys).collect();
    criterion.bench_function("end-of-2000-bound", |bencher| {
        bencher.iter_batched(
            || {
                let mut log = Log::new();
                log.batch(&requests, 0);
                log
            },
            |mut log| {
                let entry = Entry { at: NOW, action: Action::Expire { session: SESSION } };
                let outcome = log.keyspace.apply(3, &entry);
                assert_eq!(
                    outcome.taken.iter().map(|(_, taken)| taken.len()).sum::<usize>(),
                    2_000
                );
                (log.keyspace, outcome)
            },
            BatchSize::LargeInput,
        );
    });
}

fn replies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("replies-of-16-acknowledged");
    for lag in [0, 4, 1_000] {
        let mut log = Log::new();
        let batches = batches(Binding::None, |key| words(&["SET", key, "34"]));
        batches.iter().cycle().take(2_000).for_each(|batch| log.batch(batch, lag));
        let place = Cell::new(0);
        group.bench_function(format!("{lag}-later"), |bencher| {
            bencher.iter(|| {
                place.set((place.get() + 1) % batches.len());
                log.batch(&batches[place.get()], lag);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, writes, end, replies);
criterion_main!(benches);
