//! Two rounds of `cluster-tests failover`, as a gate; more rounds measure, these only check.
//!
//! Owns: nothing but the call. Invariant: an acknowledged write that is lost fails here.

use std::time::Duration;

use cluster_tests::failover::{Load, round};
use cluster_tests::failure::Outcome;

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost_with_the_leader() -> Outcome {
    let half = Duration::from_millis(500);
    let load = Load { writers: 2, before: half, after: half };
    for _ in 0..2 {
        let round = round(&load).await?;
        assert!(round.acknowledged > 100, "{round}");
    }
    Ok(())
}
