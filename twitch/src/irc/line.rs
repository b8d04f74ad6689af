//! What a line of Twitch means.

use std::sync::Arc;

use tmi::{Command, IrcMessageRef};

use crate::{
    event::Event,
    name::{Login, UserId},
};

/// Of the word of a PING so much is sent back.
const LONGEST_WORD: usize = 200;

/// Twitch sends about 25 with a message.
const MOST_TAGS: usize = 128;

/// Why a channel could not be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The account is in as many channels as Twitch allows.
    Cap,
    /// The account is banned there.
    Banned,
    /// The channel is suspended, or there is none.
    Suspended,
    /// Twitch did not answer.
    Unanswered,
}

/// What a line means to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// It is logged in, as this one.
    Welcome(Login),
    /// The login is refused.
    Refused(String),
    Ping(String),
    Pong,
    Reconnect,
    /// The own JOIN came back.
    Echo(Login),
    /// The room's state: with the id of the channel.
    Room(Login, Option<UserId>, Event),
    /// A JOIN is refused; or, where none was asked for, something that was said.
    NoJoin(Login, Reason, Event),
    /// The own PART came back.
    Left(Login),
    Event(Event),
    /// Nothing of interest.
    Nothing,
}

/// Reads a line; `me`: who is logged in.
pub(super) fn read(text: &str, me: Option<&Login>) -> Line {
    let Some(message) = parsed(text) else {
        return Line::Nothing;
    };
    let channel = message
        .channel()
        .and_then(|name| name.parse::<Login>().ok());
    let tag = |name: &str| {
        let mut tags = message.tags();
        let found = tags.find(|(key, value)| *key == name && !value.is_empty());
        found.map(|(_, value)| value)
    };
    let is_own = || {
        let nick = message.prefix().and_then(|prefix| prefix.nick);
        nick.is_some() && nick == me.map(Login::as_str)
    };
    let event = || event(text, message.command().as_str(), channel.clone(), tag);
    match message.command() {
        Command::RplWelcome => {
            let me = message.params().and_then(|params| params.split(' ').next());
            me.and_then(|me| me.parse().ok())
                .map_or(Line::Nothing, Line::Welcome)
        }
        Command::Ping => Line::Ping(word(message.text().unwrap_or_default())),
        Command::Pong => Line::Pong,
        Command::Reconnect => Line::Reconnect,
        Command::Join => match channel {
            Some(channel) if is_own() => Line::Echo(channel),
            Some(_) | None => Line::Nothing,
        },
        Command::Part => match channel {
            Some(channel) if is_own() => Line::Left(channel),
            Some(_) | None => Line::Nothing,
        },
        Command::RoomState => match &channel {
            Some(name) => Line::Room(name.clone(), tag("room-id").map(UserId::from), event()),
            None => Line::Nothing,
        },
        Command::Notice => {
            let text = message.text().unwrap_or_default();
            notice(text, tag("msg-id"), channel.clone(), event())
        }
        Command::Privmsg
        | Command::UserNotice
        | Command::ClearChat
        | Command::ClearMsg
        | Command::UserState
        | Command::Whisper => Line::Event(event()),
        Command::GlobalUserState
        | Command::Capability
        | Command::RplYourHost
        | Command::RplCreated
        | Command::RplMyInfo
        | Command::RplNames
        | Command::RplEndOfNames
        | Command::RplMotd
        | Command::RplMotdStart
        | Command::RplEndOfMotd
        | Command::Other(_) => Line::Nothing,
    }
}

/// The parser panics at tags without an end, and where there are more than it has room for.
fn parsed(text: &str) -> Option<IrcMessageRef<'_>> {
    if let Some(rest) = text.strip_prefix('@') {
        let (tags, _) = rest.split_once(' ')?;
        if tags.split(';').count() > MOST_TAGS {
            return None;
        }
    }
    IrcMessageRef::parse(text)
}

/// What is sent back has to be one line, whatever came.
fn word(text: &str) -> String {
    let word = text.chars().take_while(|c| !c.is_control());
    word.take(LONGEST_WORD).collect()
}

/// Whether a USERSTATE says that the account is moderator or broadcaster.
#[must_use]
pub fn is_moderator(text: &str) -> bool {
    let Some(message) = parsed(text) else {
        return false;
    };
    message.tags().any(|(key, value)| match key {
        "mod" => value == "1",
        "badges" => value.split(',').any(|badge| {
            let name = badge.split('/').next().unwrap_or_default();
            matches!(name, "broadcaster" | "moderator" | "lead_moderator")
        }),
        _ => false,
    })
}

fn notice(text: &str, id: Option<&str>, channel: Option<Login>, event: Event) -> Line {
    let reason = match id {
        Some("msg_concurrent_channel_limit_reached") => Reason::Cap,
        Some("msg_banned") => Reason::Banned,
        Some("msg_channel_suspended" | "tos_ban") => Reason::Suspended,
        // Before the login nothing has an id.
        None if channel.is_none() => return Line::Refused(text.chars().take(200).collect()),
        Some(_) | None => return Line::Event(event),
    };
    match channel {
        Some(channel) => Line::NoJoin(channel, reason, event),
        None => Line::Event(event),
    }
}

