# One line each; anything longer lives in .ci/run or in a test.

run *ARGS:
    cargo run --release -- {{ARGS}}

test *ARGS:
    cargo test --workspace {{ARGS}}

sim *ARGS:
    cargo test --package cluster-tests {{ARGS}}

bench *ARGS:
    cargo bench {{ARGS}}

ci:
    .ci/run

fix:
    cargo fmt --all && cargo clippy --all-targets --workspace --fix --allow-dirty --allow-staged
