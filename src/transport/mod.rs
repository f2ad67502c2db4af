//! Bytes between nodes: one UDP socket, encrypted, both sides proven members, in framed streams, calls and datagrams.
//!
//! Owns the engines `quinn`, `rustls`, `rcgen` and `ring`, the hello, the frames and the limits on what a peer or a stranger
//! may cost. Does not know what the bytes mean, and retries nothing on its own. Invariants: a node sends only on the
//! connection it has dialled and reads whatever comes; a link is up only when its hello was answered.
//!
//! ```text
//!            Transport::open / call                              Incoming::accept
//!                     │                                                ▲
//!   links (dial, hello) ── frame, calls ──►  QUIC  ──► accept (admit, hello judged) ── frame, serve_calls
//!                     └─────────── endpoint: tls, verify, close, notice ───────────┘
//! ```

mod accept;
mod calls;
mod close;
mod config;
mod credentials;
mod datagrams;
mod endpoint;
mod error;
mod fate;
mod frame;
mod hello;
mod lanes;
mod links;
mod memory;
mod notice;
mod pace;
mod peer;
mod standstill;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod verify;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

pub use self::calls::serve_calls;
pub use self::config::{Config, FrameMax};
pub use self::credentials::{Credentials, Secret};
pub use self::datagrams::{DATAGRAM_MAX, Datagram, DatagramReport, Datagrams};
pub use self::endpoint::Socket;
pub use self::error::Error;
pub use self::fate::Link;
pub use self::frame::{FrameReceiver, FrameSender};
pub use self::lanes::Lanes;
pub use self::memory::{MemoryNetwork, Trace};
pub use self::peer::{Class, Identity, Peer, Purpose, Remote};
use self::stream::Opening;

/// How many incoming streams may wait for [`Incoming::accept`]; beyond it, their peers wait.
const INCOMING_MAX: usize = 256;
/// How long [`Transport::close`] waits for the goodbyes to leave.
const GOODBYE_MAX: Duration = Duration::from_secs(1);
/// How often it looks whether they have.
const LOOK: Duration = Duration::from_millis(5);

/// The impure parts that production and simulation fill differently.
#[derive(Debug)]
pub struct Parts {
    /// Where datagrams come from and go to.
    pub socket: Socket,
    /// Fresh random bytes; from the operating system in production, from the run's seed in a simulation.
    pub rng_seed: [u8; 32],
}

/// A stream that a peer has opened to this node.
#[derive(Debug)]
pub struct Inbound {
    /// Who opened it.
    pub remote: Remote,
    /// What it is for.
    pub purpose: Purpose,
    /// Whether it carries calls, to be given to [`serve_calls`], and not frames.
    pub is_calls: bool,
    /// The way back.
    pub sender: FrameSender,
    /// What comes in.
    pub receiver: FrameReceiver,
}

/// The streams that peers open to this node, in the order in which they came.
#[derive(Debug)]
pub struct Incoming(mpsc::Receiver<Inbound>);

impl Incoming {
    /// Waits for the next stream; none when the transport is closed.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn accept(&mut self) -> Option<Inbound> {
        self.0.recv().await
    }
}

/// What is known about one link that this node has dialled and that is up.
#[derive(Clone, Debug)]
pub struct LinkReport {
    /// The node at its other end.
    pub remote: Remote,
    /// The smoothed round-trip time.
    pub round_trip: Duration,
    /// Bytes of datagrams sent since it is up.
    pub sent_bytes: u64,
    /// Bytes of datagrams received since it is up.
    pub received_bytes: u64,
    /// Packets found lost since it is up.
    pub lost_packets: u64,
}

/// One node's end of the network. Cheap to clone; when the last clone is dropped, all links end.
#[derive(Clone, Debug)]
pub struct Transport(Arc<Handle>);

/// Ends the endpoint with the last [`Transport`]; the tasks hold only what is inside.
#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.endpoint.close(close::GOODBYE, b"stopped");
    }
}

/// What the tasks of one transport share.
#[derive(Debug)]
struct Shared {
    config: Config,
    identity: Identity,
    endpoint: quinn::Endpoint,
    advertised: SocketAddr,
    local: SocketAddr,
    /// The name that certificates of this cluster are valid for.
    name: String,
    links: links::Links,
    guests: Arc<accept::Guests>,
    callers: calls::Callers,
    mail: datagrams::Mail,
    notices: notice::Notices,
}

impl Transport {
    /// Starts to serve on the socket in `parts`.
    ///
    /// # Errors
    /// [`Error::Fatal`] when the credentials, the configuration or the socket cannot be used.
    #[expect(clippy::unused_async, reason = "callers are ready for a start that waits")]
    pub async fn start(
        config: Config,
        credentials: Credentials,
        identity: Identity,
        parts: Parts,
    ) -> Result<(Self, Incoming), Error> {
        config.check()?;
        let tls = tls::configure(&credentials, &identity, &parts.rng_seed)?;
        let name = tls.name.clone();
        let (endpoint, advertised) = endpoint::build(&config, tls, parts, identity.advertise)?;
        let local = endpoint
            .local_addr()
            .map_err(|e| Error::fatal_io("the cluster socket has no address", e))?;
        let shared = Arc::new(Shared {
            config,
            identity,
            endpoint,
            advertised,
            local,
            name,
            links: links::Links::default(),
            guests: Arc::default(),
            callers: calls::Callers::default(),
            mail: datagrams::Mail::default(),
            notices: notice::Notices::default(),
        });
        let (inbox_tx, inbox) = mpsc::channel(INCOMING_MAX);
        tokio::spawn(accept::run(Arc::clone(&shared), inbox_tx));
        let idle_timeout = shared.config.idle_timeout;
        tokio::spawn(standstill::watch(Arc::downgrade(&shared), idle_timeout));
        Ok((Self(Arc::new(Handle(shared))), Incoming(inbox)))
    }

