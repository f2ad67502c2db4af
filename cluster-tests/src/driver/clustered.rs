//! What the cluster promises beyond a Redis: rows go with their process, and calls to processes that are gone fail at once.
//!
//! Owns: checks on nodes of this process, which leave one after the other. Does not own: nodes that stall or are killed, which
//! need processes of their own. Invariant: each check begins with an empty list.

use std::time::Duration;

use quorate::Node;
use quorate::presence::driver::{ClusterDriver, Conditions, Driver, Row, Sort};
use quorate::presence::{ClusterPresence, Delivery, Presence, Subscription};
use serde_json::{Map, json};

use super::{done, listing, nodes, row, same, within};
use crate::failure::{Failure, Outcome};

/// The names of the checks.
pub const NAMES: [&str; 4] = [
    "rows_go_with_their_process_whoever_wrote_them_last",
    "a_room_of_another_process_is_not_overwritten",
    "increments_of_many_processes_are_all_counted",
    "a_call_to_who_is_gone_fails_at_once",
];

/// Runs a check by its place.
///
/// # Errors
/// With what it says.
pub async fn run(place: usize) -> Outcome {
    let nodes = nodes(3).await?;
    let outcome = match place {
        0 => within("the check", rows_go(&nodes)).await?,
        1 => within("the check", not_overwritten(&nodes)).await?,
        2 => within("the check", increments(&nodes)).await?,
        _ => within("the check", calls(&nodes)).await?,
    };
    for node in nodes.into_iter().rev() {
        node.leave().await;
    }
    outcome
}

fn drivers(nodes: &[Node]) -> Outcome<[ClusterDriver; 3]> {
    let drivers: Vec<_> = nodes.iter().map(|node| ClusterDriver::new(node.clone())).collect();
    drivers.try_into().map_err(|_| Failure::new("three nodes are needed"))
}

async fn ids(driver: &ClusterDriver) -> Outcome<String> {
    let found = done("query", driver.query(&Conditions::none(), &Sort::none()).await)?;
    let mut ids: Vec<_> = found.iter().map(Row::room_id).collect();
    ids.sort_unstable();
    Ok(ids.concat())
}

fn changed(room: &str, process: &str) -> Outcome<Row> {
    let mut listing = listing(room, process);
    listing.metadata = json!({ "by": "another" });
    done("a row", Row::try_from(&listing))
}

async fn rows_go(nodes: &[Node]) -> Outcome {
    let [a, b, c] = drivers(nodes)?;
    for (driver, room, process) in [(&a, "a", "pa"), (&b, "b", "pb"), (&c, "c", "pc")] {
        same("insert", done("insert", driver.insert(&row(room, process)).await)?, true)?;
    }
    done("persist", c.persist(&row("d", "pc")).await)?;
    // Others write about it: they neither keep it alive nor make it their own.
    let (locked, none) = (json!({ "locked": true }), Map::new());
    let locked = locked.as_object().cloned().unwrap_or_default();
    let updated = done("update", a.update("c", &locked, &none).await)?;
    same("updated", updated.is_some(), true)?;
    same("persist", done("persist", b.persist(&changed("d", "pc")?).await)?, true)?;
    let by = Conditions::none().and("by", "another");
    let found = done("find_one", a.find_one(&by, &Sort::none()).await)?;
    same("what another wrote", found, Some(changed("d", "pc")?))?;
    same("all", ids(&a).await?, "abcd".to_owned())?;
    let leaving = nodes.get(2).ok_or_else(|| Failure::new("three nodes are needed"))?;
    leaving.leave().await;
    same("without the third", ids(&a).await?, "ab".to_owned())?;
    same("on the second", ids(&b).await?, "ab".to_owned())?;
    // Its ids are free again, and what is said about it makes no row.
    let updated = done("update", a.update("c", &locked, &none).await)?;
    same("updated", updated, None)?;
    same("insert", done("insert", b.insert(&row("c", "pb")).await)?, true)?;
    same("cleanup", done("cleanup", a.cleanup("pb").await)?, 2)?;
    // A living process that was cleaned away lists its rooms again.
    done("persist", b.persist(&row("b", "pb")).await)?;
    same("all", ids(&a).await?, "ab".to_owned())
}

