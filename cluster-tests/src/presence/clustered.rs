//! What only a presence over nodes does: state that goes with its process, and calls before its node is ready.
//!
//! Owns: the checks, each with a node of its own that joins and leaves. Invariant: the nodes of the suite stay as they were.

use std::time::Duration;

use bytes::Bytes;
use quorate::node::bind::{Bind, BindTo};
use quorate::presence::{ClusterPresence, Config, Error, Presence};
use tokio::time::timeout;

use super::ground::{Nodes, PATIENCE};
use super::{Ground, gives, refused, same, told, value, values};
use crate::failure::{Failure, Outcome};
use crate::process::wait_for;

/// Runs a check by its number; none when there is no such check.
pub async fn run(number: usize, nodes: &Nodes, ground: &Ground) -> Option<(&'static str, Outcome)> {
    Some(match number {
        0 => ("what_is_bound_goes_with_its_process", bound(nodes, ground).await),
        1 => ("calls_wait_for_their_node", early(nodes, ground).await),
        2 => ("a_stopped_node_ends_its_presence", stopped(nodes).await),
        3 => ("a_key_above_the_limit_is_refused", long_key(ground).await),
        4 => ("a_leader_that_leaves_fails_no_call", leader_leaves().await),
        _ => return None,
    })
}

/// Counts on two nodes while the third, which formed the cluster, leaves.
async fn leader_leaves() -> Outcome {
    let mut own = Nodes::start(3).await?;
    let presences = own.presences();
    let first = own.nodes.remove(0);
    let counted = |number: usize| {
        let presence = presences.get(number).cloned();
        async move {
            let presence = presence.ok_or_else(|| Failure::new("three presences"))?;
            for _ in 0..300 {
                presence.incr("n").await.map_err(told)?;
                presence.hset("h", "f", value("v")).await.map_err(told)?;
                presence.hget("h", "f").await.map_err(told)?;
            }
            Ok::<_, Failure>(())
        }
    };
    let left = async {
        let seen = || async {
            let count = presences.get(1).ok_or_else(|| Failure::new("none"))?.get("n").await;
            match count.map_err(told)? {
                Some(_) => Ok(()),
                None => Err(Failure::new("nothing is counted yet")),
            }
        };
        wait_for("the first count", PATIENCE, seen).await?;
        first.leave().await;
        Ok::<_, Failure>(())
    };
    let (one, two, left) = tokio::join!(counted(1), counted(2), left);
    one?;
    two?;
    left?;
    let count = presences.get(2).ok_or_else(|| Failure::new("none"))?.get("n").await;
    same("each was counted once", count.map_err(told)?, Some(value("600")))?;
    own.leave().await;
    Ok(())
}

async fn bound(nodes: &Nodes, ground: &Ground) -> Outcome {
    let node = nodes.join().await?;
    let bind = vec![Bind { key: "roomc*".to_owned(), to: BindTo::Node }];
    let config = Config { bind, ..Config::default() };
    let presence = ClusterPresence::with(node.clone(), &config).map_err(told)?;
    let bound = presence.bound();
    gives!(ground.any().incr("shared"), 1);
    gives!(ground.any().hset("roomcount", "other", value("1,1")), true);
    gives!(ground.any().sadd("members", values(["other"])), 1);
    gives!(presence.set("kept", value("v")), ());
    gives!(bound.setex("key", value("v"), 1_000), ());
    gives!(bound.incr("shared"), 2);
    gives!(bound.incr("shared"), 3);
    gives!(bound.sadd("members", values(["own"])), 1);
    gives!(bound.hincrbyex("locks", "k", 1, 1_000), 1);
    gives!(presence.hset("roomcount", "own", value("2,2")), true);
    gives!(ground.any().get("shared"), Some(value("3")));
    presence.shutdown().await;
    node.leave().await;
    gives!(ground.any().exists("key"), false);
    gives!(ground.any().exists("locks"), false);
    gives!(ground.any().get("shared"), Some(value("1")));
    gives!(ground.any().smembers("members"), values(["other"]));
    gives!(ground.any().hgetall("roomcount"), vec![("other".to_owned(), value("1,1"))]);
    gives!(ground.any().get("kept"), Some(value("v")));
    Ok(())
}

async fn early(nodes: &Nodes, ground: &Ground) -> Outcome {
    gives!(ground.any().set("before", value("v")), ());
    let node = nodes.join().await?;
    // It has not said that it is ready.
    let presence = ClusterPresence::new(node.clone());
    let listener = presence.listen();
    let (read, pushed, subscribed) = tokio::join!(
        presence.get("before"),
        presence.rpush("early", values(["e"])),
        listener.add("early"),
    );
    same("a read", read, Ok(Some(value("v"))))?;
    same("a write", pushed, Ok(1))?;
    subscribed.map_err(told)?;
    for number in 0..3 {
        gives!(ground.at(number).publish("early", Bytes::from(number.to_string())), ());
    }
    let mut payloads = Vec::new();
    while payloads.len() < 3 {
        let next = timeout(PATIENCE, listener.next()).await;
        let next = next.map_err(|_| Failure::new("no message comes"))?;
        // A link that has just come up tells that there were messages before.
        payloads.extend(next.ok_or_else(|| Failure::new("it has ended"))?.payload());
    }
    // The order of different publishers is nobody's promise.
    payloads.sort();
    same("payloads", payloads, values(["0", "1", "2"]))?;
    node.leave().await;
    Ok(())
}

async fn stopped(nodes: &Nodes) -> Outcome {
    let node = nodes.join().await?;
    let presence = ClusterPresence::new(node.clone());
    let listener = presence.subscribe("stopped").await.map_err(told)?;
    node.leave().await;
    let end = async {
        // The links that ended with it may be told before.
        while listener.next().await.is_some_and(|next| next.payload().is_none()) {}
    };
    timeout(PATIENCE, end).await.map_err(|_| Failure::new("it does not end"))?;
    let patience = Duration::from_secs(30);
    for late in [presence.set("k", value("v")), presence.set("k", value("v"))] {
        let late = timeout(patience, late).await.map_err(|_| Failure::new("it does not fail"))?;
        same("a call behind the end", late, Err(Error::ShutDown))?;
    }
    Ok(())
}

async fn long_key(ground: &Ground) -> Outcome {
    let key = "k".repeat(65_537);
    refused!(
        ground.any().set(&key, value("v")),
        "ERR key of 65537 bytes exceeds the limit of 65536 bytes"
    );
    refused!(ground.any().brpop(&[&key], None), "ERR key of 65537 bytes exceeds the limit");
    Ok(())
}
