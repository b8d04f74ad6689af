//! Reading and writing the documents of a transaction.

use std::ops::Bound;

use heed::PutFlags;

use super::{Apply, Here};
use crate::{
    Error,
    error::Damage,
    key::{self, Key, Place},
    packed::{Build, Doc, Value},
    resources::Kind,
};

impl Apply<'_, '_> {
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<&[u8]>, Error> {
        let value = self.txn.table.get(&self.txn.txn, key);
        value.map_err(Error::engine)
    }

    /// Writes what is not there already.
    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        if self.get(key)? == Some(value) {
            return Ok(());
        }
        let put = self.txn.table.put(&mut self.txn.txn, key, value);
        put.map_err(Error::engine)
    }

    /// Writes behind everything else, if it belongs there: pages get full.
    pub(super) fn append(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let (table, txn) = (self.txn.table, &mut self.txn.txn);
        match table.put_with_flags(txn, PutFlags::APPEND, key, value) {
            Err(heed::Error::Mdb(heed::MdbError::KeyExist)) => self.put(key, value),
            put => put.map_err(Error::engine),
        }
    }

    /// Whether it was there.
    pub(super) fn delete(&mut self, key: &[u8]) -> Result<bool, Error> {
        let deleted = self.txn.table.delete(&mut self.txn.txn, key);
        deleted.map_err(Error::engine)
    }

    /// Deletes everything whose key begins like this.
    pub(super) fn delete_all(&mut self, prefix: &[u8]) -> Result<(), Error> {
        let end = after(prefix);
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let range = (Bound::Included(prefix), end);
        let deleted = self.txn.table.delete_range(&mut self.txn.txn, &range);
        deleted.map(|_| ()).map_err(Error::engine)
    }

    /// The ids of the documents whose keys begin like this, ascending.
    pub(super) fn ids(&self, prefix: &[u8]) -> Result<Vec<u64>, Error> {
        let all = self.txn.table.prefix_iter(&self.txn.txn, prefix);
        let keys = all.map_err(Error::engine)?.map(|entry| {
            let (key, _) = entry.map_err(Error::engine)?;
            let id = key.last_chunk().ok_or(Error::Damaged(Damage::Structure))?;
            Ok(u64::from_be_bytes(*id))
        });
        keys.collect()
    }

    /// Forgets all documents.
    pub(crate) fn clear(&mut self) -> Result<(), Error> {
        self.header.index = 0;
        let cleared = self.txn.table.clear(&mut self.txn.txn);
        cleared.map_err(Error::engine)
    }

    pub(super) fn place(&self, guild: u64) -> Result<Option<Place>, Error> {
        let bytes = self.get(&key::place(guild))?;
        let place = bytes.map(|bytes| Place::read(bytes).ok_or(Error::Damaged(Damage::Structure)));
        place.transpose()
    }

    pub(super) fn set_place(&mut self, guild: u64, place: Place) -> Result<(), Error> {
        self.put(&key::place(guild), &place.to_bytes())
    }

    /// A document of a guild, copied.
    pub(super) fn document(
        &self,
        here: Here,
        kind: Kind,
        id: u64,
    ) -> Result<Option<Vec<u8>>, Error> {
        let key = key::document(here.place.index, kind, id);
        Ok(self.get(&key)?.map(<[u8]>::to_vec))
    }

    pub(super) fn set_document(
        &mut self,
        here: Here,
        kind: Kind,
        id: u64,
        document: &[u8],
    ) -> Result<(), Error> {
        let key: Key = key::document(here.place.index, kind, id);
        self.put(&key, document)
    }

    /// Changes the fields of a document that is there.
    pub(super) fn change_document(
        &mut self,
        here: Here,
        kind: Kind,
        id: u64,
        change: impl FnOnce(Doc<'_>, &mut Build),
    ) -> Result<(), Error> {
        let Some(old) = self.document(here, kind, id)? else {
            return Ok(());
        };
        let mut new = Build::new(self.header.level);
        change(Doc::trusted(&old), &mut new);
        self.set_document(here, kind, id, &new.finish())
    }

    /// The object without these fields.
    pub(super) fn without(&self, d: Doc<'_>, names: &[&str]) -> Vec<u8> {
        let mut out = Build::new(self.header.level);
        for (name, value) in d.fields().filter(|(name, _)| !names.contains(name)) {
            out.field(name, value);
        }
        out.finish()
    }

    /// `old` with the fields of `new` in the place of its own, and without these.
    pub(super) fn merged(&self, old: Doc<'_>, new: Doc<'_>, without: &[&str]) -> Vec<u8> {
        let mut out = Build::new(self.header.level);
        let fields = || new.fields().filter(|(name, _)| !without.contains(name));
        for (name, value) in old.fields() {
            let newer = fields().find(|(other, _)| *other == name);
            out.field(name, newer.map_or(value, |(_, newer)| newer));
        }
        for (name, value) in fields().filter(|(name, _)| old.get(name).is_none()) {
            out.field(name, value);
        }
        out.finish()
    }
}

/// All fields, one of them with another value, or left out if `put` writes nothing; behind
/// them, if it was not there.
pub(super) fn with_field(d: Doc<'_>, name: &str, out: &mut Build, put: impl Fn(&mut Build)) {
    for (own, value) in d.fields() {
        if own == name {
            put(out);
        } else {
            out.field(own, value);
        }
    }
    if d.get(name).is_none() {
        put(out);
    }
}

/// The id of an object of this kind.
pub(super) fn id_of(kind: Kind, d: Doc<'_>) -> Option<u64> {
    match kind.id_field() {
        Some(field) => d.number(field),
        None => d.get("user").and_then(Value::object)?.number("id"),
    }
}

/// The first key behind all that begin like this.
fn after(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}
