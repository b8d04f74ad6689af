//! Whether a peer's certificate is one of our fleet, for a role that belongs there.

use std::{fmt, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use super::{TlsError, identity::name_in};
use crate::{
    host_name::HostName,
    peer::{CertificateName, PeerRole},
};

/// A certificate that is well signed, and does not belong here.
#[derive(Debug)]
struct Misplaced(String);

impl fmt::Display for Misplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misplaced {}

fn misplaced(reason: String) -> Error {
    CertificateError::Other(OtherError(Arc::new(Misplaced(reason)))).into()
}

/// The name in a certificate, if it is one of this fleet.
fn name_of(fleet: &HostName, certificate: &CertificateDer<'_>) -> Result<CertificateName, Error> {
    let name = name_in(certificate).map_err(misplaced)?;
    if name.fleet == *fleet {
        return Ok(name);
    }
    Err(misplaced(format!(
        "the certificate {name} is of another fleet than {fleet}"
    )))
}

/// TLS 1.2 is never spoken.
fn never() -> Error {
    Error::General("TLS 1.2 is not spoken here".to_owned())
}

/// For a master: whoever dials is of the fleet. What its role may say is judged by what it
/// says.
#[derive(Debug)]
pub(super) struct Members {
    chain: Arc<dyn ClientCertVerifier>,
    fleet: HostName,
    shows: Shows,
}

/// Whether who dials has to show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shows {
    /// It has to.
    Always,
    /// It may: a browser or a probe has none, and proves itself otherwise, or sees little.
    IfItHasOne,
}

impl Members {
    pub(super) fn new(
        authorities: Arc<RootCertStore>,
        provider: &Arc<CryptoProvider>,
        fleet: HostName,
        shows: Shows,
    ) -> Result<Self, TlsError> {
        let provider = Arc::clone(provider);
        let chain = WebPkiClientVerifier::builder_with_provider(authorities, provider).build();
        let chain = chain.map_err(|error| TlsError::Refused(Error::General(error.to_string())))?;
        Ok(Self {
            chain,
            fleet,
            shows,
        })
    }
}

impl ClientCertVerifier for Members {
    fn client_auth_mandatory(&self) -> bool {
        self.shows == Shows::Always
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        match self.shows {
            // A peer has one certificate: there is nothing to choose, and nothing to tell.
            Shows::Always => &[],
            // A browser asks its user only where it has one of these.
            Shows::IfItHasOne => self.chain.root_hint_subjects(),
        }
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .chain
            .verify_client_cert(end_entity, intermediates, now)?;
        name_of(&self.fleet, end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(never())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// For who dials: the other side is a master of the fleet, at whatever address.
#[derive(Debug)]
pub(super) struct Masters {
    authorities: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
    fleet: HostName,
}

impl Masters {
    pub(super) fn new(
        authorities: Arc<RootCertStore>,
        provider: &Arc<CryptoProvider>,
        fleet: HostName,
    ) -> Self {
        Self {
            authorities,
            algorithms: provider.signature_verification_algorithms,
            fleet,
        }
    }
}

impl ServerCertVerifier for Masters {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.authorities,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        let name = name_of(&self.fleet, end_entity)?;
        match name.peer.role {
            PeerRole::Master => Ok(ServerCertVerified::assertion()),
            PeerRole::Agent | PeerRole::Slave | PeerRole::Operator => {
                Err(misplaced(format!("{name} is no master's certificate")))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(never())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
