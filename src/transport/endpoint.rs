//! Turns the socket, the keys and the configuration into one QUIC endpoint that dials and is dialled.
//!
//! Owns every knob of `quinn` and the socket's options. Does not open connections. Invariant: no 0-RTT, no migration, no
//! datagrams, no one-way streams, and each table that a stranger can fill has a bound.

use std::fmt;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use bytesize::ByteSize;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    AsyncUdpSocket, ClientConfig, Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TimeSource,
    TokioRuntime, TransportConfig, VarInt,
};
use quinn_proto::HashedConnectionIdGenerator;
use ring::{hkdf, hmac};
use tokio::time::Instant;

use super::tls::{Tls, derive};
use super::{Config, Error, Parts};
use crate::time::{Moment, on_own_clock};

/// Where datagrams come from and go to.
pub enum Socket {
    /// A bound socket of this machine.
    Real(UdpSocket),
    /// A simulated one, such as [`MemoryNetwork::socket`](super::MemoryNetwork::socket) gives.
    Simulated(Arc<dyn AsyncUdpSocket>),
}

impl Socket {
    /// Binds a real socket.
    ///
    /// # Errors
    /// [`Error::Fatal`] when the address is taken or not one of this machine.
    pub fn bind(address: SocketAddr) -> Result<Self, Error> {
        UdpSocket::bind(address)
            .map(Self::Real)
            .map_err(|e| Error::fatal_io(format!("cannot listen on udp {address}"), e))
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Real(socket) => f.debug_tuple("Real").field(socket).finish(),
            Self::Simulated(socket) => f.debug_tuple("Simulated").field(socket).finish(),
        }
    }
}

/// Builds the endpoint. `advertised` is computed from the socket's address.
pub(super) fn build(
    config: &Config,
    tls: Tls,
    parts: Parts,
    advertise: Option<SocketAddr>,
) -> Result<(Endpoint, SocketAddr), Error> {
    let local = match &parts.socket {
        Socket::Real(socket) => socket.local_addr(),
        Socket::Simulated(socket) => socket.local_addr(),
    };
    let local = local.map_err(|e| Error::fatal_io("the cluster socket has no address", e))?;
    let advertised = advertise.unwrap_or(local);
    if advertised.ip().is_unspecified() || advertised.port() == 0 {
        return Err(Error::fatal(format!(
            "others cannot reach {advertised}: set the address to advertise"
        )));
    }
    let keys = Keys::derive(&tls.material, advertised, &parts.rng_seed);
    let mut endpoint_config = EndpointConfig::new(Arc::new(keys.reset));
    let ids = keys.connection_ids;
    endpoint_config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
    endpoint_config.rng_seed(Some(keys.rng_seed));
    let transport = Arc::new(transport_config(config)?);
    let server = server_config(config, tls.server, keys.tokens, Arc::clone(&transport))?;
    let runtime = Arc::new(TokioRuntime);
    let endpoint = match parts.socket {
        Socket::Real(socket) => {
            size_buffers(&socket, config.socket_buffer);
            Endpoint::new(endpoint_config, Some(server), socket, runtime)
        }
        Socket::Simulated(socket) => {
            Endpoint::new_with_abstract_socket(endpoint_config, Some(server), socket, runtime)
        }
    };
    let mut endpoint =
        endpoint.map_err(|e| Error::fatal_io(format!("cannot use the socket {local}"), e))?;
    endpoint.set_default_client_config(client_config(tls.client, transport)?);
    Ok((endpoint, advertised))
}

/// The keys that are not TLS's.
struct Keys {
    /// Signs stateless resets. Depends on the address and not on the start, so that the peers of the process which was
    /// at this address before are told at once that it is gone.
    reset: hmac::Key,
    /// Marks connection ids as ours, so that junk is dropped unanswered.
    connection_ids: u64,
    tokens: hkdf::Prk,
    rng_seed: [u8; 32],
}

