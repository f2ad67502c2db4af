//! How long the Redis protocol takes: a request decoded, a reply encoded.
//!
//! Budget, on one core of a 3 GHz machine: a SET of three words has 3 arguments and so 3 allocations of about 20 ns, one for
//! the list of words, four searches for the end of a line of 5 ns and some copying, together at most 150 ns; a pipeline of 16
//! of them 16 times that, 2.4 µs. A reply is a few bytes written into a buffer that is large enough: 10 ns an integer, 20 ns
//! a short bulk. A value of 64 KiB that arrives in 16 pieces is read into its place at 10 GB/s, 7 µs; the doublings of the
//! buffer and its fresh pages cost twice that again: 20 µs.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use quorate::resp::{Decoder, Encoder, Limits, Version, decode_value};

const SET: &[u8] = b"*3\r\n$3\r\nSET\r\n$10\r\nkey:000042\r\n$3\r\nxyz\r\n";

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    for depth in [1usize, 16] {
        let input = SET.repeat(depth);
        group.throughput(Throughput::Elements(depth as u64));
        group.bench_function(format!("set, {depth} deep"), |bencher| {
            let mut decoder = Decoder::new(Limits::default());
            let mut buffer = BytesMut::with_capacity(64 * 1024);
            bencher.iter(|| {
                buffer.reserve(input.len());
                buffer.extend_from_slice(&input);
                while let Ok(Some(words)) = decoder.decode(&mut buffer) {
                    black_box(words);
                }
            });
        });
    }
    let value =
        [b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$65536\r\n".as_slice(), &[b'v'; 65_536], b"\r\n"].concat();
    group.throughput(Throughput::Bytes(value.len() as u64));
    group.bench_function("set of 64 KiB in pieces of 4 KiB", |bencher| {
        let mut decoder = Decoder::new(Limits::default());
        let mut buffer = BytesMut::new();
        bencher.iter(|| {
            for piece in value.chunks(4_096) {
                buffer.extend_from_slice(piece);
                if let Ok(Some(words)) = decoder.decode(&mut buffer) {
                    black_box(words);
                }
            }
        });
    });
    group.finish();
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    group.throughput(Throughput::Elements(16));
    group.bench_function("16 integers", |bencher| {
        let mut out = BytesMut::with_capacity(4_096);
        bencher.iter(|| {
            out.clear();
            let mut encoder = Encoder::new(&mut out, Version::Resp2);
            for number in 0..16 {
                encoder.integer(black_box(number));
            }
        });
    });
    group.bench_function("16 short bulks", |bencher| {
        let mut out = BytesMut::with_capacity(4_096);
        bencher.iter(|| {
            out.clear();
            let mut encoder = Encoder::new(&mut out, Version::Resp3);
            for _ in 0..16 {
                encoder.bulk(black_box(b"xyz"));
            }
        });
    });
    group.bench_function("16 statuses read back", |bencher| {
        let mut buffer = BytesMut::with_capacity(4_096);
        bencher.iter(|| {
            buffer.extend_from_slice(&b"+OK\r\n".repeat(16));
            while let Ok(Some(value)) = decode_value(&mut buffer) {
                black_box(value);
            }
        });
    });
    group.finish();
}

criterion_group!(benches, decode, encode);
criterion_main!(benches);
