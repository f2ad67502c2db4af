//! Nodes that come and go: a cluster whose processes are started, killed, paused and asked to leave one by one.
//!
//! Owns: the shared secret and settings, the place (slot) of each node with its addresses and folder, the list of doors
//! that clients see. Does not own: when who comes and goes. Invariant: the list of doors holds exactly the nodes that were
//! ready and that nobody has killed or asked to leave.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::cluster::restrict;
use super::{
    Diary, FORM_DEADLINE, Node, NodeOptions, Process, Signal, View, binary, free_addresses,
    http_get, keygen, look, wait_for,
};
use crate::door::Door;
use crate::failure::{Failure, Outcome};
use crate::history::Happening;
use crate::network::Network;

/// What clients must say where the RESP door is open to a network.
const PASSWORD: &str = "only for tests on a private network";
/// How long a planned leave may take.
const LEAVE_DEADLINE: Duration = Duration::from_secs(30);

/// What all nodes of a group have in common.
#[derive(Debug, Default)]
pub struct Plan {
    /// Where they live; on loopback without one.
    pub network: Option<Network>,
    /// Whether they keep their state on disk.
    pub durable: bool,
    /// The configuration file of each, without `[resp]`; `{slot}` and `{folder}` stand for its place and the group's folder.
    pub config: String,
}

/// What one node of a group has of its own, from its next start on.
#[derive(Debug, Clone, Default)]
pub struct Own {
    /// Further variables of its environment.
    pub environment: BTreeMap<String, String>,
    /// Where it keeps its state, if not in the group's folder.
    pub data_folder: Option<PathBuf>,
    /// The program that it is, with the word that its command line begins with, if not `quorate serve`.
    pub program: Option<(PathBuf, String)>,
}

/// The nodes.
#[derive(Debug)]
pub struct Group {
    plan: Plan,
    program: PathBuf,
    folder: TempDir,
    secret_file: PathBuf,
    nodes: BTreeMap<usize, Node>,
    listens: BTreeMap<usize, SocketAddr>,
    starts: BTreeMap<usize, usize>,
    owns: BTreeMap<usize, Own>,
    doors: watch::Sender<Vec<Door>>,
    diary: Diary,
}

impl Group {
    /// Prepares a group without nodes.
    ///
    /// # Errors
    /// When the program cannot be built, or the folder not be made.
    pub fn new(plan: Plan) -> Outcome<Self> {
        let program = binary()?;
        let folder = tempfile::tempdir()?;
        let secret_file = folder.path().join("secret");
        std::fs::write(&secret_file, keygen(&program)?)?;
        restrict(&secret_file)?;
        let doors = watch::Sender::new(Vec::new());
        let (nodes, listens, starts, owns) = Default::default();
        let diary = Diary::default();
        Ok(Self { plan, program, folder, secret_file, nodes, listens, starts, owns, doors, diary })
    }

    /// Returns the doors that are open, as they change.
    #[must_use]
    pub fn doors(&self) -> watch::Receiver<Vec<Door>> {
        self.doors.subscribe()
    }

    /// Returns the doors that are open now.
    #[must_use]
    pub fn open(&self) -> Vec<Door> {
        self.doors.borrow().clone()
    }

    /// Returns the places of the nodes that run.
    #[must_use]
    pub fn slots(&self) -> Vec<usize> {
        self.nodes.keys().copied().collect()
    }

    /// Returns the network, if the nodes live in one.
    #[must_use]
    pub const fn network(&self) -> Option<&Network> {
        self.plan.network.as_ref()
    }

    /// Ends all nodes and returns the network that they lived in.
    #[must_use]
    pub fn into_network(self) -> Option<Network> {
        self.plan.network
    }

    /// Returns where the node in `slot` keeps its state.
    #[must_use]
    pub fn data_folder(&self, slot: usize) -> PathBuf {
        let own = self.owns.get(&slot).and_then(|own| own.data_folder.clone());
        own.unwrap_or_else(|| self.folder.path().join(format!("n{slot}.data")))
    }

