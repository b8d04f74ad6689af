//! The certificate of `wss://`.

use std::{path::PathBuf, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use rustls::{ServerConfig, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use tokio_rustls::TlsAcceptor;

use crate::error::Error;

/// Where the certificate of `wss://` comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// `ws://` and `http://`.
    Off,
    /// A new certificate authority for `localhost`, `127.0.0.1` and `::1`,
    /// made at the start. [`crate::Discord::ca_pem`] is what a client must trust.
    SelfSigned,
    /// PEM files.
    Files {
        /// The certificate chain, leaf first.
        cert: PathBuf,
        /// The private key.
        key: PathBuf,
    },
}

/// What the listener needs, and the PEM of the authority if one was made.
pub(crate) struct TlsSetup {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) ca_pem: Option<String>,
}

/// `None` when TLS is off.
pub(crate) fn setup(tls: &Tls) -> Result<Option<TlsSetup>, Error> {
    match tls {
        Tls::Off => Ok(None),
        Tls::SelfSigned => {
            let (chain, key, ca_pem) =
                self_signed().map_err(|error| Error::Tls(error.to_string()))?;
            acceptor(chain, key).map(|acceptor| {
                Some(TlsSetup {
                    acceptor,
                    ca_pem: Some(ca_pem),
                })
            })
        }
        Tls::Files { cert, key } => {
            let unreadable = |path: &std::path::Path, error: &dyn std::fmt::Display| {
                Error::Tls(format!("{}: {error}", path.display()))
            };
            let chain = CertificateDer::pem_file_iter(cert)
                .and_then(Iterator::collect)
                .map_err(|error| unreadable(cert, &error))?;
            let key_der =
                PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
            let acceptor = acceptor(chain, key_der)?;
            Ok(Some(TlsSetup {
                acceptor,
                ca_pem: None,
            }))
        }
    }
}

fn acceptor(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<TlsAcceptor, Error> {
    let tls = |error: rustls::Error| Error::Tls(error.to_string());
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(tls)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(tls)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

type SelfSigned = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, String);

fn self_signed() -> Result<SelfSigned, rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    authority
        .distinguished_name
        .push(rcgen::DnType::CommonName, "baton-discord test authority");
    let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

    let key = KeyPair::generate()?;
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut leaf = CertificateParams::new(names)?;
    leaf.use_authority_key_identifier_extension = true;
    let leaf = leaf.signed_by(&key, &issuer)?;
    let key_der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok((vec![leaf.der().clone()], key_der, issuer.pem()))
}
