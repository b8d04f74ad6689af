//! What is published of an event.

use std::{borrow::Cow, fmt};

use baton_slave::{Epoch, Event, Mark, Sequence, ShardHandle, ShardId};
use bytes::Bytes;

/// One event on its way to a broker. `docs/envelope.md` says what becomes of each field.
#[derive(Clone)]
pub struct Dispatch {
    /// The shard that received it.
    pub shard: ShardId,
    /// Shards of the whole bot.
    pub shards: u32,
    /// The epoch of the owner.
    pub epoch: Epoch,
    /// Its session's fingerprint: the first 16 hex digits of the SHA-256 of the session id.
    pub session: String,
    /// Its sequence in that session.
    pub sequence: Sequence,
    /// Its type as Discord writes it.
    pub kind: String,
    /// Whether another process may have published it already.
    pub may_repeat: bool,
    /// The guild that it is about.
    pub guild: Option<u64>,
    /// The whole payload as it came, without the session id that READY has.
    pub payload: Bytes,
}

impl Dispatch {
    /// Of an event of this shard. The payload is not copied, but for READY.
    #[must_use]
    pub fn of(event: &Event, shard: &ShardHandle) -> Self {
        Self {
            shard: event.shard(),
            shards: shard.shard_count(),
            epoch: event.epoch(),
            session: event.session().to_owned(),
            sequence: event.sequence(),
            kind: event.kind().to_owned(),
            may_repeat: event.mark() == Mark::MayRepeat,
            guild: event.guild_id().map(|guild| guild.get()),
            payload: match event.json_without_secret() {
                Cow::Owned(json) => Bytes::from(json),
                Cow::Borrowed(_) => Bytes::from_owner(Json(event.clone())),
            },
        }
    }
}

/// The payload of an event, for as long as somebody wants it.
struct Json(Event);

impl AsRef<[u8]> for Json {
    fn as_ref(&self) -> &[u8] {
        self.0.json().as_bytes()
    }
}

impl fmt::Debug for Dispatch {
    /// Without the payload: events are never logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatch")
            .field("shard", &self.shard)
            .field("session", &self.session)
            .field("sequence", &self.sequence)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_payload_goes_as_it_came_and_the_session_id_of_ready_does_not_go() {
        let (shard, _commands) = ShardHandle::for_test();
        let of = |kind: &str, d: &str| {
            let json = format!(r#"{{"t":"{kind}","s":2,"op":0,"d":{d}}}"#);
            let event = Event::for_test(ShardId(0), Sequence(2), kind, &json);
            let dispatch = Dispatch::of(&event, &shard);
            (
                json,
                String::from_utf8_lossy(&dispatch.payload).into_owned(),
            )
        };
        let (json, sent) = of("MESSAGE_CREATE", r#"{"guild_id":"1", "odd":[1.50]}"#);
        assert_eq!(sent, json);
        let (json, sent) = of("READY", r#"{"v":10, "session_id":"s3cr3t", "odd":[1.50]}"#);
        assert_eq!(sent, json.replace("s3cr3t", ""));
    }
}
