//! One document, where it lies or on its own.

use std::{borrow::Cow, iter};

use serde::{Serialize, Serializer, de::DeserializeOwned};

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

    /// What the whole object has, as Discord writes it.
    fn parts(self) -> impl Iterator<Item = (&'v str, Part<'v>)> {
        let first = match self.kind.id_field() {
            Some(field) => (field, Part::Id(self.id)),
            None => ("user", Part::User(self.id, self.user())),
        };
        let guild = self.guild.filter(|_| self.kind.names_guild());
        let ids = [("guild_id", guild), ("channel_id", self.channel)];
        let ids = ids
            .into_iter()
            .filter_map(|(name, id)| Some((name, Part::Id(id?))));
        iter::once(first).chain(ids).chain(besides_id(self.doc))
    }

    /// The whole object in a type of your own, or of `twilight-model`: `Role`, `Channel`,
    /// `Member`, `User`, `VoiceState` and so on. For a whole guild see
    /// [`View::guild_create`](crate::View::guild_create).
    ///
    /// # Errors
    /// It is not of that type: a model need not know everything that Discord sends. The
    /// fields can be read all the same.
    pub fn parse<T: DeserializeOwned>(self) -> Result<T, Wrong> {
        Doc::trusted(&packed(self.parts())).parse()
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

/// One field of a whole object.
enum Part<'v> {
    Id(u64),
    /// An object with this id, and what else is known of it.
    User(u64, Option<Doc<'v>>),
    Value(Value<'v>),
}

fn user<'v>(id: u64, known: Option<Doc<'v>>) -> impl Iterator<Item = (&'v str, Part<'v>)> {
    iter::once(("id", Part::Id(id))).chain(known.into_iter().flat_map(besides_id))
}

fn besides_id(doc: Doc<'_>) -> impl Iterator<Item = (&str, Part<'_>)> {
    let fields = doc.fields().filter(|(name, _)| *name != "id");
    fields.map(|(name, value)| (name, Part::Value(value)))
}

fn packed<'v>(parts: impl Iterator<Item = (&'v str, Part<'v>)>) -> Vec<u8> {
    let mut out = Build::new(Level::OWN);
    for (name, part) in parts {
        match part {
            Part::Id(id) => out.id(name, id),
            Part::User(id, known) => {
                let user = packed(user(id, known));
                out.field(name, Doc::trusted(&user).value())
            }
            Part::Value(value) => out.field(name, value),
        };
    }
    out.finish()
}

/// A whole object, written without packing it first.
pub(super) struct Whole<'v>(pub(super) Document<'v>);

impl Serialize for Whole<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_map(self.0.parts())
    }
}

impl Serialize for Part<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Id(id) => out.collect_str(&id),
            Self::User(id, known) => out.collect_map(user(id, known)),
            Self::Value(value) => value.serialize(out),
        }
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
