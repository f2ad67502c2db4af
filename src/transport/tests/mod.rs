//! Tests of the transport: real QUIC over the memory network, with a paused clock.
//!
//! Owns the nodes that the tests are played with. Does not test the pure parts; those have their tests beside them.
//! Invariant: no test waits for real time, but for the one over loopback.

mod calls;
mod datagrams;
mod faults;
mod meeting;
mod strangers;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::*;
use crate::ids::{FormationId, GroupId, NodeId};

/// The second node, as others seek it.
const TWO: Peer = Peer {
    id: Some(NodeId::from_random(2)),
    address: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2)), 7_400),
};

/// Long enough for anything that is going to happen.
const SOON: Duration = Duration::from_secs(10);

/// What a node is started with.
struct Plan {
    cluster: &'static str,
    secret: u8,
    previous: Option<u8>,
    /// Instead of the secrets.
    credentials: Option<Credentials>,
    settings: Vec<(String, String)>,
    config: Config,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            cluster: "game",
            secret: 1,
            previous: None,
            credentials: None,
            settings: vec![("session_timeout".into(), "2s".into())],
            config: Config::default(),
        }
    }
}

fn secret(byte: u8) -> Secret {
    Secret::generate([byte; 32])
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 7_400))
}

fn id(number: u64) -> NodeId {
    NodeId::from_random(number)
}

fn purpose(class: Class) -> Purpose {
    Purpose { class, group: GroupId(0), formation: FormationId::first(7) }
}

fn peer(number: u8) -> Peer {
    Peer { id: Some(id(number.into())), address: address(number) }
}

impl Plan {
    /// Starts node `number` at its address.
    async fn start(self, network: &MemoryNetwork, number: u8) -> (Transport, Incoming) {
        self.start_as(network, number, number.into()).await
    }

    /// Starts a node of any id at the address of node `number`.
    async fn start_as(
        self,
        network: &MemoryNetwork,
        number: u8,
        node: u64,
    ) -> (Transport, Incoming) {
        let socket = Socket::Simulated(network.socket(address(number)));
        self.start_on(socket, node).await.unwrap()
    }

    async fn start_on(self, socket: Socket, node: u64) -> Result<(Transport, Incoming), Error> {
        let credentials = self.credentials.unwrap_or_else(|| Credentials::Secret {
            current: secret(self.secret),
            previous: self.previous.map(secret),
        });
        let identity = Identity {
            cluster: self.cluster.parse().unwrap(),
            node: id(node),
            name: format!("n{node}"),
            advertise: None,
            settings: self.settings,
        };
        let mut rng_seed = [0; 32];
        rng_seed[..8].copy_from_slice(&node.to_be_bytes());
        Transport::start(self.config, credentials, identity, Parts { socket, rng_seed }).await
    }
}

/// Sends every frame of every stream back, each stream in a task of its own.
fn echo(mut incoming: Incoming) {
    tokio::spawn(async move {
        while let Some(mut inbound) = incoming.accept().await {
            if inbound.is_calls {
                tokio::spawn(serve_calls(inbound, 64, |_, request| async { Some(request) }));
                continue;
            }
            tokio::spawn(async move {
                while let Ok(Some(frame)) = inbound.receiver.receive().await {
                    if inbound.sender.send(frame).await.is_err() {
                        return;
                    }
                }
                inbound.sender.finish();
            });
        }
    });
}

/// Waits for `future`, which is to happen soon.
async fn soon<F: Future>(future: F) -> F::Output {
    timeout(SOON, future).await.expect("it should have happened by now")
}

/// Opens a stream and sends one frame there and back.
async fn ping(transport: &Transport, peer: &Peer) -> Result<Remote, Error> {
    let (mut sender, mut receiver, remote) = transport.open(peer, purpose(Class::Control)).await?;
    sender.send(Bytes::from_static(b"ping")).await?;
    let frame = receiver.receive().await?;
    assert_eq!(frame.as_deref(), Some(&b"ping"[..]));
    Ok(remote)
}
