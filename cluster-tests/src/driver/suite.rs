//! What all drivers do alike.
//!
//! Owns: the checks that run on every driver, each on an empty list. Does not own: what only the cluster promises. Invariant: a
//! check that needs two processes asks two.

use std::collections::BTreeSet;
use std::pin::Pin;

use quorate::presence::driver::{Conditions, Order, Row, Sort};
use serde_json::{Map, Value, json};

use super::{Ground, done, listing, row, same};
use crate::failure::{Failure, Outcome};

type Checked<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// A check with its name.
pub type Check = (&'static str, for<'a> fn(&'a Ground) -> Checked<'a>);

/// All checks.
#[must_use]
pub fn all() -> Vec<Check> {
    vec![
        ("a_room_is_listed_once_and_found_until_it_is_removed", |g| Box::pin(life(g))),
        ("conditions_are_compared_as_javascript_does", |g| Box::pin(conditions(g))),
        ("rows_are_sorted", |g| Box::pin(sorting(g))),
        ("rows_are_found_by_their_ids", |g| Box::pin(by_ids(g))),
        ("a_change_keeps_what_it_does_not_name", |g| Box::pin(changes(g))),
        ("a_cleanup_takes_the_rooms_of_one_process", |g| Box::pin(cleanup(g))),
        ("of_those_who_insert_one_room_one_is_told_so", |g| Box::pin(inserts(g))),
        ("the_last_of_calls_that_are_not_awaited_stays", |g| Box::pin(order(g))),
        ("any_text_can_be_an_id", |g| Box::pin(odd_ids(g))),
    ]
}

async fn life(g: &Ground) -> Outcome {
    let json = r#"{"clients":0,"maxClients":null,"locked":false,"private":false,"metadata":{"mode":"duo","deep":[{"a":null}]},"createdAt":"2026-11-22T00:00:00.000Z","unlisted":false,"name":"game","processId":"p1","publicAddress":"127.0.0.1:2568","roomId":"r1","ours":{"z":1,"a":[2]}}"#;
    let first = done("a row", Row::parse(json))?;
    same("there before", done("has", g.any().has("r1").await)?, false)?;
    same("insert", done("insert", g.any().insert(&first).await)?, true)?;
    same("insert again", done("insert", g.any().insert(&row("r1", "p2")).await)?, false)?;
    same("has", done("has", g.any().has("r1").await)?, true)?;
    let by_id = Conditions::none().and("roomId", "r1");
    for _ in 0..3 {
        let found = done("find_one", g.any().find_one(&by_id, &Sort::none()).await)?;
        let found = found.ok_or_else(|| Failure::new("a listed room is not found"))?;
        same("its text", found.json(), json)?;
    }
    let not_it = by_id.clone().and("locked", true);
    same("another", done("find_one", g.any().find_one(&not_it, &Sort::none()).await)?, None)?;
    let second = done("a row", Row::parse(json.replace("\"clients\":0", "\"clients\":1")))?;
    same("persist", done("persist", g.at(0).persist(&second).await)?, true)?;
    let all = done("query", g.any().query(&Conditions::none(), &Sort::none()).await)?;
    same("all", all, vec![second])?;
    same("remove", done("remove", g.any().remove("r1").await)?, true)?;
    same("remove again", done("remove", g.any().remove("r1").await)?, false)?;
    same("gone", done("find_one", g.any().find_one(&by_id, &Sort::none()).await)?, None)?;
    done("persist", g.any().persist(&row("r2", "p1")).await)?;
    done("clear", g.any().clear().await)?;
    same("empty", ids(g, "{}", "{}").await?, String::new())
}

async fn ids(g: &Ground, conditions: &str, sort: &str) -> Outcome<String> {
    let (conditions, sort) =
        (done("conditions", Conditions::parse(conditions))?, done("a sort", Sort::parse(sort))?);
    let found = done("query", g.any().query(&conditions, &sort).await)?;
    let first = done("find_one", g.any().find_one(&conditions, &sort).await)?;
    if sort == Sort::none() {
        same("one of all", first.is_some(), !found.is_empty())?;
        let ids: BTreeSet<&str> = found.iter().map(Row::room_id).collect();
        return Ok(ids.into_iter().collect());
    }
    same("the first", first.as_ref(), found.first())?;
    Ok(found.iter().map(Row::room_id).collect())
}

/// Lists rooms `a`, `b`, `c` and so on with these fields beside those of every room.
async fn list(g: &Ground, rooms: &[Value]) -> Outcome {
    for (letter, fields) in ('a'..).zip(rooms) {
        let mut row: Map<String, Value> = row(&letter.to_string(), "p").value();
        for (field, value) in fields.as_object().into_iter().flatten() {
            row.insert(field.clone(), value.clone());
        }
        let row = done("a row", Row::parse(Value::Object(row).to_string()))?;
        same("insert", done("insert", g.any().insert(&row).await)?, true)?;
    }
    Ok(())
}

async fn conditions(g: &Ground) -> Outcome {
    list(
        g,
        &[
            json!({"clients": 1, "metadata": {"mode": "duo", "level": 1}}),
            json!({"clients": 2, "metadata": {"mode": "solo", "level": "1"}, "locked": true}),
            json!({"clients": 1, "metadata": null, "private": true}),
            json!({"clients": 3, "mode": "duo", "metadata": {"mode": "solo", "none": null}}),
            json!({"name": "lobby", "metadata": ["duo"]}),
        ],
    )
    .await?;
    for (conditions, expected) in [
        ("{}", "abcde"),
        (r#"{"name":"game"}"#, "abcd"),
        (r#"{"name":"game","locked":false,"private":false}"#, "ad"),
        (r#"{"name":"gam"}"#, ""),
        (r#"{"name":"a \"quote\""}"#, ""),
        (r#"{"clients":1}"#, "ac"),
        (r#"{"clients":"1"}"#, ""),
        (r#"{"mode":"duo"}"#, "ad"),
        (r#"{"mode":"solo"}"#, "b"),
        (r#"{"level":1}"#, "a"),
        (r#"{"none":null}"#, "d"),
        (r#"{"maxClients":null}"#, "abcde"),
        (r#"{"metadata":null}"#, "c"),
        (r#"{"metadata":{"level":1,"mode":"duo"}}"#, ""),
        (r#"{"roomId":"b"}"#, "b"),
        (r#"{"roomId":"b","locked":false}"#, ""),
        (r#"{"processId":"p","clients":3}"#, "d"),
        (r#"{"nothing":null}"#, ""),
    ] {
        same(conditions, ids(g, conditions, "{}").await?, expected.to_owned())?;
    }
    Ok(())
}

async fn sorting(g: &Ground) -> Outcome {
    list(
        g,
        &[
            json!({"clients": 2, "createdAt": "2026-11-22T00:00:03.000Z", "metadata": {"level": 3}}),
            json!({"clients": 1, "createdAt": "2026-11-22T00:00:01.000Z", "metadata": {"level": 30}}),
            json!({"clients": 3, "createdAt": "2026-11-22T00:00:02.000Z", "metadata": {"level": 200}}),
            json!({"clients": 2, "createdAt": "2026-11-22T00:00:00.000Z", "metadata": {"level": 1}}),
        ],
    )
    .await?;
    for (conditions, sort, expected) in [
        ("{}", r#"{"clients":1,"createdAt":1}"#, "bdac"),
        ("{}", r#"{"clients":-1,"createdAt":-1}"#, "cadb"),
        ("{}", r#"{"clients":"asc","createdAt":"desc"}"#, "badc"),
        ("{}", r#"{"clients":"descending","createdAt":"ascending"}"#, "cdab"),
        ("{}", r#"{"level":1}"#, "dabc"),
        ("{}", r#"[["level",-1]]"#, "cbad"),
        (r#"{"clients":2}"#, r#"{"createdAt":1}"#, "da"),
        (r#"{"clients":9}"#, r#"{"createdAt":1}"#, ""),
    ] {
        same(sort, ids(g, conditions, sort).await?, expected.to_owned())?;
    }
    Ok(())
}

async fn by_ids(g: &Ground) -> Outcome {
    let none = done("find_by_ids", g.any().find_by_ids(&[]).await)?;
    same("none", none.len(), 0)?;
    for number in 0..12 {
        done("persist", g.any().persist(&row(&format!("r{number}"), "p")).await)?;
    }
    let asked: Vec<String> = (0..1_200).map(|number| format!("r{}", number * 3)).collect();
    let found = done("find_by_ids", g.any().find_by_ids(&asked).await)?;
    let ids: Vec<&str> = found.keys().map(String::as_str).collect();
    same("found", ids, vec!["r0", "r3", "r6", "r9"])?;
    let ninth = found.get("r9").ok_or_else(|| Failure::new("it was found"))?;
    same("the row", ninth, &row("r9", "p"))
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

async fn changes(g: &Ground) -> Outcome {
    let json = r#"{"roomId":"r","processId":"p","clients":1,"ours":{"z":1.50,"a":2},"metadata":{"mode":"duo"}}"#;
    done("insert", g.any().insert(&done("a row", Row::parse(json))?).await)?;
    let (set, more) = (
        object(&json!({"locked": true, "metadata": {"mode": "solo"}})),
        object(&json!({"clients": 2})),
    );
    let changed = done("update", g.any().update("r", &set, &more).await)?;
    let expected = r#"{"roomId":"r","processId":"p","clients":3,"ours":{"z":1.50,"a":2},"metadata":{"mode":"solo"},"locked":true}"#;
    same("changed", changed.as_ref().map(Row::json), Some(expected))?;
    let by_mode = Conditions::none().and("mode", "solo").and("locked", true);
    same("found", done("find_one", g.any().find_one(&by_mode, &Sort::none()).await)?, changed)?;
    let none = done("update", g.any().update("gone", &set, &more).await)?;
    same("what is not listed", none, None)?;
    same("is not made", done("has", g.any().has("gone").await)?, false)
}

async fn cleanup(g: &Ground) -> Outcome {
    for number in 0..700 {
        let process = ["p1", "p10", "p2"][number % 3];
        done("insert", g.any().insert(&row(&format!("r{number}"), process)).await)?;
    }
    // What only speaks of the process is not its own.
    let mut speaks = listing("speaks", "p2");
    speaks.metadata = json!({"processId": "p1", "text": "\"processId\":\"p1\""});
    done("insert", g.any().insert(&done("a row", Row::try_from(&speaks))?).await)?;
    same("rooms", done("cleanup", g.any().cleanup("p1").await)?, 234)?;
    same("again", done("cleanup", g.any().cleanup("p1").await)?, 0)?;
    let left = done("query", g.any().query(&Conditions::none(), &Sort::none()).await)?;
    same("left", left.len(), 467)?;
    same("of others", left.iter().all(|row| row.process_id() != "p1"), true)?;
    same("rooms", done("cleanup", g.any().cleanup("p10").await)?, 233)
}

async fn inserts(g: &Ground) -> Outcome {
    for number in 0..30 {
        let room = format!("r{number}");
        let rows = [row(&room, "p0"), row(&room, "p1"), row(&room, "p2")];
        let (a, b, c) = tokio::join!(
            g.at(0).insert(&rows[0]),
            g.at(1).insert(&rows[1]),
            g.at(2).insert(&rows[2])
        );
        let won = [done("insert", a)?, done("insert", b)?, done("insert", c)?];
        same("winners", won.iter().filter(|won| **won).count(), 1)?;
        let there = done("find_by_ids", g.any().find_by_ids(std::slice::from_ref(&room)).await)?;
        let winner = rows.iter().zip(won).find(|(_, won)| *won).map(|(row, _)| row);
        same("the row", there.get(&room), winner)?;
    }
    Ok(())
}

async fn order(g: &Ground) -> Outcome {
    let with = |clients| {
        let mut listing = listing("r", "p");
        listing.clients = clients;
        done("a row", Row::try_from(&listing))
    };
    let rows = [with(1)?, with(2)?, with(3)?, with(4)?];
    let driver = g.at(0);
    let (all, sort) = (Conditions::none(), Sort::none().by("clients", Order::Ascending));
    for _ in 0..20 {
        let (first, second, found, third, removed, fourth) = tokio::join!(
            biased;
            driver.persist(&rows[0]),
            driver.persist(&rows[1]),
            driver.find_one(&all, &sort),
            driver.persist(&rows[2]),
            driver.remove("r"),
            driver.persist(&rows[3]),
        );
        for result in [first, second, third, fourth] {
            same("persist", done("persist", result)?, true)?;
        }
        same("remove", done("remove", removed)?, true)?;
        // A later write may be seen, an earlier one must be.
        let found = done("find_one", found)?;
        same("an old row", found.as_ref() == Some(&rows[0]), false)?;
        let last = done("query", driver.query(&all, &sort).await)?;
        same("the last", last, vec![rows[3].clone()])?;
    }
    Ok(())
}

async fn odd_ids(g: &Ground) -> Outcome {
    for id in ["", " ", "a\"b\\", "\u{1f600}", "\n\r\0", "roomcaches", "-1"] {
        let row = row(id, "p");
        same(id, done("insert", g.any().insert(&row).await)?, true)?;
        let by_id = Conditions::none().and("roomId", id);
        let found = done("find_one", g.any().find_one(&by_id, &Sort::none()).await)?;
        same(id, found, Some(row))?;
        same(id, done("remove", g.any().remove(id).await)?, true)?;
    }
    Ok(())
}
