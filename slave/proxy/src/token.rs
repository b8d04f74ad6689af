//! Tokens, compared in constant time and never shown.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A token that a client may come with. Only its hash is kept, and nothing shows it.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// Of this text, with or without `Bot ` before it. `None`: it is empty.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let bare = bare(text);
        (!bare.is_empty()).then(|| Self(hash(bare)))
    }

    /// Whether this is it, with or without `Bot ` before it.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.0.ct_eq(&hash(bare(text))).into()
    }
}

fn bare(text: &str) -> &str {
    let text = text.trim();
    match text.strip_prefix("Bot") {
        Some(bare) if bare.is_empty() || bare.starts_with(' ') => bare.trim(),
        Some(_) | None => text,
    }
}

// Hashes are of one length, so that of the token does not show either.
fn hash(bare: &str) -> [u8; 32] {
    Sha256::digest(bare.as_bytes()).into()
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_with_its_prefix_and_without() {
        let (one, two) = (Token::new("Bot one").unwrap(), Token::new("two").unwrap());
        for known in ["one", "Bot one", " Bot one "] {
            assert!(one.is(known), "{known}");
        }
        assert!(two.is("Bot two"));
        for unknown in ["", "Bot ", "on", "onee", "bot one", "three"] {
            assert!(!one.is(unknown) && !two.is(unknown), "{unknown}");
        }
        assert!(Token::new(" Bot ").is_none(), "nobody comes with nothing");
    }

    #[test]
    fn a_token_is_not_shown() {
        let shown = format!("{:?}", Token::new("secret").unwrap());
        assert_eq!(shown, "Token(..)");
    }
}
