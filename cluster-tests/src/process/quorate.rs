//! One `quorate serve` process.
//!
//! Owns: finding or building the program, its command line, the `ready` line, HTTP questions to it. Does not
//! own: clusters of several. Invariant: the program under test is never older than its sources.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Process, wait_for};
use crate::client::Client;
use crate::failure::{Failure, Outcome};

/// Finds the `quorate` program beside this test program, and builds it if it is missing or out of date.
/// `QUORATE_BIN` names another one.
///
/// # Errors
/// When it cannot be built.
pub fn binary() -> Outcome<PathBuf> {
    if let Some(path) = std::env::var_os("QUORATE_BIN") {
        return Ok(PathBuf::from(path));
    }
    let this = std::env::current_exe()?;
    // target/<profile>/cluster-tests or target/<profile>/deps/<test>-<hash>
    let folder = this.ancestors().skip(1).find(|path| !path.ends_with("deps"));
    let folder = folder.ok_or_else(|| Failure::new("the test program lies in no folder"))?;
    let program = folder.join("quorate");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let newest = newest(&root.join("src"))?.max(modified(&root.join("Cargo.toml")));
    if modified(&program) < newest {
        say(&format!("{} is missing or out of date: building it", program.display()));
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.current_dir(&root).args([
            "build",
            "--quiet",
            // All, so that shared dependencies have the same features as in this build and are not built twice.
            "--workspace",
            "--bins",
        ]);
        if folder.ends_with("release") {
            build.arg("--release");
        }
        if !build.status()?.success() {
            return Err(Failure::new("`cargo build --bin quorate` failed"));
        }
        // Cargo leaves the file alone if only comments elsewhere changed; it is up to date now.
        // Opened to be read, for a program that runs cannot be opened to be written (ETXTBSY), and its owner may set its time.
        std::fs::File::open(&program)?.set_modified(newest)?;
    }
    Ok(program)
}

#[expect(clippy::print_stderr, reason = "the person at the terminal must know what the pause is")]
fn say(text: &str) {
    eprintln!("{text}");
}

fn modified(path: &Path) -> SystemTime {
    std::fs::metadata(path).and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn newest(folder: &Path) -> Outcome<SystemTime> {
    let mut latest = modified(folder);
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let time = if entry.file_type()?.is_dir() {
            newest(&entry.path())?
        } else {
            modified(&entry.path())
        };
        latest = latest.max(time);
    }
    Ok(latest)
}

/// Makes a cluster secret with `quorate keygen`.
///
/// # Errors
/// When the program fails or prints nothing.
pub fn keygen(program: &Path) -> Outcome<String> {
    let output = Command::new(program).arg("keygen").output()?;
    let secret = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() && !secret.trim().is_empty() {
        Ok(secret)
    } else {
        Err(Failure::new(format!("keygen: {}", String::from_utf8_lossy(&output.stderr))))
    }
}

/// The command line of one node.
#[derive(Debug, Clone, Default)]
pub struct NodeOptions {
    /// `--name`, and the name of its files.
    pub name: String,
    /// `--listen`
    pub listen: Option<SocketAddr>,
    /// `--seed`, several times
    pub seeds: Vec<SocketAddr>,
    /// `--bootstrap-expect`
    pub bootstrap_expect: Option<usize>,
    /// `--secret-file`
    pub secret_file: Option<PathBuf>,
    /// `--resp`; a free loopback port if not given
    pub resp: Option<String>,
    /// `--http`; a free loopback port if not given
    pub http: Option<String>,
    /// Further arguments
    pub more: Vec<String>,
}

impl NodeOptions {
    /// Writes the whole command line, which begins with `serve`.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let mut line: Vec<String> = ["serve", "--name", &self.name].map(Into::into).to_vec();
        let mut add = |flag: &str, value: String| line.extend([flag.to_owned(), value]);
        let listen =
            self.listen.map_or_else(|| "127.0.0.1:0".to_owned(), |listen| listen.to_string());
        add("--listen", listen);
        for seed in &self.seeds {
            add("--seed", seed.to_string());
        }
        if let Some(count) = self.bootstrap_expect {
            add("--bootstrap-expect", count.to_string());
        }
        if let Some(file) = &self.secret_file {
            add("--secret-file", file.display().to_string());
        }
        add("--resp", self.resp.clone().unwrap_or_else(|| "127.0.0.1:0".into()));
        add("--http", self.http.clone().unwrap_or_else(|| "127.0.0.1:0".into()));
        line.extend(self.more.iter().cloned());
        line
    }
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    /// The process.
    pub process: Process,
    /// Its id, from the ready line.
    pub id: String,
    /// Where it speaks to other nodes.
    pub cluster: SocketAddr,
    /// Where it speaks RESP.
    pub resp: SocketAddr,
    /// Where it answers HTTP.
    pub http: SocketAddr,
}

