//! The frames of a session, read.

use std::{borrow::Cow, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{event::Event, helix::Condition, json, name::UserId};

/// A frame that means something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Welcome {
        id: String,
        keepalive: Duration,
    },
    Keepalive,
    Event(Event),
    Reconnect {
        url: String,
    },
    Revoked(Revoked),
    /// Of a type that this build does not know.
    Other,
}

/// A subscription that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// Its id.
    pub id: String,
    /// `authorization_revoked` say.
    pub status: String,
    /// `channel.chat.message` say.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it was about.
    #[serde(default)]
    pub condition: Condition,
}

#[derive(Deserialize)]
struct Whole<'a> {
    metadata: Metadata<'a>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    message_id: Cow<'a, str>,
    #[serde(borrow)]
    message_type: Cow<'a, str>,
    #[serde(borrow, default)]
    subscription_type: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct OfSession {
    session: SessionPart,
}

#[derive(Deserialize)]
struct SessionPart {
    id: String,
    #[serde(default)]
    keepalive_timeout_seconds: Option<u64>,
    #[serde(default)]
    reconnect_url: Option<String>,
}

#[derive(Deserialize)]
struct OfSubscription {
    subscription: Revoked,
}

#[derive(Deserialize)]
struct OfEvent<'a> {
    #[serde(borrow)]
    event: Parts<'a>,
}

#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow, default)]
    message_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    broadcaster_user_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    broadcaster_user_login: Option<Cow<'a, str>>,
}

/// Longest keepalive time that Twitch documents.
const LONGEST: u64 = 600;

/// Reads a frame.
///
/// # Errors
/// What is odd about it, without its text.
pub(super) fn read(text: &str) -> Result<Frame, String> {
    let odd = |error: serde_json::Error| json::odd(&error);
    let whole: Whole<'_> = serde_json::from_str(text).map_err(odd)?;
    let payload = whole.payload.map_or("{}", RawValue::get);
    Ok(match &*whole.metadata.message_type {
        "session_welcome" => {
            let OfSession { session } = serde_json::from_str(payload).map_err(odd)?;
            let seconds = session.keepalive_timeout_seconds.unwrap_or(10);
            Frame::Welcome {
                id: session.id,
                keepalive: Duration::from_secs(seconds.clamp(1, LONGEST)),
            }
        }
        "session_keepalive" => Frame::Keepalive,
        "session_reconnect" => {
            let OfSession { session } = serde_json::from_str(payload).map_err(odd)?;
            let none = || "a reconnect without an address".to_owned();
            Frame::Reconnect {
                url: session.reconnect_url.ok_or_else(none)?,
            }
        }
        "revocation" => {
            let of: OfSubscription = serde_json::from_str(payload).map_err(odd)?;
            Frame::Revoked(of.subscription)
        }
        "notification" => Frame::Event(event(text, payload, &whole.metadata).map_err(odd)?),
        _ => Frame::Other,
    })
}

fn event(text: &str, payload: &str, metadata: &Metadata<'_>) -> serde_json::Result<Event> {
    let OfEvent { event } = serde_json::from_str(payload)?;
    // The same event may come by two subscriptions, with two ids of the message about it.
    let id = event.message_id.as_deref().unwrap_or(&metadata.message_id);
    let login = event.broadcaster_user_login;
    Ok(Event {
        kind: Arc::from(metadata.subscription_type.as_deref().unwrap_or_default()),
        id: Some(Arc::from(id)),
        channel: login.and_then(|login| login.parse().ok()),
        channel_id: event.broadcaster_user_id.map(|id| UserId::from(&*id)),
        text: Arc::from(text),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_is_told_apart_by_the_id_of_its_event_or_else_of_its_message() {
        let of = |event: &str| {
            let text = format!(
                r#"{{"metadata":{{"message_id":"m","message_type":"notification",
                "message_timestamp":"2024-01-01T00:00:00Z","subscription_type":"channel.chat.message"}},
                "payload":{{"subscription":{{}},"event":{event}}}}}"#
            );
            let Frame::Event(event) = read(&text).unwrap() else {
                panic!("{text}");
            };
            event
        };
        let chat =
            of(r#"{"message_id":"e","broadcaster_user_id":"7","broadcaster_user_login":"one"}"#);
        assert_eq!(chat.id.as_deref(), Some("e"));
        assert_eq!(chat.channel_id.unwrap().as_str(), "7");
        assert_eq!(chat.channel.unwrap().as_str(), "one");
        assert_eq!(of(r#"{"user_id":"1"}"#).id.as_deref(), Some("m"));
    }

    #[test]
    fn what_is_odd_about_a_message_is_said_without_what_stands_in_it() {
        let of = |kind: &str, payload: &str| {
            format!(
                r#"{{"metadata":{{"message_id":"m","message_type":"{kind}"}},"payload":{payload}}}"#
            )
        };
        for odd in [
            of("notification", r#"{"event":"private words"}"#),
            of(
                "notification",
                r#"{"event":{"message_id":{"private words":1}}}"#,
            ),
            of(
                "session_reconnect",
                r#"{"session":"wss://host?token=private"}"#,
            ),
            of("session_welcome", r#"{"session":{"id":["private"]}}"#),
            of("revocation", r#"{"subscription":"private"}"#),
            of("notification", r#""private"#),
        ] {
            let why = read(&odd).unwrap_err();
            assert!(!why.contains("private"), "{why}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said_and_what_is_not_known_is_nothing() {
        for odd in [
            "",
            "{}",
            r#"{"metadata":{"message_id":"","message_type":"session_welcome"}}"#,
        ] {
            assert!(read(odd).is_err(), "{odd}");
        }
        let later = r#"{"metadata":{"message_id":"","message_type":"a_later_one"},"payload":7}"#;
        assert_eq!(read(later), Ok(Frame::Other));
    }
}