    /// Returns the folder of all files of the group.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Tells whether the nodes keep their state on disk.
    #[must_use]
    pub const fn is_durable(&self) -> bool {
        self.plan.durable
    }

    /// Gives what the node in `slot` has of its own from its next start on.
    pub fn own(&mut self, slot: usize) -> &mut Own {
        self.owns.entry(slot).or_default()
    }

    /// Returns what is done to the processes, from now on.
    #[must_use]
    pub fn diary(&self) -> Diary {
        self.diary.clone()
    }

    /// Returns the process id of the node in `slot`, if it runs.
    #[must_use]
    pub fn pid(&self, slot: usize) -> Option<u32> {
        self.nodes.get(&slot).map(|node| node.process.pid())
    }

    /// Leaves the logs and data where they are when the group ends, and tells where that is.
    pub fn keep(&mut self) -> &Path {
        self.folder.disable_cleanup(true);
        self.folder.path()
    }

    /// Asks all open doors who leads and votes.
    pub async fn look(&self) -> View {
        look(&self.open()).await
    }

    /// Returns the place of the node that leads, by the latest term.
    ///
    /// # Errors
    /// When nobody does for a long time.
    pub async fn leader(&self) -> Outcome<usize> {
        wait_for("a leader", FORM_DEADLINE, || async {
            let view = self.look().await;
            view.leader().map(|leader| leader.slot).ok_or_else(|| Failure::new("nobody leads"))
        })
        .await
    }

    /// Starts nodes in all `slots` at once and waits until each serves. The first call forms the cluster.
    ///
    /// # Errors
    /// When one does not within [`FORM_DEADLINE`].
    pub async fn start(&mut self, slots: &[usize]) -> Outcome {
        self.start_apart(slots, &[]).await
    }

    /// Starts nodes in the order of `slots` with these pauses after each, and only then waits until each serves.
    ///
    /// # Errors
    /// When one does not within [`FORM_DEADLINE`].
    pub async fn start_apart(&mut self, slots: &[usize], pauses: &[Duration]) -> Outcome {
        let expected =
            if self.starts.is_empty() && slots.len() > 1 { Some(slots.len()) } else { None };
        for slot in slots {
            self.place(*slot)?;
        }
        let running: Vec<usize> = self.nodes.keys().copied().collect();
        let near = if running.is_empty() { slots } else { &running };
        let seeds: Vec<SocketAddr> =
            near.iter().filter_map(|slot| self.listens.get(slot).copied()).collect();
        let is_first = self.starts.is_empty() && slots.len() == 1;
        let seeds = if is_first { Vec::new() } else { seeds };
        let mut processes = Vec::new();
        for (at, slot) in slots.iter().enumerate() {
            processes.push((*slot, self.spawn(*slot, expected, &seeds)?));
            if let Some(pause) = pauses.get(at) {
                sleep(*pause).await;
            }
        }
        for (slot, process) in processes {
            let node = Node::ready(process, FORM_DEADLINE).await?;
            wait_for("/readyz", FORM_DEADLINE, || async {
                let (code, body) = http_get(node.http, "/readyz").await?;
                if code == 200 { Ok(()) } else { Err(Failure::new(body)) }
            })
            .await
            .map_err(|failure| Failure::new(format!("{failure}; {}", node.process.log_end())))?;
            let password = self.plan.network.is_some().then(|| PASSWORD.to_owned());
            let (id, resp, http) = (node.id.clone(), node.resp, node.http);
            self.nodes.insert(slot, node);
            self.show(Door { slot, id, resp, http, password });
        }
        Ok(())
    }