async fn not_overwritten(nodes: &[Node]) -> Outcome {
    let [a, b, _] = drivers(nodes)?;
    same("insert", done("insert", a.insert(&row("r", "pa")).await)?, true)?;
    same("insert", done("insert", b.insert(&row("r", "pb")).await)?, false)?;
    same("persist", done("persist", b.persist(&row("r", "pb")).await)?, false)?;
    let found = done("find_by_ids", b.find_by_ids(&["r".to_owned()]).await)?;
    same("the row", found.get("r"), Some(&row("r", "pa")))?;
    same("remove", done("remove", a.remove("r").await)?, true)?;
    same("persist", done("persist", b.persist(&row("r", "pb")).await)?, true)
}

async fn increments(nodes: &[Node]) -> Outcome {
    let [a, b, c] = drivers(nodes)?;
    done("insert", a.insert(&row("r", "pa")).await)?;
    let mut tasks = Vec::new();
    for driver in [a.clone(), b, c] {
        tasks.push(tokio::spawn(async move {
            let one = json!({ "clients": 1 }).as_object().cloned().unwrap_or_default();
            for _ in 0..20 {
                // The driver itself tries 16 times; a busy machine may need more.
                while done("update", driver.update("r", &Map::new(), &one).await).is_err() {}
            }
        }));
    }
    for task in tasks {
        task.await.map_err(|error| Failure::new(error.to_string()))?;
    }
    let all = Conditions::none().and("clients", 60);
    same("counted", done("find_one", a.find_one(&all, &Sort::none()).await)?.is_some(), true)
}

async fn subscribe(presence: &ClusterPresence, topic: &str) -> Outcome<Subscription> {
    presence.subscribe(topic).await.map_err(|error| Failure::new(error.to_string()))
}

async fn publish(presence: &ClusterPresence, topic: &str, payload: &'static str) -> Outcome {
    let published = presence.publish(topic, payload.into()).await;
    published.map_err(|error| Failure::new(error.to_string()))
}

async fn next(subscription: &Subscription) -> Outcome<String> {
    let delivery = within("a message", subscription.next()).await?;
    let payload = delivery.and_then(Delivery::payload).unwrap_or_default();
    Ok(String::from_utf8_lossy(&payload).into_owned())
}

async fn calls(nodes: &[Node]) -> Outcome {
    const GONE: &str = r#"[1,"ipc_timeout"]"#;
    let presences: Vec<_> = nodes.iter().map(|node| ClusterPresence::new(node.clone())).collect();
    let [a, b, c] = presences.as_slice() else {
        return Err(Failure::new("three nodes are needed"));
    };
    let (one, two) = (subscribe(a, "ipc:1").await?, subscribe(a, "ipc:2").await?);
    publish(a, "p:gone", r#"["healthcheck","1",null]"#).await?;
    same("nobody", next(&one).await?, GONE.to_owned())?;
    // Somebody takes it, is slow, so that it is asked again whether somebody listens, and replies.
    let (room, other) = (subscribe(c, "$room").await?, subscribe(b, "$other").await?);
    publish(a, "$room", r#"["_reserveSeat","1",[]]"#).await?;
    next(&room).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    publish(c, "ipc:1", "[0,true]").await?;
    same("the reply", next(&one).await?, "[0,true]".to_owned())?;
    // Somebody takes it and is gone; others are not.
    publish(a, "$room", r#"["_reserveSeat","1",[]]"#).await?;
    publish(a, "$other", r#"["_reserveSeat","2",[]]"#).await?;
    next(&room).await?;
    next(&other).await?;
    let leaving = nodes.get(2).ok_or_else(|| Failure::new("three nodes are needed"))?;
    leaving.leave().await;
    same("gone", next(&one).await?, GONE.to_owned())?;
    publish(b, "ipc:2", "[0,false]").await?;
    same("the reply of the other", next(&two).await?, "[0,false]".to_owned())
}
