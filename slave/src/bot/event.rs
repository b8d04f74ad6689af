//! One dispatch, parsed only on demand.

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, OnceLock},
};

use baton_protocol::{Epoch, Sequence, ShardId, message::CarriedEvent};
use serde::{
    Deserialize,
    de::{DeserializeOwned, DeserializeSeed},
};
use serde_json::value::RawValue;
use twilight_model::{
    gateway::event::{DispatchEvent, EventType, GatewayEvent, GatewayEventDeserializer},
    id::{Id, marker::GuildMarker},
};

/// Whether an event may have been handled before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It was not.
    None,
    /// It may have been: its former owner died, or did not finish it in time.
    MayRepeat,
}

/// One dispatch. Cheap to clone.
#[derive(Clone)]
pub struct Event {
    payload: Arc<Payload>,
    epoch: Epoch,
    mark: Mark,
    deadly: bool,
}

struct Payload {
    shard: ShardId,
    sequence: Sequence,
    session: Arc<str>,
    kind: Box<str>,
    json: String,
    parsed: OnceLock<Result<Box<DispatchEvent>, ParseError>>,
}

/// A payload that is not what its type says, or of a type that
/// `twilight-model` does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {detail}")]
pub struct ParseError {
    kind: Box<str>,
    detail: String,
}

impl Event {
    pub(crate) fn new(
        shard: ShardId,
        epoch: Epoch,
        sequence: Sequence,
        session: Arc<str>,
        kind: &str,
        json: String,
    ) -> Self {
        Self {
            payload: Arc::new(Payload {
                shard,
                sequence,
                session,
                kind: kind.into(),
                json,
                parsed: OnceLock::new(),
            }),
            epoch,
            mark: Mark::None,
            deadly: false,
        }
    }

    /// An event that no gateway sent, for a bot's own tests.
    #[must_use]
    pub fn for_test(shard: ShardId, sequence: Sequence, kind: &str, json: &str) -> Self {
        Self::new(
            shard,
            Epoch(1),
            sequence,
            Arc::from(""),
            kind,
            json.to_owned(),
        )
    }

    /// As it goes to the next owner.
    pub(crate) fn carried(&self) -> CarriedEvent {
        CarriedEvent {
            sequence: self.sequence(),
            kind: self.kind().to_owned(),
            json: self.json().to_owned(),
        }
    }

    pub(crate) fn marked(mut self, mark: Mark) -> Self {
        self.mark = mark;
        self
    }

    pub(crate) fn deadly(mut self) -> Self {
        self.deadly = true;
        self
    }

    pub(crate) fn at_epoch(mut self, epoch: Epoch) -> Self {
        self.epoch = epoch;
        self
    }

    /// The shard that received it.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.payload.shard
    }

    /// The epoch of the owner that hands it out.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Its sequence in its session.
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        self.payload.sequence
    }

    /// The first 16 hex digits of the SHA-256 of the session id: with the
    /// sequence it names a dispatch for ever, and it is no secret.
    #[must_use]
    pub fn session(&self) -> &str {
        &self.payload.session
    }

    /// Its type; `None`: `twilight-model` does not know it.
    #[must_use]
    pub fn event_type(&self) -> Option<EventType> {
        EventType::try_from(self.kind()).ok()
    }

    /// Its type as Discord writes it (`MESSAGE_CREATE`), known or not.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.payload.kind
    }

    /// Whether it may have been handled before.
    #[must_use]
    pub const fn mark(&self) -> Mark {
        self.mark
    }

    /// Whether each process that had it died: it is handed out because
    /// [`OnDeadlyEvent::HandOut`](crate::OnDeadlyEvent) says so, once.
    #[must_use]
    pub const fn is_deadly(&self) -> bool {
        self.deadly
    }

    /// The whole payload as it came: `{"t":..,"s":..,"op":0,"d":{..}}`.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.payload.json
    }

    /// The whole payload as it may leave this process: whoever has the session id of READY and
    /// the token takes the session over, so [`session`](Self::session) stands in its place.
    #[must_use]
    pub fn json_without_secret(&self) -> Cow<'_, str> {
        #[derive(Deserialize)]
        struct Ready<'a> {
            #[serde(borrow)]
            session_id: &'a RawValue,
        }
        let json = self.json();
        if self.kind() != "READY" {
            return Cow::Borrowed(json);
        }
        // As it stands there, with its quotes.
        let id = data::<Ready<'_>>(json).map(|ready| ready.session_id.get());
        match id {
            Ok(id) if id.starts_with('"') && id.len() > 2 => {
                Cow::Owned(json.replace(id, &format!("\"{}\"", self.session())))
            }
            Ok(_) | Err(_) => Cow::Borrowed(json),
        }
    }

    /// The event in the types of `twilight-model`. Parsed at the first call,
    /// kept for the next.
    ///
    /// # Errors
    /// The type is not known to `twilight-model`, or the payload is not of it.
    pub fn parse(&self) -> Result<&DispatchEvent, &ParseError> {
        let parse = || self.parse_owned().map(Box::new);
        match self.payload.parsed.get_or_init(parse) {
            Ok(event) => Ok(event),
            Err(error) => Err(error),
        }
    }

    /// The same, not kept: for a caller that takes the event apart.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_owned(&self) -> Result<DispatchEvent, ParseError> {
        let wrong = |detail: String| ParseError {
            kind: self.payload.kind.clone(),
            detail,
        };
        let reader = GatewayEventDeserializer::new(0, Some(self.kind()));
        let mut json = serde_json::Deserializer::from_str(self.json());
        match reader.deserialize(&mut json) {
            Ok(GatewayEvent::Dispatch(_, event)) => Ok(event),
            Ok(_) => Err(wrong("no dispatch".to_owned())),
            Err(error) => Err(wrong(error.to_string())),
        }
    }

    /// The `d` of the payload in a type of your own.
    ///
    /// # Errors
    /// It is not of that type.
    pub fn data<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        data(self.json())
    }

    /// The guild that it is about: `d.id` of a guild's own events, else
    /// `d.guild_id`. Reads the payload once, without parsing the rest of it.
    #[must_use]
    pub fn guild_id(&self) -> Option<Id<GuildMarker>> {
        guild_of(self.kind(), self.json())
    }
}

