//! Carries gossip between membership, which knows no network, and transport, which knows no gossip.
//!
//! Owns one short queue and one stream per address gossiped with. Invariant: sending never waits; what does not fit is
//! dropped, and the next round says the same and more.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Node;
use crate::ids::{FormationId, GroupId};
use crate::membership::Wire;
use crate::transport::{Class, Inbound, Peer, Purpose, Transport};

/// How many messages wait for one address.
const QUEUE_MAX: usize = 64;
/// How many addresses are gossiped with at once; more than any cluster has members, and than gossip knows dead ones.
const ADDRESSES_MAX: usize = 4_096;
/// A lane without a message for this long ends.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// How long a lane rests after its address could not be reached.
const PAUSE: Duration = Duration::from_millis(200);

const PURPOSE: Purpose =
    Purpose { class: Class::Gossip, group: GroupId(0), formation: FormationId(0) };

type Lanes = Arc<Mutex<BTreeMap<SocketAddr, mpsc::Sender<Bytes>>>>;

/// Makes the way out for gossip.
pub(super) fn wire(transport: &Transport) -> Wire {
    let (transport, lanes) = (transport.clone(), Lanes::default());
    Wire::new(move |to, message| {
        let mut open = lanes.lock();
        if open.len() >= ADDRESSES_MAX && !open.contains_key(&to) {
            return;
        }
        let outbox = open.entry(to).or_insert_with(|| {
            let (outbox, inbox) = mpsc::channel(QUEUE_MAX);
            tokio::spawn(run(transport.clone(), to, inbox, Arc::clone(&lanes)));
            outbox
        });
        // Full: dropped.
        let _dropped = outbox.try_send(message);
    })
}

/// Sends what comes to one address, until nothing has come for a while.
async fn run(transport: Transport, to: SocketAddr, mut inbox: mpsc::Receiver<Bytes>, lanes: Lanes) {
    loop {
        let Ok(Some(first)) = timeout(IDLE_MAX, inbox.recv()).await else {
            lanes.lock().remove(&to);
            return;
        };
        let peer = Peer { id: None, address: to };
        let opened = transport.open(&peer, PURPOSE).await;
        let Ok((mut sender, _receiver, _remote)) = opened else {
            tokio::time::sleep(PAUSE).await;
            // What waited meanwhile is old.
            while inbox.try_recv().is_ok() {}
            continue;
        };
        let mut messages = vec![first];
        while sender.send_all(&mut messages).await.is_ok() {
            let more = timeout(IDLE_MAX, inbox.recv_many(&mut messages, QUEUE_MAX)).await;
            if !matches!(more, Ok(1..)) {
                break;
            }
        }
    }
}

/// Reads a peer's lane, until it ends.
pub(super) async fn serve(node: Node, inbound: Inbound) {
    let Inbound { remote, mut receiver, .. } = inbound;
    while let Ok(Some(message)) = receiver.receive().await {
        if let Err(error) = node.0.membership.receive(remote.address, &message) {
            tracing::debug!(peer = %remote.address, %error, "a peer's gossip ended");
            return;
        }
    }
}
