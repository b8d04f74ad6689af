//! A guild as the GUILD_CREATE that rebuilds it.

use twilight_model::id::{Id, marker::GuildMarker};

use super::View;
use crate::{
    packed::{Build, Doc, Level, Value},
    resources::Kind,
};

impl View {
    /// The `d` of the GUILD_CREATE that rebuilds a guild; `None`: it is not here. It is how a
    /// guild goes to another host, or to `twilight-cache-inmemory`.
    #[must_use]
    pub fn guild_create(&self, guild: Id<GuildMarker>) -> Option<String> {
        let place = self.place(guild)?;
        let mut out = Build::new(Level::OWN);
        out.id("id", guild.get());
        if !place.available {
            return Some(format!(r#"{{"id":"{guild}","unavailable":true}}"#));
        }
        let itself = self.guild(guild);
        for (name, value) in itself.into_iter().flat_map(|itself| itself.doc().fields()) {
            if !Kind::ALL.iter().any(|kind| kind.list() == Some(name)) {
                out.field(name, value);
            }
        }
        for kind in Kind::ALL {
            let Some(list) = kind.list() else {
                continue;
            };
            let documents: Vec<Vec<u8>> =
                self.all(guild, kind).map(super::Document::whole).collect();
            // What came without an id stands with the guild.
            let left = itself
                .and_then(|itself| itself.get(list))
                .and_then(Value::items);
            let left = left.into_iter().flatten().map(Value::bytes);
            out.list(list, documents.iter().map(Vec::as_slice).chain(left));
        }
        serde_json::to_string(&Doc::trusted(&out.finish())).ok()
    }
}