    /// Gives `slot` its address, which it keeps.
    fn place(&mut self, slot: usize) -> Outcome {
        let listen = match &mut self.plan.network {
            Some(network) => SocketAddr::new(network.add(slot)?, 7370),
            None if self.listens.contains_key(&slot) => return Ok(()),
            None => {
                free_addresses(1)?.first().copied().ok_or_else(|| Failure::new("no free port"))?
            }
        };
        self.listens.insert(slot, listen);
        Ok(())
    }

    fn spawn(
        &mut self,
        slot: usize,
        expected: Option<usize>,
        seeds: &[SocketAddr],
    ) -> Outcome<Process> {
        let name = format!("n{slot}");
        let folder = self.folder.path();
        let start = self.starts.entry(slot).and_modify(|start| *start += 1).or_insert(1);
        for ending in ["log", "out"] {
            // The first start has nothing to put aside.
            let earlier = format!("{name}.start{}.{ending}", start.saturating_sub(1));
            drop(std::fs::rename(folder.join(format!("{name}.{ending}")), folder.join(earlier)));
        }
        let config = folder.join(format!("{name}.toml"));
        let door = format!("\n[resp]\npassword = \"{PASSWORD}\"\n");
        let door = if self.plan.network.is_some() { &door } else { "" };
        let own = self.plan.config.replace("{slot}", &slot.to_string());
        let own = own.replace("{folder}", &folder.display().to_string());
        std::fs::write(&config, format!("{own}{door}"))?;
        let listen = self.listens.get(&slot).copied();
        let at = |port: u16| Some(SocketAddr::new(listen?.ip(), port).to_string());
        let in_network = self.plan.network.is_some();
        let mut more = vec!["--config".to_owned(), config.display().to_string()];
        if self.plan.durable {
            more.extend(["--data-dir".to_owned(), self.data_folder(slot).display().to_string()]);
        }
        let options = NodeOptions {
            name: name.clone(),
            listen,
            seeds: seeds.to_vec(),
            bootstrap_expect: expected,
            secret_file: Some(self.secret_file.clone()),
            resp: at(6379).filter(|_| in_network),
            http: at(7380).filter(|_| in_network),
            more,
        };
        let mut arguments = options.arguments();
        let other = self.owns.get(&slot).and_then(|own| own.program.clone());
        // A program with a node inside has the allocator of its own choice: glibc's keeps little of what is given back if it has one arena.
        let arenas = other.as_ref().map(|_| ("MALLOC_ARENA_MAX", "1"));
        let program = other.map_or_else(
            || self.program.clone(),
            |(program, word)| {
                arguments.splice(..1, [word]);
                program
            },
        );
        let mut command =
            if in_network { Network::command(slot, &program) } else { Command::new(&program) };
        command.args(arguments).current_dir(folder).envs(arenas);
        command.envs(self.owns.get(&slot).map(|own| own.environment.clone()).unwrap_or_default());
        self.diary.note(slot, Happening::Started);
        let process = Process::start(&name, command, folder)?;
        self.diary.runs(slot, process.pid());
        Ok(process)
    }

    fn show(&self, door: Door) {
        self.doors.send_modify(|doors| {
            doors.retain(|other| other.slot != door.slot);
            doors.push(door);
        });
    }

    fn hide(&self, slot: usize) {
        self.doors.send_modify(|doors| doors.retain(|door| door.slot != slot));
    }

    /// Ends the process in `slot` as a crash does.
    ///
    /// # Errors
    /// When there is none.
    pub async fn kill(&mut self, slot: usize) -> Outcome {
        self.kill_all(&[slot]).await
    }

    /// Ends the processes in all `slots` as crashes do, the next one at once, and waits until they are gone.
    ///
    /// # Errors
    /// When one does not run.
    pub async fn kill_all(&mut self, slots: &[usize]) -> Outcome {
        let mut dying = Vec::new();
        for slot in slots {
            self.hide(*slot);
            let mut node = self.take(*slot)?;
            node.process.signal(Signal::Kill)?;
            self.diary.note(*slot, Happening::Killed);
            dying.push(node);
        }
        for node in &mut dying {
            node.process.wait(LEAVE_DEADLINE).await?;
        }
        Ok(())
    }

