//! Runs the presence suite on each implementation, one test for each check.
//!
//! Owns: what is started, and the names `implementation::check`. Does not own: the checks. Arguments are words that choose tests
//! by their names. Invariant: what this machine lacks is named in the output.
#![expect(clippy::print_stdout, reason = "this is a test program; its output is its result")]

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use cluster_tests::failure::Outcome;
use cluster_tests::presence::ground::{Ground, Nodes, shut};
use cluster_tests::presence::{all, clustered, redis};
use cluster_tests::process::{Cluster, RedisServer, redis_server};
use quorate::presence::{LocalPresence, Presence, RedisConfig};

struct Report {
    words: Vec<String>,
    is_list: bool,
    passed: usize,
    failed: Vec<String>,
}

impl Report {
    fn from_arguments() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let is_list = arguments.iter().any(|word| word == "--list");
        let words = arguments.into_iter().filter(|word| !word.starts_with('-')).collect();
        Self { words, is_list, passed: 0, failed: Vec::new() }
    }

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
                println!("test {name} ... FAILED\n    {failure}");
                self.failed.push(name.to_owned());
            }
        }
    }

    /// Runs the suite on a ground, and shuts it down.
    async fn suite(&mut self, ground: &Ground) {
        for check in all() {
            let name = format!("{}::{}", ground.name, check.0);
            if self.wants(&name) {
                self.add(&name, &ground.run(check).await);
            }
        }
    }

    async fn end_of(&mut self, ground: &Ground) {
        let name = format!("{}::nothing_is_done_after_the_end", ground.name);
        if self.wants(&name) {
            self.add(&name, &shut(ground).await);
        }
    }

    fn end(&self) -> ExitCode {
        let verdict = if self.failed.is_empty() { "ok" } else { "FAILED" };
        println!("\npresence: {verdict}. {} passed, {} failed", self.passed, self.failed.len());
        self.failed.iter().for_each(|name| println!("    {name}"));
        if self.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

async fn on_local(report: &mut Report) -> Outcome {
    let presence: Arc<dyn Presence> = Arc::new(LocalPresence::default());
    let ground = Ground::new("local", vec![presence])?;
    report.suite(&ground).await;
    report.end_of(&ground).await;
    Ok(())
}

async fn on_cluster(report: &mut Report) -> Outcome {
    let nodes = Nodes::start(3).await?;
    let ground = Ground::new("cluster", nodes.presences())?;
    report.suite(&ground).await;
    let mut number = 0;
    while let Some((name, outcome)) = clustered::run(number, &nodes, &ground).await {
        report.add(&format!("cluster::{name}"), &outcome);
        number += 1;
    }
    report.end_of(&ground).await;
    nodes.leave().await;
    Ok(())
}

async fn on_redis(report: &mut Report, program: &Path) -> Outcome {
    let server = RedisServer::start(program).await?;
    let ground = Ground::new("redis", redis::presences(&redis::at(server.address), 3)?)?;
    report.suite(&ground).await;
    report.end_of(&ground).await;
    let server = redis::start_cluster(program).await?;
    let config = RedisConfig { is_cluster: true, ..redis::at(server.address) };
    let ground = Ground::new("redis-cluster", redis::presences(&config, 3)?)?;
    report.suite(&ground).await;
    let mut number = 0;
    while let Some((name, outcome)) = redis::run(number, program).await {
        report.add(&format!("redis::{name}"), &outcome);
        number += 1;
    }
    Ok(())
}

/// A presence that knows only Redis, at the doors of three nodes.
async fn on_doors(report: &mut Report) -> Outcome {
    let patiently = Cluster::start_with(3, |_, options, folder| {
        let file = folder.join("patient.toml");
        std::fs::write(&file, "[pubsub]\ncount_timeout = \"5s\"\n")?;
        options.more.extend(["--config".to_owned(), file.display().to_string()]);
        Ok(())
    });
    let cluster = patiently.await?;
    let mut presences = Vec::new();
    for address in cluster.resp() {
        presences.extend(redis::presences(&redis::at(address), 1)?);
    }
    let ground = Ground::new("door", presences)?;
    report.suite(&ground).await;
    Ok(())
}

async fn run(report: &mut Report) {
    let local = on_local(report).await;
    let cluster = on_cluster(report).await;
    let redis = match redis_server() {
        Some(program) => on_redis(report, &program).await,
        None => {
            println!(
                "left out: redis and redis-cluster, because no redis-server is in the search path"
            );
            Ok(())
        }
    };
    let doors = on_doors(report).await;
    let all = [("local", local), ("cluster", cluster), ("redis", redis), ("door", doors)];
    for (name, outcome) in all {
        if outcome.is_err() {
            report.add(name, &outcome);
        }
    }
}

fn main() -> ExitCode {
    let mut report = Report::from_arguments();
    if report.is_list {
        all().iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime.block_on(run(&mut report)),
        Err(error) => println!("no runtime: {error}"),
    }
    report.end()
}
