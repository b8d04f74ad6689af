//! What a worker says to publishers themselves: that it starts, and what it wants to stand.
//!
//! A worker that comes back says what it wants as a whole, and does not know what stands.
//! What differs is written, and nothing else: so a worker may come back as often as it likes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use baton_protocol::command::{Command, Id};
use baton_slave::{ShardHandle, ShardId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{COMMANDS_VERSION, shard_of};
use crate::envelope::VERSION;

/// Bytes of one, at most.
pub(super) const LONGEST: usize = 64 << 10;

/// See the [module](self).
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "control", rename_all = "snake_case")]
pub(crate) enum Control {
    /// It starts: it is answered when the shard serves, and what it wants stands.
    Start {
        /// What it speaks.
        #[serde(default)]
        versions: Versions,
        #[serde(default)]
        want: Want,
    },
    /// It is answered at once.
    Status,
}

/// Versions that a worker speaks.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct Versions {
    envelope: Option<u32>,
    commands: Option<u32>,
}

/// What is to stand. What is not named is left as it is.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Want {
    /// The `d` of op 3.
    #[serde(default)]
    presence: Option<Value>,
    /// Of each guild the `d` of op 4, without its guild. The bot leaves all other channels.
    #[serde(default, deserialize_with = "by_guild")]
    voice: Option<BTreeMap<u64, Voice>>,
}

/// Names of members are text, whatever reads them.
fn by_guild<'de, D: serde::Deserializer<'de>>(
    reader: D,
) -> Result<Option<BTreeMap<u64, Voice>>, D::Error> {
    let Some(named) = Option::<BTreeMap<String, Voice>>::deserialize(reader)? else {
        return Ok(None);
    };
    let read = named.into_iter().map(|(guild, voice)| {
        let guild = guild.parse().map_err(serde::de::Error::custom)?;
        Ok((guild, voice))
    });
    read.collect::<Result<_, _>>().map(Some)
}

/// Where the bot is in a guild.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Voice {
    #[serde(
        rename = "channel_id",
        deserialize_with = "id",
        serialize_with = "text"
    )]
    channel: u64,
    #[serde(default, rename = "self_mute")]
    mute: bool,
    #[serde(default, rename = "self_deaf")]
    deaf: bool,
}

fn id<'de, D: serde::Deserializer<'de>>(reader: D) -> Result<u64, D::Error> {
    Id::deserialize(reader).map(|id| id.0)
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn text<S: serde::Serializer>(id: &u64, writer: S) -> Result<S::Ok, S::Error> {
    writer.collect_str(id)
}

/// What stands of a shard's session, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub(crate) struct Standing {
    /// The session of which it is.
    #[serde(default)]
    pub(super) session: String,
    /// The `d` of the last op 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    presence: Option<Value>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) voice: BTreeMap<u64, Voice>,
}

/// The same, where a desk and events change it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stands(Arc<Mutex<Standing>>);

impl Control {
    /// Reads one.
    ///
    /// # Errors
    /// Why it is none.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let read = serde_json::from_slice::<Self>(bytes);
        let control = read.map_err(|error| format!("it is no control message: {error}"))?;
        control.check()?;
        Ok(control)
    }

    fn check(&self) -> Result<(), String> {
        let Self::Start { versions, want } = self else {
            return Ok(());
        };
        let known = [
            ("envelope", versions.envelope, VERSION),
            ("commands", versions.commands, COMMANDS_VERSION),
        ];
        for (what, asked, known) in known {
            if let Some(asked) = asked.filter(|asked| *asked != known)
                && !mutant!("any-version")
            {
                return Err(format!(
                    "the worker speaks version {asked} of {what}, and this publisher version \
                     {known}: start a worker that speaks that one"
                ));
            }
        }
        if let Some(presence) = &want.presence {
            let read = Command::read(3, &presence.to_string(), u64::MAX);
            read.map_err(|wrong| wrong.to_string())?;
        }
        Ok(())
    }
}

impl Want {
    /// What has to be written first so that it stands.
    pub(super) fn differs(
        &self,
        standing: &Standing,
        shard: ShardId,
        shards: u32,
    ) -> Option<String> {
        if let Some(presence) = &self.presence
            && (standing.presence.as_ref() != Some(presence) || mutant!("everything-again"))
        {
            return Some(json!({"op": 3, "d": presence}).to_string());
        }
        let voice = self.voice.as_ref()?;
        let is_here = |guild: &u64| shard_of(*guild, shards) == shard;
        let mut there = standing.voice.keys();
        let d = if let Some(guild) =
            there.find(|guild| is_here(guild) && !voice.contains_key(guild))
        {
            json!({"guild_id": guild.to_string(), "channel_id": null, "self_mute": false, "self_deaf": false})
        } else {
            let mut wanted = voice.iter();
            let (guild, wanted) = wanted.find(|(guild, wanted)| {
                is_here(guild) && standing.voice.get(guild) != Some(wanted)
            })?;
            let mut d = json!(wanted);
            d["guild_id"] = json!(guild.to_string());
            d
        };
        Some(json!({"op": 4, "d": d}).to_string())
    }
}

impl Standing {
    /// The same, or nothing if nothing is known.
    pub(super) fn known(&self) -> Self {
        let knows = self.presence.is_some() || !self.voice.is_empty();
        if knows { self.clone() } else { Self::default() }
    }

