//! What happens in a channel: it is numbered, and sent to everybody who is to get it.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    clock::unix_ms,
    config::{Config, is_login},
    error::Error,
    eventsub::{frames, route},
    irc::write,
    ledger::{Kind, Message, Recipient},
    state::{Shared, State},
    wire::Note,
};

/// Characters of a message.
const LONGEST: usize = 500;
/// The picture of every user: libraries want one.
pub(crate) const PICTURE: &str = "https://static-cdn.jtvnw.net/nobody-70x70.png";
/// Channels for which an account's last words are remembered.
const REMEMBERED: usize = 1000;

/// Something that happens in a channel.
#[derive(Clone, Debug)]
pub(crate) struct Happening {
    pub(crate) kind: Kind,
    /// The place of the channel.
    pub(crate) channel: usize,
    /// Who speaks, subscribes or raids; or who is cleared.
    pub(crate) author: String,
    pub(crate) text: String,
    /// The connection that sent it and does not hear it.
    pub(crate) from: Option<u64>,
}

/// What is known of a happening when it is written out.
#[derive(Debug)]
pub(crate) struct Told<'a> {
    pub(crate) what: &'a Happening,
    pub(crate) message: &'a Message,
    pub(crate) author_id: u64,
    pub(crate) channel_login: &'a str,
    pub(crate) channel_id: u64,
    pub(crate) moderator: bool,
    /// What a CLEARMSG deletes: id and author.
    pub(crate) target: Option<(Arc<str>, String)>,
    pub(crate) sent_ms: u64,
}

/// Why something was not said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The account is ignored, since now or before.
    Ignored,
    Banned,
    Suspended,
    TooLong,
    Duplicate,
    Empty,
}

impl Refusal {
    /// The `msg-id` of a NOTICE, the code of a `drop_reason`.
    pub(crate) const fn id(self) -> &'static str {
        match self {
            Self::Ignored => "msg_ratelimit",
            Self::Banned => "msg_banned",
            Self::Suspended => "msg_channel_suspended",
            Self::TooLong => "msg_rejected_mandatory",
            Self::Duplicate => "msg_duplicate",
            Self::Empty => "msg_rejected",
        }
    }

    pub(crate) fn text(self, channel: &str) -> String {
        match self {
            Self::Ignored => {
                "Your message was not sent because you are sending messages too quickly.".to_owned()
            }
            Self::Banned => format!("You are permanently banned from talking in {channel}."),
            Self::Suspended => "This channel does not exist or has been suspended.".to_owned(),
            Self::TooLong => "Your message is longer than 500 characters.".to_owned(),
            Self::Duplicate => "Your message was not sent because it is identical to the \
                previous one you sent, less than 30 seconds ago."
                .to_owned(),
            Self::Empty => "Your message is empty.".to_owned(),
        }
    }
}

/// A user says something. Both ways to send, PRIVMSG and Helix, use up the same limits.
pub(crate) fn say(
    shared: &Shared,
    state: &mut State,
    login: &str,
    channel: usize,
    text: &str,
    from: Option<u64>,
) -> Result<Message, Refusal> {
    let allowed = may_say(&shared.config, state, login, channel, text);
    let who = from.map_or_else(|| "helix".to_owned(), |conn| format!("irc/{conn}"));
    if let Err(refusal) = allowed {
        state.counters.unsaid += 1;
        shared.ledger.log(
            who,
            "unsaid",
            format!(
                "{login} in {}: {}",
                state.channels[channel].login,
                refusal.id()
            ),
        );
        return Err(refusal);
    }
    state.counters.said += 1;
    let name = &state.channels[channel].login;
    shared
        .ledger
        .log(who, "said", format!("{login} in {name}: {text}"));
    let what = Happening {
        kind: Kind::Message,
        channel,
        author: login.to_owned(),
        text: text.to_owned(),
        from,
    };
    Ok(publish(shared, state, &what))
}

