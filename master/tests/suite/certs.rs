//! The certificates of fleets, good ones and wrong ones, and the command that makes them.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Output,
    sync::Arc,
    time::Duration,
};

use baton_master::certs::{Authority, CA_KEY_FILE, Facts, Life};
use baton_protocol::tls::{CA_FILE, CERTIFICATE_FILE, Identity, KEY_FILE};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType, date_time_ymd};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme, SupportedProtocolVersion,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use tempfile::TempDir;

/// An authority, and a folder for what it issues.
pub(crate) struct Certs {
    dir: TempDir,
    authority: Authority,
    key: String,
}

impl Certs {
    pub(crate) fn of(fleet: &str) -> Self {
        let life = Life::of_days(100).unwrap();
        let (authority, key) = Authority::make(&fleet.parse().unwrap(), life).unwrap();
        let dir = tempfile::tempdir().unwrap();
        Self {
            dir,
            authority,
            key,
        }
    }

    /// The folder of a certificate of this name.
    pub(crate) fn issue(&self, name: &str) -> PathBuf {
        self.issue_for(name, 60)
    }

    /// The same for so many days.
    pub(crate) fn issue_for(&self, name: &str, days: u32) -> PathBuf {
        let life = Life::of_days(days).unwrap();
        let (issued, key) = self
            .authority
            .issue(&name.parse().unwrap(), &[], life)
            .unwrap();
        self.folder(&issued.certificate, &key)
    }

    /// A certificate that our own commands would not issue: of any name, from year to year.
    pub(crate) fn issue_wrong(&self, name: &str, years: (i32, i32)) -> PathBuf {
        let key = KeyPair::from_pem(&self.key).unwrap();
        let issuer = Issuer::from_ca_cert_pem(self.authority.pem(), key).unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(name.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &issuer).unwrap();
        self.folder(&signed.pem(), &key.serialize_pem())
    }

    fn folder(&self, certificate: &str, key: &str) -> PathBuf {
        let dir = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        for (file, text) in [
            (CA_FILE, self.authority.pem()),
            (CERTIFICATE_FILE, certificate),
            (KEY_FILE, key),
        ] {
            std::fs::write(dir.join(file), text).unwrap();
        }
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(dir.join(KEY_FILE), mode).unwrap();
        dir
    }
}

/// Of a client that believes every master, with the certificate in this folder.
pub(crate) fn as_anybody(
    folder: &Path,
    version: &'static SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let chain = CertificateDer::pem_file_iter(folder.join(CERTIFICATE_FILE)).unwrap();
    let chain = chain.collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join(KEY_FILE)).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_client_auth_cert(chain, key);
    Arc::new(config.unwrap())
}

/// The same without a certificate.
pub(crate) fn without_certificate() -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    Arc::new(config)
}

/// Believes every master.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// What the command says.
fn certs(arguments: &[&str]) -> Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_baton-master"))
        .arg("certs")
        .args(arguments)
        .output()
        .unwrap()
}

