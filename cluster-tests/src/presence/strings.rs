//! Keys with strings and numbers, and the life of keys of any type.
//!
//! Owns: checks of set, setex, get, del, exists, expire, incr, decr. Invariant: see the suite.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{Ground, checks, gives, refused, told, value, values};
use crate::failure::{Failure, Outcome};
use crate::process::wait_for;

checks!(
    a_string_is_set_read_and_overwritten,
    values_are_bytes_and_keys_are_text,
    a_large_value_survives,
    set_takes_the_place_of_any_type_and_drops_the_deadline,
    a_missing_or_foreign_key_is_told_apart,
    setex_stores_until_its_time_is_over,
    expire_concerns_keys_of_any_type,
    del_and_exists_concern_keys_of_any_type,
    counters_count_from_nothing_and_from_strings,
    counters_refuse_what_is_no_number,
    counts_from_all_sides_add_up,
);

async fn a_string_is_set_read_and_overwritten(ground: &Ground) -> Outcome {
    let key = &ground.name("string");
    gives!(ground.any().set(key, value("one")), ());
    gives!(ground.any().get(key), Some(value("one")));
    gives!(ground.any().set(key, value("")), ());
    gives!(ground.any().get(key), Some(value("")));
    Ok(())
}

async fn values_are_bytes_and_keys_are_text(ground: &Ground) -> Outcome {
    let all: Vec<u8> = (0..=255).collect();
    for key in ["", "späße ☃ 🎲", "with space\r\nand lines\0"] {
        let key = &ground.name(key);
        gives!(ground.any().set(key, all.clone().into()), ());
        gives!(ground.any().get(key), Some(Bytes::from(all.clone())));
        gives!(ground.any().hset(&format!("{key}h"), key, all.clone().into()), true);
        gives!(
            ground.any().hgetall(&format!("{key}h")),
            vec![(key.clone(), Bytes::from(all.clone()))]
        );
    }
    Ok(())
}

async fn a_large_value_survives(ground: &Ground) -> Outcome {
    let key = &ground.name("large");
    let large: Bytes =
        (0..4_000_000_u32).map(|number| number.to_le_bytes()[0]).collect::<Vec<_>>().into();
    gives!(ground.any().set(key, large.clone()), ());
    gives!(ground.any().get(key), Some(large.clone()));
    gives!(ground.any().rpush(&format!("{key}l"), vec![large.clone(), value("x")]), 2);
    gives!(ground.any().lpop(&format!("{key}l")), Some(large));
    Ok(())
}

async fn set_takes_the_place_of_any_type_and_drops_the_deadline(ground: &Ground) -> Outcome {
    let key = &ground.name("replaced");
    gives!(ground.any().hset(key, "f", value("v")), true);
    gives!(ground.any().expire(key, 1), true);
    gives!(ground.any().set(key, value("v")), ());
    gives!(
        ground.any().command(vec![value("TTL"), key.clone().into()]),
        quorate::command::Reply::Integer(-1)
    );
    gives!(ground.any().sadd(&format!("{key}s"), values(["m"])), 1);
    gives!(ground.any().setex(&format!("{key}s"), value("v"), 100), ());
    gives!(ground.any().get(&format!("{key}s")), Some(value("v")));
    Ok(())
}

async fn a_missing_or_foreign_key_is_told_apart(ground: &Ground) -> Outcome {
    let (key, list) = (&ground.name("missing"), &ground.name("list"));
    gives!(ground.any().get(key), None);
    gives!(ground.any().rpush(list, values(["e"])), 1);
    refused!(
        ground.any().get(list),
        "WRONGTYPE Operation against a key holding the wrong kind of value"
    );
    refused!(ground.any().incr(list), "WRONGTYPE");
    Ok(())
}

async fn setex_stores_until_its_time_is_over(ground: &Ground) -> Outcome {
    let key = &ground.name("setex");
    for seconds in [0, -1, i64::MIN] {
        refused!(
            ground.any().setex(key, value("v"), seconds),
            "ERR invalid expire time in 'setex' command"
        );
    }
    gives!(ground.any().exists(key), false);
    let begun = Instant::now();
    gives!(ground.any().setex(key, value("v"), 1), ());
    gives!(ground.any().get(key), Some(value("v")));
    gone(ground, key).await?;
    early(begun)?;
    gives!(ground.any().get(key), None);
    gives!(ground.any().setex(key, value("w"), 1_000), ());
    gives!(ground.any().incr(&format!("{key}n")), 1);
    Ok(())
}

