//! Who left a guild lately.

use std::collections::{HashSet, VecDeque};

use twilight_model::id::{
    Id,
    marker::{GuildMarker, UserMarker},
};

/// The last who left, so that a repeated event counts no member down. Of a large guild
/// not all members are cached, and one who is not may leave too.
#[derive(Debug, Default)]
pub(super) struct Left {
    order: VecDeque<(Id<GuildMarker>, Id<UserMarker>)>,
    known: HashSet<(Id<GuildMarker>, Id<UserMarker>)>,
}

impl Left {
    /// Leaves that are remembered, of all guilds together.
    const MOST: usize = 4096;

    pub(super) fn contains(&self, guild: Id<GuildMarker>, user: Id<UserMarker>) -> bool {
        self.known.contains(&(guild, user))
    }

    pub(super) fn remember(&mut self, guild: Id<GuildMarker>, user: Id<UserMarker>) {
        if self.known.insert((guild, user)) {
            self.order.push_back((guild, user));
        }
        if self.order.len() > Self::MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    pub(super) fn forget(&mut self, guild: Id<GuildMarker>, user: Id<UserMarker>) {
        if self.known.remove(&(guild, user)) {
            self.order.retain(|one| *one != (guild, user));
        }
    }
}
