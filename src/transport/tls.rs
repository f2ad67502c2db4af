//! Certificates from a secret, and the two TLS configurations made of them.
//!
//! ```text
//! secret ──HKDF-SHA256──► Ed25519 seed ──► authority certificate (equal on all nodes, never sent)
//!                                             │ signs
//! random seed of this start ──HKDF──► Ed25519 seed ──► certificate of this start
//! ```
//!
//! Owns `rustls`, `rcgen` and `ring`'s key derivation. Does not open sockets. Invariant: TLS 1.3 only, both sides prove
//! themselves, no tickets, no early data.

use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SerialNumber,
};
use ring::hkdf;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};

use super::verify::PeerVerifier;
use super::{Credentials, Error, Identity, Secret};
use crate::ids::{Label, NodeId};

/// What both sides must name in the handshake; versions are agreed on in the hello.
const ALPN: &[u8] = b"quorate";

/// Everything the endpoint needs to prove itself and to judge others.
pub(super) struct Tls {
    pub(super) server: rustls::ServerConfig,
    pub(super) client: rustls::ClientConfig,
    /// The name that every certificate of the cluster is valid for.
    pub(super) name: String,
    /// Key material that only members know and that outlives a restart.
    pub(super) material: Vec<u8>,
}

/// Derives 32 bytes for one use from key material.
pub(super) fn derive(material: &[u8], purpose: &str, context: &[u8]) -> [u8; 32] {
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, purpose.as_bytes()).extract(material);
    let mut bytes = [0; 32];
    extracted
        .expand(&[context], hkdf::HKDF_SHA256)
        .and_then(|output| output.fill(&mut bytes))
        .expect("32 bytes are what this derivation was asked for");
    bytes
}

/// Gives the name that every certificate of the cluster is valid for.
pub(super) fn cluster_name(cluster: &Label) -> String {
    format!("{cluster}.quorate.internal")
}

fn node_name(cluster: &Label, node: NodeId) -> String {
    format!("{node}.node.{cluster}.quorate.internal")
}

/// Makes both configurations.
pub(super) fn configure(
    credentials: &Credentials,
    own: &Identity,
    rng_seed: &[u8; 32],
) -> Result<Tls, Error> {
    let name = cluster_name(&own.cluster);
    let (roots, chain, key, material) = match credentials {
        Credentials::Secret { current, previous } => {
            let authority = Authority::derive(current, &own.cluster)?;
            let mut roots = vec![authority.certificate.clone()];
            if let Some(previous) = previous {
                roots.push(Authority::derive(previous, &own.cluster)?.certificate);
            }
            let (leaf, key) = authority.sign(own, &derive(rng_seed, "quorate leaf v1", b""))?;
            (roots, vec![leaf], key, current.as_bytes().to_vec())
        }
        Credentials::Pem { certificate, key, authorities } => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable(key, &e))?;
            let material = key.secret_der().to_vec();
            (certificates(authorities)?, certificates(certificate)?, key, material)
        }
    };
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root).map_err(|e| Error::fatal(format!("unusable authority: {e}")))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server_name = ServerName::try_from(name.clone())
        .map_err(|e| Error::fatal(format!("cluster name '{}': {e}", own.cluster)))?;
    let verifier = Arc::new(PeerVerifier::new(Arc::new(store), &provider, server_name)?);

    let wrong = |e: rustls::Error| Error::fatal(format!("unusable certificate or key: {e}"));
    let versions = &[&rustls::version::TLS13];
    let mut server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(wrong)?
        .with_client_cert_verifier(Arc::<PeerVerifier>::clone(&verifier))
        .with_single_cert(chain.clone(), key.clone_key())
        .map_err(wrong)?;
    server.alpn_protocols = vec![ALPN.to_vec()];
    server.send_tls13_tickets = 0;
    server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(wrong)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(chain, key)
        .map_err(wrong)?;
    client.alpn_protocols = vec![ALPN.to_vec()];
    client.resumption = rustls::client::Resumption::disabled();
    Ok(Tls { server, client, name, material })
}

fn unreadable(path: &Path, error: &dyn std::error::Error) -> Error {
    Error::fatal(format!("certificate file {}: {error}", path.display()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|e| unreadable(path, &e))?.collect();
    let found = found.map_err(|e| unreadable(path, &e))?;
    if found.is_empty() {
        return Err(Error::fatal(format!(
            "certificate file {}: no certificate in it",
            path.display()
        )));
    }
    Ok(found)
}

/// The authority that a secret stands for.
struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn derive(secret: &Secret, cluster: &Label) -> Result<Self, Error> {
        let seed = derive(secret.as_bytes(), "quorate authority v1", cluster.as_str().as_bytes());
        let key = key_pair(&seed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&format!("quorate {cluster}"));
        params.serial_number = Some(SerialNumber::from_slice(&[1]));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).map_err(unsigned)?.der().clone();
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    fn sign(
        &self,
        own: &Identity,
        seed: &[u8; 32],
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), Error> {
        let key = key_pair(seed)?;
        let names = vec![cluster_name(&own.cluster), node_name(&own.cluster, own.node)];
        let mut params = CertificateParams::new(names).map_err(unsigned)?;
        params.distinguished_name = named(&format!("node {}", own.node));
        params.serial_number =
            Some(SerialNumber::from_slice(&own.node.as_u64().saturating_add(2).to_be_bytes()));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = params.signed_by(&key, &self.issuer).map_err(unsigned)?.der().clone();
        Ok((leaf, PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
    }
}

fn unsigned(error: rcgen::Error) -> Error {
    Error::fatal(format!("cannot derive a certificate: {error}"))
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// Makes the Ed25519 key of a seed, by way of its PKCS#8 form (RFC 8410, section 7).
fn key_pair(seed: &[u8; 32]) -> Result<KeyPair, Error> {
    const PREFIX: [u8; 16] = [
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    let document = [&PREFIX[..], seed].concat();
    KeyPair::try_from(&PrivatePkcs8KeyDer::from(document)).map_err(unsigned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_derives_the_same_authority() {
        let cluster: Label = "game".parse().unwrap();
        let secret = Secret::generate([1; 32]);
        let one = Authority::derive(&secret, &cluster).unwrap().certificate;
        assert_eq!(one, Authority::derive(&secret, &cluster).unwrap().certificate);
        let other = Authority::derive(&secret, &"chess".parse().unwrap()).unwrap().certificate;
        assert_ne!(one, other);
        let other = Authority::derive(&Secret::generate([2; 32]), &cluster).unwrap().certificate;
        assert_ne!(one, other);
    }

    #[test]
    fn missing_certificate_files_are_named() {
        let own = Identity {
            cluster: "game".parse().unwrap(),
            node: NodeId::from_random(1),
            name: String::new(),
            advertise: None,
            settings: Vec::new(),
        };
        let credentials = Credentials::Pem {
            certificate: "nowhere/node.pem".into(),
            key: "nowhere/node.key".into(),
            authorities: "nowhere/ca.pem".into(),
        };
        let Err(error) = configure(&credentials, &own, &[0; 32]) else { panic!("must fail") };
        assert!(error.to_string().contains("nowhere/node.key"), "{error}");
    }
}
