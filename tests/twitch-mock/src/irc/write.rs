//! What the server of IRC says.

use std::fmt::Write;

use crate::{chat::Told, irc::line::escape, ledger::Kind, state::Channel};

/// The server's name.
pub(crate) const HOST: &str = "tmi.twitch.tv";

/// The lines after a login.
pub(crate) fn welcome(nick: &str) -> String {
    let lines = [
        ("001", "Welcome, GLHF!"),
        ("002", "Your host is tmi.twitch.tv"),
        ("003", "This server is rather new"),
        ("004", "-"),
        ("375", "-"),
        ("372", "You are in a maze of twisty passages, all alike."),
        ("376", ">"),
    ];
    let mut text = String::new();
    for (number, words) in lines {
        let _ = write!(text, ":{HOST} {number} {nick} :{words}\r\n");
    }
    text
}

/// The state of a user everywhere.
pub(crate) fn global_user_state(tags: bool, nick: &str, id: u64) -> String {
    let state = format!(
        "@badge-info=;badges=;color=;display-name={nick};emote-sets=0;user-id={id};user-type= "
    );
    format!("{}:{HOST} GLOBALUSERSTATE\r\n", tagged(tags, &state))
}

/// The state of a user in a channel.
pub(crate) fn user_state(tags: bool, nick: &str, channel: &str, moderator: bool) -> String {
    let state = format!(
        "@badge-info=;badges={};color=;display-name={nick};emote-sets=0;mod={};subscriber=0;user-type={} ",
        if moderator { "moderator/1" } else { "" },
        u8::from(moderator),
        if moderator { "mod" } else { "" },
    );
    format!("{}:{HOST} USERSTATE #{channel}\r\n", tagged(tags, &state))
}

/// The state of a channel.
pub(crate) fn room_state(tags: bool, channel: &Channel) -> String {
    let state = format!(
        "@emote-only=0;followers-only=-1;r9k=0;room-id={};slow=0;subs-only=0 ",
        channel.id
    );
    let login = &channel.login;
    format!("{}:{HOST} ROOMSTATE #{login}\r\n", tagged(tags, &state))
}

/// The echo of a JOIN, and who is there.
pub(crate) fn joined(nick: &str, channel: &str) -> String {
    format!(
        ":{nick}!{nick}@{nick}.{HOST} JOIN #{channel}\r\n\
         :{nick}.{HOST} 353 {nick} = #{channel} :{nick}\r\n\
         :{nick}.{HOST} 366 {nick} #{channel} :End of /NAMES list\r\n"
    )
}

/// JOIN or PART of somebody.
pub(crate) fn membership(what: &str, nick: &str, channel: &str) -> String {
    format!(":{nick}!{nick}@{nick}.{HOST} {what} #{channel}\r\n")
}

/// A NOTICE; `to` is `*` or a channel with its `#`.
pub(crate) fn notice(tags: bool, id: Option<&str>, to: &str, text: &str) -> String {
    let tag = id.map_or_else(String::new, |id| format!("@msg-id={id} "));
    format!("{}:{HOST} NOTICE {to} :{text}\r\n", tagged(tags, &tag))
}

fn tagged(tags: bool, text: &str) -> &str {
    if tags { text } else { "" }
}

/// Something that happened in a channel; `None` if IRC does not tell it.
pub(crate) fn event(told: &Told<'_>, tags: bool, sent_ms: u64) -> Option<String> {
    let Told {
        what,
        message,
        author_id,
        channel_login,
        channel_id,
        moderator,
        target,
        ..
    } = told;
    let author = &what.author;
    let about_user = format!(
        "badge-info=;badges=;color=;display-name={author};emotes=;id={};mod={};room-id={channel_id};\
         subscriber=0;tmi-sent-ts={sent_ms};turbo=0;user-id={author_id};user-type=",
        message.id,
        u8::from(*moderator),
    );
    let (tag, rest) = match what.kind {
        Kind::Message => (
            format!("first-msg=0;flags=;{about_user}"),
            format!(
                ":{author}!{author}@{author}.{HOST} PRIVMSG #{channel_login} :{}",
                what.text
            ),
        ),
        Kind::Sub => (
            format!(
                "{about_user};flags=;login={author};msg-id=sub;msg-param-cumulative-months=1;\
                 msg-param-months=0;msg-param-should-share-streak=0;msg-param-sub-plan=1000;\
                 msg-param-sub-plan-name=Plan;system-msg={}",
                escape(&format!("{author} subscribed at Tier 1."))
            ),
            user_notice(channel_login, &what.text),
        ),
        Kind::Raid => (
            format!(
                "{about_user};flags=;login={author};msg-id=raid;msg-param-displayName={author};\
                 msg-param-login={author};msg-param-profileImageURL={};msg-param-viewerCount=5;\
                 system-msg={}",
                crate::chat::PICTURE,
                escape(&format!("5 raiders from {author} have joined!"))
            ),
            user_notice(channel_login, ""),
        ),
        Kind::ClearChat => (
            format!(
                "ban-duration=60;room-id={channel_id};target-user-id={author_id};\
                 tmi-sent-ts={sent_ms}"
            ),
            format!(":{HOST} CLEARCHAT #{channel_login} :{author}"),
        ),
        Kind::ClearMsg => {
            // Nothing was said yet: the message that goes is the event itself.
            let (id, login) = target
                .as_ref()
                .map_or((&*message.id, author.as_str()), |(id, by)| (&**id, by));
            (
                format!("login={login};room-id=;target-msg-id={id};tmi-sent-ts={sent_ms}"),
                format!(":{HOST} CLEARMSG #{channel_login} :{}", what.text),
            )
        }
        Kind::Online => return None,
    };
    Some(if tags {
        format!("@{tag} {rest}\r\n")
    } else {
        format!("{rest}\r\n")
    })
}

fn user_notice(channel: &str, text: &str) -> String {
    if text.is_empty() {
        format!(":{HOST} USERNOTICE #{channel}")
    } else {
        format!(":{HOST} USERNOTICE #{channel} :{text}")
    }
}
