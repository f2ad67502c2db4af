//! Rounds of: subscribe on one node, publish at once on another. None may be missed.
//!
//! Owns: the parts of a run and its verdict. Does not own: a round (`worker`), its judgement (`tally`), the traffic beside it (`churn`,
//! `order`), the nodes that come and go (`coming`). Invariant: a run that did not prune although it was to do so fails: it would
//! have shown nothing.

mod board;
mod churn;
mod coming;
mod order;
mod sequence;
mod tally;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use self::board::Board;
use self::churn::{Done, Roamer};
use self::coming::Events;
use self::order::{Pair, Seen};
use self::tally::Tally;
use self::worker::{Way, Worker};
use crate::chance::Chance;
use crate::failure::{Failure, Outcome};
use crate::figures;
use crate::lanes::Counters;
use crate::process::{Group, Plan};

/// How long the traffic runs before the first round, so that channels are pruned when it comes.
const WARM: Duration = Duration::from_secs(3);
/// How long a cluster may take to settle.
const SETTLE_DEADLINE: Duration = Duration::from_secs(30);
/// Listeners and publishers in the background, for each node.
const LISTENERS: usize = 4;

/// The command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Line {
    /// How many rounds; with --fleet more, if nobody has joined and been killed by then
    #[arg(long, default_value_t = 100_000)]
    rounds: u64,
    /// How many nodes; with --fleet about so many
    #[arg(long)]
    nodes: Option<usize>,
    /// How many clients do rounds at the same time
    #[arg(long, default_value_t = 16)]
    workers: usize,
    /// Subscribes a second, and as many unsubscribes, on busy channels beside the rounds; 0 for none
    #[arg(long, default_value_t = 0)]
    churn: usize,
    /// How many busy channels
    #[arg(long, default_value_t = 10_000)]
    channels: usize,
    /// Messages a second on them
    #[arg(long, default_value_t = 4_000)]
    publishes: usize,
    /// Let nodes join, leave and be killed meanwhile
    #[arg(long)]
    fleet: bool,
    /// Pairs of clients that look at the order of messages
    #[arg(long, default_value_t = 4)]
    pairs: usize,
    /// `pubsub.prune_after` of the nodes
    #[arg(long)]
    prune_after: Option<u64>,
    /// The seed of what is left to chance
    #[arg(long)]
    rng_seed: Option<u64>,
}

impl Line {
    fn nodes(&self) -> usize {
        self.nodes.unwrap_or(if self.fleet { 5 } else { 3 })
    }

    /// Says which part of the promise this run looks at.
    fn name(&self) -> &'static str {
        match (self.fleet, self.churn > 0) {
            (false, false) => "rounds",
            (false, true) => "rounds under churn",
            (true, false) => "rounds in a fleet that comes and goes",
            (true, true) => "rounds under churn in a fleet that comes and goes",
        }
    }

    fn config(&self) -> String {
        let mut config = String::new();
        if self.fleet {
            config += coming::CONFIG;
        }
        if let Some(count) = self.prune_after {
            config += &format!("[pubsub]\nprune_after = {count}\n");
        }
        config
    }
}

/// Runs all rounds and prints what they have shown.
///
/// # Errors
/// When a message was missed that should have come, or the run did not show what it was to show.
pub async fn run(line: &Line) -> Outcome {
    let mut group = Group::new(Plan { config: line.config(), ..Plan::default() })?;
    let result = all(line, &mut group).await;
    if result.is_err() {
        figures::note(format!("logs are kept in {}", group.keep().display()));
    }
    result
}

/// What a run has shown.
#[derive(Default)]
struct Shown {
    tally: Tally,
    done: Done,
    seen: Seen,
}

async fn all(line: &Line, group: &mut Group) -> Outcome {
    let mut chance = Chance::new(line.rng_seed);
    figures::note(format!("seed {}", chance.rng_seed()));
    group.start(&(1..=line.nodes()).collect::<Vec<_>>()).await?;
    group.settle(line.nodes().min(3), SETTLE_DEADLINE).await?;
    let board = Arc::new(Board::new(line.rounds, line.channels, line.fleet));
    let before = Counters::read(&group.open()).await?;
    let mut tasks = background(line, group, &board, &mut chance);
    if line.churn > 0 {
        sleep(WARM).await;
    }
    let begun = Instant::now();
    let mut rounds = JoinSet::new();
    for id in 0..line.workers {
        let way = Way { is_mixed: line.churn > 0 || line.fleet, is_fleet: line.fleet };
        let worker = Worker {
            id,
            way,
            doors: group.doors(),
            board: Arc::clone(&board),
            chance: chance.branch(),
            subscribers: BTreeMap::new(),
            publishers: BTreeMap::new(),
            tally: Tally::default(),
        };
        rounds.spawn(worker.run());
    }
    let fleet_chance = chance.branch();
    let (shown, events) = tokio::join!(
        async {
            let mut shown = Shown::default();
            while let Some(tally) = rounds.join_next().await {
                shown
                    .tally
                    .join(tally.map_err(|error| Failure::new(format!("a client broke: {error}")))?);
            }
            let lasted = begun.elapsed();
            board.stop();
            while let Some(part) = tasks.join_next().await {
                match part.map_err(|error| Failure::new(format!("a client broke: {error}")))? {
                    Part::Done(done) => shown.done.join(done),
                    Part::Seen(seen) => shown.seen.join(seen),
                }
            }
            Ok::<_, Failure>((shown, lasted))
        },
        async {
            if !line.fleet {
                return Ok(Events::default());
            }
            let events = coming::run(group, line.nodes(), &board, fleet_chance).await;
            // Without a fleet the rounds show nothing.
            events.inspect_err(|_| board.stop())
        }
    );
    let (shown, lasted) = shown?;
    let after = Counters::read(&group.open()).await?;
    let counters = Between { before, after };
    judge(line, shown, &events?, &counters, lasted)
}

