//! What passes through a guild without changing it: messages, reactions,
//! typing, interactions, and direct messages.

use std::fmt::Write;

use crate::{
    clock::{iso8601, monotonic_us, unix_ms},
    kind::{EventKind, intents},
    world::{
        cell::{Cell, Event, Sent},
        guild::{BOT_ID, Guild, Member},
        render::{self, put},
    },
};

/// The channel of all direct messages.
const DM_CHANNEL: u64 = 400_000_000_000_000_777;
/// Who writes direct messages.
const DM_USER: u64 = 400_000_000_000_000_555;
const EMOJI: [&str; 4] = ["\u{1f44d}", "\u{2764}\u{fe0f}", "\u{1f389}", "\u{1f440}"];
const WORDS: [&str; 8] = [
    "hello",
    "ping",
    "!help",
    "how does this work",
    "good morning",
    "nice",
    "see the pins",
    "I will look into that tomorrow, thank you for the report",
];

impl Cell {
    /// A new message of any member in any text channel.
    pub(crate) fn message_create(&mut self) -> Option<()> {
        let (guild_id, channel, author) = self.place()?;
        let text = WORDS[self.rng.below(WORDS.len())];
        let message = self.id();
        let sent = Sent {
            guild: guild_id,
            channel,
            message,
            author,
        };
        self.remember(sent);
        self.send_message(EventKind::MessageCreate, sent, text, false);
        Some(())
    }

    /// The cheap event of a probe: a message `probe`, in one guild after the other. A bot may
    /// take the events of one guild one by one.
    pub(crate) fn probe(&mut self) {
        let nth = self.probes % self.order.len().max(1);
        self.probes = self.probes.wrapping_add(1);
        let next = self.order.get(nth).and_then(|id| self.guilds.get(id));
        let place = next.and_then(|guild| {
            let channel = guild.channels.iter().find(|(_, c)| !c.voice)?;
            Some((guild.id, *channel.0, guild.owner))
        });
        let message = self.id();
        let (guild, channel, author) = place.unwrap_or((0, DM_CHANNEL, DM_USER));
        let sent = Sent {
            guild,
            channel,
            message,
            author,
        };
        self.send_message(EventKind::MessageCreate, sent, "probe", true);
    }

    /// An edit of a remembered message.
    pub(crate) fn message_update(&mut self) -> Option<()> {
        let sent = self.remembered()?;
        self.send_message(EventKind::MessageUpdate, sent, "edited", false);
        Some(())
    }

    /// A remembered message is deleted.
    pub(crate) fn message_delete(&mut self) -> Option<()> {
        let sent = self.remembered()?;
        self.sent.retain(|other| other.message != sent.message);
        let body = format!(
            r#"{{"id":"{}","channel_id":"{}","guild_id":"{}"}}"#,
            sent.message, sent.channel, sent.guild
        );
        self.dispatch(Event::new(EventKind::MessageDelete, sent.guild, body));
        Some(())
    }

    /// A reaction to a remembered message, added or removed.
    pub(crate) fn reaction(&mut self, kind: EventKind) -> Option<()> {
        let sent = self.remembered()?;
        let emoji = EMOJI[self.rng.below(EMOJI.len())];
        let guild = self.guilds.get(&sent.guild)?;
        let user = guild.any_member(&mut self.rng)?;
        let member = guild.members.get(&user)?;
        let mut body = format!(
            r#"{{"user_id":"{user}","channel_id":"{}","message_id":"{}","guild_id":"{}","emoji":{{"id":null,"name":"{emoji}"}},"burst":false,"type":0"#,
            sent.channel, sent.message, sent.guild
        );
        if kind == EventKind::ReactionAdd {
            put!(
                body,
                r#","message_author_id":"{}","burst_colors":[],"member":"#,
                sent.author
            );
            render::member(&mut body, user, member, true);
        }
        body.push('}');
        self.dispatch(Event::new(kind, sent.guild, body));
        Some(())
    }

    /// Somebody types.
    pub(crate) fn typing(&mut self) -> Option<()> {
        let (guild_id, channel, user) = self.place()?;
        let member = self.guilds.get(&guild_id)?.members.get(&user)?;
        let mut body = format!(
            r#"{{"channel_id":"{channel}","guild_id":"{guild_id}","user_id":"{user}","timestamp":{},"member":"#,
            unix_ms() / 1000
        );
        render::member(&mut body, user, member, true);
        body.push('}');
        self.dispatch(Event::new(EventKind::TypingStart, guild_id, body));
        Some(())
    }

