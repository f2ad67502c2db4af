//! A board of who is online and what he does, over processes of one machine, with no server and no configuration. In each of
//! several terminals:
//!
//! ```sh
//! cargo run --example board -- ann     # then type what you do, and change it as often as you like
//! ```
//!
//! Owns the lines on the terminal. Each entry is bound to the process that wrote it: `kill -9` one, and it is off the
//! board in all other terminals at once; stop one for some seconds (Ctrl-Z, then `fg`), and it is off and on again.
//! Invariant: every terminal shows one and the same board.
#![expect(clippy::print_stdout, reason = "this is a program for a terminal")]

use quorate::presence::{ClusterPresence, Presence};
use quorate::{Config, rendezvous};
use tokio::sync::mpsc;

const BOARD: &str = "board";
/// Where the cluster itself tells of each change of the board.
const BOARD_CHANGES: &str = "__keyspace@0__:board";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().nth(1).ok_or("usage: board NAME")?;
    let mut config = Config::default();
    config.node.notify_keyspace_events = "Kh".parse()?;
    let node = rendezvous::start("example-board", config).await?;
    let presence = ClusterPresence::new(node.clone());

    let changes = presence.subscribe(BOARD_CHANGES).await?;
    let own = presence.bound();
    own.hset(BOARD, &name, "online".into()).await?;

    let mut lines = lines();
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            Some(doing) = lines.recv() => { own.hset(BOARD, &name, doing.into()).await?; }
            Some(_) = changes.next() => {
                for (name, doing) in presence.hgetall(BOARD).await? {
                    print!("| {name}: {} ", String::from_utf8_lossy(&doing));
                }
                println!("|");
            }
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