/// What a task in the background gives at its end.
enum Part {
    Done(Done),
    Seen(Seen),
}

fn background(
    line: &Line,
    group: &Group,
    board: &Arc<Board>,
    chance: &mut Chance,
) -> JoinSet<Part> {
    let mut tasks = JoinSet::new();
    for id in 0..line.pairs {
        let (doors, board, chance) = (group.doors(), Arc::clone(board), chance.branch());
        let pair = Pair { id, doors, board, chance };
        tasks.spawn(async { Part::Seen(pair.run().await) });
    }
    let mut roamer = |id: usize, of: usize, rate: usize| Roamer {
        id,
        doors: group.doors(),
        board: Arc::clone(board),
        chance: chance.branch(),
        #[expect(clippy::cast_precision_loss, reason = "some thousands")]
        rate: rate as f64 / of.max(1) as f64,
        of,
    };
    if line.churn > 0 {
        let (listeners, publishers) = (line.nodes() * LISTENERS, line.nodes());
        for id in 0..listeners {
            let roamer = roamer(id, listeners, line.churn);
            tasks.spawn(async { Part::Done(roamer.listen().await) });
        }
        for id in 0..publishers {
            let roamer = roamer(id, publishers, line.publishes);
            tasks.spawn(async { Part::Done(roamer.publish().await) });
        }
    }
    tasks
}

/// The counters of the nodes at the beginning and at the end.
struct Between {
    before: Counters,
    after: Counters,
}

impl Between {
    fn grown(&self, name: &str) -> Option<u64> {
        self.after.since(&self.before, name)
    }
}

fn judge(
    line: &Line,
    mut shown: Shown,
    events: &Events,
    counters: &Between,
    lasted: Duration,
) -> Outcome {
    let name = line.name();
    shown.tally.tell(name);
    let seconds = lasted.as_secs_f64();
    let Done { subscribed, unsubscribed, published, received, losses, .. } = &shown.done;
    if line.churn > 0 {
        figures::figure(format!(
            "{name}: beside them {subscribed} subscribes, {unsubscribed} unsubscribes and {published} messages within \
             {seconds:.1} s and {} s before, {received} heard in order, {losses} pushes of a loss",
            WARM.as_secs()
        ));
    }
    let Seen { stretches, received, missing_told, .. } = &shown.seen;
    figures::figure(format!(
        "{name}: order over two channels of one publisher: {received} messages of {stretches} pairs, {} out of order, twice or \
         missing, {missing_told} missing and told",
        shown.seen.broken.len()
    ));
    if line.fleet {
        let Events { joins, leaves, kills, gone } = events;
        let alive = shown.tally.told_of().difference(gone).count();
        figures::figure(format!(
            "{name}: {joins} joins, {leaves} planned leaves, {kills} kills; publishers that messages were missed and told of, though \
             nobody ended them: {alive}"
        ));
    }
    let pruned = prunes(line, counters);
    let broken = shown.seen.broken.iter().chain(&shown.done.broken);
    broken.clone().take(20).for_each(|text| figures::note(format!("broken: {text}")));
    let count = shown.tally.broken(line.fleet) + broken.count() as u64;
    if count > 0 {
        return Err(Failure::new(format!("{name}: {count} promises were broken")));
    }
    pruned
}

/// Tells how often channels were pruned and grafted. Fails where that never happened and should have.
fn prunes(line: &Line, counters: &Between) -> Outcome {
    let name = line.name();
    let of = if line.fleet { ", by the nodes that live at the end" } else { "" };
    let is_needed = line.churn > 0 || line.fleet;
    match (counters.after.get(PRUNED), counters.grown(GRAFTS)) {
        (Some(pruned), Some(grafts)) => {
            figures::figure(format!(
                "{name}: {grafts} grafts of channels that were pruned, and {pruned} are pruned at the end: at least {} \
                 prunes{of}",
                grafts + pruned
            ));
            if is_needed && grafts == 0 {
                return Err(Failure::new(format!("{name}: nothing was pruned and grafted again")));
            }
        }
        _ if is_needed => {
            return Err(Failure::new(format!(
                "{name}: the nodes do not tell their prunes and grafts"
            )));
        }
        _ => figures::left_out(format!("{name}: prunes, because the nodes do not count them")),
    }
    Ok(())
}

/// How many channels a node has pruned at its peers, and how often it has asked for such channels again.
const PRUNED: &str = "quorate_lane_prunes_made";
const GRAFTS: &str = "quorate_lane_grafts_total";
