//! A process's own certificate, and whom it believes.

use std::{
    fmt, fs,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::NoServerSessionStorage,
    version::TLS13,
};

use super::{
    CA_FILE, CERTIFICATE_FILE, KEY_FILE, TlsError,
    verify::{Masters, Members, Shows},
};
use crate::peer::CertificateName;

/// A file that is longer holds no certificate of a fleet.
const MAX_FILE: u64 = 64 * 1024;

/// A certificate with its key, and the authorities of its fleet. The key is never shown.
#[derive(Clone)]
pub struct Identity {
    name: CertificateName,
    chain: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
    authorities: Arc<RootCertStore>,
}

impl Identity {
    /// Reads the three files of a folder: [`CA_FILE`], [`CERTIFICATE_FILE`], [`KEY_FILE`].
    /// Blocks on the disk.
    ///
    /// # Errors
    /// [`TlsError`]: a file cannot be read, others may read the key, or they do not belong
    /// together.
    pub fn read(dir: &Path) -> Result<Self, TlsError> {
        let wrong = |file: &str, reason: String| TlsError::File {
            path: dir.join(file),
            reason,
        };
        let authorities = some_certificates(dir, CA_FILE)?;
        let chain = some_certificates(dir, CERTIFICATE_FILE)?;
        let key = read(dir, KEY_FILE)?;
        let mode = fs::metadata(dir.join(KEY_FILE)).map(|of| of.permissions().mode());
        if let Ok(mode) = mode
            && mode & 0o007 != 0
        {
            let mode = mode & 0o777;
            return Err(wrong(
                KEY_FILE,
                format!("other users may use this key (mode {mode:03o}): chmod 600 it"),
            ));
        }
        let key = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|_| wrong(KEY_FILE, "there is no private key in it".to_owned()))?;
        let mut store = RootCertStore::empty();
        for authority in authorities {
            store
                .add(authority)
                .map_err(|error| wrong(CA_FILE, error.to_string()))?;
        }
        let leaf = &chain[0];
        let name = name_in(leaf).map_err(|reason| wrong(CERTIFICATE_FILE, reason))?;
        let identity = Self {
            name,
            chain,
            key: Arc::new(key),
            authorities: Arc::new(store),
        };
        // It compares the key with the certificate.
        if let Err(error) = identity.server() {
            if matches!(error, TlsError::Refused(rustls::Error::InconsistentKeys(_))) {
                let reason = format!("it is not the key of {CERTIFICATE_FILE}: copy both again");
                return Err(wrong(KEY_FILE, reason));
            }
            return Err(error);
        }
        Ok(identity)
    }

    /// Who this process is.
    #[must_use]
    pub const fn name(&self) -> &CertificateName {
        &self.name
    }

    /// The certificate itself.
    #[must_use]
    pub fn leaf(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }

    /// For the side that is dialled: every peer has a certificate of this fleet. A session is
    /// never continued: each connection proves itself anew, so that none outlives what its
    /// certificate allows by more than itself.
    ///
    /// # Errors
    /// The library refuses the certificate or the key.
    pub fn server(&self) -> Result<Arc<ServerConfig>, TlsError> {
        self.dialled(Shows::Always)
    }

    /// The same for operators, who speak HTTP: a certificate that is shown is one of this
    /// fleet, and none has to be.
    ///
    /// # Errors
    /// As [`server`](Self::server).
    pub fn server_for_operators(&self) -> Result<Arc<ServerConfig>, TlsError> {
        self.dialled(Shows::IfItHasOne)
    }

    fn dialled(&self, shows: Shows) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = provider();
        let members = Members::new(
            Arc::clone(&self.authorities),
            &provider,
            self.name.fleet.clone(),
            shows,
        );
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(TlsError::Refused)?
            .with_client_cert_verifier(Arc::new(members?))
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(TlsError::Refused)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// For the side that dials: the other one is a master of this fleet.
    ///
    /// # Errors
    /// The library refuses the certificate or the key.
    pub fn client(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let provider = provider();
        let masters = Masters::new(
            Arc::clone(&self.authorities),
            &provider,
            self.name.fleet.clone(),
        );
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(TlsError::Refused)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(masters))
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())
            .map_err(TlsError::Refused)?;
        // The name of a host says nothing here, and would be sent in clear.
        config.enable_sni = false;
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Arc::new(config))
    }
}

/// Two are the same if their certificates are, and whom they believe: a certificate has one
/// key.
impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.chain == other.chain && self.authorities.roots == other.authorities.roots
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The name of a fleet in a certificate.
///
/// # Errors
/// It is no certificate, or has no such name, or several.
pub fn name_in(certificate: &CertificateDer<'_>) -> Result<CertificateName, String> {
    let certificate = webpki::EndEntityCert::try_from(certificate)
        .map_err(|error| format!("it is no certificate: {error}"))?;
    CertificateName::among(certificate.valid_uri_names())
}

fn some_certificates(dir: &Path, file: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(dir, file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let reason = match found {
        Ok(found) if !found.is_empty() => return Ok(found),
        Ok(_) => "there is no certificate in it".to_owned(),
        Err(error) => error.to_string(),
    };
    let path = dir.join(file);
    Err(TlsError::File { path, reason })
}

fn read(dir: &Path, file: &str) -> Result<Vec<u8>, TlsError> {
    let path = dir.join(file);
    let mut text = Vec::new();
    let reading =
        fs::File::open(&path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut text));
    let reason = match reading {
        Ok(length) if length as u64 <= MAX_FILE => return Ok(text),
        Ok(_) => format!("it is longer than {MAX_FILE} bytes"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            "it does not exist: issue a certificate for this host with baton-master certs issue, \
             and copy its folder here"
                .to_owned()
        }
        Err(error) => error.to_string(),
    };
    Err(TlsError::File { path, reason })
}
