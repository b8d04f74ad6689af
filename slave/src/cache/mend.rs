//! What `twilight-model` cannot read, read without the part that it does not know.
//!
//! Discord sends values before a model knows them, and now and then ones that its
//! documentation does not allow. One of them must not cost the guild around it. So
//! a payload that does not parse is mended: what is wrong is taken out, or replaced
//! by the emptiest value where it may not be missing, or else what holds it is
//! taken out. An id is never made up, and neither is what a thing is. What was
//! taken out is named by its path.
//!
//! Lists are mended one element after the other, so that a guild of which every
//! member is odd takes time in proportion to its members.

use std::collections::BTreeMap;

use baton_protocol::text::without_lone_surrogates;
use serde::de::{DeserializeOwned, DeserializeSeed, Error as _};
use serde_json::{Value, json};
use serde_path_to_error::{Deserializer, Path, Segment, Track};
use twilight_model::{
    channel::{Channel, StageInstance, message::Sticker},
    gateway::{
        event::{DispatchEvent, DispatchEventWithTypeDeserializer},
        payload::incoming::GuildCreate,
        presence::PresenceDeserializer,
    },
    guild::{Emoji, Guild, Member, Role, UnavailableGuild, scheduled_event::GuildScheduledEvent},
    id::Id,
    voice::VoiceState,
};

/// Attempts at one value.
const ATTEMPTS: usize = 256;
/// Losses that are named; more are counted.
const NAMED: usize = 16;
/// Fields that say what a thing is. A made-up one would be a lie.
const KINDS: [&str; 3] = ["type", "format_type", "entity_type"];

/// Something that was read, and what is missing from it.
#[derive(Debug)]
pub(super) struct Mended<T> {
    pub(super) value: T,
    pub(super) losses: Losses,
}

/// What could not be kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    /// The paths, up to a bound.
    pub(super) named: Vec<String>,
    /// How many there were.
    pub(super) count: usize,
}

impl Losses {
    fn push(&mut self, place: &str, path: &[Step]) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(spelled(place, path));
        }
    }
}

/// Reads the `d` of an event.
///
/// # Errors
/// Says what cannot be left out.
pub(super) fn event(kind: &str, mut data: Value) -> Result<Mended<DispatchEvent>, String> {
    if kind == "GUILD_CREATE" && data["unavailable"] != true {
        let Mended { value, losses } = guild(data)?;
        let create = Box::new(GuildCreate::Available(value));
        return Ok(Mended {
            value: DispatchEvent::GuildCreate(create),
            losses,
        });
    }
    whole(lists_of(kind), &mut data, |data| {
        by_seed(DispatchEventWithTypeDeserializer::new(kind), data)
    })
}

/// Reads a guild as GUILD_CREATE describes it.
///
/// # Errors
/// Says what cannot be left out.
pub(super) fn guild(mut data: Value) -> Result<Mended<Guild>, String> {
    whole(GUILD, &mut data, by_type::<Guild>)
}

/// Reads anything else.
///
/// # Errors
/// Says what cannot be left out.
pub(super) fn other<T: DeserializeOwned>(mut data: Value) -> Result<Mended<T>, String> {
    whole(&[], &mut data, by_type::<T>)
}

/// The payload of an event as a tree. Half a surrogate pair, which no text may
/// hold, becomes a replacement character.
///
/// # Errors
/// It is not JSON.
pub(super) fn data_of(json: &str) -> Result<Value, serde_json::Error> {
    let mut payload: Value = match serde_json::from_str(json) {
        Ok(payload) => payload,
        Err(_) => serde_json::from_str(&without_lone_surrogates(json))?,
    };
    match payload.get_mut("d") {
        Some(data) => Ok(data.take()),
        None => Err(serde_json::Error::missing_field("d")),
    }
}

type Try = fn(&Value) -> Result<(), Odd>;

const GUILD: &[(&str, Try)] = &[
    ("channels", is::<Channel>),
    ("threads", is::<Channel>),
    ("roles", is::<Role>),
    ("members", is::<Member>),
    ("presences", is_presence),
    ("voice_states", is::<VoiceState>),
    ("emojis", is::<Emoji>),
    ("stickers", is::<Sticker>),
    ("stage_instances", is::<StageInstance>),
    ("guild_scheduled_events", is::<GuildScheduledEvent>),
    ("features", is::<String>),
];

