//! Topics: who gets what, from when, and until when.
//!
//! Owns: checks of subscribe, unsubscribe, publish, channels, set_max_listeners. Invariant: see the suite.

use std::time::Duration;

use bytes::Bytes;
use quorate::presence::{Delivery, Subscription};
use tokio::time::timeout;

use super::ground::{PATIENCE, payload};
use super::{Ground, checks, gives, same, told, value};
use crate::failure::{Failure, Outcome};
use crate::process::wait_for;

checks!(
    a_message_reaches_every_side_and_its_own,
    subscriptions_of_one_process_each_get_everything,
    a_subscription_is_in_effect_when_it_resolves,
    one_publishers_messages_keep_their_order_across_topics,
    who_comes_late_gets_nothing_of_before,
    unsubscribe_ends_all_subscriptions_of_its_presence,
    unsubscribing_from_within_ends_it_behind_what_came,
    a_dropped_subscription_gets_nothing,
    topics_come_and_go_within_one_subscription,
    channels_are_those_that_somebody_listens_to,
    payloads_are_bytes_of_any_size,
    a_slow_subscriber_is_told_what_it_lost,
    more_listeners_than_expected_are_served,
);

async fn subscribe(ground: &Ground, number: usize, topic: &str) -> Outcome<Subscription> {
    ground.at(number).subscribe(topic).await.map_err(told)
}

async fn expect(subscription: &Subscription, topic: &str, wanted: &str) -> Outcome {
    same(
        "the next message",
        payload(subscription).await?,
        (topic.to_owned(), Bytes::from(wanted.to_owned())),
    )
}

async fn a_message_reaches_every_side_and_its_own(ground: &Ground) -> Outcome {
    let topic = &ground.name("topic");
    let mut all = Vec::new();
    for number in 0..3 {
        all.push(subscribe(ground, number, topic).await?);
    }
    for number in 0..3 {
        gives!(ground.at(number).publish(topic, Bytes::from(number.to_string())), ());
        for subscription in &all {
            expect(subscription, topic, &number.to_string()).await?;
        }
    }
    gives!(ground.any().publish(&ground.name("nobody"), value("x")), ());
    Ok(())
}

async fn subscriptions_of_one_process_each_get_everything(ground: &Ground) -> Outcome {
    let topic = &ground.name("topic");
    let (first, second) = (subscribe(ground, 0, topic).await?, subscribe(ground, 0, topic).await?);
    gives!(ground.at(1).publish(topic, value("1")), ());
    for subscription in [&first, &second] {
        expect(subscription, topic, "1").await?;
    }
    drop(first);
    gives!(ground.at(1).publish(topic, value("2")), ());
    expect(&second, topic, "2").await
}

async fn a_subscription_is_in_effect_when_it_resolves(ground: &Ground) -> Outcome {
    // A reply address that is used once, as a request over topics does it.
    for number in 0..200 {
        let topic = &ground.name("ipc");
        let reply = subscribe(ground, number, topic).await?;
        gives!(ground.at(number + 1).publish(topic, value("reply")), ());
        expect(&reply, topic, "reply").await?;
    }
    // A topic that was busy before anybody listened, which may have been pruned.
    let topic = &ground.name("busy");
    for number in 0..100 {
        gives!(ground.at(number).publish(topic, value("in vain")), ());
    }
    for number in 0..6 {
        let late = subscribe(ground, number, topic).await?;
        gives!(ground.at(number + 1).publish(topic, Bytes::from(number.to_string())), ());
        // What another process had published before, and was on its way when this one subscribed, may come too.
        let mut found = payload(&late).await?.1;
        let wanted = number.to_string();
        while found != wanted {
            let is_earlier = (0..number).any(|earlier| found == earlier.to_string());
            let what = format!("whether {found:?}, heard before {wanted:?}, is of before");
            same(&what, is_earlier || found == "in vain", true)?;
            found = payload(&late).await?.1;
        }
    }
    Ok(())
}

async fn one_publishers_messages_keep_their_order_across_topics(ground: &Ground) -> Outcome {
    let topics = [ground.name("order"), ground.name("order"), ground.name("order")];
    let wide = ground.at(0).listen();
    for topic in &topics {
        wide.add(topic).await.map_err(told)?;
    }
    for number in 0..1_000 {
        for topic in &topics {
            gives!(ground.at(1).publish(topic, Bytes::from(number.to_string())), ());
        }
    }
    for number in 0..1_000 {
        for topic in &topics {
            expect(&wide, topic, &number.to_string()).await?;
        }
    }
    Ok(())
}

