//! Runs every script of `cluster-tests/scripts` on every target, one test for each script and target.
//!
//! Owns: the list of tests, which is the listing of the folder, and the names `target::script`. Does not own:
//! the meaning of scripts. Arguments are as for any test program: words choose tests by their names, `--exact`
//! and `--list` work. Invariant: a target that this machine lacks is named in the output.
#![expect(clippy::print_stdout, reason = "this is a test program; its output is its result")]

use std::process::ExitCode;

use cluster_tests::failure::Outcome;
use cluster_tests::process::{Cluster, RedisServer, redis_server};
use cluster_tests::script::{self, Flavour, Script, Target};

/// The scripts together hold at least this many steps; a script that went missing shows here.
const STEPS_MIN: usize = 3000;

/// Words that choose tests, from the command line.
struct Choice {
    words: Vec<String>,
    exact: bool,
    list: bool,
}

impl Choice {
    fn from_arguments() -> Self {
        let mut choice = Self { words: Vec::new(), exact: false, list: false };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--exact" => choice.exact = true,
                "--list" => choice.list = true,
                "--test-threads" | "--format" | "--color" | "--skip" => drop(arguments.next()),
                word if word.starts_with('-') => {}
                word => choice.words.push(word.to_owned()),
            }
        }
        choice
    }

    fn has(&self, name: &str) -> bool {
        let fits =
            |word: &String| if self.exact { name == word } else { name.contains(word.as_str()) };
        self.words.is_empty() || self.words.iter().any(fits)
    }
}

struct Report {
    choice: Choice,
    passed: usize,
    failed: Vec<String>,
    left_out: usize,
}

impl Report {
    fn wanted<'a>(&mut self, target: &str, scripts: &[&'a Script]) -> Vec<(String, &'a Script)> {
        let mut wanted = Vec::new();
        for script in scripts {
            let name = format!("{target}::{}", script.name);
            if !self.choice.has(&name) {
                self.left_out += 1;
            } else if self.choice.list {
                println!("{name}: test");
            } else {
                wanted.push((name, *script));
            }
        }
        wanted
    }

    fn add(&mut self, name: &str, outcome: &Outcome<usize>) {
        match outcome {
            Ok(_) => {
                self.passed += 1;
                println!("test {name} ... ok");
            }
            Err(failure) => {
                println!("test {name} ... FAILED\n    {failure}");
                self.failed.push(name.to_owned());
            }
        }
    }

    fn end(&self) -> ExitCode {
        if self.choice.list {
            return ExitCode::SUCCESS;
        }
        let verdict = if self.failed.is_empty() { "ok" } else { "FAILED" };
        println!(
            "\ntest result: {verdict}. {} passed; {} failed; 0 ignored; 0 measured; {} filtered out\n",
            self.passed,
            self.failed.len(),
            self.left_out
        );
        if self.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn on_keyspace(report: &mut Report, scripts: &[&Script]) {
    let scripts: Vec<&Script> =
        scripts.iter().copied().filter(|script| script.on_keyspace).collect();
    for (name, script) in report.wanted("keyspace", &scripts) {
        report.add(&name, &script::run_on_keyspace(script));
    }
}

async fn on_redis(report: &mut Report, scripts: &[&Script]) {
    let wanted = report.wanted("redis", scripts);
    if wanted.is_empty() {
        return;
    }
    let Some(program) = redis_server() else {
        println!(
            "left out: {} scripts on the reference, because no redis-server is in the search path",
            wanted.len()
        );
        return;
    };
    let server = match RedisServer::start(&program).await {
        Ok(server) => server,
        Err(failure) => return report.add("redis", &Err(failure)),
    };
    let target = Target { flavour: Flavour::Redis, nodes: vec![server.address], first: 0 };
    for (name, script) in wanted {
        report.add(&name, &script::run(script, &target).await);
    }
}

async fn on_cluster(report: &mut Report, scripts: &[&Script]) {
    let mut rounds = Vec::new();
    for first in 0..3 {
        rounds.push((first, report.wanted(&format!("cluster::node{}", first + 1), scripts)));
    }
    if rounds.iter().all(|(_, wanted)| wanted.is_empty()) {
        return;
    }
    // Counts are what the scripts check: on a busy machine a peer may take longer to answer than its publisher waits by default.
    let patiently = Cluster::start_with(3, |_, options, folder| {
        let file = folder.join("patient.toml");
        std::fs::write(&file, "[pubsub]\ncount_timeout = \"5s\"\n")?;
        options.more.extend(["--config".to_owned(), file.display().to_string()]);
        Ok(())
    });
    let cluster = match patiently.await {
        Ok(cluster) => cluster,
        Err(failure) => return report.add("cluster", &Err(failure)),
    };
    for (first, wanted) in rounds {
        let target = Target { flavour: Flavour::Quorate, nodes: cluster.resp(), first };
        for (name, script) in wanted {
            report.add(&name, &script::run(script, &target).await);
        }
    }
}

fn main() -> ExitCode {
    let mut report =
        Report { choice: Choice::from_arguments(), passed: 0, failed: Vec::new(), left_out: 0 };
    let scripts = match script::load_all(&script::folder()) {
        Ok(scripts) => scripts,
        Err(failure) => {
            println!("{failure}");
            return ExitCode::FAILURE;
        }
    };
    let steps: usize = scripts.iter().map(|script| script.steps.len()).sum();
    if steps < STEPS_MIN {
        println!("the scripts hold {steps} steps, but {STEPS_MIN} are known: is one missing?");
        return ExitCode::FAILURE;
    }
    let scripts: Vec<&Script> = scripts.iter().collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else {
        println!("no runtime");
        return ExitCode::FAILURE;
    };
    runtime.block_on(async {
        on_keyspace(&mut report, &scripts);
        on_redis(&mut report, &scripts).await;
        on_cluster(&mut report, &scripts).await;
    });
    report.end()
}