fn may_say(
    config: &Config,
    state: &mut State,
    login: &str,
    channel: usize,
    text: &str,
) -> Result<(), Refusal> {
    let now = Instant::now();
    let limits = &config.irc;
    let privileged = state.is_privileged(login, channel);
    let suspended = state.channels[channel].suspended;
    let Some(user) = state.user(login) else {
        return Err(Refusal::Ignored);
    };
    if user.ignored_until.is_some_and(|until| now < until) {
        return Err(Refusal::Ignored);
    }
    // One window for all channels: who is moderator of one may have used up by that what
    // was allowed in another.
    let limit = if privileged {
        limits.privmsg_moderator
    } else {
        limits.privmsg
    };
    if !user.said.take(now, limit) {
        user.ignored_until = Some(now + limits.ignored_for);
        state.counters.ignored += 1;
        return Err(Refusal::Ignored);
    }
    if suspended {
        return Err(Refusal::Suspended);
    }
    if user.banned_in.contains(&channel) {
        return Err(Refusal::Banned);
    }
    if text.trim().is_empty() {
        return Err(Refusal::Empty);
    }
    if text.chars().count() > LONGEST {
        return Err(Refusal::TooLong);
    }
    let last = user.last_said.get(&channel);
    let again = last.is_some_and(|(said, at)| {
        said == text && now.duration_since(*at) < limits.duplicate_within
    });
    if again && !privileged {
        return Err(Refusal::Duplicate);
    }
    if user.last_said.len() >= REMEMBERED {
        user.last_said.pop_first();
    }
    user.last_said.insert(channel, (text.to_owned(), now));
    Ok(())
}

/// Gives a happening its number and sends it to everybody who is to get it.
pub(crate) fn publish(shared: &Shared, state: &mut State, what: &Happening) -> Message {
    let id = state.uuid();
    let login = Arc::clone(&state.channels[what.channel].login);
    let message = shared.ledger.create(what.kind, &login, &id);
    let told = Told {
        what,
        message: &message,
        author_id: author_id(state, &what.author),
        channel_login: &login,
        channel_id: state.channels[what.channel].id,
        moderator: state.is_privileged(&what.author, what.channel),
        target: state.channels[what.channel].last_message.clone(),
        sent_ms: unix_ms(),
    };
    to_irc(shared, state, &told);
    let condition = told.channel_id;
    for subscription in state.subscriptions.of(what.kind.subscription(), condition) {
        let text = frames::chat(&subscription, &told, state);
        route::notify(shared, state, &subscription, &text, Some(message.number));
    }
    if what.kind == Kind::Message {
        let last = (Arc::clone(&message.id), what.author.clone());
        state.channels[what.channel].last_message = Some(last);
    }
    message
}

fn author_id(state: &State, author: &str) -> u64 {
    state
        .users
        .get(author)
        .map_or_else(|| state.id_of(author), |user| user.id)
}

fn to_irc(shared: &Shared, state: &mut State, told: &Told<'_>) {
    let config = &shared.config;
    let now = Instant::now();
    let conns: Vec<u64> = state.channels[told.what.channel]
        .joined
        .iter()
        .copied()
        .filter(|conn| Some(*conn) != told.what.from)
        .collect();
    // Connections differ in their capabilities only.
    let mut texts: [Option<Arc<str>>; 2] = [None, None];
    let own_time = told.what.kind == Kind::ClearChat && !config.unknown.clearchat_same_time;
    for conn in conns {
        let travel = state.travel(config.irc.delay, config.irc.jitter);
        let Some(client) = state.clients.get_mut(&conn) else {
            continue;
        };
        if told.what.kind != Kind::Message && !client.caps.commands {
            continue;
        }
        let tags = client.caps.tags;
        let known = &mut texts[usize::from(tags)];
        let text = match known {
            Some(text) if !own_time => Arc::clone(text),
            Some(_) | None => {
                let later = if own_time { conn } else { 0 };
                let Some(text) = write::event(told, tags, told.sent_ms + later) else {
                    return;
                };
                Arc::clone(known.insert(text.into()))
            }
        };
        let note = Note {
            number: told.message.number,
            to: Recipient::Irc(conn),
            conduit: None,
        };
        // A connection that takes no more ends; what it missed is its loss.
        let _ = client.handle.event(now, travel, text, Some(note));
    }
}

/// Makes something happen by hand.
pub(crate) fn happen(
    shared: &Shared,
    kind: Kind,
    channel: &str,
    author: &str,
    text: &str,
) -> Result<Message, Error> {
    if !is_login(author) {
        return Err(Error::invalid(format!("{author:?} is no login")));
    }
    if text.contains(['\r', '\n', '\0']) {
        return Err(Error::invalid("a text is one line"));
    }
    let mut state = shared.state();
    let what = Happening {
        kind,
        channel: state.known_channel(channel)?,
        author: author.to_owned(),
        text: text.to_owned(),
        from: None,
    };
    Ok(publish(shared, &mut state, &what))
}
