//! The connections that peers have dialled: who may come in, and the streams they bring.
//!
//! ```text
//! datagrams ─► address validated? ─no─► retry            (costs the sender a round trip, this node no memory)
//!                  └─yes─► handshake counted? ─full─► refused
//!                               └─► TLS ─► hello judged ─► streams, each with its purpose first ─► Incoming, datagrams
//! ```
//!
//! Owns admission and its counts. Does not dial. Invariant: a stranger holds at most one counted handshake for at most
//! the handshake timeout.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::close::{self, MALFORMED, REFUSED, STOOD_STILL, SUPERSEDED};
use super::frame::{FrameReceiver, FrameSender};
use super::notice::Kind;
use super::stream::{self, Opening};
use super::{Class, Config, Error, Inbound, Remote, Shared, hello};
use crate::ids::NodeId;

/// Handshakes under way, all together and by IP address.
#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_ip: BTreeMap<IpAddr, usize>,
}

#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<Counts>);

/// A counted handshake; gives its place back when dropped.
struct Place {
    gate: Arc<Gate>,
    ip: IpAddr,
}

impl Gate {
    fn enter(self: &Arc<Self>, ip: IpAddr, config: &Config) -> Option<Place> {
        let mut counts = self.0.lock();
        let of_ip = counts.by_ip.get(&ip).copied().unwrap_or(0);
        if counts.all >= config.handshakes_max || of_ip >= config.handshakes_per_ip_max {
            return None;
        }
        counts.all += 1;
        counts.by_ip.insert(ip, of_ip + 1);
        drop(counts);
        Some(Place { gate: Arc::clone(self), ip })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.gate.0.lock();
        counts.all = counts.all.saturating_sub(1);
        let of_ip = counts.by_ip.get(&self.ip).copied().unwrap_or(0);
        if of_ip > 1 {
            counts.by_ip.insert(self.ip, of_ip - 1);
        } else {
            counts.by_ip.remove(&self.ip);
        }
    }
}

/// The connections that peers hold, oldest first.
#[derive(Debug, Default)]
pub(super) struct Guests(Mutex<BTreeMap<NodeId, Vec<quinn::Connection>>>);

/// A connection's entry in [`Guests`]; taken out when dropped.
struct Registration {
    guests: Arc<Guests>,
    id: NodeId,
    connection: quinn::Connection,
}

impl Guests {
    /// Adds a connection and closes the oldest of the same node when it has too many.
    fn add(
        self: &Arc<Self>,
        id: NodeId,
        connection: &quinn::Connection,
        config: &Config,
    ) -> Result<Registration, String> {
        let mut guests = self.0.lock();
        if guests.len() >= config.nodes_max && !guests.contains_key(&id) {
            return Err(format!(
                "{} nodes are connected, the limit is {}",
                guests.len(),
                config.nodes_max
            ));
        }
        let own = guests.entry(id).or_default();
        own.push(connection.clone());
        let surplus = own.len().saturating_sub(config.connections_per_node_max.max(1));
        own.drain(..surplus).for_each(|oldest| oldest.close(SUPERSEDED, b""));
        Ok(Registration { guests: Arc::clone(self), id, connection: connection.clone() })
    }

    /// How many connections there are that have not ended.
    pub(super) fn count(&self) -> usize {
        let guests = self.0.lock();
        guests.values().flatten().filter(|guest| guest.close_reason().is_none()).count()
    }

    /// Ends the connections of everybody; tells how many there were.
    pub(super) fn end_all(&self) -> usize {
        let guests = self.0.lock();
        let all = guests.values().flatten();
        all.map(|connection| connection.close(STOOD_STILL, b"")).count()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut guests = self.guests.0.lock();
        if let Some(own) = guests.get_mut(&self.id) {
            own.retain(|held| held.stable_id() != self.connection.stable_id());
            if own.is_empty() {
                guests.remove(&self.id);
            }
        }
    }
}

/// Takes in connections until the endpoint is closed.
pub(super) async fn run(shared: Arc<Shared>, inbox: mpsc::Sender<Inbound>) {
    let gate = Arc::new(Gate::default());
    while let Some(incoming) = shared.endpoint.accept().await {
        if !incoming.remote_address_validated() {
            if let Err(error) = incoming.retry() {
                error.into_incoming().ignore();
            }
            continue;
        }
        let address = incoming.remote_address();
        match gate.enter(address.ip(), &shared.config) {
            Some(place) => {
                tokio::spawn(guest(Arc::clone(&shared), incoming, place, inbox.clone()));
            }
            None => incoming.refuse(),
        }
    }
}

/// One connection from its first packet to its end.
async fn guest(
    shared: Arc<Shared>,
    incoming: quinn::Incoming,
    place: Place,
    inbox: mpsc::Sender<Inbound>,
) {
    let address = incoming.remote_address();
    let admitted = admit(&shared, incoming, address);
    let admitted = tokio::time::timeout(shared.config.handshake_timeout, admitted).await;
    drop(place);
    let Ok(Some((registration, remote))) = admitted else { return };
    serve(&shared, &registration.connection, &remote, &inbox).await;
}

