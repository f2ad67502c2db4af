# One line each; anything longer lives in .ci/run or in a test.

run *ARGS:
    cargo run --release -- {{ARGS}}

test *ARGS:
    cargo test --workspace {{ARGS}}

sim *ARGS:
    cargo run --profile sim --package cluster-tests -- sim {{ARGS}}

replay SEED *ARGS:
    cargo run --profile sim --package cluster-tests -- replay --seed {{SEED}} {{ARGS}}

mutants *ARGS:
    cargo run --release --package cluster-tests -- mutants {{ARGS}}

jepsen *ARGS:
    cargo run --release --package cluster-tests -- jepsen {{ARGS}}

soak HOURS *ARGS:
    cargo run --release --package cluster-tests -- soak --hours {{HOURS}} {{ARGS}}

failover *ARGS:
    cargo run --release --package cluster-tests -- failover --kills 100 --kills-apart 100 --isolations 100 {{ARGS}}

bench *ARGS:
    cargo bench {{ARGS}}

ci:
    .ci/run

fix:
    cargo fmt --all && cargo clippy --all-targets --workspace --fix --allow-dirty --allow-staged