/// What happened, with what tells it from everything else.
fn event<'a>(
    text: &str,
    command: &str,
    channel: Option<Login>,
    tag: impl Fn(&str) -> Option<&'a str>,
) -> Event {
    let id = match command {
        "PRIVMSG" | "USERNOTICE" => tag("id").map(str::to_owned),
        "WHISPER" => tag("message-id").map(str::to_owned),
        "CLEARMSG" => tag("target-msg-id").map(str::to_owned),
        // Without an id of its own: who was cleared where, and when.
        "CLEARCHAT" => tag("room-id")
            .zip(tag("tmi-sent-ts"))
            .map(|(room, at)| format!("{room}/{}/{at}", tag("target-user-id").unwrap_or_default())),
        _ => None,
    };
    Event {
        kind: Arc::from(command),
        id: id.map(Arc::from),
        channel,
        channel_id: tag("room-id").map(UserId::from),
        text: Arc::from(text),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn me() -> Login {
        "bot".parse().unwrap()
    }

    fn event_of(text: &str) -> Event {
        let Line::Event(event) = read(text, Some(&me())) else {
            panic!("{text}");
        };
        event
    }

    #[test]
    fn a_message_has_its_id_and_the_id_of_its_channel() {
        let event =
            event_of("@id=abc;room-id=7;user-id=9 :x!x@x.tmi.twitch.tv PRIVMSG #One :hello there");
        assert_eq!(
            (&*event.kind, event.id.as_deref()),
            ("PRIVMSG", Some("abc"))
        );
        assert_eq!(event.channel.unwrap().as_str(), "one");
        assert_eq!(event.channel_id.unwrap().as_str(), "7");
    }

    #[test]
    fn a_ping_is_answered_in_one_line_whatever_its_word_is() {
        for (text, word) in [
            ("PING :tmi.twitch.tv", "tmi.twitch.tv"),
            ("PING :a\rQUIT", "a"),
            ("PING", ""),
        ] {
            assert_eq!(read(text, Some(&me())), Line::Ping(word.to_owned()));
        }
        let Line::Ping(word) = read(&format!("PING :{}", "x".repeat(10_000)), None) else {
            panic!("a PING");
        };
        assert!(word.len() <= LONGEST_WORD);
    }

    #[test]
    fn tags_without_an_end_and_more_tags_than_there_can_be_are_no_line_and_no_panic() {
        let many = |count: usize| {
            let tags: Vec<String> = (0..count).map(|n| format!("k{n}=v")).collect();
            format!("@{} :x!x@x PRIVMSG #one :hello", tags.join(";"))
        };
        for text in [
            "@",
            "@a=b",
            "@a=b;",
            "@a=\u{e9}",
            "@a=b PRIVMSG",
            &many(129),
            &many(5000),
        ] {
            let _ = read(text, Some(&me()));
            assert!(!is_moderator(text), "{text}");
        }
        assert!(matches!(read(&many(128), None), Line::Event(_)));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2000))]

        /// Whatever Twitch writes, or somebody in its place.
        #[test]
        fn no_line_panics(
            tags in "(@[a-z-]{0,4}(=[ -~]{0,4})?(;[a-z=]{0,5})?)? ?",
            prefix in "(:[a-z!@. ]{0,8})? ?",
            command in "(PRIVMSG|NOTICE|PING|PONG|JOIN|PART|ROOMSTATE|001|CAP|CLEARCHAT|USERSTATE|[A-Z]{0,3})",
            rest in "( #?[a-z]{0,3})?( :?\\PC{0,8})?",
            odd in "\\PC{0,40}",
        ) {
            for text in [format!("{tags}{prefix}{command}{rest}"), format!("{tags}{odd}"), odd] {
                let _ = read(&text, Some(&me()));
                let _ = read(&text, None);
                let _ = is_moderator(&text);
            }
        }
    }

    #[test]
    fn what_has_no_id_is_told_by_what_it_is_about_or_by_nothing() {
        let clear = "@room-id=7;target-user-id=9;tmi-sent-ts=5 :tmi.twitch.tv CLEARCHAT #one :x";
        assert_eq!(event_of(clear).id.as_deref(), Some("7/9/5"));
        let state = "@badges= :tmi.twitch.tv USERSTATE #one";
        assert_eq!(event_of(state).id, None);
    }

    #[test]
    fn a_moderator_is_known_by_the_tag_or_by_a_badge() {
        let is = |tags: &str| is_moderator(&format!("@{tags} :tmi.twitch.tv USERSTATE #one"));
        assert!(is("badges=;mod=1"));
        assert!(is("badges=broadcaster/1,subscriber/0;mod=0"));
        assert!(is("badges=moderator/1;mod=0"));
        assert!(!is("badges=subscriber/12;mod=0"));
        assert!(!is("badges=;mod="));
        assert!(!is_moderator(":tmi.twitch.tv USERSTATE #one"));
    }

    #[test]
    fn a_join_counts_if_it_is_the_own_one_and_a_refusal_has_its_reason() {
        let read = |text: &str| read(text, Some(&me()));
        let one: Login = "one".parse().unwrap();
        let own = read(":bot!bot@bot.tmi.twitch.tv JOIN #one");
        assert_eq!(own, Line::Echo(one.clone()));
        assert_eq!(read(":x!x@x.tmi.twitch.tv JOIN #one"), Line::Nothing);
        let refused = |id: &str| read(&format!("@msg-id={id} :tmi.twitch.tv NOTICE #one :no"));
        assert!(matches!(refused("msg_banned"), Line::NoJoin(at, Reason::Banned, _) if at == one));
        assert!(matches!(refused("slow_on"), Line::Event(_)));
        let login = read(":tmi.twitch.tv NOTICE * :Login authentication failed");
        assert_eq!(
            login,
            Line::Refused("Login authentication failed".to_owned())
        );
    }
}