impl Node {
    /// Starts a process without waiting for it.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(program: &Path, options: &NodeOptions, folder: &Path) -> Outcome<Process> {
        let mut command = Command::new(program);
        command.args(options.arguments()).current_dir(folder);
        Process::start(&options.name, command, folder)
    }

    /// Waits for the ready line of `process`.
    ///
    /// # Errors
    /// When the process ends or the line does not come within `patience`.
    pub async fn ready(mut process: Process, patience: Duration) -> Outcome<Self> {
        let line = wait_for("the ready line", patience, || {
            let line =
                process.output().lines().find(|line| line.starts_with("ready ")).map(str::to_owned);
            let ended = process.ended().ok().flatten();
            async move {
                match (line, ended) {
                    (Some(line), _) => Ok(Ok(line)),
                    (None, Some(status)) => Ok(Err(Failure::new(format!("ended with {status}")))),
                    (None, None) => Err(Failure::new("not yet")),
                }
            }
        })
        .await
        .and_then(|found| found)
        .map_err(|failure| Failure::new(format!("{failure}; {}", process.log_end())))?;
        let field = |name: &str| {
            let value =
                line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            value.ok_or_else(|| Failure::new(format!("no {name}= in the ready line: {line}")))
        };
        let address = |name: &str| {
            let text = field(name)?;
            text.parse().map_err(|_| Failure::new(format!("{name}={text} is no address")))
        };
        let (id, cluster) = (field("node")?.to_owned(), address("cluster")?);
        let (resp, http) = (address("resp")?, address("http")?);
        Ok(Self { process, id, cluster, resp, http })
    }

    /// Starts a node and waits for its ready line.
    ///
    /// # Errors
    /// As [`Node::spawn`] and [`Node::ready`].
    pub async fn start(program: &Path, options: &NodeOptions, folder: &Path) -> Outcome<Self> {
        Self::ready(Self::spawn(program, options, folder)?, super::FORM_DEADLINE).await
    }

    /// Waits until the node takes a write.
    ///
    /// # Errors
    /// When it does not within [`super::FORM_DEADLINE`].
    pub async fn serves(&self) -> Outcome {
        let served = wait_for("a first write", super::FORM_DEADLINE, || async {
            let mut client = self.client().await?;
            for line in ["SET cluster-tests:ready 1", "DEL cluster-tests:ready"] {
                if let Some(text) = client.ask(line).await?.error_text() {
                    return Err(Failure::new(text));
                }
            }
            Ok(())
        });
        served
            .await
            .map_err(|failure| Failure::new(format!("{failure}; {}", self.process.log_end())))
    }

    /// Connects to the RESP door.
    ///
    /// # Errors
    /// When it does not accept.
    pub async fn client(&self) -> Outcome<Client> {
        Client::connect(self.resp).await
    }

    /// Asks for `/status`.
    ///
    /// # Errors
    /// When there is no answer, or it is no JSON.
    pub async fn status(&self) -> Outcome<Value> {
        status(self.http).await
    }
}

/// Asks the node at `http` for `/status`.
///
/// # Errors
/// When there is no answer, or it is no JSON.
pub async fn status(http: SocketAddr) -> Outcome<Value> {
    let (code, body) = http_get(http, "/status").await?;
    if code != 200 {
        return Err(Failure::new(format!("/status answers {code}: {body}")));
    }
    serde_json::from_str(&body).map_err(|error| Failure::new(format!("/status: {error}: {body}")))
}

/// Asks `address` for `path` and returns the status code and the body.
///
/// # Errors
/// When there is no complete answer within five seconds.
pub async fn http_get(address: SocketAddr, path: &str) -> Outcome<(u16, String)> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = tokio::time::timeout(Duration::from_secs(5), exchange)
        .await
        .map_err(|_| Failure::new(format!("http://{address}{path} does not answer")))??;
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    match (code, answer.split_once("\r\n\r\n")) {
        (Some(code), Some((_, body))) => Ok((code, body.to_owned())),
        _ => Err(Failure::new(format!("http://{address}{path} answers {answer}"))),
    }
}
