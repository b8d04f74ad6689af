//! What happened on Twitch, as a bot is handed it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    name::{Login, UserId},
    seen::Key,
};

/// Something that happened, as Twitch wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Of EventSub: the type of the subscription, `channel.chat.message` say. Of IRC: the
    /// command, `PRIVMSG` say.
    pub kind: Arc<str>,
    /// What is the same on each way on which it comes, if anything is: `event.message_id`,
    /// else `metadata.message_id`; of IRC the tag `id`.
    pub id: Option<Arc<str>>,
    /// The channel that it happened in.
    pub channel: Option<Login>,
    /// The id of that channel.
    pub channel_id: Option<UserId>,
    /// Of EventSub: the text of the whole message, JSON. Of IRC: the line, without its end.
    pub text: Arc<str>,
}

impl Event {
    /// What tells it from every other event; `None`: nothing does, and the newest counts.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        self.id.as_deref().map(|id| Key::of(&self.kind, id))
    }
}
