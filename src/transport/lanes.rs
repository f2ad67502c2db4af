//! Messages that may be lost, to many peers: pushed without waiting, written when there is a link.
//!
//! ```text
//! push ──► lane of the peer (bounded, drops when full) ──task: dial, write──► stream of frames
//!                └── the peer cannot be reached: drops for a while, then ends and may begin anew
//! ```
//!
//! Owns the lanes. Does not repeat anything. Invariant: a push neither waits nor fails, whatever the peer does.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::frame::FrameSender;
use super::stream::Opening;
use super::{Error, Peer, Purpose, Shared};

/// How many messages wait for one peer.
const LANE_MAX: usize = 64;
/// How many peers have a lane at once.
const LANES_MAX: usize = 4_096;
/// For how long messages to a peer that could not be reached are dropped.
const PAUSE_UNREACHABLE: Duration = Duration::from_millis(500);
/// For how long messages to a peer that refused are dropped; only an operator can change its mind.
const PAUSE_REFUSED: Duration = Duration::from_secs(5);

/// Lanes for one purpose, one to each peer that something was pushed to. They end with the transport.
pub struct Lanes {
    shared: Arc<Shared>,
    purpose: Purpose,
    lanes: Mutex<BTreeMap<SocketAddr, mpsc::Sender<Bytes>>>,
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes").field("purpose", &self.purpose).finish_non_exhaustive()
    }
}

impl Lanes {
    pub(super) fn new(shared: Arc<Shared>, purpose: Purpose) -> Self {
        Self { shared, purpose, lanes: Mutex::default() }
    }

    /// Sends a message to whoever is at `to`, if that can be done; tells whether it was taken or dropped at once.
    pub fn push(&self, to: SocketAddr, message: Bytes) -> bool {
        let mut lanes = self.lanes.lock();
        if let Some(lane) = lanes.get(&to)
            && !lane.is_closed()
        {
            return lane.try_send(message).is_ok();
        }
        if lanes.len() >= LANES_MAX {
            lanes.retain(|_, lane| !lane.is_closed());
        }
        if lanes.len() >= LANES_MAX {
            return false;
        }
        let (lane, waiting) = mpsc::channel(LANE_MAX);
        let is_taken = lane.try_send(message).is_ok();
        lanes.insert(to, lane);
        tokio::spawn(run(Arc::clone(&self.shared), self.purpose, to, waiting));
        is_taken
    }
}

/// Keeps one lane until its peer is gone; if it never was there, leaves it alone for a while.
async fn run(
    shared: Arc<Shared>,
    purpose: Purpose,
    to: SocketAddr,
    mut waiting: mpsc::Receiver<Bytes>,
) {
    let peer = Peer { id: None, address: to };
    let opened = shared.open(&peer, Opening { purpose, is_calls: false }).await;
    drop(shared);
    let pause = match opened {
        // The way back stays open: it tells when the peer is gone.
        Ok((sender, _receiver, _)) => return write(sender, &mut waiting).await,
        Err(Error::Refused { .. }) => PAUSE_REFUSED,
        Err(error) => {
            tracing::debug!(%to, class = %purpose.class, "no lane to this peer: {error}");
            PAUSE_UNREACHABLE
        }
    };
    tokio::time::sleep(pause).await;
}

async fn write(mut sender: FrameSender, waiting: &mut mpsc::Receiver<Bytes>) {
    let mut messages = Vec::new();
    loop {
        tokio::select! {
            biased;
            count = waiting.recv_many(&mut messages, LANE_MAX) => {
                if count == 0 || sender.send_all(&mut messages).await.is_err() {
                    return;
                }
            }
            () = sender.stopped() => return,
        }
    }
}
