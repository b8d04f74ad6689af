//! How much of a guild a session gets to see.

use crate::kind::intents;

/// What a session is shown of a guild.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) intents: u64,
    /// Guilds with more members are sent without their offline members.
    pub(crate) large_threshold: u32,
}

impl View {
    /// Everything there is: the truth.
    pub(crate) const FULL: Self = Self {
        intents: intents::ALL,
        large_threshold: u32::MAX,
    };

    pub(crate) const fn has(self, intent: u64) -> bool {
        self.intents & intent != 0
    }
}
