//! How a server lets a master in, or does not: with what each file of the configuration says.

use super::*;
use crate::config::{Access, Token};

/// Starts a server with these lines in its file, after `files` are in its folder.
fn server(config: &str) -> Option<baton_brokers::Nats> {
    or_pass_over(baton_brokers::Nats::with_config(&["-js"], config))
}

fn store_at(nats: &baton_brokers::Nats, access: Option<Access>) -> SharedStore {
    SharedStore {
        servers: vec![nats.url()],
        tls: false,
        name: "test".to_owned(),
        access,
        ca: None,
        own: None,
        replicas: 1,
    }
}

/// Whether a master can use the store, or why not.
fn enters(config: &SharedStore) -> Result<(), Trouble> {
    Runtime::new().unwrap().block_on(async {
        let client = Client::connect(config, "test").await?;
        Buckets::new(&client, config).declare().await.unwrap();
        Ok(())
    })
}

fn is_told(refused: Result<(), Trouble>, advice: &str) {
    let trouble = refused.unwrap_err();
    let text = trouble.to_string();
    assert!(matches!(trouble, Trouble::Wrong(_)), "{text}");
    assert!(text.contains(advice), "{text}");
}

fn token(text: &str) -> Token {
    Token::new(text).unwrap()
}

const CREDENTIALS: &str = "store_credentials_file";

#[test]
fn a_server_lets_in_who_has_its_password_and_says_no_to_others() {
    let config = "authorization { user: baton, password: right }\n";
    let Some(nats) = server(config) else {
        return;
    };
    let access = |password| {
        let user = "baton".to_owned();
        let password = token(password);
        Some(Access::Password { user, password })
    };
    enters(&store_at(&nats, access("right"))).unwrap();
    is_told(enters(&store_at(&nats, access("wrong"))), CREDENTIALS);
    is_told(enters(&store_at(&nats, None)), CREDENTIALS);
}

#[test]
fn a_server_lets_in_who_has_its_token() {
    let Some(nats) = server("authorization { token: right }\n") else {
        return;
    };
    let access = |text| Some(Access::Token(token(text)));
    enters(&store_at(&nats, access("right"))).unwrap();
    is_told(enters(&store_at(&nats, access("wrong"))), CREDENTIALS);
}

#[test]
fn a_server_of_an_operator_lets_in_who_has_a_credentials_file_of_its_account() {
    let Some(server) = or_pass_over(baton_brokers::OperatorNats::start()) else {
        return;
    };
    let access = |text: &str| Some(Access::Credentials(token(text)));
    let enter = |text: &str| enters(&store_at(&server.nats, access(text)));
    enter(&server.credentials).unwrap();
    is_told(enter(&server.of_nobody), CREDENTIALS);
    let cut_off = server.credentials.split('\n').next().unwrap();
    is_told(enter(cut_off), "no NATS credentials file");
}

#[test]
fn a_server_with_tls_is_believed_by_its_authority_and_asks_for_a_certificate() {
    let files = tempfile::tempdir().unwrap();
    baton_brokers::certificates::write(files.path()).unwrap();
    let [ca, cert, key] = baton_brokers::certificates::of_broker(files.path());
    let tls = format!(
        "tls {{ cert_file: {cert:?}, key_file: {key:?}, ca_file: {ca:?}, verify: true }}\n"
    );
    let Some(nats) = server(&tls) else {
        return;
    };
    let file = |name: &str| files.path().join(name);
    let config = |ca: bool, own: bool| SharedStore {
        servers: vec![format!("tls://127.0.0.1:{}", nats.port)],
        tls: true,
        ca: ca.then(|| file("ca.pem")),
        own: own.then(|| (file("gateway.pem"), file("gateway.key"))),
        ..store_at(&nats, None)
    };
    enters(&config(true, true)).unwrap();
    let advice = "store_ca_file, store_cert_file and store_key_file";
    is_told(enters(&config(false, true)), advice);
    is_told(enters(&config(true, false)), advice);
    // Nothing is said in clear.
    let in_clear = SharedStore {
        tls: false,
        servers: vec![nats.url()],
        ..config(false, false)
    };
    is_told(enters(&in_clear), advice);
}
