//! How a server lets a master in, or does not: with what each file of the configuration says.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use serde_json::Value;

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

/// A JWT as NATS has it, signed by this key.
fn jwt(issuer: &KeyPair, subject: &KeyPair, name: &str, nats: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = part(&json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let body = part(&json!({
        "jti": name, "iat": 1, "name": name,
        "iss": issuer.public_key(), "sub": subject.public_key(), "nats": nats,
    }));
    let signed = format!("{head}.{body}");
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

/// A credentials file as the tools of NATS write it.
fn credentials(jwt: &str, seed: &str) -> Token {
    token(&format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    ))
}

#[test]
fn a_server_of_an_operator_lets_in_who_has_a_credentials_file_of_its_account() {
    let (operator, account) = (KeyPair::new_operator(), KeyPair::new_account());
    let (system, user) = (KeyPair::new_account(), KeyPair::new_user());
    let of_operator = json!({ "type": "operator", "version": 2 });
    let of_account = json!({
        "type": "account", "version": 2,
        "limits": {
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "conn": -1,
            "leaf": -1, "wildcards": true, "mem_storage": -1, "disk_storage": -1, "streams": -1,
            "consumer": -1,
        },
    });
    let of_system = json!({ "type": "account", "version": 2 });
    let of_user = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
    let config = format!(
        "operator: {}\nresolver: MEMORY\nsystem_account: {}\n\
         resolver_preload: {{ {}: {}, {}: {} }}\n",
        jwt(&operator, &operator, "operator", &of_operator),
        system.public_key(),
        account.public_key(),
        jwt(&operator, &account, "baton", &of_account),
        system.public_key(),
        jwt(&operator, &system, "system", &of_system),
    );
    let Some(nats) = server(&config) else {
        return;
    };
    let access = |issuer: &KeyPair| {
        let jwt = jwt(issuer, &user, "master", &of_user);
        let text = credentials(&jwt, &user.seed().unwrap());
        Some(Access::Credentials(text))
    };
    enters(&store_at(&nats, access(&account))).unwrap();
    let of_another = access(&KeyPair::new_account());
    is_told(enters(&store_at(&nats, of_another)), CREDENTIALS);
    let none = Access::Credentials(token("-----BEGIN NATS USER JWT-----"));
    is_told(
        enters(&store_at(&nats, Some(none))),
        "no NATS credentials file",
    );
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