    /// Returns why the node in `slot` stopped by itself, if it has; it then runs no longer, and no door is shown.
    ///
    /// # Errors
    /// When it has ended without a reason or with another code than 1, or none runs there.
    pub fn stopped(&mut self, slot: usize) -> Outcome<Option<String>> {
        let node = self.nodes.get_mut(&slot);
        let node = node.ok_or_else(|| Failure::new(format!("n{slot} does not run")))?;
        let why = node.process.reason();
        if !matches!(why, Ok(None)) {
            self.diary.note(slot, Happening::Ended);
            self.hide(slot);
            self.take(slot)?;
        }
        why
    }

    /// Sends a signal to the node in `slot`, which stays in the list of doors.
    ///
    /// # Errors
    /// When there is none.
    pub fn signal(&mut self, slot: usize, signal: Signal) -> Outcome {
        let node = self.nodes.get_mut(&slot);
        let node = node.ok_or_else(|| Failure::new(format!("n{slot} does not run")))?;
        // Noted on the side that says less: as stopped before it is, as going on before it does.
        self.diary.note(
            slot,
            match signal {
                Signal::Term => Happening::Left,
                Signal::Kill => Happening::Killed,
                Signal::Stop => Happening::Paused,
                Signal::Cont => Happening::Continued,
            },
        );
        node.process.signal(signal)
    }

    /// Asks the nodes in `slots` to leave, all at once, and waits until they have ended well; returns how long each took.
    ///
    /// # Errors
    /// When one does not end in time, or ends with a code other than 0.
    pub async fn leave(&mut self, slots: &[usize]) -> Outcome<Vec<Duration>> {
        let begun = Instant::now();
        let mut leaving = Vec::new();
        for slot in slots {
            let mut node = self.take(*slot)?;
            // Its session ends now, but it answers until it is gone: what is bound through it meanwhile is still its own.
            self.diary.note(*slot, Happening::SessionEnded);
            node.process.signal(Signal::Term)?;
            self.hide(*slot);
            leaving.push((*slot, node));
        }
        let mut times = Vec::new();
        for (slot, node) in &mut leaving {
            let status = node.process.wait(LEAVE_DEADLINE).await?;
            self.diary.note(*slot, Happening::Left);
            if status.code() != Some(0) {
                let text = format!("a leave ended with {status}; {}", node.process.log_end());
                return Err(Failure::new(text));
            }
            times.push(begun.elapsed());
        }
        Ok(times)
    }

    fn take(&mut self, slot: usize) -> Outcome<Node> {
        self.nodes.remove(&slot).ok_or_else(|| Failure::new(format!("n{slot} does not run")))
    }

    /// Fails if a process that nobody ended has ended.
    ///
    /// # Errors
    /// With the end of its log.
    pub fn all_run(&mut self) -> Outcome {
        for node in self.nodes.values_mut() {
            if let Some(status) = node.process.ended()? {
                let text =
                    format!("a node ended by itself with {status}; {}", node.process.log_end());
                return Err(Failure::new(text));
            }
        }
        Ok(())
    }

    /// Waits until `voters` nodes vote, all of them alive, and every node serves.
    ///
    /// # Errors
    /// When it does not come to that within `patience`.
    pub async fn settle(&mut self, voters: usize, patience: Duration) -> Outcome {
        let what = format!("{voters} live voters, and everybody ready");
        let settled = wait_for(&what, patience, || async {
            let doors = self.open();
            let view = look(&doors).await;
            let is_so =
                view.voters(&doors) == Some((voters, voters)) && view.ready() == doors.len();
            if is_so { Ok(()) } else { Err(Failure::new(format!("{view:?}"))) }
        })
        .await;
        self.all_run()?;
        settled
    }
}
