//! Long answers: what they hold, and what goes on meanwhile.
//!
//! Owns the tests with very many names. Invariant: a name that is listened to all the while is in the answer once.

use super::*;

/// Channels that stay, at each of the nodes.
const STAYING: usize = 20_000;

fn staying(node: u8, number: usize) -> String {
    format!("stays:{node}:{number:06}")
}

#[tokio::test(start_paused = true)]
async fn no_staying_channel_is_missed_while_others_come_and_go() {
    let network = MemoryNetwork::new(11);
    let nodes = nodes(&network, 2).await;
    let (subscribers, passers): (Vec<_>, Vec<_>) =
        nodes.iter().map(|node| (node.subscriber(), node.subscriber())).unzip();
    let mut expected = Vec::new();
    for (subscriber, node) in subscribers.iter().zip(1..) {
        // Those that go stand before, between and behind those that stay.
        let passer = &passers[usize::from(node) - 1];
        for number in 0..STAYING {
            if number % 4 == 0 {
                listen(passer, Kind::Channel, &format!("goes:{number}"));
            }
            listen(subscriber, Kind::Channel, &staying(node, number));
            expected.push(Bytes::from(staying(node, number)));
        }
    }
    expected.sort();
    let churn = async {
        // Not for ever: the paused clock goes on only when there is nothing else to do.
        for number in 0..3_000 {
            for passer in &passers {
                let _was_there =
                    passer.unsubscribe(Kind::Channel, format!("goes:{number}").as_bytes());
                listen(passer, Kind::Channel, &format!("goes:{}", number + STAYING));
            }
            if number % 7 == 0 {
                tokio::task::yield_now().await;
            }
        }
        std::future::pending().await
    };
    let pattern = Some(Bytes::from_static(b"*stays:?:*"));
    let found = tokio::select! {
        found = nodes[0].channels(Kind::Channel, pattern) => found,
        () = churn => unreachable!("it only makes a stir"),
    };
    assert_eq!(found.len(), expected.len());
    assert!(found == expected);
}
