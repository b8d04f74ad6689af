//! A nats-server of an operator: who comes shows a credentials file of one of its accounts.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::{Error, Nats};

/// A server that lets in who has the right file, with JetStream for its account.
#[derive(Debug)]
pub struct OperatorNats {
    /// The server.
    pub nats: Nats,
    /// A credentials file that opens it, as the tools of NATS write one.
    pub credentials: String,
    /// One of an account that it does not know.
    pub of_nobody: String,
}

impl OperatorNats {
    /// Starts it.
    ///
    /// # Errors
    /// As [`Nats::start`].
    pub fn start() -> Result<Self, Error> {
        let operator = KeyPair::new_operator();
        let (account, system) = (KeyPair::new_account(), KeyPair::new_account());
        let without_bounds = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "conn": -1,
            "leaf": -1, "wildcards": true, "mem_storage": -1, "disk_storage": -1, "streams": -1,
            "consumer": -1,
        });
        let of_account = json!({ "type": "account", "version": 2, "limits": without_bounds });
        let of_system = json!({ "type": "account", "version": 2 });
        let config = format!(
            "operator: {}\nresolver: MEMORY\nsystem_account: {}\n\
             resolver_preload: {{ {}: {}, {}: {} }}\n",
            jwt(
                &operator,
                &operator,
                &json!({ "type": "operator", "version": 2 })
            )?,
            system.public_key(),
            account.public_key(),
            jwt(&operator, &account, &of_account)?,
            system.public_key(),
            jwt(&operator, &system, &of_system)?,
        );
        Ok(Self {
            nats: Nats::with_config(&["-js"], &config)?,
            credentials: credentials(&account)?,
            of_nobody: credentials(&KeyPair::new_account())?,
        })
    }
}

/// A file for a user that this account has let in.
fn credentials(account: &KeyPair) -> Result<String, Error> {
    let user = KeyPair::new_user();
    let of_user = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
    let jwt = jwt(account, &user, &of_user)?;
    let seed = user.seed().map_err(unsigned)?;
    Ok(format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    ))
}

/// A JWT as NATS has it, signed by this key.
fn jwt(issuer: &KeyPair, subject: &KeyPair, nats: &Value) -> Result<String, Error> {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let subject = subject.public_key();
    let head = part(&json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let body = part(&json!({
        "jti": subject, "iat": 1, "name": subject,
        "iss": issuer.public_key(), "sub": subject, "nats": nats,
    }));
    let signed = format!("{head}.{body}");
    let signature = issuer.sign(signed.as_bytes()).map_err(unsigned)?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn unsigned(error: nkeys::error::Error) -> Error {
    Error::system("sign a credentials file")(std::io::Error::other(error))
}