async fn expire_concerns_keys_of_any_type(ground: &Ground) -> Outcome {
    gives!(ground.any().expire(&ground.name("nothing"), 10), false);
    let keys: Vec<String> = (0..4).map(|_| ground.name("expiring")).collect();
    let [string, hash, set, list] = keys.as_slice() else {
        return Err(Failure::new("four names"));
    };
    gives!(ground.any().set(string, value("v")), ());
    gives!(ground.any().hset(hash, "f", value("v")), true);
    gives!(ground.any().sadd(set, values(["m"])), 1);
    gives!(ground.any().lpush(list, values(["e"])), 1);
    refused!(ground.any().expire(string, i64::MAX), "ERR invalid expire time in 'expire' command");
    let begun = Instant::now();
    for key in &keys {
        gives!(ground.any().expire(key, 1), true);
        gives!(ground.any().exists(key), true);
    }
    for key in &keys {
        gone(ground, key).await?;
    }
    early(begun)?;
    for seconds in [0, -1] {
        gives!(ground.any().set(string, value("v")), ());
        gives!(ground.any().expire(string, seconds), true);
        gives!(ground.any().exists(string), false);
    }
    Ok(())
}

async fn del_and_exists_concern_keys_of_any_type(ground: &Ground) -> Outcome {
    let key = &ground.name("key");
    gives!(ground.any().exists(key), false);
    gives!(ground.any().del(key), false);
    gives!(ground.any().set(key, value("")), ());
    gives!(ground.any().exists(key), true);
    gives!(ground.any().del(key), true);
    gives!(ground.any().exists(key), false);
    gives!(ground.any().hset(key, "f", value("v")), true);
    gives!(ground.any().exists(key), true);
    gives!(ground.any().del(key), true);
    gives!(ground.any().sadd(key, values(["m"])), 1);
    gives!(ground.any().exists(key), true);
    gives!(ground.any().del(key), true);
    gives!(ground.any().rpush(key, values(["e"])), 1);
    gives!(ground.any().exists(key), true);
    gives!(ground.any().del(key), true);
    gives!(ground.any().del(key), false);
    // A topic is no key.
    let topic = ground.any().subscribe(key).await.map_err(told)?;
    gives!(ground.any().exists(key), false);
    drop(topic);
    Ok(())
}

async fn counters_count_from_nothing_and_from_strings(ground: &Ground) -> Outcome {
    let key = &ground.name("counter");
    gives!(ground.any().incr(key), 1);
    gives!(ground.any().incr(key), 2);
    gives!(ground.any().decr(key), 1);
    gives!(ground.any().get(key), Some(value("1")));
    gives!(ground.any().set(key, value("-7")), ());
    gives!(ground.any().incr(key), -6);
    gives!(ground.any().decr(&ground.name("counter")), -1);
    Ok(())
}

async fn counters_refuse_what_is_no_number(ground: &Ground) -> Outcome {
    let key = &ground.name("counter");
    for text in ["x", "", "1.5", " 1", "01", "9223372036854775808"] {
        gives!(ground.any().set(key, value(text)), ());
        refused!(ground.any().incr(key), "ERR value is not an integer or out of range");
        gives!(ground.any().get(key), Some(value(text)));
    }
    gives!(ground.any().set(key, i64::MAX.to_string().into()), ());
    refused!(ground.any().incr(key), "ERR increment or decrement would overflow");
    gives!(ground.any().set(key, i64::MIN.to_string().into()), ());
    refused!(ground.any().decr(key), "ERR increment or decrement would overflow");
    Ok(())
}

async fn counts_from_all_sides_add_up(ground: &Ground) -> Outcome {
    let key = ground.name("counter");
    let tasks: Vec<_> = (0..100)
        .map(|number| {
            let (presence, key) = (ground.at(number).clone(), key.clone());
            tokio::spawn(async move { presence.incr(&key).await })
        })
        .collect();
    let mut sums = Vec::new();
    for task in tasks {
        let sum = task.await.map_err(|error| Failure::new(error.to_string()))?;
        sums.push(sum.map_err(told)?);
    }
    sums.sort_unstable();
    super::same("the sums that 100 callers saw", sums, (1..=100).collect())
}

/// Waits until a key has expired.
async fn gone(ground: &Ground, key: &str) -> Outcome {
    wait_for("a key to expire", Duration::from_secs(20), || async {
        match ground.any().exists(key).await.map_err(told)? {
            false => Ok(()),
            true => Err(Failure::new("it is still there")),
        }
    })
    .await
}

/// Fails if what lives for a second is gone already.
fn early(begun: Instant) -> Outcome {
    let lived = begun.elapsed();
    if lived < Duration::from_millis(990) {
        return Err(Failure::new(format!("it expired after {lived:?} in place of 1 s")));
    }
    Ok(())
}
