//! What of guilds is to be copied: pure. Each guild is there once, however much of it changes.

use std::collections::{BTreeMap, BTreeSet};

use baton_slave::{Epoch, ShardId, store::Kind};

use super::touched::Touched;

/// Documents of a guild that are named one by one. More, and all of it is copied.
const NAMED: usize = 1024;

/// What is to be copied of one guild.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// The owner's that saw it last.
    pub(super) epoch: Epoch,
    pub(super) is_whole: bool,
    pub(super) is_gone: bool,
    pub(super) kinds: BTreeSet<Kind>,
    pub(super) documents: BTreeSet<(Kind, u64)>,
}

impl Work {
    fn add(&mut self, epoch: Epoch, touched: Touched) {
        self.epoch = self.epoch.max(epoch);
        match touched {
            Touched::Nothing => {}
            Touched::Gone => {
                *self = Self {
                    epoch: self.epoch,
                    is_gone: true,
                    ..Self::default()
                };
            }
            Touched::Whole => self.whole(),
            Touched::Kinds(kinds) if !self.is_whole => self.kinds.extend(kinds),
            Touched::Some(documents) if !self.is_whole => self.documents.extend(documents),
            Touched::Kinds(_) | Touched::Some(_) => {}
        }
        if self.documents.len() > NAMED {
            self.whole();
        }
    }

    fn whole(&mut self) {
        *self = Self {
            epoch: self.epoch,
            is_whole: true,
            ..Self::default()
        };
    }
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Due {
    guilds: BTreeMap<(ShardId, u64), Work>,
    /// Shards whose copies have to be compared with what is here, at an epoch.
    shards: BTreeMap<ShardId, Epoch>,
    /// The last one that was given out, so that each has its turn.
    last: (ShardId, u64),
}

impl Due {
    pub(super) fn touch(&mut self, of: (ShardId, Epoch), guild: u64, touched: Touched) {
        if touched != Touched::Nothing {
            let work = self.guilds.entry((of.0, guild)).or_default();
            work.add(of.1, touched);
        }
    }

    /// A shard has a new owner, or a new session.
    pub(super) fn compare(&mut self, shard: ShardId, epoch: Epoch) {
        let known = self.shards.entry(shard).or_default();
        *known = epoch.max(*known);
    }

    pub(super) fn shard(&mut self) -> Option<(ShardId, Epoch)> {
        self.shards.pop_first()
    }

    pub(super) fn guild(&mut self) -> Option<(ShardId, u64, Work)> {
        let behind = (
            std::ops::Bound::Excluded(self.last),
            std::ops::Bound::Unbounded,
        );
        let next = self.guilds.range(behind).next();
        let (&key, _) = next.or_else(|| self.guilds.first_key_value())?;
        self.last = key;
        let work = self.guilds.remove(&key)?;
        Some((key.0, key.1, work))
    }

    /// It was not done: it is done later, together with what came meanwhile. What came is
    /// newer, so a guild that is there again is copied as a whole.
    pub(super) fn give_back(&mut self, shard: ShardId, guild: u64, work: Work) {
        let Some(newer) = self.guilds.remove(&(shard, guild)) else {
            self.guilds.insert((shard, guild), work);
            return;
        };
        let mut all = work;
        if newer.is_gone {
            all.add(newer.epoch, Touched::Gone);
        } else if newer.is_whole || all.is_gone {
            all.add(newer.epoch, Touched::Whole);
        } else {
            all.epoch = all.epoch.max(newer.epoch);
            if !all.is_whole {
                all.kinds.extend(newer.kinds);
                all.add(
                    newer.epoch,
                    Touched::Some(newer.documents.into_iter().collect()),
                );
            }
        }
        self.guilds.insert((shard, guild), all);
    }

    /// Somebody newer owns a shard: what an owner up to this epoch saw is theirs to copy.
    pub(super) fn fenced(&mut self, shard: ShardId, epoch: Epoch) {
        self.guilds
            .retain(|(of, _), work| *of != shard || work.epoch > epoch);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SHARD: ShardId = ShardId(3);

    fn due(touched: &[Touched]) -> Due {
        let mut due = Due::default();
        for touched in touched {
            due.touch((SHARD, Epoch(2)), 7, touched.clone());
        }
        due
    }

    fn some(documents: &[(Kind, u64)]) -> Touched {
        Touched::Some(documents.to_vec())
    }

    #[test]
    fn a_guild_is_copied_once_however_much_of_it_changes() {
        let role = some(&[(Kind::Role, 1)]);
        let mut all = due(&[role.clone(), role.clone(), Touched::Kinds(&[Kind::Emoji])]);
        let (_, _, work) = all.guild().unwrap();
        assert_eq!((work.documents.len(), work.kinds.len()), (1, 1));
        assert_eq!(all.guild(), None);
        let (_, _, work) = due(&[Touched::Whole, role.clone()]).guild().unwrap();
        assert!(work.is_whole && work.documents.is_empty());
        let (_, _, work) = due(&[role, Touched::Gone]).guild().unwrap();
        assert!(work.is_gone && work.documents.is_empty());
        // It is back.
        let (_, _, work) = due(&[Touched::Gone, Touched::Whole]).guild().unwrap();
        assert!(work.is_whole && !work.is_gone);
        let many: Vec<_> = (0..2000).map(|id| (Kind::Member, id)).collect();
        assert!(due(&[some(&many)]).guild().unwrap().2.is_whole);
    }

    #[test]
    fn what_was_not_done_is_done_later_and_what_came_meanwhile_with_it() {
        let mut all = due(&[some(&[(Kind::Role, 1)])]);
        let (shard, guild, work) = all.guild().unwrap();
        all.touch((SHARD, Epoch(2)), 7, some(&[(Kind::Role, 2)]));
        all.give_back(shard, guild, work);
        let (_, _, work) = all.guild().unwrap();
        assert_eq!(work.documents.len(), 2);
        all.touch((SHARD, Epoch(2)), 7, Touched::Gone);
        all.give_back(SHARD, 7, work);
        let (_, _, work) = all.guild().unwrap();
        assert!(work.is_gone);
        all.touch((SHARD, Epoch(2)), 7, Touched::Whole);
        all.give_back(SHARD, 7, work);
        let (_, _, work) = all.guild().unwrap();
        assert!(work.is_whole && !work.is_gone);
    }

    #[test]
    fn each_guild_has_its_turn_and_what_a_newer_owner_has_is_not_copied() {
        let mut due = Due::default();
        for guild in [1, 2] {
            due.touch((SHARD, Epoch(2)), guild, Touched::Whole);
        }
        assert_eq!(due.guild().unwrap().1, 1);
        due.touch((SHARD, Epoch(2)), 1, Touched::Whole);
        assert_eq!(due.guild().unwrap().1, 2, "1 is behind it");
        due.touch((SHARD, Epoch(3)), 2, Touched::Whole);
        due.fenced(SHARD, Epoch(2));
        assert_eq!(due.guild().unwrap().1, 2);
        assert_eq!(due.guild(), None);
    }
}