fn done(arguments: &[&str]) -> String {
    let output = certs(arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {err}");
    out
}

fn refused(arguments: &[&str]) -> String {
    let output = certs(arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    text(&output.stderr)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn an_authority_issues_certificates_and_renews_them_without_their_keys() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (ca, out) = (at("ca"), at("eu-1"));
    let said = done(&["init", "--ca", &ca, "--fleet", "my-bot"]);
    assert!(said.contains("the authority of fleet my-bot"), "{said}");
    let issue = [
        "issue", "--ca", &ca, "--role", "slave", "--host", "eu-1", "--out", &out,
    ];
    let said = done(&[&issue[..], &["--days", "10"]].concat());
    assert!(
        said.contains("baton://my-bot/slave/eu-1, valid until"),
        "{said}"
    );
    assert!(said.contains("BATON_TLS_DIR"), "{said}");
    for key in [
        Path::new(&ca).join(CA_KEY_FILE),
        Path::new(&out).join(KEY_FILE),
    ] {
        assert_eq!(mode(&key), 0o600, "{}", key.display());
    }
    assert!(!Path::new(&out).join(CA_KEY_FILE).exists());

    let shown = done(&["show", &out]);
    assert!(
        shown.contains("cert.pem: baton://my-bot/slave/eu-1, valid until"),
        "{shown}"
    );
    assert!(
        shown.contains("ca.pem: authority: CN=Baton fleet my-bot"),
        "{shown}"
    );
    assert!(
        shown.contains("(10 days)") || shown.contains("(9 days)"),
        "{shown}"
    );

    // Only the certificate goes to where the authority is.
    let before = Identity::read(Path::new(&out)).unwrap();
    let alone = at("alone.pem");
    std::fs::copy(Path::new(&out).join(CERTIFICATE_FILE), &alone).unwrap();
    let said = done(&["renew", "--ca", &ca, &alone, "--days", "300"]);
    assert!(said.contains("baton://my-bot/slave/eu-1"), "{said}");
    std::fs::copy(&alone, Path::new(&out).join(CERTIFICATE_FILE)).unwrap();
    let after = Identity::read(Path::new(&out)).unwrap();
    assert_eq!(before.name(), after.name());
    assert!(before != after);
    let left = |identity: &Identity| Facts::of(identity.leaf()).unwrap().validity.until;
    let days =
        Duration::from_secs((left(&after) - left(&before)).unsigned_abs()).as_secs() / 86_400;
    assert!((289..=291).contains(&days), "{days}");
}

#[test]
fn nothing_is_overwritten_unless_it_is_asked_for_and_no_key_of_an_authority_goes_to_a_host() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (ca, out) = (at("ca"), at("out"));
    let init = ["init", "--ca", &ca, "--fleet", "f"];
    let issue = |role: &str, out: &str| {
        [
            "issue", "--ca", &ca, "--role", role, "--host", "a", "--out", out,
        ]
        .map(str::to_owned)
        .to_vec()
    };
    let words = |of: &[String]| {
        of.iter()
            .map(String::as_str)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    done(&init);
    let first = std::fs::read(Path::new(&ca).join(CA_FILE)).unwrap();
    assert!(refused(&init).contains("is there already"));
    assert_eq!(std::fs::read(Path::new(&ca).join(CA_FILE)).unwrap(), first);

    let made = words(&issue("agent", &out));
    let made: Vec<_> = made.iter().map(String::as_str).collect();
    done(&made);
    let key = std::fs::read(Path::new(&out).join(KEY_FILE)).unwrap();
    let said = refused(&made);
    assert!(
        said.contains("is there already") && said.contains("--overwrite"),
        "{said}"
    );
    assert_eq!(std::fs::read(Path::new(&out).join(KEY_FILE)).unwrap(), key);
    done(&[&made[..], &["--overwrite"]].concat());
    assert_ne!(std::fs::read(Path::new(&out).join(KEY_FILE)).unwrap(), key);

    let into = issue("agent", &ca);
    let into: Vec<_> = into.iter().map(String::as_str).collect();
    let said = refused(&[&into[..], &["--overwrite"]].concat());
    assert!(said.contains("does not go to a host"), "{said}");

    for (wrong, says) in [
        (
            vec!["init", "--ca", &out, "--fleet", "My Bot"],
            "is no name",
        ),
        (
            vec![
                "issue", "--ca", &out, "--role", "slave", "--host", "a", "--out", "x",
            ],
            "ca.key",
        ),
        (
            vec![
                "issue", "--ca", &ca, "--role", "king", "--host", "a", "--out", "x",
            ],
            "is no role",
        ),
        (vec!["show", "/nonexistent"], "/nonexistent"),
        (vec!["renew", "--ca", &ca, "--days", "0", "x"], "1 to 36500"),
    ] {
        let said = refused(&wrong);
        assert!(said.contains(says), "{wrong:?}: {said}");
    }
}

#[test]
fn a_certificate_is_not_renewed_by_the_authority_of_another_fleet_nor_beyond_its_own() {
    let (ours, theirs) = (Certs::of("ours"), Certs::of("theirs"));
    let folder = theirs.issue("baton://theirs/slave/a");
    let facts = Facts::of_pem(&std::fs::read(folder.join(CERTIFICATE_FILE)).unwrap()).unwrap();
    let life = |days| Life::of_days(days).unwrap();
    let said = ours.authority.renew(&facts, life(1)).err().unwrap();
    assert!(said.contains("another fleet"), "{said}");
    assert!(theirs.authority.renew(&facts, life(100)).is_ok());
    let said = theirs.authority.renew(&facts, life(101)).err().unwrap();
    assert!(
        said.contains("the authority itself is valid until"),
        "{said}"
    );
}

#[test]
fn a_folder_whose_files_do_not_belong_together_is_refused_with_the_file() {
    let certs = Certs::of("f");
    let name = "baton://f/master/a";
    let wrong = |change: &dyn Fn(&Path)| {
        let folder = certs.issue(name);
        change(&folder);
        Identity::read(&folder).unwrap_err().to_string()
    };
    let other = certs.issue(name);
    let said = wrong(&|dir| drop(std::fs::copy(other.join(KEY_FILE), dir.join(KEY_FILE))));
    assert!(
        said.contains("key.pem: it is not the key of cert.pem"),
        "{said}"
    );
    let said = wrong(&|dir| {
        let open = std::fs::Permissions::from_mode(0o604);
        std::fs::set_permissions(dir.join(KEY_FILE), open).unwrap();
    });
    assert!(said.contains("chmod 600"), "{said}");
    let said = wrong(&|dir| std::fs::write(dir.join(KEY_FILE), "hush").unwrap());
    assert!(said.contains("key.pem: there is no private key"), "{said}");
    assert!(!said.contains("hush"));
    let said = wrong(&|dir| std::fs::remove_file(dir.join(CA_FILE)).unwrap());
    assert!(said.contains("ca.pem: it does not exist"), "{said}");
    let said = wrong(&|dir| std::fs::write(dir.join(CERTIFICATE_FILE), "").unwrap());
    assert!(said.contains("cert.pem: there is no certificate"), "{said}");
    let said =
        wrong(&|dir| std::fs::write(dir.join(CERTIFICATE_FILE), vec![b'x'; 70_000]).unwrap());
    assert!(said.contains("longer than 65536 bytes"), "{said}");
    let folder = certs.issue_wrong("https://example", (2020, 2090));
    let said = Identity::read(&folder).unwrap_err().to_string();
    assert!(said.contains("no name baton://FLEET/ROLE/HOST"), "{said}");
}