    /// Gives the address of the socket.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.0.0.local
    }

    /// Gives the address at which others reach this node.
    #[must_use]
    pub fn advertised(&self) -> SocketAddr {
        self.0.0.advertised
    }

    /// Gives who this node is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.0.0.identity
    }

    /// Opens a stream of frames to `peer`, dialling it if there is no link. The peer sees the stream with the first
    /// bytes, which this sends.
    ///
    /// # Errors
    /// [`Error::Unreachable`] or [`Error::Refused`] when there is no link to be had; [`Error::Closed`] when it went away.
    ///
    /// # Cancel safety
    /// Safe: a dial goes on for those who come next.
    pub async fn open(
        &self,
        peer: &Peer,
        purpose: Purpose,
    ) -> Result<(FrameSender, FrameReceiver, Remote), Error> {
        self.0.0.open(peer, Opening { purpose, is_calls: false }).await
    }

    /// Sends `request` to `peer` and waits for its answer. All calls to one peer for one purpose share a stream; their
    /// answers may come in any order.
    ///
    /// # Errors
    /// [`Error::effect_is_none`] tells whether the peer surely has not seen the request. [`Error::Deadline`] comes
    /// after `deadline`, dialling included; [`Error::NoAnswer`] when the peer declined.
    ///
    /// # Cancel safety
    /// Safe: a cancelled call gives its place up, and its answer reaches nobody. The peer may have seen the request.
    pub async fn call(
        &self,
        peer: &Peer,
        purpose: Purpose,
        request: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, Error> {
        calls::call(&self.0.0, peer, purpose, request, deadline).await
    }

    /// Sends a datagram to `peer`, if there is a link to it: it dials none. It may be lost, come late or not be sent at all, and
    /// nobody is told; it never waits. What is to be sent faster than the network takes it makes older ones give way, and is
    /// refused by turns, so that streams go on.
    ///
    /// # Errors
    /// [`Error::TooLarge`] above [`DATAGRAM_MAX`]; [`Error::NotSent`] when no link is up, or it is the turn of streams.
    pub fn datagram(&self, peer: &Peer, class: Class, body: BytesMut) -> Result<(), Error> {
        datagrams::send(&self.0.0, peer, class, body)
    }

    /// Where the datagrams of peers come out; taken a second time, none do.
    #[must_use]
    pub fn datagrams(&self) -> Datagrams {
        self.0.0.mail.take_inbox()
    }

    /// Tells how datagrams have fared.
    #[must_use]
    pub fn datagram_report(&self) -> DatagramReport {
        self.0.0.mail.report()
    }

    /// Gives lanes for messages that may be lost: pushed without waiting, dropped when a peer is slow or not there.
    #[must_use]
    pub fn lanes(&self, purpose: Purpose) -> Lanes {
        Lanes::new(Arc::clone(&self.0.0), purpose)
    }

    /// Tells about the links that this node has dialled and that are up, by address.
    #[must_use]
    pub fn links(&self) -> Vec<LinkReport> {
        let report = |link: &Arc<links::Link>| {
            let stats = link.connection.stats();
            LinkReport {
                remote: link.remote.clone(),
                round_trip: link.connection.rtt(),
                sent_bytes: stats.udp_tx.bytes,
                received_bytes: stats.udp_rx.bytes,
                lost_packets: stats.path.lost_packets,
            }
        };
        self.0.0.links.up().iter().map(report).collect()
    }

    /// Says goodbye to everybody, so that they see it at once and not by a timeout, and ends all links.
    pub async fn close(&self, reason: &str) {
        let Shared { endpoint, links, guests, .. } = &*self.0.0;
        // Dials to nobody and the remains of earlier links would be waited for, too: for three probe timeouts of a second.
        let others = endpoint.open_connections().saturating_sub(links.up().len() + guests.count());
        endpoint.close(close::GOODBYE, close::shortened(reason));
        let gone = async {
            while endpoint.open_connections() > others {
                tokio::time::sleep(LOOK).await;
            }
        };
        // Peers that do not answer are not waited for.
        let _late = tokio::time::timeout(GOODBYE_MAX, gone).await;
    }
}

impl Shared {
    /// Opens one stream and says on it what it is for.
    async fn open(
        self: &Arc<Self>,
        peer: &Peer,
        opening: Opening,
    ) -> Result<(FrameSender, FrameReceiver, Remote), Error> {
        let address = peer.address;
        let link = links::link(self, peer).await?;
        let waited = self.config.handshake_timeout;
        let opened = tokio::time::timeout(waited, link.connection.open_bi()).await;
        let Ok(opened) = opened else {
            let reason = format!("{} streams are open already", self.config.streams_max);
            return Err(Error::Unreachable { address, reason });
        };
        let (stream, receiving) = opened.map_err(|e| close::of_connection(&e, address))?;
        stream::prioritize(&stream, opening);
        let (class, limit) = (opening.purpose.class, opening.limit(&self.config));
        let mut sender = FrameSender::new(stream, address, class, limit);
        let receiver = FrameReceiver::new(receiving, address, class, limit);
        sender.send(opening.encode()).await?;
        Ok((sender, receiver, link.remote.clone()))
    }
}
