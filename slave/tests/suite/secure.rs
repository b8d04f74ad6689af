//! A slave and a master of another host: TLS, with certificates of the fleet.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use baton_protocol::tls::{self, CA_FILE, CERTIFICATE_FILE, Identity, KEY_FILE};
use baton_slave::{Address, SlaveConfig};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tempfile::TempDir;
use tokio::{net::TcpListener, time::timeout};

use crate::common::{FakeMaster, LONG, Recorder, config, discord, run, traffic, until};

/// An authority, and folders for what it issues.
struct Certs {
    dir: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Certs {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self {
            dir: tempfile::tempdir().unwrap(),
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap(),
        }
    }

    fn issue(&self, name: &str) -> PathBuf {
        self.issue_until(name, 2090)
    }

    fn issue_until(&self, name: &str, year: i32) -> PathBuf {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(name.try_into().unwrap())];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        let dir = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        for (file, text) in [
            (CA_FILE, self.issuer.pem()),
            (CERTIFICATE_FILE, signed.pem()),
            (KEY_FILE, key.serialize_pem()),
        ] {
            let path = dir.join(file);
            std::fs::write(&path, text).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&path, mode).unwrap();
        }
        dir
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_dials_a_master_by_tls_serves_and_comes_back() {
    let certs = Certs::new();
    let discord = discord(|_| {}).await;
    let mut master = FakeMaster::new(1).await;
    let identity = Identity::read(&certs.issue("baton://ours/master/home")).unwrap();
    master.tls = Some(identity.server().unwrap());
    let folder = certs.issue("baton://ours/slave/eu-1");
    let settings = config(&master, &discord).with_tls_dir(folder.clone());
    let slave = run(settings, Recorder::default());
    let mut peer = master.accept().await;
    peer.start(&[0], 1, 1).await;
    traffic(&discord, 500.0);
    let told = || slave.bot.told().len();
    until("events", || told() > 20).await;
    // Its certificate is read again each time: what is wrong with it holds up a dial alone.
    let certificate = std::fs::read(folder.join(CERTIFICATE_FILE)).unwrap();
    std::fs::write(folder.join(CERTIFICATE_FILE), "").unwrap();
    drop(peer);
    let before = told();
    until("it serves on", || told() > before + 20).await;
    assert!(!slave.monitor.status().await.unwrap().linked);
    std::fs::write(folder.join(CERTIFICATE_FILE), certificate).unwrap();
    assert!(master.accept().await.running);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_no_master_of_the_fleet_is_not_said_hello_to() {
    let (ours, theirs) = (Certs::new(), Certs::new());
    let masters = [
        ("a good one", ours.issue("baton://ours/master/home")),
        ("another role", ours.issue("baton://ours/agent/home")),
        ("a slave", ours.issue("baton://ours/slave/home")),
        ("another fleet", ours.issue("baton://theirs/master/home")),
        ("no name", ours.issue("https://ours/master/home")),
        (
            "expired",
            ours.issue_until("baton://ours/master/home", 2021),
        ),
        (
            "another authority",
            theirs.issue("baton://ours/master/home"),
        ),
    ];
    let discord = discord(|_| {}).await;
    for (what, folder) in masters {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("tls://{}", listener.local_addr().unwrap());
        let master = FakeMaster::new(1).await;
        let settings = config(&master, &discord)
            .with_master(address.parse().unwrap())
            .with_tls_dir(ours.issue("baton://ours/slave/eu-1"));
        let slave = run(settings, Recorder::default());
        let shows = shows(&folder);
        for _ in 0..2 {
            let (socket, _) = timeout(LONG, listener.accept()).await.unwrap().unwrap();
            let (error, _) = tls::accept(shows.clone(), socket).await.unwrap_err();
            let refused = matches!(tls::refusal(&error), Some(rustls::Error::AlertReceived(_)));
            assert_eq!(refused, what != "a good one", "{what}: {error}");
        }
        assert!(!slave.monitor.status().await.unwrap().linked, "{what}");
    }
}

/// A server that shows this certificate and asks for none.
fn shows(folder: &Path) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(folder.join(CERTIFICATE_FILE)).unwrap();
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            chain.collect::<Result<_, _>>().unwrap(),
            PrivateKeyDer::from_pem_file(folder.join(KEY_FILE)).unwrap(),
        );
    Arc::new(config.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn masters_are_dialled_in_turn_until_one_accepts() {
    let discord = discord(|_| {}).await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let master = FakeMaster::new(1).await;
    let mut settings = config(&master, &discord);
    let there = settings.masters[0].clone();
    settings.masters = Address::list(&format!("{gone},unix:/nonexistent,{there}")).unwrap();
    let slave = run(settings, Recorder::default());
    let _peer = master.accept().await;
    assert!(slave.monitor.status().await.is_some());
}

#[test]
fn what_would_leave_the_host_in_clear_or_cannot_be_proved_is_no_configuration() {
    let secret = baton_protocol::auth::Secret::random().unwrap();
    let checked = |masters: &str, dir: Option<&str>| {
        let mut settings = SlaveConfig::new("token")
            .with_masters(Address::list(masters).unwrap())
            .with_secret(baton_slave::SecretSource::Given(secret.clone()));
        settings.tls_dir = dir.map(Into::into);
        settings.check().map_err(|error| error.to_string())
    };
    for (masters, says) in [
        ("10.0.0.5:7447", "is not on this host"),
        ("master.example:7447", "tls://HOST:PORT"),
        (
            "unix:/run/x,10.0.0.5:7447",
            "10.0.0.5:7447 is not on this host",
        ),
        ("tls://10.0.0.5:7447", "BATON_TLS_DIR"),
    ] {
        let error = checked(masters, None).unwrap_err();
        assert!(error.contains(says), "{masters}: {error}");
    }
    assert_eq!(
        checked("tls://a:1,tls://b:1", Some("/etc/baton/tls")),
        Ok(())
    );
    assert_eq!(checked("unix:/run/x,localhost:7447", None), Ok(()));
}
