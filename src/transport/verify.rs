//! Judges the certificate that a peer shows, as dialler and as dialled, and says in plain words what is wrong with it.
//!
//! Owns the wrapping of rustls's own judgement. Does not add leniency: every certificate it accepts, rustls has accepted.
//! Invariant: a peer's certificate is valid for the cluster's name on both sides of a connection.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, RootCertStore,
    SignatureScheme,
};

use super::Error;

/// Judges peers of one cluster.
#[derive(Debug)]
pub(super) struct PeerVerifier {
    dialled: Arc<WebPkiServerVerifier>,
    diallers: Arc<dyn ClientCertVerifier>,
    name: ServerName<'static>,
}

/// What is wrong with a certificate, for an operator.
#[derive(Debug)]
struct Verdict(String);

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Verdict {}

impl PeerVerifier {
    pub(super) fn new(
        roots: Arc<RootCertStore>,
        provider: &Arc<CryptoProvider>,
        name: ServerName<'static>,
    ) -> Result<Self, Error> {
        let dialled =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider));
        let diallers = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
        let wrong = |e| Error::fatal(format!("unusable authorities: {e}"));
        Ok(Self {
            dialled: dialled.build().map_err(wrong)?,
            diallers: diallers.build().map_err(wrong)?,
            name,
        })
    }

    /// Says why a certificate was refused: another cluster, another secret, or what rustls said.
    fn explained(&self, certificate: &CertificateDer<'_>, error: rustls::Error) -> rustls::Error {
        let verdict = match (&error, self.check_name(certificate)) {
            (_, Err(presented)) => format!(
                "a peer of another cluster: its certificate is for {presented}, not for '{}'",
                self.name.to_str()
            ),
            (
                rustls::Error::InvalidCertificate(
                    CertificateError::BadSignature | CertificateError::UnknownIssuer,
                ),
                Ok(()),
            ) => format!(
                "a peer with another secret: its certificate for '{}' is signed by a different one",
                self.name.to_str()
            ),
            (_, Ok(())) => return error,
        };
        CertificateError::Other(OtherError(Arc::new(Verdict(verdict)))).into()
    }

    /// Checks that the certificate is for this cluster; the error is the names that it is for.
    fn check_name(&self, certificate: &CertificateDer<'_>) -> Result<(), String> {
        let unreadable = || "no readable name".to_owned();
        let parsed = ParsedCertificate::try_from(certificate).map_err(|_| unreadable())?;
        let Err(error) = rustls::client::verify_server_name(&parsed, &self.name) else {
            return Ok(());
        };
        let rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
            presented,
            ..
        }) = error
        else {
            return Err(unreadable());
        };
        Err(presented.first().map_or_else(unreadable, |name| format!("{name:?}")))
    }
}

/// Leaves the signatures to the verifier in that field; both traits ask for the same three methods.
macro_rules! signatures_by {
    ($inner:ident) => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            self.$inner.verify_tls12_signature(message, cert, dss)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            self.$inner.verify_tls13_signature(message, cert, dss)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.$inner.supported_verify_schemes()
        }
    };
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.dialled
            .verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
            .map_err(|e| self.explained(end_entity, e))
    }

    signatures_by!(dialled);
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Hints would tell a stranger the cluster's name; members need none.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self
            .diallers
            .verify_client_cert(end_entity, intermediates, now)
            .map_err(|e| self.explained(end_entity, e))?;
        match self.check_name(end_entity) {
            Ok(()) => Ok(verified),
            Err(_) => Err(self.explained(end_entity, CertificateError::NotValidForName.into())),
        }
    }

    signatures_by!(diallers);
}
