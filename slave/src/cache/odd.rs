//! What could not be kept, and who hears of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;

use super::mend::Losses;

/// Entries kept of one guild; later ones are no longer told apart.
const OF_A_GUILD: usize = 32;
/// Places that are warned of, each once.
const WARNED: usize = 256;
/// Bytes of one entry.
const ENTRY: usize = 200;
/// The last member of a piece of which something is missing.
const MEMBER: &str = ",\"baton_incomplete\":";
/// How far from its end a piece is searched for it.
const TAIL: usize = 2 * OF_A_GUILD * (ENTRY + 4);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Odd(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    guilds: BTreeMap<u64, BTreeSet<String>>,
    warned: BTreeSet<String>,
}

impl Odd {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Parts of an event were left out.
    pub(super) fn say(&self, kind: &str, guild: Option<u64>, losses: &Losses) {
        for place in &losses.named {
            let what = format!("{kind} {place}");
            if self.is_new(&what) {
                let (guild, count) = (guild.unwrap_or(0), losses.count);
                tracing::warn!(
                    what,
                    guild,
                    count,
                    "the cache leaves out what twilight-model does not know; said once"
                );
            }
            if let Some(guild) = guild {
                self.note(guild, [what]);
            }
        }
    }

    /// A whole event was left out.
    pub(super) fn say_lost(&self, kind: &str, guild: Option<u64>, why: &str) {
        let what = format!("{kind} as a whole");
        if self.is_new(&what) {
            let guild = guild.unwrap_or(0);
            tracing::warn!(
                what,
                guild,
                ?why,
                "the cache leaves out what twilight-model does not know; said once"
            );
        }
        if let Some(guild) = guild {
            self.note(guild, [what]);
        }
    }

    fn is_new(&self, what: &str) -> bool {
        let mut state = self.lock();
        state.warned.len() < WARNED && state.warned.insert(what.to_owned())
    }

    /// Writes down what is missing of a guild.
    pub(super) fn note(&self, guild: u64, what: impl IntoIterator<Item = String>) {
        let mut what = what.into_iter().peekable();
        if what.peek().is_none() {
            return;
        }
        let mut state = self.lock();
        let known = state.guilds.entry(guild).or_default();
        for entry in what {
            if known.len() < OF_A_GUILD {
                let plain = |c: &char| c.is_ascii() && !c.is_ascii_control();
                known.insert(entry.chars().filter(plain).take(ENTRY).collect());
            }
        }
    }

    /// What is missing of a guild.
    pub(super) fn of(&self, guild: u64) -> Option<Vec<String>> {
        let state = self.lock();
        let known = state.guilds.get(&guild)?;
        Some(known.iter().cloned().collect())
    }

    /// The guild is gone, or a new GUILD_CREATE came.
    pub(super) fn forget(&self, guild: u64) {
        self.lock().guilds.remove(&guild);
    }

    /// Adds what is missing to the guild's piece. A build that does not know the member
    /// ignores it.
    pub(super) fn write_into(&self, guild: u64, mut piece: Vec<u8>) -> Vec<u8> {
        if let Some(known) = self.of(guild)
            && piece.pop_if(|last| *last == b'}').is_some()
        {
            piece.extend_from_slice(MEMBER.as_bytes());
            piece.extend_from_slice(Value::from(known).to_string().as_bytes());
            piece.push(b'}');
        }
        piece
    }
}

/// What a piece says is missing of it.
pub(super) fn read_from(piece: &[u8]) -> Vec<String> {
    let tail = &piece[piece.len().saturating_sub(TAIL)..];
    let member = MEMBER.as_bytes();
    let at = tail.windows(member.len()).rposition(|w| w == member);
    let list = at.and_then(|at| tail[at + member.len()..].strip_suffix(b"}"));
    list.and_then(|list| serde_json::from_slice(list).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_travels_at_the_end_of_a_piece_and_is_bounded() {
        let odd = Odd::default();
        assert_eq!(
            odd.write_into(7, b"{\"id\":\"7\"}".to_vec()),
            b"{\"id\":\"7\"}"
        );
        assert!(read_from(b"{\"id\":\"7\"}").is_empty());
        odd.note(
            7,
            (0..1000).map(|n| format!("{n:03}{}", "é\"".repeat(1000))),
        );
        let piece = odd.write_into(7, b"{\"id\":\"7\"}".to_vec());
        let read = read_from(&piece);
        assert_eq!(Some(&read), odd.of(7).as_ref());
        assert_eq!(read.len(), OF_A_GUILD);
        assert!(serde_json::from_slice::<Value>(&piece).is_ok());
        odd.forget(7);
        assert_eq!(odd.of(7), None);
    }
}
