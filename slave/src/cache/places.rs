//! Which guilds are here, and of which shard each is: found by either, so that
//! nothing done for one shard looks at the guilds of all.

use std::collections::{BTreeMap, BTreeSet};

use baton_protocol::ShardId;

/// What is known of a guild beside its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) shard: ShardId,
    pub(super) available: bool,
}

/// All guilds of a process.
#[derive(Debug, Default)]
pub(super) struct Places {
    guilds: BTreeMap<u64, Place>,
    of_shard: BTreeSet<(ShardId, u64)>,
}

impl Places {
    pub(super) fn get(&self, guild: u64) -> Option<Place> {
        self.guilds.get(&guild).copied()
    }

    /// In place of what was known of the guild.
    pub(super) fn insert(&mut self, guild: u64, place: Place) {
        if let Some(before) = self.guilds.insert(guild, place) {
            self.of_shard.remove(&(before.shard, guild));
        }
        self.of_shard.insert((place.shard, guild));
    }

    pub(super) fn remove(&mut self, guild: u64) {
        if let Some(place) = self.guilds.remove(&guild) {
            self.of_shard.remove(&(place.shard, guild));
        }
    }

    /// The guilds of a shard, ascending.
    pub(super) fn of_shard(&self, shard: ShardId) -> impl Iterator<Item = u64> {
        let range = (shard, 0)..=(shard, u64::MAX);
        self.of_shard.range(range).map(|(_, guild)| *guild)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guild_is_of_the_shard_that_named_it_last_until_it_is_removed() {
        let mut places = Places::default();
        let of = |shard| Place {
            shard: ShardId(shard),
            available: true,
        };
        for guild in [30, 10, 20] {
            places.insert(guild, of(1));
        }
        places.insert(20, of(2));
        let guilds = |places: &Places, shard| places.of_shard(ShardId(shard)).collect::<Vec<_>>();
        assert_eq!(guilds(&places, 1), [10, 30]);
        assert_eq!(guilds(&places, 2), [20]);
        assert_eq!(places.get(20), Some(of(2)));
        places.remove(20);
        places.remove(10);
        assert_eq!(places.get(20), None);
        assert_eq!(guilds(&places, 1), [30]);
        assert_eq!(guilds(&places, 2), [0; 0]);
    }
}
