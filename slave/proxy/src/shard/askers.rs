//! Whose question an answer belongs to.

use std::collections::VecDeque;

/// Questions that are remembered. The oldest is forgotten for the next.
const REMEMBERED: usize = 256;

/// Who asked with which nonce.
#[derive(Debug, Default)]
pub(crate) struct Askers(VecDeque<(Box<str>, u64)>);

impl Askers {
    /// The session of this key asks.
    pub(crate) fn asks(&mut self, nonce: &str, key: u64) {
        self.0.retain(|(asked, _)| **asked != *nonce);
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((nonce.into(), key));
    }

    /// Whether an answer with this nonce is for this session: it asked, or nobody is known
    /// to have.
    pub(crate) fn is_for(&self, nonce: &str, key: u64) -> bool {
        let asker = self.0.iter().find(|(asked, _)| **asked == *nonce);
        asker.is_none_or(|(_, asker)| *asker == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_for_whoever_asked_last_with_its_nonce() {
        let mut askers = Askers::default();
        assert!(askers.is_for("a", 1) && askers.is_for("a", 2));
        askers.asks("a", 1);
        assert!(askers.is_for("a", 1) && !askers.is_for("a", 2));
        askers.asks("a", 2);
        assert!(!askers.is_for("a", 1) && askers.is_for("a", 2));
        for other in 0..REMEMBERED {
            askers.asks(&other.to_string(), 1);
        }
        assert!(askers.is_for("a", 1), "forgotten");
    }
}
