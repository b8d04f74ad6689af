//! One document, where it lies or on its own.

use std::borrow::Cow;

use serde::{Serialize, Serializer, de::DeserializeOwned, ser::SerializeMap};

use super::View;
use crate::{
    packed::{Build, Doc, Level, Value, Wrong, read_varint},
    resources::Kind,
};

/// One document, where it lies: nothing is copied until something is asked for that is
/// stored in another form.
///
/// Its fields are those that Discord sent, known or not, without its id, its guild and,
/// for a member, its user, which have methods of their own. [`parse`](Self::parse) and
/// [`to_json`](Self::to_json) put them back.
#[derive(Clone, Copy, Debug)]
pub struct Document<'v> {
    kind: Kind,
    guild: Option<u64>,
    channel: Option<u64>,
    id: u64,
    doc: Doc<'v>,
    user: User<'v>,
}

/// Where the user of a member is.
#[derive(Clone, Copy, Debug)]
enum User<'v> {
    /// It has none, or is none.
    None,
    /// It is looked up when it is asked for.
    In(&'v View),
    Here(Doc<'v>),
}

impl<'v> Document<'v> {
    pub(crate) const fn new(kind: Kind, guild: Option<u64>, id: u64, doc: Doc<'v>) -> Self {
        Self {
            kind,
            guild,
            channel: None,
            id,
            doc,
            user: User::None,
        }
    }

    pub(crate) const fn of_member(self, view: &'v View) -> Self {
        Self {
            user: User::In(view),
            ..self
        }
    }

    pub(crate) const fn in_channel(self, channel: u64) -> Self {
        Self {
            channel: Some(channel),
            ..self
        }
    }

    /// What it is.
    #[must_use]
    pub const fn kind(self) -> Kind {
        self.kind
    }

    /// Its id; the user's for members, presences and voice states.
    #[must_use]
    pub const fn id(self) -> u64 {
        self.id
    }

    /// Its guild; `None`: a user.
    #[must_use]
    pub const fn guild_id(self) -> Option<u64> {
        self.guild
    }

    /// The user of a member, if users are kept.
    #[must_use]
    pub fn user(self) -> Option<Doc<'v>> {
        match self.user {
            User::None => None,
            User::In(view) => view.user_doc(self.id),
            User::Here(user) => Some(user),
        }
    }

    /// Its fields as they are stored.
    #[must_use]
    pub const fn doc(self) -> Doc<'v> {
        self.doc
    }

    /// The value of a field.
    #[must_use]
    pub fn get(self, name: &str) -> Option<Value<'v>> {
        self.doc.get(name)
    }

    /// The text of a field.
    #[must_use]
    pub fn text(self, name: &str) -> Option<Cow<'v, str>> {
        self.doc.text(name)
    }

    /// The number of a field, or the number that its text is: an id, permissions.
    #[must_use]
    pub fn number(self, name: &str) -> Option<u64> {
        self.doc.number(name)
    }

    /// Whether a field is true.
    #[must_use]
    pub fn is(self, name: &str) -> bool {
        self.get(name).and_then(Value::bool) == Some(true)
    }

    /// The ids of a list, for example the roles of a member.
    pub fn ids(self, name: &str) -> impl Iterator<Item = u64> + use<'v> {
        self.doc.ids(name)
    }

    /// The whole object as Discord writes it.
    pub(crate) fn whole(self) -> Vec<u8> {
        let mut out = Build::new(Level::OWN);
        match self.kind.id_field() {
            Some(field) => {
                out.id(field, self.id);
            }
            None => {
                let mut user = Build::new(Level::OWN);
                user.id("id", self.id);
                if let Some(known) = self.user() {
                    copy(known, &mut user);
                }
                out.field("user", Doc::trusted(&user.finish()).value());
            }
        }
        if let Some(guild) = self.guild.filter(|_| self.kind.names_guild()) {
            out.id("guild_id", guild);
        }
        if let Some(channel) = self.channel {
            out.id("channel_id", channel);
        }
        copy(self.doc, &mut out);
        out.finish()
    }

    /// The whole object in a type of your own, or of `twilight-model`: `Role`, `Channel`,
    /// `Member`, `User`, `VoiceState` and so on. For a whole guild see
    /// [`View::guild_create`](crate::View::guild_create).
    ///
    /// # Errors
    /// It is not of that type: a model need not know everything that Discord sends. The
    /// fields can be read all the same.
    pub fn parse<T: DeserializeOwned>(self) -> Result<T, Wrong> {
        Doc::trusted(&self.whole()).parse()
    }

    /// The whole object as JSON.
    #[must_use]
    pub fn to_json(self) -> String {
        serde_json::to_string(&Whole(self)).unwrap_or_default()
    }

    /// A copy that needs no view.
    #[must_use]
    pub fn to_owned(self) -> Owned {
        Owned {
            kind: self.kind,
            guild: self.guild,
            channel: self.channel,
            id: self.id,
            doc: self.doc.bytes().into(),
            user: self.user().map(|user| user.bytes().into()),
        }
    }
}

fn copy(doc: Doc<'_>, out: &mut Build) {
    for (name, value) in besides_id(doc) {
        out.field(name, value);
    }
}

fn besides_id(doc: Doc<'_>) -> impl Iterator<Item = (&str, Value<'_>)> {
    doc.fields().filter(|(name, _)| *name != "id")
}

/// The whole object, written as Discord writes it: what [`Document::whole`] packs, without
/// packing it first.
pub(super) struct Whole<'v>(pub(super) Document<'v>);

impl Serialize for Whole<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let it = self.0;
        let mut object = out.serialize_map(None)?;
        match it.kind.id_field() {
            Some(field) => object.serialize_entry(field, &it.id.to_string())?,
            None => object.serialize_entry("user", &WithId(it.id, it.user()))?,
        }
        if let Some(guild) = it.guild.filter(|_| it.kind.names_guild()) {
            object.serialize_entry("guild_id", &guild.to_string())?;
        }
        if let Some(channel) = it.channel {
            object.serialize_entry("channel_id", &channel.to_string())?;
        }
        for (name, value) in besides_id(it.doc) {
            object.serialize_entry(name, &value)?;
        }
        object.end()
    }
}

/// An object with its id, and what else is known of it.
struct WithId<'v>(u64, Option<Doc<'v>>);

impl Serialize for WithId<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut object = out.serialize_map(None)?;
        object.serialize_entry("id", &self.0.to_string())?;
        for (name, value) in self.1.into_iter().flat_map(besides_id) {
            object.serialize_entry(name, &value)?;
        }
        object.end()
    }
}

/// A document on its own: it needs no view and may be kept, also over an await.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    kind: Kind,
    guild: Option<u64>,
    channel: Option<u64>,
    id: u64,
    doc: Box<[u8]>,
    user: Option<Box<[u8]>>,
}

impl Owned {
    /// The document.
    #[must_use]
    pub fn get(&self) -> Document<'_> {
        Document {
            kind: self.kind,
            guild: self.guild,
            channel: self.channel,
            id: self.id,
            doc: Doc::trusted(&self.doc),
            user: match &self.user {
                Some(user) => User::Here(Doc::trusted(user)),
                None => User::None,
            },
        }
    }
}

/// In how many guilds a user is, and the user.
pub(crate) fn user_of(value: &[u8]) -> Option<(u64, Doc<'_>)> {
    let (guilds, at) = read_varint(value)?;
    Some((guilds, Doc::trusted(value.get(at..)?)))
}
