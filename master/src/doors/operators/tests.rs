#![allow(clippy::unwrap_used)]

use std::{path::Path, sync::Arc};

use axum::{Router, routing::get};
use baton_protocol::{
    auth::Secret,
    tls::{CA_FILE, Identity},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    version::TLS13,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::TcpListener,
    sync::mpsc,
};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    admin::Guard,
    certs::{Held, testing::Issuer},
    doors::{
        Secure,
        http::{self, Door},
    },
};

fn context(held: Option<Held>) -> Arc<Context> {
    let (notices, _) = mpsc::channel(8);
    Arc::new(Context {
        secure: Secure::new(held.map(Arc::new)),
        ..Context::for_test(Secret::random().unwrap(), notices)
    })
}

fn master(issuer: &Issuer) -> Held {
    let dir = issuer.folder("baton://f/master/home");
    Held::read(dir.path()).unwrap()
}

/// A client that knows the authority, and nothing else of a fleet: a browser, a monitor.
fn browser(dir: &Path) -> Arc<ClientConfig> {
    let mut store = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(dir.join(CA_FILE)).unwrap();
    store.add(authority).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth();
    Arc::new(config)
}

/// Both ends of a connection.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dial = TcpStream::connect(listener.local_addr().unwrap());
    let (client, taken) = tokio::join!(dial, listener.accept());
    (client.unwrap(), taken.unwrap().0)
}

#[tokio::test]
async fn in_clear_another_host_is_told_to_speak_tls_and_this_one_is_heard() {
    let issuer = Issuer::new();
    for (held, from, heard) in [
        (Some(master(&issuer)), "127.0.0.1:7", Some(Asker::Here)),
        (Some(master(&issuer)), "[::1]:7", Some(Asker::Here)),
        (Some(master(&issuer)), "10.0.0.5:7", None),
        (None, "127.0.0.1:7", Some(Asker::Here)),
        // It only shows: the configuration saw to it.
        (None, "10.0.0.5:7", Some(Asker::InClear)),
    ] {
        let context = context(held);
        let (mut client, taken) = pair().await;
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        client.shutdown().await.unwrap();
        let opened = open(&context, taken, from.parse().unwrap()).await;
        let asker = opened.map(|opened| match opened {
            Opened::Clear(_, asker) | Opened::Tls(_, asker) => asker,
        });
        assert_eq!(asker, heard, "{from}");
        let untrusted = context.counters.read().untrusted;
        assert_eq!(untrusted, u64::from(heard.is_none()), "{from}");
        if heard.is_none() {
            let mut said = String::new();
            client.read_to_string(&mut said).await.unwrap();
            let (head, body) = said.split_once("\r\n\r\n").unwrap();
            assert!(body.contains("https://"), "{said}");
            let length = format!("Content-Length: {}\r\n", body.len());
            assert!(head.contains(&length), "{said}");
        }
    }
}

async fn asked(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    method: &str,
    path: &str,
) -> Option<u16> {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: home\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).ok()?;
    answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

#[tokio::test]
async fn by_tls_a_probe_is_answered_an_operator_may_everything_and_strangers_nothing() {
    let issuer = Issuer::new();
    let dir = issuer.folder("baton://f/operator/desk");
    let context = context(Some(master(&issuer)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/v1/abort", get(|| async { "" }).post(|| async { "done" }));
    let router = Guard::new(None, None).around(routes);
    let closing = CancellationToken::new();
    let door = Door::Tcp(listener, Arc::clone(&context));
    let serving = tokio::spawn(http::serve(door, http::places(), router, closing.clone()));

    let with = async |config: Arc<ClientConfig>, method: &str, path: &str| {
        let socket = TcpStream::connect(address).await.unwrap();
        // A name of the DNS, which the certificate of a master has for who knows no fleets.
        let name = ServerName::try_from("home").unwrap();
        let stream = TlsConnector::from(config).connect(name, socket).await;
        asked(stream.ok()?, method, path).await
    };
    let nobody = || browser(dir.path());
    assert_eq!(with(nobody(), "GET", "/healthz").await, Some(200));
    assert_eq!(with(nobody(), "GET", "/v1/abort").await, Some(401));
    assert_eq!(with(nobody(), "POST", "/v1/abort").await, Some(401));
    let of = |issuer: &Issuer, name: &str| {
        let dir = issuer.folder(name);
        Identity::read(dir.path()).unwrap().client().unwrap()
    };
    let operator = of(&issuer, "baton://f/operator/desk");
    assert_eq!(with(operator, "POST", "/v1/abort").await, Some(200));
    let slave = of(&issuer, "baton://f/slave/eu-1");
    assert_eq!(with(slave, "POST", "/v1/abort").await, Some(401));
    assert_eq!(context.counters.read().untrusted, 0);
    // Of another authority with the same names: told in the handshake, and counted.
    let other = Issuer::new();
    let (mut client, taken) = pair().await;
    let stranger = other.folder("baton://f/operator/desk");
    let forged = Identity::read(stranger.path()).unwrap().client().unwrap();
    let dial = async {
        let name = ServerName::try_from("home").unwrap();
        let mut config = (*forged).clone();
        config
            .dangerous()
            .set_certificate_verifier(browser_verifier(&dir));
        let dialled = TlsConnector::from(Arc::new(config)).connect(name, &mut client);
        match dialled.await {
            Ok(stream) => asked(stream, "POST", "/v1/abort").await,
            Err(_) => None,
        }
    };
    let from = "10.0.0.5:7".parse().unwrap();
    let (answer, opened) = tokio::join!(dial, open(&context, taken, from));
    assert_eq!(answer, None);
    assert!(opened.is_none());
    assert_eq!(context.counters.read().untrusted, 1);
    // In clear from this host, as ever.
    let clear = TcpStream::connect(address).await.unwrap();
    assert_eq!(asked(clear, "GET", "/healthz").await, Some(200));
    closing.cancel();
    serving.await.unwrap();
}

fn browser_verifier(
    dir: &tempfile::TempDir,
) -> Arc<dyn rustls::client::danger::ServerCertVerifier> {
    let mut store = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(dir.path().join(CA_FILE)).unwrap();
    store.add(authority).unwrap();
    let provider = Arc::new(ring::default_provider());
    rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider)
        .build()
        .unwrap()
}
