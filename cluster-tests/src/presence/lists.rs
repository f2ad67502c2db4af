//! Lists, and calls that wait for an element.
//!
//! Owns: checks of rpush, lpush, rpop, lpop, llen, brpop. Invariant: see the suite.

use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::{Ground, checks, gives, refused, same, told, value, values};
use crate::failure::{Failure, Outcome};
use crate::process::wait_for;

checks!(
    pushes_stand_in_their_order,
    the_last_pop_takes_the_key,
    a_list_call_refuses_another_type,
    brpop_takes_what_is_there_from_the_first_list_that_has_any,
    brpop_gives_up_after_its_time,
    brpop_is_served_by_whoever_pushes,
    who_waited_first_is_served_first,
    a_wait_that_was_given_up_takes_nothing,
    brpop_refuses_what_is_wrong_and_holds_up_nobody,
);

async fn pushes_stand_in_their_order(ground: &Ground) -> Outcome {
    let key = &ground.name("list");
    gives!(ground.any().rpush(key, values(["c", "d"])), 2);
    gives!(ground.any().lpush(key, values(["b", "a"])), 4);
    gives!(ground.any().rpush(key, values([""])), 5);
    gives!(ground.any().llen(key), 5);
    for wanted in ["a", "b", "c", "d", ""] {
        gives!(ground.any().lpop(key), Some(value(wanted)));
    }
    gives!(ground.any().lpush(key, values(["1", "2", "3"])), 3);
    gives!(ground.any().rpop(key), Some(value("1")));
    gives!(ground.any().lpop(key), Some(value("3")));
    refused!(
        ground.any().rpush(key, Vec::new()),
        "ERR wrong number of arguments for 'rpush' command"
    );
    refused!(
        ground.any().lpush(key, Vec::new()),
        "ERR wrong number of arguments for 'lpush' command"
    );
    Ok(())
}

async fn the_last_pop_takes_the_key(ground: &Ground) -> Outcome {
    let key = &ground.name("list");
    gives!(ground.any().rpop(key), None);
    gives!(ground.any().lpop(key), None);
    gives!(ground.any().llen(key), 0);
    gives!(ground.any().rpush(key, values(["\0"])), 1);
    gives!(ground.any().rpop(key), Some(Bytes::from_static(b"\0")));
    gives!(ground.any().exists(key), false);
    Ok(())
}

async fn a_list_call_refuses_another_type(ground: &Ground) -> Outcome {
    let key = &ground.name("string");
    gives!(ground.any().set(key, value("v")), ());
    refused!(ground.any().rpush(key, values(["e"])), "WRONGTYPE");
    refused!(ground.any().lpush(key, values(["e"])), "WRONGTYPE");
    refused!(ground.any().rpop(key), "WRONGTYPE");
    refused!(ground.any().lpop(key), "WRONGTYPE");
    refused!(ground.any().llen(key), "WRONGTYPE");
    Ok(())
}

async fn brpop_takes_what_is_there_from_the_first_list_that_has_any(ground: &Ground) -> Outcome {
    let (a, b, c) = (&ground.name("{l}"), &ground.name("{l}"), &ground.name("{l}"));
    gives!(ground.any().rpush(b, values(["1", "2"])), 2);
    gives!(ground.any().rpush(c, values(["3"])), 1);
    let keys: [&str; 3] = [a, b, c];
    gives!(ground.any().brpop(&keys, None), Some((b.clone(), value("2"))));
    gives!(ground.any().brpop(&keys, Some(Duration::from_secs(1))), Some((b.clone(), value("1"))));
    gives!(ground.any().brpop(&keys, None), Some((c.clone(), value("3"))));
    Ok(())
}

async fn brpop_gives_up_after_its_time(ground: &Ground) -> Outcome {
    let (a, b) = (&ground.name("{l}"), &ground.name("{l}"));
    let begun = Instant::now();
    gives!(ground.any().brpop(&[a, b], Some(Duration::from_millis(300))), None);
    let waited = begun.elapsed();
    same(&format!("waited {waited:?} for 300 ms"), waited < Duration::from_millis(290), false)?;
    gives!(ground.any().brpop(&[a], Some(Duration::from_micros(1))), None);
    // Nobody waits any more.
    gives!(ground.any().rpush(b, values(["e"])), 1);
    gives!(ground.any().llen(b), 1);
    Ok(())
}

