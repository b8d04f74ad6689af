//! Where the bot is in voice, so that a client that was not there can be told again.

use std::{collections::BTreeMap, sync::Arc};

use super::item::{Event, OfNote};

/// The last words about each guild in whose voice the bot is.
#[derive(Debug, Default)]
pub(crate) struct Voice {
    /// Whose states count.
    own_user: Option<u64>,
    guilds: BTreeMap<u64, Words>,
}

#[derive(Debug, Default)]
struct Words {
    state: Option<Arc<Event>>,
    server: Option<Arc<Event>>,
}

impl Voice {
    pub(crate) const fn is_of(&mut self, user: u64) {
        self.own_user = Some(user);
    }

    /// The bot.
    pub(crate) const fn own_user(&self) -> Option<u64> {
        self.own_user
    }

    /// A new session is in no voice.
    pub(crate) fn forget(&mut self) {
        self.guilds.clear();
    }

    pub(crate) fn note(&mut self, event: &Arc<Event>) {
        match &event.of_note {
            OfNote::VoiceState {
                guild,
                user,
                channel,
            } if Some(*user) == self.own_user => {
                if channel.is_some() {
                    self.guilds.entry(*guild).or_default().state = Some(Arc::clone(event));
                } else {
                    self.guilds.remove(guild);
                }
            }
            OfNote::VoiceServer { guild } => {
                self.guilds.entry(*guild).or_default().server = Some(Arc::clone(event));
            }
            OfNote::GuildDelete { guild } => {
                self.guilds.remove(guild);
            }
            OfNote::VoiceState { .. }
            | OfNote::Nothing
            | OfNote::GuildCreate { .. }
            | OfNote::MemberAdd { .. }
            | OfNote::MemberRemove { .. }
            | OfNote::Answer { .. } => {}
        }
    }

    /// What a client needs to take over the calls: for each guild the bot's state, then the
    /// server. What the bot's session is called comes with the first.
    pub(crate) fn again(&self) -> Vec<Arc<Event>> {
        let whole = self.guilds.values().filter_map(|words| {
            let (state, server) = (words.state.as_ref()?, words.server.as_ref()?);
            Some([Arc::clone(state), Arc::clone(server)])
        });
        whole.flatten().collect()
    }
}