/// The lists whose elements are mended one by one.
fn lists_of(kind: &str) -> &'static [(&'static str, Try)] {
    match kind {
        "READY" => &[("guilds", is::<UnavailableGuild>)],
        "GUILD_UPDATE" => &[
            ("roles", is::<Role>),
            ("emojis", is::<Emoji>),
            ("features", is::<String>),
        ],
        "GUILD_MEMBERS_CHUNK" => &[("members", is::<Member>), ("presences", is_presence)],
        "GUILD_EMOJIS_UPDATE" => &[("emojis", is::<Emoji>)],
        "GUILD_STICKERS_UPDATE" => &[("stickers", is::<Sticker>)],
        "THREAD_LIST_SYNC" => &[("threads", is::<Channel>)],
        _ => &[],
    }
}

/// Mends the lists, then what is around them.
fn whole<T>(
    lists: &[(&str, Try)],
    data: &mut Value,
    read: impl Fn(&Value) -> Result<T, Odd>,
) -> Result<Mended<T>, String> {
    let mut losses = Losses::default();
    let mut aside = Vec::new();
    for (name, is) in lists {
        let Some(list) = data.get_mut(name) else {
            continue;
        };
        let Value::Array(elements) = std::mem::replace(list, json!([])) else {
            losses.push(name, &[]);
            continue;
        };
        aside.push((*name, elements_of(name, elements, *is, &mut losses)));
    }
    // Without its lists, so that each attempt is cheap.
    mend("", data, |data| read(data).map(|_| ()), &mut losses)?;
    for (name, elements) in aside {
        data[name] = Value::Array(elements);
    }
    let value = read(data).map_err(|odd| odd.text)?;
    Ok(Mended { value, losses })
}

/// The elements that can be read, or mended.
fn elements_of(name: &str, list: Vec<Value>, is: Try, losses: &mut Losses) -> Vec<Value> {
    let mut kept = Vec::with_capacity(list.len());
    for mut element in list {
        let mut own = Losses::default();
        if mend(name, &mut element, is, &mut own).is_ok() {
            kept.push(element);
            losses.count += own.count;
            let free = NAMED.saturating_sub(losses.named.len());
            losses.named.extend(own.named.into_iter().take(free));
        } else {
            losses.push(name, &[]);
        }
    }
    kept
}

/// Takes out of a value what keeps it from being read.
///
/// # Errors
/// Says what cannot be taken out.
fn mend(
    place: &str,
    value: &mut Value,
    read: impl Fn(&Value) -> Result<(), Odd>,
    losses: &mut Losses,
) -> Result<(), String> {
    let mut tried: BTreeMap<Vec<Step>, usize> = BTreeMap::new();
    let mut wrong: BTreeMap<Vec<Step>, ()> = BTreeMap::new();
    for _ in 0..ATTEMPTS {
        let Err(mut odd) = read(value) else {
            for path in wrong.keys() {
                losses.push(place, path);
            }
            return Ok(());
        };
        // From where it is wrong outwards, to the first place where something can
        // still be done.
        loop {
            if odd.path.is_empty() {
                return Err(odd.text);
            }
            let attempt = tried.entry(odd.path.clone()).or_default();
            let nth = *attempt;
            *attempt += 1;
            if replace(place, value, &odd.path, nth) {
                wrong.entry(odd.path.clone()).or_default();
                break;
            }
            remove(value, &odd.path);
            wrong.remove(&odd.path);
            odd.path.pop();
        }
        if let [list @ .., Step::Index(_)] = odd.path.as_slice() {
            // What follows has moved up.
            tried.retain(|path, _| !path.starts_with(list));
        }
    }
    Err("too much of it is odd".to_owned())
}

/// What may stand for something that cannot be missing. An id is none of them.
fn emptiest(nth: usize) -> Option<Value> {
    let all = [
        json!(0),
        json!(""),
        json!(false),
        json!([]),
        json!({}),
        json!("0"),
        json!("1970-01-01T00:00:00.000000+00:00"),
    ];
    all.get(nth).cloned()
}

/// Takes the thing out at the first attempt, then puts one stand-in after the other
/// there. False: nothing is left to be tried.
fn replace(place: &str, value: &mut Value, path: &[Step], nth: usize) -> bool {
    if nth == 0 {
        remove(value, path);
        return true;
    }
    let Some((Step::Key(name), outer)) = path.split_last() else {
        return false;
    };
    let outer = outer.iter().try_fold(value, Step::enter);
    let (Some(Value::Object(outer)), Some(stand_in)) = (outer, emptiest(nth - 1)) else {
        return false;
    };
    if KINDS.contains(&name.as_str()) || is_of_a_maker(place, path) {
        return false;
    }
    outer.insert(name.clone(), stand_in);
    true
}

/// The author of an emoji is named there and known better elsewhere: a made-up name
/// would take the place of a true one.
fn is_of_a_maker(place: &str, path: &[Step]) -> bool {
    let user = Step::Key("user".to_owned());
    matches!(place, "emojis" | "stickers") && path.first() == Some(&user)
}

