//! What follows what: calls one behind the other, messages behind writes, and the end.
//!
//! Owns: checks that concern several calls. Invariant: see the suite.

use bytes::Bytes;
use quorate::command::Reply;
use quorate::presence::{Asked, Queue};

use super::ground::payload;
use super::{Ground, checks, gives, same, told, value};
use crate::failure::{Failure, Outcome};

checks!(
    a_read_sees_every_write_that_was_answered,
    a_message_is_behind_the_writes_before_it,
    commands_of_one_call_take_effect_in_their_order,
    calls_that_nobody_awaits_keep_their_order,
);

async fn a_read_sees_every_write_that_was_answered(ground: &Ground) -> Outcome {
    let key = &ground.name("hash");
    for number in 0..150 {
        gives!(ground.at(number).hset(key, "f", Bytes::from(number.to_string())), number == 0);
        gives!(ground.at(number + 1).hget(key, "f"), Some(Bytes::from(number.to_string())));
        gives!(ground.at(number + 2).exists(key), true);
    }
    Ok(())
}

async fn a_message_is_behind_the_writes_before_it(ground: &Ground) -> Outcome {
    let (topic, key) = (&ground.name("topic"), &ground.name("key"));
    let listener = ground.at(1).subscribe(topic).await.map_err(told)?;
    for number in 0..100 {
        let text = Bytes::from(number.to_string());
        gives!(ground.at(0).set(key, text.clone()), ());
        gives!(ground.at(0).publish(topic, text.clone()), ());
        same("the message", payload(&listener).await?.1, text.clone())?;
        gives!(ground.at(1).get(key), Some(text));
    }
    Ok(())
}

async fn commands_of_one_call_take_effect_in_their_order(ground: &Ground) -> Outcome {
    let key = ground.name("{o}");
    let ask = |words: &[&str]| {
        let words = words.iter().map(|word| Bytes::from(word.replace("KEY", &key)));
        words.collect::<Vec<_>>()
    };
    let asked = vec![
        Asked::one(ask(&["GET", "KEY"])),
        Asked::one(ask(&["SET", "KEY", "1"])),
        Asked::one(ask(&["GET", "KEY"])),
        Asked::one(ask(&["NONSENSE"])),
        Asked::one(ask(&["LPUSH", "KEY", "x"])),
        Asked::transaction(vec![
            ask(&["INCR", "KEY"]),
            ask(&["EXPIRE", "KEY", "x"]),
            ask(&["GET", "KEY"]),
        ]),
        Asked::one(ask(&["GET", "KEY"])),
    ];
    let mut replies = Vec::new();
    for reply in ground.any().execute(asked).await {
        replies.push(short(reply.map_err(told)?));
    }
    let (one, two) = (Reply::Bulk(value("1")), Reply::Bulk(value("2")));
    let error = |code| Reply::Bulk(Bytes::from_static(code));
    let transaction = Reply::Array(vec![Reply::Integer(2), error(b"-ERR"), two.clone()]);
    let wanted =
        vec![Reply::Nil, Reply::Ok, one, error(b"-ERR"), error(b"-WRONGTYPE"), transaction, two];
    same("the replies", replies, wanted)
}

/// An error by its first word, as a value.
fn short(reply: Reply) -> Reply {
    if let Reply::Array(items) = reply {
        return Reply::Array(items.into_iter().map(short).collect());
    }
    let Reply::Error(error) = reply else {
        return reply;
    };
    let text = error.to_string();
    Reply::Bulk(format!("-{}", text.split(' ').next().unwrap_or_default()).into())
}

async fn calls_that_nobody_awaits_keep_their_order(ground: &Ground) -> Outcome {
    let (key, topic) = (ground.name("key"), ground.name("topic"));
    let presence = ground.at(0).clone();
    let listener = ground.at(1).subscribe(&topic).await.map_err(told)?;
    let (queue, work) = Queue::new(10_000, async move { Ok(presence) });
    let work = tokio::spawn(work);
    let mut replies = Vec::new();
    for number in 0..500_u32 {
        let text = Bytes::from(number.to_string());
        let set = vec![value("SET"), key.clone().into(), text.clone()];
        let get = vec![value("GET"), key.clone().into()];
        // Nobody awaits it.
        drop(queue.submit(Asked::one(set)));
        replies.push((queue.submit(Asked::one(get)), text.clone()));
        if number.is_multiple_of(50) {
            drop(queue.publish(topic.clone(), text));
        }
    }
    for (reply, wanted) in replies {
        same("a read behind its write", reply.await, Ok(Reply::Bulk(wanted)))?;
    }
    for number in (0..500).step_by(50) {
        same("messages", payload(&listener).await?.1, Bytes::from(number.to_string()))?;
    }
    drop(queue);
    work.await.map_err(|error| Failure::new(error.to_string()))
}
