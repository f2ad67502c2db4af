//! Hashes: fields, numbers in them, and the deadline that `hincrbyex` sets.
//!
//! Owns: checks of hset, hget, hgetall, hdel, hlen, hincrby, hincrbyex. Invariant: see the suite.

use bytes::Bytes;
use quorate::command::Reply;

use super::{Ground, checks, gives, refused, same, told, value};
use crate::failure::Outcome;

checks!(
    hset_tells_a_new_field_from_an_overwritten_one,
    a_missing_hash_or_field_is_nothing,
    hgetall_gives_every_field_once,
    hdel_takes_the_key_with_its_last_field,
    hincrby_adds_to_nothing_and_to_numbers,
    hincrby_refuses_what_is_no_number,
    hincrbyex_adds_and_lets_the_hash_expire,
    hincrbyex_does_one_thing_when_the_other_is_refused,
    a_hash_call_refuses_another_type,
);

async fn hset_tells_a_new_field_from_an_overwritten_one(ground: &Ground) -> Outcome {
    let key = &ground.name("hash");
    gives!(ground.any().hset(key, "f", value("1")), true);
    gives!(ground.any().hset(key, "f", value("2")), false);
    gives!(ground.any().hset(key, "f", value("2")), false);
    gives!(ground.any().hset(key, "", value("")), true);
    gives!(ground.any().hset(key, "späße ☃", value("3")), true);
    gives!(ground.any().hget(key, "f"), Some(value("2")));
    gives!(ground.any().hget(key, ""), Some(value("")));
    gives!(ground.any().hget(key, "späße ☃"), Some(value("3")));
    gives!(ground.any().hlen(key), 3);
    Ok(())
}

async fn a_missing_hash_or_field_is_nothing(ground: &Ground) -> Outcome {
    let key = &ground.name("hash");
    gives!(ground.any().hget(key, "f"), None);
    gives!(ground.any().hgetall(key), Vec::new());
    gives!(ground.any().hlen(key), 0);
    gives!(ground.any().hdel(key, "f"), false);
    gives!(ground.any().exists(key), false);
    gives!(ground.any().hset(key, "g", value("v")), true);
    gives!(ground.any().hget(key, "f"), None);
    gives!(ground.any().hget(key, "G"), None);
    gives!(ground.any().hdel(key, "f"), false);
    Ok(())
}

async fn hgetall_gives_every_field_once(ground: &Ground) -> Outcome {
    let key = &ground.name("hash");
    let mut wanted = Vec::new();
    for number in 0..300 {
        let (field, text) = (format!("field {number:03}"), Bytes::from(format!("value {number}")));
        gives!(ground.any().hset(key, &field, text.clone()), true);
        wanted.push((field, text));
    }
    let mut found = ground.any().hgetall(key).await.map_err(told)?;
    found.sort();
    same("300 fields", found, wanted)
}

async fn hdel_takes_the_key_with_its_last_field(ground: &Ground) -> Outcome {
    let key = &ground.name("hash");
    gives!(ground.any().hset(key, "a", value("1")), true);
    gives!(ground.any().hset(key, "b", value("2")), true);
    gives!(ground.any().hdel(key, "a"), true);
    gives!(ground.any().hdel(key, "a"), false);
    gives!(ground.any().exists(key), true);
    gives!(ground.any().hdel(key, "b"), true);
    gives!(ground.any().exists(key), false);
    Ok(())
}

async fn hincrby_adds_to_nothing_and_to_numbers(ground: &Ground) -> Outcome {
    let key = &ground.name("hash");
    gives!(ground.any().hincrby(key, "n", 5), 5);
    gives!(ground.any().hincrby(key, "n", -7), -2);
    gives!(ground.any().hincrby(key, "n", 0), -2);
    gives!(ground.any().hget(key, "n"), Some(value("-2")));
    gives!(ground.any().hset(key, "m", value("40")), true);
    gives!(ground.any().hincrby(key, "m", 2), 42);
    Ok(())
}

async fn hincrby_refuses_what_is_no_number(ground: &Ground) -> Outcome {
    let key = &ground.name("hash");
    gives!(ground.any().hset(key, "x", value("abc")), true);
    refused!(ground.any().hincrby(key, "x", 1), "ERR hash value is not an integer");
    gives!(ground.any().hset(key, "max", i64::MAX.to_string().into()), true);
    refused!(ground.any().hincrby(key, "max", 1), "ERR increment or decrement would overflow");
    gives!(ground.any().hget(key, "max"), Some(i64::MAX.to_string().into()));
    Ok(())
}

async fn hincrbyex_adds_and_lets_the_hash_expire(ground: &Ground) -> Outcome {
    let key = &ground.name("hash");
    gives!(ground.any().hset(key, "other", value("v")), true);
    gives!(ground.any().hincrbyex(key, "n", 3, 100), 3);
    within(ground, key, 90, 100).await?;
    gives!(ground.any().hincrbyex(key, "n", -1, 500), 2);
    within(ground, key, 490, 500).await?;
    gives!(ground.any().hincrby(key, "n", 1), 3);
    within(ground, key, 490, 500).await?;
    gives!(ground.any().hincrbyex(key, "n", 1, 0), 4);
    gives!(ground.any().exists(key), false);
    Ok(())
}

async fn hincrbyex_does_one_thing_when_the_other_is_refused(ground: &Ground) -> Outcome {
    let key = &ground.name("hash");
    gives!(ground.any().hincrbyex(key, "n", 1, i64::MAX), 1);
    gives!(ttl(ground, key), -1);
    gives!(ground.any().hset(key, "x", value("abc")), true);
    refused!(ground.any().hincrbyex(key, "x", 1, 100), "ERR hash value is not an integer");
    within(ground, key, 90, 100).await?;
    gives!(ground.any().hget(key, "x"), Some(value("abc")));
    let string = &ground.name("string");
    gives!(ground.any().set(string, value("v")), ());
    refused!(ground.any().hincrbyex(string, "x", 1, 100), "WRONGTYPE");
    within(ground, string, 90, 100).await
}

async fn a_hash_call_refuses_another_type(ground: &Ground) -> Outcome {
    let key = &ground.name("string");
    gives!(ground.any().set(key, value("v")), ());
    refused!(ground.any().hset(key, "f", value("v")), "WRONGTYPE");
    refused!(ground.any().hget(key, "f"), "WRONGTYPE");
    refused!(ground.any().hgetall(key), "WRONGTYPE");
    refused!(ground.any().hdel(key, "f"), "WRONGTYPE");
    refused!(ground.any().hlen(key), "WRONGTYPE");
    refused!(ground.any().hincrby(key, "f", 1), "WRONGTYPE");
    gives!(ground.any().get(key), Some(value("v")));
    Ok(())
}

async fn ttl(ground: &Ground, key: &str) -> Result<i64, quorate::presence::Error> {
    let reply = ground.any().command(vec![value("TTL"), key.to_owned().into()]).await?;
    Ok(if let Reply::Integer(seconds) = reply { seconds } else { -100 })
}

/// Expects that a key has so many seconds left.
async fn within(ground: &Ground, key: &str, least: i64, most: i64) -> Outcome {
    let seconds = ttl(ground, key).await.map_err(told)?;
    same(
        &format!("{seconds} s left are {least} to {most} s"),
        (least..=most).contains(&seconds),
        true,
    )
}
