//! How long a matchmaker waits for its driver, with many rooms listed.
//!
//! Owns: the same questions to a driver of one process, of three nodes and of a redis-server, in turn, in one run. Does not own:
//! what the answers are. Invariant: before each question some rows are written anew, so that nothing can be answered from memory
//! that a game would not leave standing.
#![expect(clippy::print_stdout, reason = "the lines are what the tool is for")]

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use quorate::presence::driver::{Conditions, Listing, Order, Row, Sort};
use serde_json::json;
use tokio::time::Instant;

use super::{Ground, done, listing, nodes, same};
use crate::failure::{Failure, Outcome};
use crate::process::{RedisServer, redis_server};

/// `cluster-tests driver`.
#[derive(Debug, Args)]
pub struct Line {
    /// How many rooms are listed
    #[arg(long, default_value_t = 5_000)]
    rooms: usize,
    /// How often each question is asked of each driver
    #[arg(long, default_value_t = 60)]
    rounds: usize,
    /// How many rooms change before each question
    #[arg(long, default_value_t = 20)]
    changes: usize,
}

/// A question, and how many rows are its answer.
struct Question {
    name: &'static str,
    conditions: Conditions,
    sort: Sort,
    is_one: bool,
}

fn questions() -> [Question; 4] {
    let open = || Conditions::none().and("locked", false).and("name", "game").and("private", false);
    [
        Question {
            name: "findOne by id",
            conditions: Conditions::none().and("roomId", "room-42"),
            sort: Sort::none(),
            is_one: true,
        },
        Question {
            name: "findOne to join",
            conditions: open().and("mode", "mode-7"),
            sort: Sort::none().by("clients", Order::Descending),
            is_one: true,
        },
        Question {
            name: "query of a mode",
            conditions: open().and("mode", "mode-7"),
            sort: Sort::none().by("clients", Order::Descending),
            is_one: false,
        },
        Question {
            name: "query of all",
            conditions: Conditions::none(),
            sort: Sort::none().by("clients", Order::Ascending),
            is_one: false,
        },
    ]
}

fn room(number: usize, clients: u32) -> Outcome<Row> {
    let listing = Listing {
        clients,
        max_clients: Some(16),
        metadata: json!({ "mode": format!("mode-{}", number % 50), "level": number % 100 }),
        public_address: "127.0.0.1:2568".to_owned(),
        ..listing(&format!("room-{number}"), &format!("process-{}", number % 8))
    };
    done("a row", Row::try_from(&listing))
}

/// Measures all drivers, and prints a line for each question.
///
/// # Errors
/// When a driver fails, or two drivers differ.
pub async fn run(line: &Line) -> Outcome<ExitCode> {
    let nodes = nodes(3).await?;
    let mut grounds = vec![Ground::local(), Ground::cluster(&nodes)];
    let server = match redis_server() {
        Some(program) => Some(RedisServer::start(&program).await?),
        None => {
            println!("left out: redis, because no redis-server is in the search path");
            None
        }
    };
    if let Some(server) = &server {
        grounds.push(Ground::redis(server)?);
    }
    for ground in &grounds {
        for number in 0..line.rooms {
            done("insert", ground.at(number).insert(&room(number, 0)?).await)?;
        }
    }
    println!("{} rooms, {} rounds, {} changes before each", line.rooms, line.rounds, line.changes);
    for question in questions() {
        let mut times = vec![Vec::new(); grounds.len()];
        let mut next = 0usize;
        for round in 0..line.rounds {
            let mut answers = Vec::new();
            let changed: Vec<usize> = (0..line.changes)
                .map(|change| (next + change).checked_rem(line.rooms).unwrap_or_default())
                .collect();
            next += line.changes;
            let clients = u32::try_from(round % 15).unwrap_or_default();
            // In turn, and each of them first as often as the others.
            for place in (0..grounds.len()).map(|place| (place + round) % grounds.len()) {
                let (Some(ground), Some(times)) = (grounds.get(place), times.get_mut(place)) else {
                    return Err(Failure::new("as many times as drivers"));
                };
                for number in &changed {
                    done("persist", ground.at(*number).persist(&room(*number, clients)?).await)?;
                }
                let begun = Instant::now();
                let answer = ask(ground, round, &question).await?;
                times.push(begun.elapsed());
                answers.push(answer);
            }
            answers.dedup();
            same("different answers", answers.len(), 1)?;
        }
        show(&question, &grounds, times);
    }
    for node in nodes.into_iter().rev() {
        node.leave().await;
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks one driver; gives how many rows it gave.
async fn ask(ground: &Ground, round: usize, question: &Question) -> Outcome<usize> {
    let Question { name, conditions, sort, is_one } = question;
    let driver = ground.at(round);
    if *is_one {
        let found = done(name, driver.find_one(conditions, sort).await)?;
        return Ok(usize::from(found.is_some()));
    }
    Ok(done(name, driver.query(conditions, sort).await)?.len())
}

fn show(question: &Question, grounds: &[Ground], times: Vec<Vec<Duration>>) {
    let sorted = times.into_iter().map(|mut times| {
        times.sort_unstable();
        times
    });
    let sorted: Vec<Vec<Duration>> = sorted.collect();
    let at = |times: &[Duration], part: usize| {
        let place = times.len().saturating_sub(1) * part / 100;
        times.get(place).copied().unwrap_or_default()
    };
    let reference = sorted.last().map_or(Duration::ZERO, |times| at(times, 50));
    for (ground, times) in grounds.iter().zip(&sorted) {
        let median = at(times, 50);
        let ratio = reference.as_secs_f64() / median.as_secs_f64().max(1e-9);
        println!(
            "figure: {:<16} {:<8} median {:>9.3?}, 5 to 95 of 100: {:>9.3?} to {:>9.3?}, {ratio:>6.1} times as fast as {}",
            question.name,
            ground.name,
            median,
            at(times, 5),
            at(times, 95),
            grounds.last().map_or("", |ground| ground.name),
        );
    }
}
