//! Carries gossip between membership, which knows no network, and transport, which knows no gossip.
//!
//! Owns nothing but the step between them. Invariant: sending never waits; what does not fit is dropped, and the next
//! round says the same and more.

use super::Node;
use crate::ids::{FormationId, GroupId};
use crate::membership::Wire;
use crate::transport::{Class, Inbound, Purpose, Transport};

const PURPOSE: Purpose =
    Purpose { class: Class::Gossip, group: GroupId(0), formation: FormationId::NONE };

/// Makes the way out for gossip.
pub(super) fn wire(transport: &Transport) -> Wire {
    let lanes = transport.lanes(PURPOSE);
    Wire::new(move |to, message| {
        // What does not fit is dropped.
        let _dropped = lanes.push(to, message);
    })
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
