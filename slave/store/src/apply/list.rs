//! What is created, changed and deleted, and nothing else.

use std::collections::BTreeSet;

use super::{
    Apply, Here,
    table::{id_of, with_field},
};
use crate::{
    Error, key,
    packed::{Doc, Items, Value},
    resources::Kind,
};

impl Apply<'_, '_> {
    /// One is there now, as it stands here.
    pub(super) fn put_one(&mut self, here: Here, kind: Kind, d: Doc<'_>) -> Result<(), Error> {
        match id_of(kind, d) {
            Some(id) if self.keeps(kind) => {
                let document = self.stripped(kind, d);
                self.set_document(here, kind, id, &document)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// One is gone.
    pub(super) fn delete_one(
        &mut self,
        here: Here,
        kind: Kind,
        id: Option<u64>,
    ) -> Result<(), Error> {
        match id {
            Some(id) => {
                let key = key::document(here.place.index, kind, id);
                self.delete(&key).map(|_| ())
            }
            None => Ok(()),
        }
    }

    /// An event that brings the whole list.
    pub(super) fn list_update(&mut self, here: Here, kind: Kind, d: Doc<'_>) -> Result<(), Error> {
        let items = kind.list().and_then(|name| d.get(name));
        match items.and_then(Value::items) {
            Some(items) => self.replace(here, kind, items),
            None => Ok(()),
        }
    }

    /// These are all that there are.
    pub(super) fn replace(
        &mut self,
        here: Here,
        kind: Kind,
        items: Items<'_>,
    ) -> Result<(), Error> {
        if !self.keeps(kind) {
            return Ok(());
        }
        let before = self.ids(&key::of_kind(here.place.index, kind))?;
        let (mut now, mut left) = (BTreeSet::new(), Vec::new());
        for item in items {
            match item
                .object()
                .and_then(|object| Some((object, id_of(kind, object)?)))
            {
                Some((object, id)) => {
                    now.insert(id);
                    self.put_one(here, kind, object)?;
                }
                None => left.push(item.bytes()),
            }
        }
        for gone in before.into_iter().filter(|id| !now.contains(id)) {
            self.delete_one(here, kind, Some(gone))?;
        }
        self.keep_left(here, kind, left)
    }

    /// What has no id is kept with the guild.
    fn keep_left(&mut self, here: Here, kind: Kind, left: Vec<&[u8]>) -> Result<(), Error> {
        let Some(name) = kind.list() else {
            return Ok(());
        };
        self.change_document(here, Kind::Guild, here.guild, |old, new| {
            with_field(old, name, new, |new| {
                if !left.is_empty() {
                    new.list(name, left.iter().copied());
                }
            });
        })
    }
}