impl Keys {
    fn derive(material: &[u8], advertised: SocketAddr, rng_seed: &[u8; 32]) -> Self {
        let place = advertised.to_string();
        let reset = derive(material, "quorate reset v1", place.as_bytes());
        let ids = derive(material, "quorate connection ids v1", place.as_bytes());
        let [a, b, c, d, e, f, g, h, ..] = ids;
        let tokens = derive(rng_seed, "quorate tokens v1", material);
        Self {
            reset: hmac::Key::new(hmac::HMAC_SHA256, &reset),
            connection_ids: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            tokens: hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&tokens),
            rng_seed: derive(rng_seed, "quorate endpoint v1", b""),
        }
    }
}

fn window(key: &str, size: ByteSize) -> Result<VarInt, Error> {
    let most = VarInt::MAX.into_inner();
    VarInt::from_u64(size.as_u64())
        .map_err(|_| Error::fatal(format!("{key} of {} bytes exceeds {most}", size.as_u64())))
}

fn transport_config(config: &Config) -> Result<TransportConfig, Error> {
    let idle = IdleTimeout::try_from(config.idle_timeout)
        .map_err(|e| Error::fatal(format!("idle_timeout of {:?}: {e}", config.idle_timeout)))?;
    let buffer = usize::try_from(config.datagram_buffer.as_u64()).unwrap_or(usize::MAX);
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(config.keep_alive))
        .max_concurrent_bidi_streams(VarInt::from_u32(config.streams_max))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(window("stream_window", config.stream_window)?)
        .receive_window(window("connection_window", config.connection_window)?)
        .send_window(config.send_window.as_u64())
        .datagram_receive_buffer_size(Some(buffer))
        .datagram_send_buffer_size(buffer);
    Ok(transport)
}

/// The time of tokens for address validation (RFC 9000, section 8.1). None outlives the process that gave it, so the time
/// since its start will do, which nobody sets.
struct SinceStart(Instant);

impl TimeSource for SinceStart {
    fn now(&self) -> Moment {
        on_own_clock(self.0.elapsed())
    }
}

fn server_config(
    config: &Config,
    tls: rustls::ServerConfig,
    tokens: hkdf::Prk,
    transport: Arc<TransportConfig>,
) -> Result<ServerConfig, Error> {
    let crypto = QuicServerConfig::try_from(tls)
        .map_err(|e| Error::fatal(format!("unusable cipher suites: {e}")))?;
    let mut server = ServerConfig::new(Arc::new(crypto), Arc::new(tokens));
    let mut validation = quinn::ValidationTokenConfig::default();
    validation.sent(0);
    server
        .transport_config(transport)
        .validation_token_config(validation)
        .time_source(Arc::new(SinceStart(Instant::now())))
        .migration(false)
        .max_incoming(config.handshakes_max.saturating_mul(4).max(16))
        .incoming_buffer_size(64 * 1024)
        .incoming_buffer_size_total(16 * 1024 * 1024);
    Ok(server)
}

fn client_config(
    tls: rustls::ClientConfig,
    transport: Arc<TransportConfig>,
) -> Result<ClientConfig, Error> {
    let crypto = QuicClientConfig::try_from(tls)
        .map_err(|e| Error::fatal(format!("unusable cipher suites: {e}")))?;
    let mut client = ClientConfig::new(Arc::new(crypto));
    client.transport_config(transport);
    client.token_store(Arc::new(quinn::NoneTokenStore));
    Ok(client)
}

/// Asks for larger socket buffers, and says so when the kernel gives less.
fn size_buffers(socket: &UdpSocket, wanted: ByteSize) {
    let size = usize::try_from(wanted.as_u64()).unwrap_or(usize::MAX);
    let reference = socket2::SockRef::from(socket);
    let asked =
        reference.set_recv_buffer_size(size).and_then(|()| reference.set_send_buffer_size(size));
    let given =
        reference.recv_buffer_size().unwrap_or(0).min(reference.send_buffer_size().unwrap_or(0));
    if asked.is_err() || given < size {
        tracing::warn!(
            wanted = size,
            given,
            "the kernel limits the socket buffers of the cluster port; bursts may lose packets"
        );
    }
}
