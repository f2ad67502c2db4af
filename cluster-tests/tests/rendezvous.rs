//! One round of each kind of `cluster-tests rendezvous`, and kills of `bound`, as a gate; more rounds measure, these only check.
//!
//! Owns: nothing but the calls. Invariant: two clusters of processes that should be in one fail here.

use std::time::Duration;

use cluster_tests::bound::{Hold, kill_node};
use cluster_tests::failure::Outcome;
use cluster_tests::rendezvous::{at_once_and_again, first_killed, pair};
use tokio::sync::Mutex;

/// Held by each test, so that their processes do not take the processor from each other.
static TURN: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn eight_that_start_at_once_are_one_cluster_also_after_kills() -> Outcome {
    let _turn = TURN.lock().await;
    at_once_and_again(8, 3).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_join_through_one_that_is_killed_are_one_cluster() -> Outcome {
    let _turn = TURN.lock().await;
    first_killed(4, 1).await?;
    first_killed(4, 3).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_is_killed_and_the_other_goes_on_with_what_was_written() -> Outcome {
    let _turn = TURN.lock().await;
    pair(0).await?;
    pair(1).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_had_bound_is_gone_long_before_its_session_times_out() -> Outcome {
    let _turn = TURN.lock().await;
    let hold = Hold { fields: 20, keys: 20 };
    // The leader, and one that follows it.
    for number in [0, 1] {
        let round = kill_node(hold, number).await?;
        assert!(round.gone < Duration::from_secs(1), "{round}");
    }
    Ok(())
}
