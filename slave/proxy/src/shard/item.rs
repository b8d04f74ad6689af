//! One event as a ring keeps it, and what of it the proxy itself has to know.

use std::{ops::Range, sync::Arc};

use baton_protocol::command::Id;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::upstream::{Dispatch, Json};

/// What an event costs beside its text, with what a slave has of it until it is finished.
const OVERHEAD: usize = 512;
/// What any other number costs.
const NUMBER: usize = 64;

/// One number of a ring.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) number: u64,
    /// When it was taken in.
    pub(crate) came: Instant,
    pub(crate) body: Body,
}

/// What has that number.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Event(Arc<Event>),
    /// Nothing came with it: Discord left the number out, or used it for RESUMED.
    Hole,
    /// Something that is no client's.
    Filler,
    /// A new session of the shard: whoever was there before has lost its state.
    Barrier,
}

/// One event.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) kind: Box<str>,
    json: Json,
    /// Where its `d` is in that.
    data: Range<usize>,
    pub(crate) of_note: OfNote,
}

/// What of an event the proxy has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OfNote {
    Nothing,
    GuildCreate {
        guild: u64,
    },
    GuildDelete {
        guild: u64,
    },
    MemberAdd {
        guild: u64,
        user: u64,
    },
    /// With the text of the user.
    MemberRemove {
        guild: u64,
        user: u64,
        text: Box<str>,
    },
    /// An answer to whoever asked with this nonce.
    Answer {
        nonce: Box<str>,
    },
}

impl Item {
    /// What it counts in bytes.
    pub(crate) fn cost(&self) -> usize {
        match &self.body {
            Body::Event(event) => event.cost(),
            Body::Hole | Body::Filler | Body::Barrier => NUMBER,
        }
    }
}

impl Event {
    /// `None`: the payload has no `d`.
    pub(crate) fn read(dispatch: &Dispatch) -> Option<Self> {
        #[derive(Deserialize)]
        struct Payload<'a> {
            #[serde(borrow)]
            d: &'a RawValue,
        }
        let json = dispatch.json.as_str();
        let payload: Payload<'_> = serde_json::from_str(json).ok()?;
        let text = payload.d.get();
        // It is a part of the payload.
        let at = text.as_ptr().addr() - json.as_ptr().addr();
        Some(Self {
            kind: dispatch.kind.as_str().into(),
            of_note: OfNote::read(&dispatch.kind, text),
            data: at..at + text.len(),
            json: dispatch.json.clone(),
        })
    }

    /// One that is said again, by its `d`.
    pub(crate) fn again(kind: &str, data: String) -> Self {
        Self {
            kind: kind.into(),
            of_note: OfNote::Nothing,
            data: 0..data.len(),
            json: data.into(),
        }
    }

    /// What it counts in bytes.
    pub(crate) fn cost(&self) -> usize {
        OVERHEAD + self.kind.len() + self.json.as_str().len()
    }

    /// The text of its `d`.
    pub(crate) fn data(&self) -> &str {
        let text = self.json.as_str().get(self.data.clone());
        text.unwrap_or("null")
    }
}

#[derive(Deserialize)]
pub(super) struct WithId {
    pub(super) id: Id,
}

#[derive(Deserialize)]
pub(super) struct WithUser {
    pub(super) user: WithId,
}

#[derive(Deserialize)]
struct AMember<'a> {
    guild_id: Id,
    #[serde(borrow)]
    user: &'a RawValue,
}

#[derive(Deserialize)]
struct Nonce {
    nonce: Option<Box<str>>,
}

#[derive(Deserialize)]
struct Limited {
    meta: Nonce,
}

impl OfNote {
    fn read(kind: &str, text: &str) -> Self {
        // What cannot be read is a client's to judge.
        Self::find(kind, text).unwrap_or(Self::Nothing)
    }

    fn find(kind: &str, text: &str) -> Option<Self> {
        fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
            serde_json::from_str(text).ok()
        }
        Some(match kind {
            "GUILD_CREATE" => Self::GuildCreate {
                guild: read::<WithId>(text)?.id.0,
            },
            "GUILD_DELETE" => Self::GuildDelete {
                guild: read::<WithId>(text)?.id.0,
            },
            "GUILD_MEMBER_ADD" => {
                let AMember { guild_id, user } = read(text)?;
                let user = read::<WithId>(user.get())?.id.0;
                let guild = guild_id.0;
                Self::MemberAdd { guild, user }
            }
            "GUILD_MEMBER_REMOVE" => {
                let AMember { guild_id, user } = read(text)?;
                Self::MemberRemove {
                    guild: guild_id.0,
                    user: read::<WithId>(user.get())?.id.0,
                    text: user.get().into(),
                }
            }
            "GUILD_MEMBERS_CHUNK" => Self::Answer {
                nonce: read::<Nonce>(text)?.nonce?,
            },
            "RATE_LIMITED" => Self::Answer {
                nonce: read::<Limited>(text)?.meta.nonce?,
            },
            _ => return None,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use baton_protocol::Sequence;

    use super::*;

    fn event(kind: &str, json: &str) -> Option<Event> {
        Event::read(&Dispatch {
            sequence: Sequence(1),
            kind: kind.to_owned(),
            json: json.to_owned().into(),
        })
    }

    #[test]
    fn an_event_is_its_text_whatever_it_says_and_in_whichever_order() {
        let moon = event(
            "MOON_RISE",
            r#"{"d": {"s":1,"é":[1.50]}, "op":0,"s":9,"t":"X"}"#,
        );
        let moon = moon.unwrap();
        assert_eq!(moon.data(), r#"{"s":1,"é":[1.50]}"#);
        assert_eq!(moon.of_note, OfNote::Nothing);
        assert!(event("MOON_RISE", r#"{"op":0}"#).is_none());
        assert!(event("MOON_RISE", "no JSON").is_none());
    }

    #[test]
    fn what_is_of_note_is_read_and_what_is_odd_is_not() {
        let of = |kind: &str, d: &str| event(kind, &format!(r#"{{"d":{d}}}"#)).unwrap().of_note;
        let remove = r#"{"user":{"id":"7","username":"x"},"guild_id":"3"}"#;
        assert_eq!(
            of("GUILD_MEMBER_REMOVE", remove),
            OfNote::MemberRemove {
                guild: 3,
                user: 7,
                text: r#"{"id":"7","username":"x"}"#.into()
            }
        );
        let limited = r#"{"opcode":8,"retry_after":1.5,"meta":{"guild_id":"3","nonce":"n"}}"#;
        let answer = OfNote::Answer { nonce: "n".into() };
        assert_eq!(of("RATE_LIMITED", limited), answer);
        assert_eq!(of("GUILD_CREATE", r#"{"id":"moon"}"#), OfNote::Nothing);
        assert_eq!(
            of("GUILD_MEMBERS_CHUNK", r#"{"nonce":null}"#),
            OfNote::Nothing
        );
    }
}
