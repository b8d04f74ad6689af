//! What `wss` is served with.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{ServerConfig, crypto::ring};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};

use crate::error::Error;

/// A server's side of TLS, with the certificate and the key in these PEM files. The first
/// certificate is the server's, those behind it lead to the authority that clients know.
///
/// The files are read once: a certificate that was renewed is taken up by the next process.
///
/// # Errors
/// [`Error::Pem`] says which file, and what is wrong with it.
pub fn tls(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, Error> {
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| wrong(certificate, &error, "certificate"))?;
    if chain.is_empty() {
        return Err(wrong(certificate, &pem::Error::NoItemsFound, "certificate"));
    }
    let private = PrivateKeyDer::from_pem_file(key);
    let private = private.map_err(|error| wrong(key, &error, "private key"))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            let builder = builder.with_no_client_auth();
            builder.with_single_cert(chain, private)
        });
    let mut config = config.map_err(|error| {
        if matches!(error, rustls::Error::InconsistentKeys(_)) {
            let certificate = certificate.display();
            let wrong = format!("it is not the key of the certificate in {certificate}");
            return pem_error(key, wrong);
        }
        pem_error(certificate, error)
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn wrong(file: &Path, error: &pem::Error, what: &str) -> Error {
    if matches!(error, pem::Error::NoItemsFound) {
        return pem_error(file, format!("there is no {what} in it, as PEM"));
    }
    if let pem::Error::Io(error) = error {
        return pem_error(file, format!("it cannot be read: {error}"));
    }
    pem_error(file, error)
}

fn pem_error(file: &Path, wrong: impl Display) -> Error {
    Error::Pem {
        file: PathBuf::from(file),
        wrong: wrong.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_certificate_and_its_key_are_taken_and_anything_else_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let write = |name: &str, text: &str| {
            fs::write(path(name), text).unwrap();
            path(name)
        };
        let names = || vec!["localhost".to_owned()];
        let one = rcgen::generate_simple_self_signed(names()).unwrap();
        let other = rcgen::generate_simple_self_signed(names()).unwrap();
        let certificate = write("cert.pem", &one.cert.pem());
        let key = write("key.pem", &one.signing_key.serialize_pem());
        assert!(tls(&certificate, &key).is_ok());

        let refused = |certificate: &Path, key: &Path| {
            let error = tls(certificate, key).unwrap_err().to_string();
            error.replace(&format!("{}/", dir.path().display()), "")
        };
        let stranger = write("other.pem", &other.signing_key.serialize_pem());
        let said = refused(&certificate, &stranger);
        assert_eq!(
            said,
            "other.pem: it is not the key of the certificate in cert.pem"
        );
        let said = refused(&key, &certificate);
        assert_eq!(said, "key.pem: there is no certificate in it, as PEM");
        let said = refused(&certificate, &certificate);
        assert_eq!(said, "cert.pem: there is no private key in it, as PEM");
        let said = refused(&path("none.pem"), &key);
        assert!(
            said.starts_with("none.pem: it cannot be read: No such file"),
            "{said}"
        );
        let empty = write("empty.pem", "");
        let said = refused(&empty, &key);
        assert_eq!(said, "empty.pem: there is no certificate in it, as PEM");
        let garbage = "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n";
        let said = refused(&write("garbage.pem", garbage), &key);
        assert!(said.starts_with("garbage.pem: "), "{said}");
    }
}