    /// This payload was written. Whether something else stands now.
    pub(super) fn is_written(&mut self, payload: &str) -> bool {
        #[derive(Deserialize)]
        struct Written {
            op: u64,
            d: Value,
        }
        let Ok(Written { op, d }) = serde_json::from_str(payload) else {
            return false;
        };
        match op {
            3 if self.presence.as_ref() == Some(&d) => false,
            3 => {
                self.presence = Some(d);
                true
            }
            4 => self.moves(d),
            _ => false,
        }
    }

    /// The bot is there, as this says: the `d` of op 4 or of VOICE_STATE_UPDATE. Whether it was
    /// elsewhere.
    fn moves(&mut self, d: Value) -> bool {
        #[derive(Deserialize)]
        struct InGuild {
            guild_id: Id,
        }
        let Ok(InGuild {
            guild_id: Id(guild),
        }) = InGuild::deserialize(&d)
        else {
            return false;
        };
        match Voice::deserialize(d) {
            Ok(voice) => self.voice.insert(guild, voice) != Some(voice),
            // No channel: it has left.
            Err(_) => self.voice.remove(&guild).is_some(),
        }
    }
}

impl Stands {
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Standing) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The shard has this session: what stood in another one is over.
    pub(super) fn is_of(&self, session: &str) {
        self.with(|standing| {
            if standing.session != session {
                *standing = Standing {
                    session: session.to_owned(),
                    ..Standing::default()
                };
            }
        });
    }

    /// What the bot's own voice state is now, by the `d` of a VOICE_STATE_UPDATE.
    pub(super) fn hears(&self, d: Value, handle: &ShardHandle) {
        #[derive(Deserialize)]
        struct OfUser {
            user_id: Id,
        }
        let user = OfUser::deserialize(&d).ok().map(|of| of.user_id.0);
        if user.is_some() && user == handle.user_id().map(|id| id.get()) {
            self.is_of(&handle.session());
            self.with(|standing| standing.moves(d));
        }
    }
}

/// What a shard says of itself.
pub(super) fn status(handle: &ShardHandle) -> Value {
    json!({
        "ready": handle.is_connected(),
        "shards": handle.shard_count(),
        "epoch": handle.epoch().get(),
        "session": &*handle.session(),
        "versions": {"envelope": VERSION, "commands": COMMANDS_VERSION},
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn want(text: &str) -> Want {
        serde_json::from_str(text).unwrap()
    }

    /// All that has to be written, by shard 0 of two, and it is.
    fn written(want: &Want, standing: &mut Standing) -> Vec<String> {
        let next = std::iter::from_fn(|| {
            let payload = want.differs(standing, ShardId(0), 2)?;
            assert!(standing.is_written(&payload), "{payload}");
            assert!(!standing.is_written(&payload), "it stands: {payload}");
            Some(payload)
        });
        next.collect()
    }

    #[test]
    fn only_what_differs_from_what_stands_is_written() {
        let guild = |number: u64| number << 22;
        let mut standing = Standing::default();
        let text = format!(
            r#"{{"presence":{{"status":"idle","since":null}},
                "voice":{{"{}":{{"channel_id":"9"}},"{}":{{"channel_id":"8","self_deaf":true}}}}}}"#,
            guild(2),
            guild(3)
        );
        let wanted = want(&text);
        // Of two shards, guild 3 is of the other one.
        let first = written(&wanted, &mut standing);
        assert_eq!(first.len(), 2, "{first:?}");
        assert!(written(&wanted, &mut standing).is_empty());
        // Somebody moved the bot, and it is wanted in fewer places.
        let moved = json!({"guild_id": guild(2).to_string(), "channel_id": "7", "self_mute": false, "self_deaf": false});
        assert!(standing.moves(moved.clone()) && !standing.moves(moved));
        let back = written(&wanted, &mut standing.clone());
        assert!(
            back.len() == 1 && back[0].contains(r#""channel_id":"9""#),
            "{back:?}"
        );
        let nowhere = written(&want(r#"{"voice":{}}"#), &mut standing);
        assert!(
            nowhere.len() == 1 && nowhere[0].contains(r#""channel_id":null"#),
            "{nowhere:?}"
        );
        assert!(standing.voice.is_empty());
        assert!(written(&want("{}"), &mut standing).is_empty());
    }

    #[test]
    fn a_worker_of_another_version_is_told_which_one_is_spoken_here() {
        let start = |versions: &str| {
            let text = format!(r#"{{"control":"start","versions":{versions}}}"#);
            Control::read(text.as_bytes()).map(|_| ())
        };
        assert_eq!(start(r#"{"envelope":1,"commands":1}"#), Ok(()));
        assert_eq!(start("{}"), Ok(()));
        let refused = start(r#"{"envelope":2}"#).unwrap_err();
        assert!(
            refused.contains("version 2 of envelope, and this publisher version 1"),
            "{refused}"
        );
        assert!(Control::read(br#"{"control":"stop"}"#).is_err());
        let wrong = br#"{"control":"start","want":{"presence":{"status":"moon"}}}"#;
        assert!(Control::read(wrong).unwrap_err().contains("status"));
    }
}