fn remove(value: &mut Value, path: &[Step]) {
    let Some((last, outer)) = path.split_last() else {
        return;
    };
    match (outer.iter().try_fold(value, Step::enter), last) {
        (Some(Value::Object(outer)), Step::Key(name)) => {
            outer.remove(name);
        }
        (Some(Value::Array(outer)), Step::Index(at)) if *at < outer.len() => {
            outer.remove(*at);
        }
        (_, _) => {}
    }
}

/// Where and why something cannot be read.
struct Odd {
    path: Vec<Step>,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Key(String),
    Index(usize),
}

impl Step {
    fn enter<'v>(value: &'v mut Value, step: &Self) -> Option<&'v mut Value> {
        match step {
            Self::Key(name) => value.get_mut(name),
            Self::Index(at) => value.get_mut(at),
        }
    }
}

impl Odd {
    /// A field that is missing stands in the path too.
    fn new(path: &Path, error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let mut steps = Vec::new();
        for segment in path {
            match segment {
                Segment::Map { key } => steps.push(Step::Key(key.clone())),
                Segment::Seq { index } => steps.push(Step::Index(*index)),
                Segment::Enum { .. } | Segment::Unknown => break,
            }
        }
        let missing = text.strip_prefix("missing field `");
        if let Some((name, _)) = missing.and_then(|rest| rest.split_once('`')) {
            steps.push(Step::Key(name.to_owned()));
        }
        Self { path: steps, text }
    }
}

fn by_seed<'v, S: DeserializeSeed<'v>>(seed: S, value: &'v Value) -> Result<S::Value, Odd> {
    let mut track = Track::new();
    seed.deserialize(Deserializer::new(value, &mut track))
        .map_err(|error| Odd::new(&track.path(), &error))
}

fn by_type<T: DeserializeOwned>(value: &Value) -> Result<T, Odd> {
    by_seed(std::marker::PhantomData::<T>, value)
}

fn is<T: DeserializeOwned>(value: &Value) -> Result<(), Odd> {
    by_type::<T>(value).map(|_| ())
}

/// In a guild it does not say of which guild it is.
fn is_presence(value: &Value) -> Result<(), Odd> {
    by_seed(PresenceDeserializer::new(Id::new(1)), value).map(|_| ())
}

/// `members.user.avatar`: without the numbers of elements, so that the same oddity
/// is the same text.
fn spelled(place: &str, path: &[Step]) -> String {
    let mut text = place.to_owned();
    for step in path {
        if let Step::Key(name) = step {
            if !text.is_empty() {
                text.push('.');
            }
            text.extend(name.chars().take(40).map(|c| match c {
                'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => c,
                _ => '?',
            }));
        }
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_odd_is_taken_out_replaced_or_goes_with_what_holds_it() {
        let role = |id: &str| {
            json!({"id": id, "name": "r", "color": 0, "hoist": false, "managed": false,
                "mentionable": false, "permissions": "8", "position": 0, "flags": 0,
                "colors": {"primary_color": 0, "secondary_color": null, "tertiary_color": null}})
        };
        let mut roles = [role("1"), role("2"), role("3"), role("4")];
        roles[0]["icon"] = json!(5);
        roles[1]["permissions"] = json!({"all": true});
        roles[2]["id"] = json!("none");
        roles[3]["colors"] = json!("red");
        let data = json!({"guild_id": "9", "emojis": roles});
        let lists: &[(&str, Try)] = &[("emojis", is::<Role>)];
        let mut data = data;
        let mended = whole(lists, &mut data, |data| Ok(data.clone())).unwrap();
        let kept = mended.value["emojis"].as_array().unwrap();
        assert_eq!(kept.len(), 3);
        assert_eq!(kept[0].get("icon"), None);
        assert_eq!(kept[1]["permissions"], 0);
        assert_eq!(kept[2]["colors"]["primary_color"], 0);
        let lost = [
            "emojis.icon",
            "emojis.permissions",
            "emojis",
            "emojis.colors",
        ];
        assert_eq!(mended.losses.named[..3], lost[..3]);
        assert!(mended.losses.named[3..].contains(&lost[3].to_owned()));
    }

    #[test]
    fn a_payload_with_half_a_surrogate_pair_is_read() {
        let data = data_of(r#"{"d":"\ud83d x \ude00\ud83d"}"#).unwrap();
        assert_eq!(data, "\u{fffd} x \u{fffd}\u{fffd}");
    }

    #[test]
    fn what_a_thing_is_and_its_id_are_never_made_up() {
        for odd in [
            json!({"id": "5", "type": "shop"}),
            json!({"id": "five", "type": 0}),
            json!({"type": 0}),
            json!([]),
            json!(null),
        ] {
            assert!(other::<Channel>(odd.clone()).is_err(), "{odd}");
        }
    }
}