async fn brpop_is_served_by_whoever_pushes(ground: &Ground) -> Outcome {
    for number in 0..6 {
        let (a, b) = (ground.name("{l}"), ground.name("{l}"));
        let waiting = waiter(ground, number, vec![a.clone(), b.clone()], Duration::from_secs(30));
        has_begun(ground, number, &waiting).await;
        gives!(ground.at(number + 1).rpush(&b, values(["e", "f"])), 2);
        same("served", ended(waiting).await?, Some((b.clone(), value("f"))))?;
        gives!(ground.at(number + 2).llen(&b), 1);
    }
    Ok(())
}

async fn who_waited_first_is_served_first(ground: &Ground) -> Outcome {
    let key = ground.name("list");
    let mut all = Vec::new();
    for number in 0..3 {
        let waiting = waiter(ground, number, vec![key.clone()], Duration::from_secs(30));
        has_begun(ground, number, &waiting).await;
        all.push(waiting);
    }
    for (place, waiting) in all.into_iter().enumerate() {
        let element = Bytes::from(place.to_string());
        gives!(ground.any().rpush(&key, vec![element.clone()]), 1);
        same("served in turn", ended(waiting).await?, Some((key.clone(), element)))?;
    }
    Ok(())
}

async fn a_wait_that_was_given_up_takes_nothing(ground: &Ground) -> Outcome {
    let key = &ground.name("list");
    for number in 0..3 {
        let patience = Duration::from_millis(200);
        let waited = timeout(patience, ground.at(number).brpop(&[key], None)).await;
        same("it waits", waited.is_err(), true)?;
    }
    // Its end is told to the others in its own time.
    wait_for("the waits to end", Duration::from_secs(20), || async {
        ground.any().rpush(key, values(["e"])).await.map_err(told)?;
        match ground.any().llen(key).await.map_err(told)? {
            0 => Err(Failure::new("somebody took it")),
            _more => Ok(()),
        }
    })
    .await
}

async fn brpop_refuses_what_is_wrong_and_holds_up_nobody(ground: &Ground) -> Outcome {
    let (string, list) = (&ground.name("{l}"), ground.name("{l}"));
    gives!(ground.any().set(string, value("v")), ());
    refused!(ground.any().brpop(&[string], None), "WRONGTYPE");
    refused!(ground.any().brpop(&[], None), "ERR wrong number of arguments for 'brpop' command");
    let waiting = waiter(ground, 0, vec![list.clone()], Duration::from_secs(30));
    has_begun(ground, 0, &waiting).await;
    let begun = Instant::now();
    for _ in 0..20 {
        gives!(ground.at(0).get(string), Some(value("v")));
    }
    same("calls beside a wait", begun.elapsed() < Duration::from_secs(10), true)?;
    gives!(ground.at(0).lpush(&list, values(["e"])), 1);
    same("served", ended(waiting).await?, Some((list, value("e"))))
}

type Popped = Option<(String, Bytes)>;

fn waiter(
    ground: &Ground,
    number: usize,
    keys: Vec<String>,
    time: Duration,
) -> JoinHandle<Outcome<Popped>> {
    let presence = ground.at(number).clone();
    tokio::spawn(async move {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        presence.brpop(&keys, Some(time)).await.map_err(told)
    })
}

/// Gives a wait the time to take its place: nothing tells of it. It is served later all the same.
async fn has_begun(ground: &Ground, number: usize, waiting: &JoinHandle<Outcome<Popped>>) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(150) && !waiting.is_finished() {
        // A call behind it on the same way.
        drop(ground.at(number).exists("nothing").await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn ended(waiting: JoinHandle<Outcome<Popped>>) -> Outcome<Popped> {
    waiting.await.map_err(|error| Failure::new(error.to_string()))?
}
