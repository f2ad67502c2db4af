//! Runs the suite of matchmaking drivers on each of them, one test for each check.
//!
//! Owns: what is started, and the names `driver::check`. Does not own: the checks. Arguments are words that choose tests by
//! their names. Invariant: what this machine lacks is named in the output.
#![expect(clippy::print_stdout, reason = "this is a test program; its output is its result")]

use std::process::ExitCode;

use cluster_tests::driver::{Ground, clustered, done, nodes, suite, within};
use cluster_tests::failure::Outcome;
use cluster_tests::process::{RedisServer, redis_server};

struct Report {
    words: Vec<String>,
    passed: usize,
    failed: usize,
}

impl Report {
    fn wants(&self, name: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| name.contains(word.as_str()))
    }

    fn add(&mut self, name: &str, outcome: &Outcome) {
        match outcome {
            Ok(()) => {
                self.passed += 1;
                println!("test {name} ... ok");
            }
            Err(failure) => {
                self.failed += 1;
                println!("test {name} ... FAILED\n    {failure}");
            }
        }
    }

    /// Runs every check on an empty list.
    async fn suite(&mut self, ground: &Ground) {
        for (check, run) in suite::all() {
            let name = format!("{}::{check}", ground.name);
            if self.wants(&name) {
                let outcome = match done("clear", ground.any().clear().await) {
                    Ok(()) => within("the check", run(ground)).await.and_then(|outcome| outcome),
                    Err(failure) => Err(failure),
                };
                self.add(&name, &outcome);
            }
        }
    }
}

async fn on_redis(report: &mut Report) -> Outcome {
    let Some(program) = redis_server() else {
        println!("left out: redis, because no redis-server is in the search path");
        return Ok(());
    };
    let server = RedisServer::start(&program).await?;
    report.suite(&Ground::redis(&server)?).await;
    Ok(())
}

async fn on_cluster(report: &mut Report) -> Outcome {
    let nodes = nodes(3).await?;
    report.suite(&Ground::cluster(&nodes)).await;
    for node in nodes.into_iter().rev() {
        node.leave().await;
    }
    Ok(())
}

async fn run(report: &mut Report) {
    report.suite(&Ground::local()).await;
    report.suite(&Ground::commands()).await;
    for (name, outcome) in
        [("cluster", on_cluster(report).await), ("redis", on_redis(report).await)]
    {
        if outcome.is_err() {
            report.add(name, &outcome);
        }
    }
    for (place, check) in clustered::NAMES.iter().enumerate() {
        let name = format!("cluster::{check}");
        if report.wants(&name) {
            report.add(&name, &clustered::run(place).await);
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|word| word == "--list") {
        suite::all().iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let words = arguments.into_iter().filter(|word| !word.starts_with('-')).collect();
    let mut report = Report { words, passed: 0, failed: 0 };
    match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime.block_on(run(&mut report)),
        Err(error) => {
            println!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    }
    println!("\ndriver: {} passed, {} failed", report.passed, report.failed);
    if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
