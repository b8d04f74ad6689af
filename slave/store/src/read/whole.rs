//! A guild as the GUILD_CREATE that rebuilds it.

use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};
use twilight_model::id::{Id, marker::GuildMarker};

use super::{Document, View, document::Whole};
use crate::{packed::Value, resources::Kind};

impl View {
    /// The `d` of the GUILD_CREATE that rebuilds a guild; `None`: it is not here. It is how a
    /// guild goes to another host, or to `twilight-cache-inmemory`.
    #[must_use]
    pub fn guild_create(&self, guild: Id<GuildMarker>) -> Option<String> {
        if !self.place(guild)?.available {
            return Some(format!(r#"{{"id":"{guild}","unavailable":true}}"#));
        }
        serde_json::to_string(&Guild { view: self, guild }).ok()
    }
}

/// A guild that is available, written where its documents lie.
struct Guild<'v> {
    view: &'v View,
    guild: Id<GuildMarker>,
}

impl Serialize for Guild<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let Self { view, guild } = *self;
        let mut object = out.serialize_map(None)?;
        object.serialize_entry("id", &guild.to_string())?;
        let itself = view.guild(guild);
        let is_list = |name: &str| Kind::ALL.iter().any(|kind| kind.list() == Some(name));
        for (name, value) in itself.into_iter().flat_map(|itself| itself.doc().fields()) {
            if !is_list(name) {
                object.serialize_entry(name, &value)?;
            }
        }
        for kind in Kind::ALL {
            if let Some(name) = kind.list() {
                let list = List {
                    guild: self,
                    kind,
                    itself,
                };
                object.serialize_entry(name, &list)?;
            }
        }
        object.end()
    }
}

/// One of its lists.
struct List<'v> {
    guild: &'v Guild<'v>,
    kind: Kind,
    itself: Option<Document<'v>>,
}

impl Serialize for List<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let Guild { view, guild } = *self.guild;
        let mut list = out.serialize_seq(None)?;
        for document in view.all(guild, self.kind) {
            list.serialize_element(&Whole(document))?;
        }
        // What came without an id stands with the guild.
        let left = self.itself.zip(self.kind.list());
        let left = left.and_then(|(itself, name)| itself.get(name));
        for value in left.and_then(Value::items).into_iter().flatten() {
            list.serialize_element(&value)?;
        }
        list.end()
    }
}
