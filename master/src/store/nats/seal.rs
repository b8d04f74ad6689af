//! Tickets hold the ids of sessions, and a store is on other hosts: what is written there is
//! sealed with a key that follows from the fleet's secret, for the key that it stands under.

use std::fmt;

use baton_protocol::auth::Secret;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::store::StoreError;

/// The first byte of a sealed value: how it is sealed.
const FORM: u8 = 1;

/// What the key is for.
const PURPOSE: &str = "tickets in a store";

/// Rows whose keys begin so are sealed.
const SEALED: &str = "ticket.";

/// Seals and opens.
pub(super) struct Sealer(LessSafeKey);

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(..)")
    }
}

impl Sealer {
    /// With the key of this fleet.
    ///
    /// # Errors
    /// The library takes no key of this length, which does not happen.
    pub(super) fn new(secret: &Secret) -> Result<Self, StoreError> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &secret.derived(PURPOSE));
        let key = key.map_err(|_| StoreError::Remote("no key can be made".to_owned()))?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// What is written under a key.
    ///
    /// # Errors
    /// The operating system has no randomness.
    pub(super) fn seal(&self, key: &str, value: &[u8]) -> Result<Vec<u8>, StoreError> {
        if !key.starts_with(SEALED) {
            return Ok(value.to_vec());
        }
        let mut nonce = [0; NONCE_LEN];
        let no_random = |error: getrandom::Error| StoreError::Io(std::io::Error::other(error));
        getrandom::fill(&mut nonce).map_err(no_random)?;
        let mut sealed = value.to_vec();
        let nonce_of = Nonce::assume_unique_for_key(nonce);
        let done =
            self.0
                .seal_in_place_append_tag(nonce_of, Aad::from(key.as_bytes()), &mut sealed);
        done.map_err(|_| StoreError::TooLarge(value.len() as u64))?;
        Ok([&[FORM], &nonce[..], &sealed[..]].concat())
    }

    /// What was written under a key.
    ///
    /// # Errors
    /// [`StoreError::OtherSecret`]: it was not sealed by this fleet, or not for this key.
    pub(super) fn open(&self, key: &str, value: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        if !key.starts_with(SEALED) {
            return Ok(value);
        }
        let other = || StoreError::OtherSecret(key.to_owned());
        let (form, rest) = value.split_first().ok_or_else(other)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN).ok_or_else(other)?;
        if *form != FORM {
            return Err(other());
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| other())?;
        let mut sealed = sealed.to_vec();
        let opened = self
            .0
            .open_in_place(nonce, Aad::from(key.as_bytes()), &mut sealed);
        let length = opened.map_err(|_| other())?.len();
        sealed.truncate(length);
        Ok(sealed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_opened_by_its_fleet_under_its_own_key_only() {
        let secret = Secret::random().unwrap();
        let sealer = Sealer::new(&secret).unwrap();
        let sealed = sealer.seal("ticket.3", b"session").unwrap();
        assert!(!sealed.windows(7).any(|part| part == b"session"));
        assert_eq!(sealer.open("ticket.3", sealed.clone()).unwrap(), b"session");
        let same = Sealer::new(&secret).unwrap();
        assert_eq!(same.open("ticket.3", sealed.clone()).unwrap(), b"session");
        let other = Sealer::new(&Secret::random().unwrap()).unwrap();
        let mut torn = sealed.clone();
        *torn.last_mut().unwrap() ^= 1;
        for refused in [
            sealer.open("ticket.4", sealed.clone()),
            other.open("ticket.3", sealed.clone()),
            sealer.open("ticket.3", torn),
            sealer.open("ticket.3", sealed[..8].to_vec()),
            sealer.open("ticket.3", Vec::new()),
        ] {
            assert!(matches!(refused, Err(StoreError::OtherSecret(_))));
        }
    }

    #[test]
    fn what_is_no_secret_can_be_read_by_an_operator() {
        let sealer = Sealer::new(&Secret::random().unwrap()).unwrap();
        assert_eq!(sealer.seal("owner.3", b"row").unwrap(), b"row");
        assert_eq!(sealer.open("owner.3", b"row".to_vec()).unwrap(), b"row");
    }
}
