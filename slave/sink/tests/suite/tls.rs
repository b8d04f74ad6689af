//! Brokers that speak TLS only, and want a certificate of whoever comes.

use std::{path::Path, time::Duration};

use baton_brokers::{Nats, Redis, certificates, or_pass_over, parts::free_ports};
use baton_sink::{Address, Error, Sink, SinkConfig, Tls};

use crate::common::{Finished, event, until};

fn config(url: &str, tls: Tls) -> SinkConfig {
    let mut config = SinkConfig::new(Address::parse(url).unwrap());
    config.timings.start = Duration::from_secs(10);
    config.tls = tls;
    config
}

/// What a gateway is told of certificates in this folder.
pub(crate) fn of_gateway(dir: &Path) -> Tls {
    Tls {
        ca: Some(dir.join("ca.pem")),
        cert: Some(dir.join("gateway.pem")),
        key: Some(dir.join("gateway.key")),
    }
}

/// A sink that knows the authority and has a certificate publishes.
pub(crate) async fn publishes(url: &str, tls: Tls) {
    let sink = Sink::start(config(url, tls)).await.unwrap();
    let finished = Finished::default();
    sink.publish(event(0, 1), finished.when_dropped(1));
    until("it is finished", || finished.count() == 1).await;
}

#[tokio::test]
async fn nats_over_tls_takes_who_has_a_certificate_and_who_does_not_know_its_own_refuses_it() {
    let dir = tempfile::tempdir().unwrap();
    certificates::write(dir.path()).unwrap();
    let [ca, cert, key] = certificates::of_broker(dir.path());
    let flags = [
        "-js",
        "--tlsverify",
        "--tlscacert",
        &ca,
        "--tlscert",
        &cert,
        "--tlskey",
        &key,
    ];
    let Some(nats) = or_pass_over(Nats::with(&flags)) else {
        return;
    };
    let url = nats.url().replace("nats://127.0.0.1", "tls://localhost");
    publishes(&url, of_gateway(dir.path())).await;
    let without_certificate = Tls {
        ca: of_gateway(dir.path()).ca,
        ..Tls::default()
    };
    for tls in [Tls::default(), without_certificate] {
        let error = Sink::start(config(&url, tls)).await.unwrap_err();
        assert!(matches!(&error, Error::Refused { .. }), "{error}");
        assert!(
            error.to_string().contains("the authority of its own"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn redis_over_tls_takes_who_has_a_certificate_and_who_does_not_know_its_own_refuses_it() {
    let dir = tempfile::tempdir().unwrap();
    certificates::write(dir.path()).unwrap();
    let [ca, cert, key] = certificates::of_broker(dir.path());
    let [port] = free_ports();
    let port = port.to_string();
    let flags = [
        ["--tls-port", &port],
        ["--tls-ca-cert-file", &ca],
        ["--tls-cert-file", &cert],
        ["--tls-key-file", &key],
    ];
    let Some(_redis) = or_pass_over(Redis::with(&flags.concat())) else {
        return;
    };
    let url = format!("rediss://localhost:{port}");
    publishes(&url, of_gateway(dir.path())).await;
    let error = Sink::start(config(&url, Tls::default())).await.unwrap_err();
    assert!(matches!(&error, Error::Refused { .. }), "{error}");
}