/// TLS and the hello. None when the peer does not come in; the reason was told to it and to the log.
async fn admit(
    shared: &Shared,
    incoming: quinn::Incoming,
    address: SocketAddr,
) -> Option<(Registration, Remote)> {
    let connection = match incoming.accept() {
        Ok(connecting) => connecting.await,
        Err(error) => Err(error),
    };
    let connection = match connection {
        Ok(connection) => connection,
        Err(error) => {
            let error = close::of_connection(&error, address);
            if let Error::Refused { reason, .. } = &error {
                shared.notices.warn(address, Kind::Handshake, reason);
            } else {
                tracing::debug!(%address, "handshake failed: {error}");
            }
            return None;
        }
    };
    match receive_hello(shared, &connection, address).await {
        Ok(admitted) => Some(admitted),
        Err(Error::Refused { reason, .. }) => {
            connection.close(REFUSED, close::shortened(&reason));
            shared.notices.warn(address, Kind::Hello, &reason);
            None
        }
        Err(error) => {
            connection.close(MALFORMED, b"");
            tracing::debug!(%address, "no hello: {error}");
            None
        }
    }
}

async fn receive_hello(
    shared: &Shared,
    connection: &quinn::Connection,
    address: SocketAddr,
) -> Result<(Registration, Remote), Error> {
    let refused = |reason| Error::Refused { address, reason };
    let (stream, hellos) =
        connection.accept_bi().await.map_err(|e| close::of_connection(&e, address))?;
    let mut sender = FrameSender::new(stream, address, Class::Control, hello::SIZE_MAX);
    let mut receiver = FrameReceiver::new(hellos, address, Class::Control, hello::SIZE_MAX);
    let hello = receiver.receive().await?.ok_or(Error::Malformed { what: "hello" })?;
    let (remote, version) = hello::judge(&shared.identity, &hello).map_err(refused)?;
    let registration = shared.guests.add(remote.id, connection, &shared.config).map_err(refused)?;
    sender.send(hello::welcome(&shared.identity, shared.advertised, version)).await?;
    sender.finish();
    Ok((registration, remote))
}

/// Hands over the streams and the datagrams of one connection until it ends.
async fn serve(
    shared: &Arc<Shared>,
    connection: &quinn::Connection,
    remote: &Remote,
    inbox: &mpsc::Sender<Inbound>,
) {
    let sender = Arc::new(remote.clone());
    loop {
        let opened = tokio::select! {
            biased;
            opened = connection.accept_bi() => opened,
            datagram = connection.read_datagram() => match datagram {
                Ok(datagram) => {
                    shared.mail.take(&sender, &datagram);
                    continue;
                }
                Err(error) => Err(error),
            },
        };
        match opened {
            Ok((stream, receiving)) => {
                let take = Take {
                    shared: Arc::clone(shared),
                    connection: connection.clone(),
                    remote: remote.clone(),
                    inbox: inbox.clone(),
                };
                tokio::spawn(take.run(stream, receiving));
            }
            Err(error) => {
                tracing::debug!(node = %remote.id, name = %remote.name, "incoming link ended: {error}");
                return;
            }
        }
    }
}

/// What it takes to hand over one stream.
struct Take {
    shared: Arc<Shared>,
    connection: quinn::Connection,
    remote: Remote,
    inbox: mpsc::Sender<Inbound>,
}

impl Take {
    /// Reads the purpose of a stream and hands it over. Streams are as many as the connection allows, so are these.
    async fn run(self, stream: quinn::SendStream, receiving: quinn::RecvStream) {
        let limit = self.shared.config.handshake_timeout;
        let address = self.connection.remote_address();
        let mut receiver =
            FrameReceiver::new(receiving, address, Class::Control, stream::OPENING_MAX);
        let opening = match tokio::time::timeout(limit, receiver.receive()).await {
            Ok(Ok(Some(frame))) => Opening::decode(&frame),
            Ok(Err(Error::Closed { .. })) | Err(_) => return,
            Ok(Ok(None) | Err(_)) => Err(Error::Malformed { what: "first frame of a stream" }),
        };
        let opening = match opening {
            Ok(opening) => opening,
            Err(error) => {
                self.connection.close(MALFORMED, close::shortened(&error.to_string()));
                self.shared.notices.warn(address, Kind::Malformed, &error.to_string());
                return;
            }
        };
        let (sender, receiver) = opening.ends(&self.shared.config, stream, receiver, address);
        let inbound = Inbound {
            remote: self.remote,
            purpose: opening.purpose,
            is_calls: opening.is_calls,
            sender,
            receiver,
        };
        // Nobody takes streams any more: dropping this one tells the peer.
        let _stopped = self.inbox.send(inbound).await;
    }
}