    /// A member uses a slash command.
    pub(crate) fn interaction(&mut self) -> Option<()> {
        let (guild_id, channel_id, user) = self.place()?;
        let id = self.id();
        let guild = self.guilds.get(&guild_id)?;
        let member = guild.members.get(&user)?;
        let channel = guild.channels.get(&channel_id)?;
        let mut body = format!(
            r#"{{"id":"{id}","application_id":"{BOT_ID}","type":2,"version":1,"token":"interaction-{id}","data":{{"id":"{0}","name":"ping","type":1,"options":[{{"name":"text","type":3,"value":"hello"}}]}},"guild_id":"{guild_id}","guild":{{"id":"{guild_id}","features":[],"locale":"en-US"}},"guild_locale":"en-US","locale":"en-US","app_permissions":"104324673","context":0,"entitlements":[],"entitlement_sku_ids":[],"attachment_size_limit":10485760,"authorizing_integration_owners":{{"0":"{guild_id}"}},"channel_id":"{channel_id}","channel":"#,
            BOT_ID + 1,
        );
        render::channel(&mut body, Some(guild_id), channel_id, channel);
        body.push_str(r#","member":"#);
        render::member(&mut body, user, member, true);
        body.pop();
        body.push_str(r#","permissions":"104324673"}}"#);
        self.dispatch(Event::new(EventKind::InteractionCreate, guild_id, body));
        Some(())
    }

    /// Something that there is no model of yet.
    pub(crate) fn of_next_year(&mut self) -> Option<()> {
        let guild = self.any_guild()?;
        let id = self.id();
        let body = format!(
            r#"{{"id":"{id}","guild_id":"{guild}","things":[{{"kind":7,"of":null}}],"since":{}}}"#,
            unix_ms()
        );
        self.dispatch(Event::new(EventKind::OfNextYear, guild, body));
        Some(())
    }

    /// A direct message; only the cell of shard 0 has any.
    pub(crate) fn direct_message(&mut self) -> Option<()> {
        if self.index != 0 {
            return None;
        }
        let message = self.id();
        let sent = Sent {
            guild: 0,
            channel: DM_CHANNEL,
            message,
            author: DM_USER,
        };
        self.send_message(EventKind::MessageCreate, sent, "hello bot", false);
        Some(())
    }

    /// A member typing or writing: guild, text channel, user.
    fn place(&mut self) -> Option<(u64, u64, u64)> {
        let guild_id = self.any_guild()?;
        let guild = self.guilds.get(&guild_id)?;
        let channel = guild.text_channel(&mut self.rng)?;
        let user = guild.any_member(&mut self.rng)?;
        Some((guild_id, channel, user))
    }

    /// A remembered message of a guild that is available and whose author is
    /// still a member.
    fn remembered(&mut self) -> Option<Sent> {
        let nth = self.rng.below(self.sent.len());
        let sent = *self.sent.get(nth)?;
        let guild = self.guilds.get(&sent.guild)?;
        (guild.available && guild.members.contains_key(&sent.author)).then_some(sent)
    }

    fn send_message(&mut self, kind: EventKind, sent: Sent, text: &str, probe: bool) {
        let guild = self.guilds.get(&sent.guild);
        let member = guild.and_then(|g| g.members.get(&sent.author));
        let body = message(sent, member, guild, text, kind == EventKind::MessageUpdate);
        let reduced = sent.guild != 0
            && self
                .sessions_of(sent.guild)
                .any(|s| s.params.intents & intents::MESSAGE_CONTENT == 0);
        let without_content =
            reduced.then(|| message(sent, member, guild, "", kind == EventKind::MessageUpdate));
        self.dispatch(Event {
            kind,
            guild: sent.guild,
            body,
            without_content,
            probe,
        });
    }
}

/// The `d` of a message. `nonce` holds the creation time on `CLOCK_MONOTONIC`
/// in microseconds, for a reader of the raw payload.
fn message(
    sent: Sent,
    member: Option<&Member>,
    guild: Option<&Guild>,
    text: &str,
    edited: bool,
) -> String {
    let now = iso8601(unix_ms());
    let mut body = String::with_capacity(900);
    put!(
        body,
        r#"{{"id":"{}","channel_id":"{}","type":0,"content":"{text}","timestamp":"{now}","#,
        sent.message,
        sent.channel
    );
    if edited {
        put!(body, r#""edited_timestamp":"{now}","#);
    } else {
        put!(
            body,
            r#""edited_timestamp":null,"nonce":"{}","#,
            monotonic_us()
        );
    }
    body.push_str(
        r#""tts":false,"mention_everyone":false,"mentions":[],"mention_roles":[],"attachments":[],"embeds":[],"components":[],"pinned":false,"flags":0,"#,
    );
    match guild {
        Some(guild) => put!(body, r#""channel_type":0,"guild_id":"{}","#, guild.id),
        None => body.push_str(r#""channel_type":1,"#),
    }
    if let Some(member) = member {
        body.push_str(r#""member":"#);
        render::member(&mut body, sent.author, member, false);
        body.push(',');
    }
    body.push_str(r#""author":"#);
    render::user(&mut body, sent.author);
    body.push('}');
    body
}