async fn who_comes_late_gets_nothing_of_before(ground: &Ground) -> Outcome {
    for number in 0..3 {
        // Another for each: what one side has published may still be on its way when the next one subscribes.
        let topic = &ground.name("topic");
        gives!(ground.at(number).publish(topic, value("early")), ());
        let late = subscribe(ground, number, topic).await?;
        gives!(ground.at(number).publish(topic, value("late")), ());
        expect(&late, topic, "late").await?;
    }
    Ok(())
}

async fn unsubscribe_ends_all_subscriptions_of_its_presence(ground: &Ground) -> Outcome {
    let (topic, other) = (&ground.name("topic"), &ground.name("topic"));
    let (first, second) = (subscribe(ground, 0, topic).await?, subscribe(ground, 0, topic).await?);
    let wide = ground.at(0).listen();
    wide.add(topic).await.map_err(told)?;
    wide.add(other).await.map_err(told)?;
    gives!(ground.at(0).unsubscribe(topic), ());
    gives!(ground.at(0).unsubscribe(topic), ());
    gives!(ground.at(0).unsubscribe(&ground.name("never")), ());
    for subscription in [&first, &second] {
        let next = timeout(PATIENCE, subscription.next()).await;
        same("the end", next.map_err(|_| Failure::new("it does not end"))?, None)?;
    }
    gives!(ground.at(1).publish(topic, value("1")), ());
    gives!(ground.at(1).publish(other, value("2")), ());
    expect(&wide, other, "2").await?;
    // It can be subscribed to again.
    let again = subscribe(ground, 0, topic).await?;
    gives!(ground.at(1).publish(topic, value("3")), ());
    expect(&again, topic, "3").await
}

async fn unsubscribing_from_within_ends_it_behind_what_came(ground: &Ground) -> Outcome {
    let topic = &ground.name("topic");
    let (one, two) = (subscribe(ground, 0, topic).await?, subscribe(ground, 0, topic).await?);
    for number in 0..3 {
        gives!(ground.at(0).publish(topic, Bytes::from(number.to_string())), ());
    }
    expect(&one, topic, "0").await?;
    expect(&one, topic, "1").await?;
    expect(&one, topic, "2").await?;
    gives!(ground.at(0).unsubscribe(topic), ());
    // What had come when the first of them ended both is still there for the other.
    for number in 0..3 {
        expect(&two, topic, &number.to_string()).await?;
    }
    same("the end", two.next().await, None)
}

async fn a_dropped_subscription_gets_nothing(ground: &Ground) -> Outcome {
    let topic = &ground.name("topic");
    let subscription = subscribe(ground, 0, topic).await?;
    same("it is listed", ground.any().channels(topic).await.map_err(told)?, vec![topic.clone()])?;
    drop(subscription);
    unlisted(ground, topic).await
}

async fn topics_come_and_go_within_one_subscription(ground: &Ground) -> Outcome {
    let (a, b) = (&ground.name("topic"), &ground.name("topic"));
    let wide = ground.at(0).listen();
    same("nothing is there", wide.try_next(), None)?;
    wide.add(a).await.map_err(told)?;
    wide.add(a).await.map_err(told)?;
    wide.add(b).await.map_err(told)?;
    let mut topics = wide.topics();
    topics.sort();
    same("topics", topics, vec![a.clone(), b.clone()])?;
    gives!(ground.at(1).publish(a, value("1")), ());
    expect(&wide, a, "1").await?;
    same("it was there", wide.remove(a), true)?;
    same("it was not there", wide.remove(a), false)?;
    gives!(ground.at(1).publish(a, value("2")), ());
    gives!(ground.at(1).publish(b, value("3")), ());
    expect(&wide, b, "3").await?;
    for number in 0..20 {
        wide.remove(b);
        wide.add(b).await.map_err(told)?;
        gives!(ground.at(number).publish(b, Bytes::from(number.to_string())), ());
        expect(&wide, b, &number.to_string()).await?;
    }
    Ok(())
}

