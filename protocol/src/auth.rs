//! Both sides prove that they know the fleet's secret, without showing it.
//!
//! ```text
//! Welcome.proof = HMAC-SHA256(secret, "baton master" | Hello.nonce | slave id)
//! Proof.proof   = HMAC-SHA256(secret, "baton slave"  | Welcome.challenge | slave id)
//! ```
//!
//! The slave id goes in as its 16 bytes, big endian. An agent proves itself the same way, with
//! its [`AgentId`] and the name of its host:
//!
//! ```text
//! Proof.proof   = HMAC-SHA256(secret, "baton agent"  | Welcome.challenge | agent id | host)
//! ```
//!
//! and the master to it with `"baton master to agent"`, its nonce and its id. A slave's proof says that
//! it may serve shards; a master's that it may receive session ids. A peer on
//! the unix socket whose uid is the master's needs no proof, but may give one.

use std::fmt;

use bytes::Bytes;
use ring::hmac;
use subtle::ConstantTimeEq;

use crate::id::{AgentId, SlaveId};

/// Random bytes in a nonce or a challenge.
pub const NONCE: usize = 16;

/// Environment variable in which a launched slave finds the secret, as hex.
pub const SECRET_VARIABLE: &str = "BATON_SECRET";

/// The fleet's secret, made at the first start of a master.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Draws a new secret from the operating system's randomness.
    ///
    /// # Errors
    /// The operating system has none to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Reads 64 hex digits, white space around them ignored.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// 64 hex digits, for the secret's file and a launched slave's environment.
    #[must_use]
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What a master puts into [`Welcome`](crate::message::Welcome).
    #[must_use]
    pub fn master_proof(&self, nonce: &[u8], slave: SlaveId) -> Bytes {
        self.proof(b"baton master", nonce, &slave.0.to_be_bytes(), b"")
    }

    /// What a master puts into the [`Welcome`](crate::message::Welcome) of an agent.
    #[must_use]
    pub fn master_proof_to_agent(&self, nonce: &[u8], agent: AgentId) -> Bytes {
        let agent = agent.0.to_be_bytes();
        self.proof(b"baton master to agent", nonce, &agent, b"")
    }

    /// What the agent of a host puts into [`Proof`](crate::message::Proof).
    #[must_use]
    pub fn agent_proof(&self, challenge: &[u8], agent: AgentId, host: &str) -> Bytes {
        let agent = agent.0.to_be_bytes();
        self.proof(b"baton agent", challenge, &agent, host.as_bytes())
    }

    /// What a slave puts into [`Proof`](crate::message::Proof).
    #[must_use]
    pub fn slave_proof(&self, challenge: &[u8], slave: SlaveId) -> Bytes {
        self.proof(b"baton slave", challenge, &slave.0.to_be_bytes(), b"")
    }

    /// A key for something else than proofs, which follows from the secret and shows nothing
    /// of it. `purpose` names it.
    #[must_use]
    pub fn derived(&self, purpose: &str) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let mut mac = hmac::Context::with_key(&key);
        // No proof begins so.
        mac.update(b"baton key ");
        mac.update(purpose.as_bytes());
        let mut derived = [0; 32];
        derived.copy_from_slice(mac.sign().as_ref());
        derived
    }

    /// Compares in constant time.
    #[must_use]
    pub fn is_proof(expected: &[u8], given: &[u8]) -> bool {
        expected.ct_eq(given).into()
    }

    fn proof(&self, role: &[u8], nonce: &[u8], id: &[u8; 16], host: &[u8]) -> Bytes {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let mut mac = hmac::Context::with_key(&key);
        mac.update(role);
        mac.update(nonce);
        mac.update(id);
        mac.update(host);
        Bytes::copy_from_slice(mac.sign().as_ref())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A fresh nonce or challenge.
///
/// # Errors
/// The operating system has no randomness to give.
pub fn nonce() -> Result<Bytes, getrandom::Error> {
    let mut bytes = [0; NONCE];
    getrandom::fill(&mut bytes)?;
    Ok(Bytes::copy_from_slice(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_survives_its_file() {
        let secret = Secret::random().expect("randomness");
        assert_eq!(
            Secret::from_hex(&format!("{}\n", secret.to_hex())),
            Some(secret)
        );
        assert_eq!(Secret::from_hex("abc"), None);
        assert_eq!(Secret::from_hex(&"é".repeat(32)), None);
    }

    #[test]
    fn a_proof_holds_for_one_secret_one_nonce_one_slave_and_one_side() {
        let secret = Secret([1; 32]);
        let other = Secret([2; 32]);
        let proof = secret.slave_proof(b"challenge", SlaveId(5));
        assert!(Secret::is_proof(
            &proof,
            &secret.slave_proof(b"challenge", SlaveId(5))
        ));
        for wrong in [
            other.slave_proof(b"challenge", SlaveId(5)),
            secret.slave_proof(b"another", SlaveId(5)),
            secret.slave_proof(b"challenge", SlaveId(6)),
            secret.master_proof(b"challenge", SlaveId(5)),
            Bytes::new(),
        ] {
            assert!(!Secret::is_proof(&proof, &wrong));
        }
    }

    #[test]
    fn a_derived_key_is_of_one_secret_and_one_purpose() {
        let derived = Secret([1; 32]).derived("one");
        assert_eq!(derived, Secret([1; 32]).derived("one"));
        assert_ne!(derived, Secret([1; 32]).derived("another"));
        assert_ne!(derived, Secret([2; 32]).derived("one"));
        assert_ne!(derived, [1; 32]);
    }

    #[test]
    fn a_proof_of_an_agent_holds_for_its_host_and_is_no_slaves() {
        let secret = Secret([1; 32]);
        let proof = secret.agent_proof(b"challenge", AgentId(5), "here");
        assert!(Secret::is_proof(
            &proof,
            &secret.agent_proof(b"challenge", AgentId(5), "here")
        ));
        for wrong in [
            secret.agent_proof(b"challenge", AgentId(5), "there"),
            secret.agent_proof(b"challenge", AgentId(6), "here"),
            secret.agent_proof(b"another", AgentId(5), "here"),
            secret.slave_proof(b"challenge", SlaveId(5)),
            secret.master_proof_to_agent(b"challenge", AgentId(5)),
        ] {
            assert!(!Secret::is_proof(&proof, &wrong));
        }
    }

    #[test]
    fn the_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret([1; 32])), "Secret(..)");
    }
}
