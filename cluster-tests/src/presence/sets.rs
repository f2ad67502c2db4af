//! Sets.
//!
//! Owns: checks of sadd, smembers, sismember, srem, scard, sinter. Invariant: see the suite.

use bytes::Bytes;

use super::{Ground, checks, gives, refused, same, told, value, values};
use crate::failure::Outcome;

checks!(
    sadd_counts_what_is_new,
    a_missing_set_has_no_members,
    members_are_bytes,
    srem_takes_the_key_with_its_last_member,
    sinter_gives_what_all_sets_have,
    sinter_of_a_missing_set_is_empty,
    sinter_needs_a_key,
    a_set_call_refuses_another_type,
);

async fn members(ground: &Ground, key: &str) -> Outcome<Vec<Bytes>> {
    let mut members = ground.any().smembers(key).await.map_err(told)?;
    members.sort();
    Ok(members)
}

async fn sadd_counts_what_is_new(ground: &Ground) -> Outcome {
    let key = &ground.name("set");
    gives!(ground.any().sadd(key, values(["a", "b", "a"])), 2);
    gives!(ground.any().sadd(key, values(["b", "c"])), 1);
    gives!(ground.any().sadd(key, values(["a"])), 0);
    gives!(ground.any().scard(key), 3);
    same("members", members(ground, key).await?, values(["a", "b", "c"]))?;
    refused!(
        ground.any().sadd(key, Vec::new()),
        "ERR wrong number of arguments for 'sadd' command"
    );
    // Redis keeps numbers in another form.
    let numbers = &ground.name("set");
    gives!(ground.any().sadd(numbers, values(["10", "9", "-1"])), 3);
    gives!(ground.any().sismember(numbers, value("9")), true);
    gives!(ground.any().sismember(numbers, value("09")), false);
    gives!(ground.any().sadd(numbers, values(["x"])), 1);
    same("members", members(ground, numbers).await?, values(["-1", "10", "9", "x"]))
}

async fn a_missing_set_has_no_members(ground: &Ground) -> Outcome {
    let key = &ground.name("set");
    gives!(ground.any().smembers(key), Vec::new());
    gives!(ground.any().scard(key), 0);
    gives!(ground.any().sismember(key, value("a")), false);
    gives!(ground.any().srem(key, values(["a"])), 0);
    gives!(ground.any().exists(key), false);
    Ok(())
}

async fn members_are_bytes(ground: &Ground) -> Outcome {
    let key = &ground.name("set");
    let odd: Vec<Bytes> =
        vec![Bytes::from_static(b""), Bytes::from_static(b"\x00\xff\r\n"), "☃".into()];
    gives!(ground.any().sadd(key, odd.clone()), 3);
    for member in &odd {
        gives!(ground.any().sismember(key, member.clone()), true);
    }
    let mut sorted = odd;
    sorted.sort();
    same("members", members(ground, key).await?, sorted)
}

async fn srem_takes_the_key_with_its_last_member(ground: &Ground) -> Outcome {
    let key = &ground.name("set");
    gives!(ground.any().sadd(key, values(["a", "b", "c"])), 3);
    gives!(ground.any().srem(key, values(["a", "x", "b"])), 2);
    gives!(ground.any().sismember(key, value("a")), false);
    gives!(ground.any().exists(key), true);
    gives!(ground.any().srem(key, values(["c"])), 1);
    gives!(ground.any().exists(key), false);
    refused!(
        ground.any().srem(key, Vec::new()),
        "ERR wrong number of arguments for 'srem' command"
    );
    Ok(())
}

async fn sinter_gives_what_all_sets_have(ground: &Ground) -> Outcome {
    let (a, b, c) = (&ground.name("{i}"), &ground.name("{i}"), &ground.name("{i}"));
    gives!(ground.any().sadd(a, values(["1", "2", "3", "4"])), 4);
    gives!(ground.any().sadd(b, values(["2", "3", "4", "5"])), 4);
    gives!(ground.any().sadd(c, values(["3", "4", "x"])), 3);
    for (keys, wanted) in [
        (vec![a], vec!["1", "2", "3", "4"]),
        (vec![a, a], vec!["1", "2", "3", "4"]),
        (vec![a, b], vec!["2", "3", "4"]),
        (vec![c, a, b], vec!["3", "4"]),
    ] {
        let keys: Vec<&str> = keys.into_iter().map(String::as_str).collect();
        let mut found = ground.any().sinter(&keys).await.map_err(told)?;
        found.sort();
        let wanted: Vec<Bytes> = wanted.into_iter().map(Bytes::from).collect();
        same(&format!("{keys:?}"), found, wanted)?;
    }
    Ok(())
}

async fn sinter_of_a_missing_set_is_empty(ground: &Ground) -> Outcome {
    let (a, b) = (&ground.name("{i}"), &ground.name("{i}"));
    gives!(ground.any().sadd(a, values(["1"])), 1);
    gives!(ground.any().sinter(&[a, b]), Vec::new());
    gives!(ground.any().sinter(&[b, a]), Vec::new());
    gives!(ground.any().sinter(&[b]), Vec::new());
    Ok(())
}

async fn sinter_needs_a_key(ground: &Ground) -> Outcome {
    refused!(ground.any().sinter(&[]), "ERR wrong number of arguments for 'sinter' command");
    Ok(())
}

async fn a_set_call_refuses_another_type(ground: &Ground) -> Outcome {
    let (key, set) = (&ground.name("{i}"), &ground.name("{i}"));
    gives!(ground.any().set(key, value("v")), ());
    gives!(ground.any().sadd(set, values(["a"])), 1);
    refused!(ground.any().sadd(key, values(["a"])), "WRONGTYPE");
    refused!(ground.any().smembers(key), "WRONGTYPE");
    refused!(ground.any().sismember(key, value("a")), "WRONGTYPE");
    refused!(ground.any().srem(key, values(["a"])), "WRONGTYPE");
    refused!(ground.any().scard(key), "WRONGTYPE");
    refused!(ground.any().sinter(&[set, key]), "WRONGTYPE");
    Ok(())
}
