//! Following what one client receives on one shard: whether it is what Discord would send,
//! and what goes into the journal.

use std::{collections::BTreeSet, sync::Arc};

use super::journal::{Journal, Place, Received};
use crate::demo::now_us;

/// What of a dispatch is looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Dispatch<'a> {
    pub(super) kind: &'a str,
    /// `None`: the library does not show it.
    pub(super) sequence: Option<u64>,
    /// Discord's session and number there.
    pub(super) stamp: Option<(Arc<str>, u64)>,
    /// The guild, of GUILD_CREATE.
    pub(super) guild: Option<&'a str>,
    /// The guilds, of READY.
    pub(super) guilds: BTreeSet<String>,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Follower {
    journal: Journal,
    life: u32,
    shard: u32,
    /// `None` before the first READY.
    place: Option<Place>,
    sequence: u64,
    /// Guilds that READY named and that have not come.
    named: BTreeSet<String>,
    /// Whether only guilds have come since READY.
    is_greeted: bool,
}

impl Follower {
    pub(super) const fn new(journal: Journal, life: u32, shard: u32) -> Self {
        Self {
            journal,
            life,
            shard,
            place: None,
            sequence: 0,
            named: BTreeSet::new(),
            is_greeted: false,
        }
    }

    /// Whose it is.
    pub(super) const fn life(&self) -> u32 {
        self.life
    }

    /// The last sequence that came.
    pub(super) const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether guilds that READY named are still to come.
    pub(super) fn is_being_greeted(&self) -> bool {
        self.is_greeted && !self.named.is_empty()
    }

    /// The client says that it has everything up to here.
    pub(super) fn says(&self, sequence: u64) {
        if let Some(place) = self.place {
            self.journal.said(place, sequence);
        }
    }

    /// A dispatch came.
    pub(super) fn dispatch(&mut self, it: Dispatch<'_>) {
        match (it.kind, self.place) {
            ("READY", _) => {
                if it.sequence.is_some_and(|sequence| sequence != 1) {
                    self.strange(&format!("READY has the sequence {:?}", it.sequence));
                }
                if it.guilds.is_empty() {
                    self.strange("READY names no guild");
                }
                self.place = Some(self.journal.begins(self.life, self.shard));
                (self.sequence, self.named, self.is_greeted) = (1, it.guilds, true);
            }
            ("RESUMED", _) => {}
            (kind, None) => self.strange(&format!("{kind} before READY")),
            (kind, Some(place)) => {
                let due = self.sequence + 1;
                self.sequence = it.sequence.unwrap_or(due);
                if self.sequence != due {
                    self.strange(&format!(
                        "sequence {} follows on {}",
                        self.sequence,
                        due - 1
                    ));
                }
                let is_named = kind == "GUILD_CREATE"
                    && it.guild.is_some_and(|guild| self.named.remove(guild));
                let greets = self.is_greeted && is_named;
                self.is_greeted &= is_named;
                if let Some(stamp) = it.stamp {
                    self.journal.received(Received {
                        place,
                        at_us: now_us(),
                        sequence: self.sequence,
                        kind: kind.into(),
                        stamp,
                        greets,
                    });
                }
            }
        }
    }

    pub(super) fn strange(&self, what: &str) {
        let what: String = what.chars().take(300).collect();
        let (life, shard) = (self.life, self.shard);
        self.journal
            .strange(format!("client {life}, shard {shard}: {what}"));
    }
}

/// Discord's session and number of a dispatch, as the simulated one stamps it.
#[must_use]
pub(super) fn read_stamp(stamp: &str) -> Option<(Arc<str>, u64)> {
    let (session, sequence) = stamp.split_once(':')?;
    Some((session.into(), sequence.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_strange_and_only_the_guilds_behind_ready_greet() {
        let journal = Journal::default();
        let mut follower = Follower::new(journal.clone(), 1, 0);
        follower.dispatch(Dispatch {
            kind: "READY",
            sequence: Some(1),
            guilds: ["7", "8"].map(str::to_owned).into(),
            ..Dispatch::default()
        });
        let mut comes = |sequence, kind, guild| {
            follower.dispatch(Dispatch {
                kind,
                sequence: Some(sequence),
                guild,
                stamp: read_stamp(&format!("s:{}", sequence + 100)),
                guilds: BTreeSet::new(),
            });
        };
        comes(2, "GUILD_CREATE", Some("7"));
        comes(3, "MESSAGE_CREATE", None);
        // It had an outage when READY was said: now it is back.
        comes(4, "GUILD_CREATE", Some("8"));
        assert!(journal.all_strange().is_empty());
        let greetings = journal.greetings();
        assert_eq!(
            greetings.into_iter().collect::<Vec<_>>(),
            [("s".into(), 102)]
        );
        comes(6, "MESSAGE_CREATE", None);
        assert_eq!(journal.all_strange().len(), 1);
    }
}
