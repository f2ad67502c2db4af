//! A chat between terminals of one machine, with no server and no configuration. In each of several terminals:
//!
//! ```sh
//! cargo run --example chat -- ann
//! ```
//!
//! Owns the lines on the terminal. Who dies need not say so: the cluster takes his name off the list of those who are
//! here, and the others see it. Invariant: what is said after `hears all` is shown in every terminal.
#![expect(clippy::print_stdout, reason = "this is a program for a terminal")]

use quorate::presence::{ClusterPresence, Delivery, Presence};
use quorate::{Config, rendezvous};
use tokio::sync::mpsc;

const HERE: &str = "here";
const ROOM: &str = "room";
/// Where the cluster itself tells of each change of those who are here.
const HERE_CHANGES: &str = "__keyspace@0__:here";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().nth(1).ok_or("usage: chat NAME")?;
    let mut config = Config::default();
    config.node.notify_keyspace_events = "Ks".parse()?;
    let node = rendezvous::start("example-chat", config).await?;
    let presence = ClusterPresence::new(node.clone());

    let room = presence.listen();
    room.add(ROOM).await?;
    room.add(HERE_CHANGES).await?;
    println!("* {name} hears all; end with Ctrl-C");
    presence.bound().sadd(HERE, vec![name.clone().into()]).await?;

    let mut lines = lines();
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            Some(line) = lines.recv() => {
                presence.publish(ROOM, format!("{name}: {line}").into()).await?;
            }
            heard = room.next() => match heard {
                Some(Delivery::Message(said)) if said.topic() == ROOM => {
                    println!("{}", String::from_utf8_lossy(&said.payload));
                }
                Some(Delivery::Message(_)) => {
                    let names = presence.smembers(HERE).await?.join(&b", "[..]);
                    println!("* here: {}", String::from_utf8_lossy(&names));
                }
                Some(Delivery::Lost { count }) => println!("* {count:?} messages are missing"),
                None => break,
            },
        }
    }
    node.leave().await;
    Ok(())
}

/// What is typed. A read of the terminal cannot be called off, so it has a thread that ends with the process.
fn lines() -> mpsc::Receiver<String> {
    let (typed, lines) = mpsc::channel(16);
    std::thread::spawn(move || {
        let all = std::io::stdin().lines().map_while(Result::ok);
        all.map(|line| typed.blocking_send(line)).take_while(Result::is_ok).count()
    });
    lines
}