/// See [`Event::guild_id`].
pub(crate) fn guild_of(kind: &str, json: &str) -> Option<Id<GuildMarker>> {
    #[derive(Deserialize)]
    struct Itself<'a> {
        #[serde(borrow)]
        id: AnId<'a>,
    }
    #[derive(Deserialize)]
    struct Of<'a> {
        #[serde(borrow, default)]
        guild_id: Option<AnId<'a>>,
    }
    // Text as a rule; the model takes numbers too.
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum AnId<'a> {
        Text(#[serde(borrow)] Cow<'a, str>),
        Number(u64),
    }
    let id = match kind {
        "GUILD_CREATE" | "GUILD_UPDATE" | "GUILD_DELETE" => data::<Itself<'_>>(json).ok()?.id,
        _ => data::<Of<'_>>(json).ok()?.guild_id?,
    };
    match id {
        AnId::Text(text) => text.parse().ok(),
        AnId::Number(number) => Id::new_checked(number),
    }
}

/// The `d` of a payload.
pub(crate) fn data<'a, T: Deserialize<'a>>(json: &'a str) -> serde_json::Result<T> {
    #[derive(Deserialize)]
    struct Payload<T> {
        d: T,
    }
    serde_json::from_str::<Payload<T>>(json).map(|payload| payload.d)
}

impl fmt::Debug for Event {
    /// Without the payload: events are never logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("shard", &self.payload.shard)
            .field("epoch", &self.epoch)
            .field("sequence", &self.payload.sequence)
            .field("kind", &self.payload.kind)
            .field("mark", &self.mark)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn event(kind: &str, d: &str) -> Event {
        let json = format!(r#"{{"t":"{kind}","s":7,"op":0,"d":{d}}}"#);
        Event::for_test(ShardId(0), Sequence(7), kind, &json)
    }

    #[test]
    fn the_guild_of_an_event_is_found_without_being_misled_by_what_is_inside() {
        let message = r#"{"message_reference":{"guild_id":"9"},"guild_id":"41","id":"3"}"#;
        assert_eq!(
            event("MESSAGE_CREATE", message).guild_id(),
            Id::new_checked(41)
        );
        assert_eq!(
            event("GUILD_CREATE", r#"{"members":[{"id":"1"}],"id":"42"}"#).guild_id(),
            Id::new_checked(42)
        );
        let number = event("GUILD_CREATE", r#"{"id":42}"#);
        assert_eq!(number.guild_id(), Id::new_checked(42));
        assert_eq!(event("GUILD_CREATE", r#"{"id":0}"#).guild_id(), None);
        assert_eq!(event("USER_UPDATE", r#"{"id":"5"}"#).guild_id(), None);
        assert_eq!(event("MESSAGE_CREATE", "7").guild_id(), None);
    }

    #[test]
    fn the_session_id_of_ready_leaves_the_process_in_no_spelling() {
        for id in ["s3cr3t", r"s3\u0063r3t", r"s3\/cr3t"] {
            let d = format!(r#"{{"v":10, "session_id":"{id}","odd":[1.50,null]}}"#);
            let ready = event("READY", &d);
            let said = ready.json().replace(id, "");
            assert_eq!(ready.json_without_secret(), said);
        }
        for d in [r#"{"session_id":null,"user":null}"#, "{}", "7"] {
            let odd = event("READY", d);
            assert_eq!(odd.json_without_secret(), odd.json());
        }
        let other = event("MESSAGE_CREATE", r#"{"session_id":"s3cr3t"}"#);
        assert!(matches!(other.json_without_secret(), Cow::Borrowed(_)));
    }

    #[test]
    fn a_type_is_a_name_also_where_the_model_does_not_know_it() {
        let known = event("MESSAGE_CREATE", "{}");
        assert_eq!(known.event_type(), Some(EventType::MessageCreate));
        let unknown = event("MOON_RISE", "{}");
        assert_eq!((unknown.event_type(), unknown.kind()), (None, "MOON_RISE"));
    }

    #[test]
    fn a_payload_is_parsed_when_asked_and_what_is_wrong_with_it_is_named() {
        let typing = event(
            "TYPING_START",
            r#"{"channel_id":"2","guild_id":"1","timestamp":1500000000,"user_id":"3"}"#,
        );
        assert!(matches!(
            typing.parse().unwrap(),
            DispatchEvent::TypingStart(_)
        ));
        let error = event("MOON_RISE", "{}").parse().unwrap_err().to_string();
        assert!(error.starts_with("MOON_RISE: "), "{error}");
    }
}
