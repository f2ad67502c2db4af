//! Makes the view out of what the engine holds.
//!
//! Owns what of it is shown: one start per node id, only nodes whose facts have arrived and that were seen alive once.
//! Does not gossip. Invariant: two equal states of the engine give equal views.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chitchat::{Chitchat, ChitchatId};
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::{Facts, Member, View};
use crate::ids::NodeId;

/// How often the engine is looked at when it tells of no change, for nodes that it has forgotten.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Keeps the view until the engine or all who watch are gone.
pub(super) async fn keep(
    engine: Arc<Mutex<Chitchat>>,
    view_tx: watch::Sender<Arc<View>>,
    look: Arc<Notify>,
) {
    let mut live = engine.lock().await.live_nodes_watcher();
    let mut seen = BTreeSet::new();
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let view = seen_by(&*engine.lock().await, &mut seen);
        view_tx.send_if_modified(|before| {
            let is_new = **before != view;
            if is_new {
                *before = Arc::new(view);
            }
            is_new
        });
        tokio::select! {
            biased;
            changed = live.changed() => if changed.is_err() { return },
            _ = ticks.tick() => {}
            () = look.notified() => {}
            () = view_tx.closed() => return,
        }
    }
}

/// Makes the view; `seen` holds the starts that were ever alive.
fn seen_by(engine: &Chitchat, seen: &mut BTreeSet<ChitchatId>) -> View {
    let live: BTreeSet<&ChitchatId> = engine.live_nodes().collect();
    let states = engine.node_states();
    seen.retain(|start| states.contains_key(start));
    seen.extend(live.iter().map(|start| (*start).clone()));
    let mut newest: BTreeMap<NodeId, (u64, Member)> = BTreeMap::new();
    for (start, state) in states.iter().filter(|(start, _)| seen.contains(*start)) {
        let Ok(id) = start.node_id.parse::<NodeId>() else { continue };
        let Some(facts) = Facts::read(state.key_values(), start.gossip_advertise_addr) else {
            continue;
        };
        let is_older = newest.get(&id).is_some_and(|(newer, _)| *newer > start.generation_id);
        if !is_older {
            let alive = live.contains(start);
            newest.insert(id, (start.generation_id, Member { id, facts, alive }));
        }
    }
    newest.into_iter().map(|(id, (_, member))| (id, member)).collect()
}
