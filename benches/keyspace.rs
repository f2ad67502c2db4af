//! What a command costs on the bare keyspace, and what a snapshot costs.
//!
//! Owns the budgets below, for one core of about 3 GHz with nothing else to do: a node that applies 500,000 commands a
//! second has 2 µs for each, of which the keyspace may take a fifth. Does not measure parsing, the log or the wire.
//! Invariant: each measurement runs against a keyspace of 1 key and one of 1,000,000.
//!
//! ```text
//! budget                        1 key    1,000,000 keys (each step in memory rather than in the cache)
//! SET, another value           400 ns    1,200 ns     one look-up, one reference counted
//! GET                          150 ns      900 ns     one look-up
//! INCR                         300 ns    1,200 ns     one look-up, one small allocation for the text
//! HSET, an old field           400 ns      400 ns
//! LPUSH and RPOP together      800 ns      800 ns
//! snapshot, taken               30 µs       30 µs     1,024 references counted for each database in use
//! snapshot, first write after  600 ns      400 µs     copies the records of one shard in 1,024
//! snapshot, written             10 µs      800 ms
//! ```

use std::cell::RefCell;
use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use quorate::command::{Command, Operation, Request};
use quorate::keyspace::{Keyspace, Limits};
use quorate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const SIZES: [u64; 2] = [1, 1_000_000];

/// How many different keys the measured requests go to, at most.
const SPREAD: u64 = 4_096;

fn operation(words: &[&str]) -> Operation {
    let words: Vec<_> = words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    let command = Command::parse(&words).expect("the benchmark's own requests are valid");
    Operation::new(0, command)
}

fn filled(size: u64) -> Keyspace {
    let mut keyspace = Keyspace::new(Limits::default());
    for number in 0..size {
        let request = Request::One(operation(&["SET", &format!("key:{number:08}"), "12"]));
        keyspace.apply_request(NOW, &request);
    }
    keyspace
}

/// The same request to keys spread over the whole keyspace.
fn spread(size: u64, make: impl Fn(&str) -> Operation) -> Vec<Request> {
    let count = size.min(SPREAD);
    (0..count)
        .map(|number| format!("key:{:08}", number.wrapping_mul(7_919) % size))
        .map(|key| Request::One(make(&key)))
        .collect()
}

fn measure(
    criterion: &mut Criterion,
    name: &str,
    keyspace: &mut Keyspace,
    size: u64,
    requests: &[Request],
) {
    let mut requests = requests.iter().cycle();
    criterion.bench_function(&format!("{name}/{size}"), |bencher| {
        bencher.iter(|| {
            let request = requests.next().expect("there is at least one");
            black_box(keyspace.apply_request(NOW, request))
        });
    });
}

fn commands(criterion: &mut Criterion) {
    for size in SIZES {
        let mut keyspace = filled(size);
        let set = spread(size, |key| operation(&["SET", key, "34"]));
        measure(criterion, "set", &mut keyspace, size, &set);
        let incr = spread(size, |key| operation(&["INCR", key]));
        measure(criterion, "incr", &mut keyspace, size, &incr);
        let timed = spread(size, |key| operation(&["SET", key, "34", "EX", "100"]));
        measure(criterion, "set-ex", &mut keyspace, size, &timed);
        let hset = [Request::One(operation(&["HSET", "hash", "field", "value"]))];
        measure(criterion, "hset", &mut keyspace, size, &hset);
        let through = ["LPUSH list element", "RPOP list"]
            .map(|request| operation(&request.split(' ').collect::<Vec<_>>()));
        let through = Request::Transaction { watched: Vec::new(), operations: through.into() };
        measure(criterion, "lpush-rpop", &mut keyspace, size, &[through]);

        let get = spread(size, |key| operation(&["GET", key]));
        let mut get = get.iter().cycle();
        criterion.bench_function(&format!("get/{size}"), |bencher| {
            bencher.iter(|| {
                let request = get.next().expect("there is at least one");
                black_box(keyspace.read_request(NOW, request, None))
            });
        });
    }
}

fn snapshots(criterion: &mut Criterion) {
    for size in SIZES {
        let keyspace = RefCell::new(filled(size));
        criterion.bench_function(&format!("snapshot-taken/{size}"), |bencher| {
            bencher.iter_with_large_drop(|| keyspace.borrow().snapshot());
        });
        // The first write to each shard copies that shard's records while a snapshot holds them.
        let set = spread(size, |key| operation(&["SET", key, "56"]));
        criterion.bench_function(&format!("set-under-snapshot/{size}"), |bencher| {
            let mut requests = set.iter().cycle();
            bencher.iter_batched(
                || (keyspace.borrow().snapshot(), requests.next().expect("there is at least one")),
                |(snapshot, request)| {
                    black_box(keyspace.borrow_mut().apply_request(NOW, request));
                    snapshot
                },
                BatchSize::PerIteration,
            );
        });
        let mut group = criterion.benchmark_group("snapshot-written");
        group.sample_size(10).throughput(Throughput::Elements(size));
        group.bench_function(size.to_string(), |bencher| {
            let snapshot = keyspace.borrow().snapshot();
            bencher.iter(|| snapshot.chunks().map(|chunk| chunk.len()).sum::<usize>());
        });
        group.finish();
    }
}

criterion_group!(benches, commands, snapshots);
criterion_main!(benches);