async fn channels_are_those_that_somebody_listens_to(ground: &Ground) -> Outcome {
    let name = ground.name("chan");
    let topics: Vec<String> =
        ["p:a", "p:b", "q:c", "p:ü"].iter().map(|end| format!("{name}:{end}")).collect();
    let mut all = Vec::new();
    for (number, topic) in topics.iter().enumerate() {
        all.push(subscribe(ground, number, topic).await?);
    }
    all.push(subscribe(ground, 1, &format!("{name}:p:a")).await?);
    for (pattern, wanted) in [
        ("p:*", vec!["p:a", "p:b", "p:ü"]),
        ("?:[ac]", vec!["p:a", "q:c"]),
        ("p:a", vec!["p:a"]),
        ("P:*", vec![]),
        ("p:", vec![]),
        ("*c", vec!["q:c"]),
        ("p:[^a]", vec!["p:b"]),
    ] {
        let wanted: Vec<String> = wanted.iter().map(|end| format!("{name}:{end}")).collect();
        let pattern = format!("{name}:{pattern}");
        for number in 0..3 {
            gives!(ground.at(number).channels(&pattern), wanted.clone());
        }
    }
    drop(all);
    for topic in &topics {
        unlisted(ground, topic).await?;
    }
    Ok(())
}

async fn payloads_are_bytes_of_any_size(ground: &Ground) -> Outcome {
    let topic = &ground.name("späße ☃ 🎲 \0\r\n");
    let subscription = subscribe(ground, 0, topic).await?;
    let all: Vec<u8> = (0..=255).collect();
    for payload in [Bytes::new(), all.into(), "☃".into(), vec![7; 3_000_000].into(), value("small")]
    {
        gives!(ground.at(1).publish(topic, payload.clone()), ());
        let (found_topic, found) = super::ground::payload(&subscription).await?;
        same("the topic", &found_topic, topic)?;
        same(&format!("a payload of {} bytes", payload.len()), found == payload, true)?;
    }
    Ok(())
}

async fn a_slow_subscriber_is_told_what_it_lost(ground: &Ground) -> Outcome {
    let topic = &ground.name("flood");
    let (slow, quick) = (subscribe(ground, 0, topic).await?, subscribe(ground, 0, topic).await?);
    for number in 0_u64..60 {
        let mut payload = vec![0; 1_000_000];
        payload.splice(..8, number.to_be_bytes());
        gives!(ground.at(0).publish(topic, payload.into()), ());
        payload_number(&quick).await?;
    }
    gives!(ground.at(0).publish(topic, value("the end.")), ());
    let (mut lost, mut got, mut last) = (0, 0, None);
    loop {
        let next =
            timeout(PATIENCE, slow.next()).await.map_err(|_| Failure::new("nothing comes"))?;
        match next {
            Some(Delivery::Lost { count }) => {
                lost += count.ok_or_else(|| Failure::new("nobody knows how many are missing"))?;
            }
            Some(Delivery::Message(message)) if message.payload == "the end." => break,
            Some(Delivery::Message(message)) => {
                let number = first_number(&message.payload);
                same("order", last < number, true)?;
                (got, last) = (got + 1, number);
            }
            None => return Err(Failure::new("it has ended")),
        }
    }
    same(
        &format!("{got} came and {lost} are missing"),
        (got + lost, lost > 0 && got > 0),
        (60, true),
    )
}

async fn payload_number(subscription: &Subscription) -> Outcome<Option<u64>> {
    Ok(first_number(&payload(subscription).await?.1))
}

fn first_number(payload: &Bytes) -> Option<u64> {
    payload.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

async fn more_listeners_than_expected_are_served(ground: &Ground) -> Outcome {
    let topic = &ground.name("topic");
    ground.at(0).set_max_listeners(2);
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(subscribe(ground, 0, topic).await?);
    }
    ground.at(0).set_max_listeners(0);
    gives!(ground.at(1).publish(topic, value("1")), ());
    for subscription in &all {
        expect(subscription, topic, "1").await?;
    }
    Ok(())
}

async fn unlisted(ground: &Ground, topic: &str) -> Outcome {
    wait_for("a topic to be listed no more", Duration::from_secs(20), || async {
        match ground.any().channels("*").await.map_err(told)?.iter().any(|listed| listed == topic) {
            false => Ok(()),
            true => Err(Failure::new("it is still listed")),
        }
    })
    .await
}
