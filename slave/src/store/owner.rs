//! The store as the shards of a slave use it: see `state/stays`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use baton_protocol::{Epoch, FleetId, Sequence, ShardId, message::StoreRoom};
use baton_store::{Dispatch, Error, Found, Full, Resources, Stand, Store, Takeover, Writer};
use twilight_model::id::Id;

use super::Guilds;
use crate::state::{
    Exported,
    stays::{CURRENT_USER, Change, Claim, Claimed, Of, Owned, Refusal, Stays},
};

/// Claims that nobody counts are tried so often: each other claimant comes between once.
const ATTEMPTS: usize = 8;

/// The state of one shard, as its owner has it.
struct Shard {
    writer: Writer,
    /// Where it is and how large it may be, for whoever reads an error.
    place: String,
}

impl Guilds {
    /// The state of a shard, if this process has it open: as its owner, as the next one, or
    /// ahead.
    fn open_already(&self, of: Of) -> Option<Store> {
        self.inner
            .shard_count
            .store(of.shard_count, Ordering::Relaxed);
        if let Some(store) = self.shard(of.shard) {
            return Some(store);
        }
        let store = self.take_ahead(of.shard)?;
        self.opened(of.shard, store.clone());
        Some(store)
    }

    fn opened(&self, shard: ShardId, store: Store) {
        let open = self.inner.open.write();
        open.unwrap_or_else(PoisonError::into_inner)
            .insert(shard, store);
    }

    fn open(&self, of: Of) -> Result<Store, Refusal> {
        if let Some(store) = self.open_already(of) {
            return Ok(store);
        }
        let (inner, shard) = (&self.inner, of.shard);
        let Some(folder) = inner.folder.get() else {
            // It was not given to a slave.
            return Err(Refusal::Unusable("the store has no folder".to_owned()));
        };
        let refused = |error| self.refusal(error, shard);
        let at = folder.at(of.fleet).map_err(refused)?;
        let store = Store::open(at, shard, inner.options.clone()).map_err(refused)?;
        self.opened(shard, store.clone());
        Ok(store)
    }

    fn close(&self, shard: ShardId) {
        let open = self.inner.open.write();
        open.unwrap_or_else(PoisonError::into_inner).remove(&shard);
    }

    fn claim_at(&self, store: &Store, epoch: Option<Epoch>) -> Result<(Writer, Takeover), Error> {
        let owner = self.inner.owner;
        let Some(epoch) = epoch else {
            let mut epoch = Epoch(1);
            for _ in 0..ATTEMPTS {
                match store.claim(epoch, owner) {
                    Err(Error::Fenced { latest, .. }) => epoch = latest.next(),
                    // An owner of this epoch that is this process is no other.
                    claimed => return claimed,
                }
            }
            return Err(Error::Busy);
        };
        store.claim(epoch, owner)
    }
}

impl Stays for Guilds {
    fn claim_at_once(&self, claim: &Claim) -> Option<Result<Claimed, Refusal>> {
        let epoch = claim
            .epoch
            .filter(|_| self.is_in_memory() && !claim.received)?;
        let store = self.open_already(claim.of)?;
        let place = self.shown(claim.of.shard);
        match store.claim_at_once(epoch, self.inner.owner) {
            Ok(claimed) => claimed.map(|claimed| Ok(granted(claimed, place))),
            Err(error) => Some(Err(refusal(error, &place))),
        }
    }

    fn claim(&self, claim: &Claim) -> Result<Claimed, Refusal> {
        let shard = claim.of.shard;
        let store = self.open(claim.of)?;
        let place = self.shown(shard);
        let received = self.take_received(shard).filter(|_| claim.received);
        if let Some((received, epoch)) = received.zip(claim.epoch) {
            match store.claim_received(epoch, self.inner.owner, &received) {
                Ok((writer, takeover)) => {
                    return Ok(Claimed {
                        owned: Box::new(Shard { writer, place }),
                        // The shard knows which piece is ahead.
                        session: claim.session.as_ref().map(|session| (*session.tag).into()),
                        missing: named(takeover.missing),
                        trouble: String::new(),
                        received: true,
                    });
                }
                Err(error @ Error::Damaged(_)) => {
                    tracing::warn!(%shard, place, %error, "what was copied is not used");
                }
                Err(error) => {
                    // It is claimed again.
                    self.receives(shard, received);
                    return Err(refusal(error, &place));
                }
            }
        }
        let claimed = self.claim_at(&store, claim.epoch).or_else(|error| {
            // Its folder was taken away since it was opened.
            if !matches!(error, Error::Io { .. } | Error::Folder { .. }) {
                return Err(error);
            }
            self.close(shard);
            let Ok(store) = self.open(claim.of) else {
                return Err(error);
            };
            self.claim_at(&store, claim.epoch)
        });
        let claimed = claimed.map_err(|error| refusal(error, &place))?;
        let trouble = match claimed.1.found {
            Found::SetAside(damage) => format!("{damage}; it is set aside in {place}"),
            Found::Copied => {
                tracing::warn!(
                    %shard, place,
                    "its owner before is stopped in the middle of a change: the state was copied"
                );
                String::new()
            }
            Found::OtherFormat(format) => format!(
                "the state is of format {format}, which this build does not know; \
                 it is kept in {place} for the build that does"
            ),
            Found::Converted(format) => {
                tracing::info!(%shard, format, "a state of a former format was converted");
                String::new()
            }
            Found::Kept(format) => {
                tracing::warn!(
                    %shard, format, place,
                    "this build does not know the format of the state: \
                     it goes on in one of its own that was kept, which is older"
                );
                String::new()
            }
            Found::State | Found::Nothing => String::new(),
        };
        Ok(Claimed {
            trouble,
            ..granted(claimed, place)
        })
    }

    fn is_shared(&self, of: Of, owner: Epoch, session: &str) -> Result<bool, Refusal> {
        match self.open(of)?.is_owned_at(owner, session) {
            Ok(is_owned) => Ok(is_owned),
            // It is copied: another build's, for example.
            Err(Error::Format { .. } | Error::Damaged(_) | Error::Absent { .. } | Error::Busy) => {
                Ok(false)
            }
            Err(error) => Err(self.refusal(error, of.shard)),
        }
    }

    fn accept(&self, of: Of, offer: u64) -> Result<(), Refusal> {
        let accepted = self.open(of)?.accept(offer);
        accepted.map_err(|error| self.refusal(error, of.shard))
    }

    fn is_accepted(&self, of: Of, offer: u64) -> Result<bool, Refusal> {
        let accepted = self.open(of)?.is_accepted(offer);
        accepted.map_err(|error| self.refusal(error, of.shard))
    }

    fn receive(&self, of: Of, owner: Epoch) -> Result<(), Refusal> {
        let writer = self.open(of)?.receive(owner, self.inner.owner);
        let writer = writer.map_err(|error| self.refusal(error, of.shard))?;
        self.receives(of.shard, writer);
        Ok(())
    }

    fn import(&self, shard: ShardId, key: u64, piece: &[u8]) -> Result<(), String> {
        let receiving = self.receiving().get(&shard).cloned();
        let Some(receiving) = receiving else {
            return Err("no copy began".to_owned());
        };
        let piece = str::from_utf8(piece).map_err(|error| error.to_string())?;
        let mut writer = receiving.lock().unwrap_or_else(PoisonError::into_inner);
        let imported = match key {
            CURRENT_USER => writer.import_user(piece),
            _ => {
                let nowhere = Stand {
                    session: None,
                    ..writer.stand().clone()
                };
                writer.import(&nowhere, piece)
            }
        };
        imported.map_err(|error| self.refusal(error, shard).text().to_owned())
    }

    fn received(
        &self,
        shard: ShardId,
        session: &str,
        lowest: Sequence,
        whole_at: Sequence,
    ) -> Result<(), Refusal> {
        let receiving = self.receiving().get(&shard).cloned();
        let Some(receiving) = receiving else {
            return Err(Refusal::Gone("no copy began".to_owned()));
        };
        let mut writer = receiving.lock().unwrap_or_else(PoisonError::into_inner);
        let settled = writer.settle(session, lowest, whole_at);
        settled.map_err(|error| self.refusal(error, shard))
    }

    fn stand_by(&self, fleet: FleetId) {
        self.stands_by_for(fleet);
    }

    fn tidy(&self) {
        self.look_ahead();
        let mut open: Vec<_> = self.ahead().values().cloned().collect();
        open.extend(
            self.shards()
                .into_iter()
                .flat_map(|shard| self.shard(shard)),
        );
        if let Err(error) = Store::unmap(&open) {
            tracing::debug!(%error, "what is mapped of the store stays so");
        }
    }

    fn room(&self) -> Option<StoreRoom> {
        let (folder, shards) = (self.inner.folder.get()?, self.shards());
        if shards.is_empty() {
            return None;
        }
        let mut all = folder.room()?;
        all.limit = self.inner.options.most;
        for shard in shards {
            let Some(store) = self.shard(shard) else {
                continue;
            };
            // One that was never claimed has none.
            let Ok(room) = store.room() else {
                continue;
            };
            let before = &self.inner.stale_readers;
            before.fetch_add(room.stale_readers as u64, Ordering::Relaxed);
            if all.shards == 0 || room.used > all.fullest_used {
                all.fullest = shard;
                (all.fullest_used, all.fullest_bytes) = (room.used, room.bytes);
            }
            all.shards += 1;
            all.bytes += room.bytes;
            all.used += room.used;
            all.readers = all.readers.max(room.readers);
            all.set_aside += u32::try_from(room.set_aside).unwrap_or(u32::MAX);
        }
        all.stale_readers = self.inner.stale_readers.load(Ordering::Relaxed);
        Some(all)
    }

    fn is_in_memory(&self) -> bool {
        let folder = self.inner.folder.get();
        folder.is_some_and(|folder| folder.is_in_memory)
    }

    fn leave(&self, shard: ShardId) {
        self.receiving().remove(&shard);
        self.ahead().remove(&shard);
        self.close(shard);
    }
}

impl Owned for Shard {
    fn stands(&self) -> Sequence {
        self.writer.stand().sequence
    }

    fn apply(&mut self, session: &str, batch: &[Change<'_>], waits: bool) -> Result<(), Refusal> {
        let batch: Vec<Dispatch<'_>> = batch
            .iter()
            .map(|change| Dispatch {
                sequence: change.sequence,
                kind: change.kind,
                json: change.json,
            })
            .collect();
        let applied = match waits {
            true => self.writer.apply(session, &batch),
            false => self.writer.apply_within(Duration::ZERO, session, &batch),
        };
        let applied = applied.map_err(|error| refusal(error, &self.place))?;
        if applied.unread > 0 {
            tracing::warn!(
                events = applied.unread,
                "events that are no JSON: nothing of them is in the store"
            );
        }
        Ok(())
    }

    fn begin(&mut self, session: &str, above: Sequence) -> Result<(), Refusal> {
        let begun = self.writer.begin(session, above);
        begun.map_err(|error| refusal(error, &self.place))
    }

    fn keys(&self) -> Vec<u64> {
        let Ok(view) = self.writer.store().view() else {
            return Vec::new();
        };
        let user = view.current_user().map(|_| CURRENT_USER);
        user.into_iter()
            .chain(view.guilds().map(|guild| guild.id.get()))
            .collect()
    }

    fn piece(&self, key: u64) -> Option<Exported> {
        let view = self.writer.store().view().ok()?;
        let text = match key {
            CURRENT_USER => view.current_user()?.to_json(),
            _ => view.guild_create(Id::new_checked(key)?)?,
        };
        Some(Exported {
            bytes: text.into(),
            stands: Some(view.stand().sequence),
        })
    }

    fn is_compact_asked(&self) -> bool {
        self.writer.is_compact_asked().unwrap_or(false)
    }

    fn compact(&mut self) -> Result<String, Refusal> {
        let compacted = self.writer.compact();
        let compacted = compacted.map_err(|error| refusal(error, &self.place))?;
        let (before, after) = (compacted.before >> 10, compacted.after >> 10);
        Ok(format!(
            "{}: {before} KiB before, {after} KiB now",
            self.place
        ))
    }

    fn seal(&mut self) -> Sequence {
        self.writer.seal().sequence
    }
}

impl Guilds {
    /// The states that are taken in.
    fn receiving(&self) -> MutexGuard<'_, BTreeMap<ShardId, Arc<Mutex<Writer>>>> {
        let receiving = self.inner.receiving.lock();
        receiving.unwrap_or_else(PoisonError::into_inner)
    }

    fn receives(&self, shard: ShardId, writer: Writer) {
        let writer = Arc::new(Mutex::new(writer));
        self.receiving().insert(shard, writer);
    }

    fn take_received(&self, shard: ShardId) -> Option<Writer> {
        let received = self.receiving().remove(&shard)?;
        // Nobody takes anything in any more.
        let writer = Arc::try_unwrap(received).ok()?;
        Some(writer.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where a shard is and how large it may be, for whoever reads an error.
    fn shown(&self, shard: ShardId) -> String {
        let folder = self.inner.folder.get();
        folder.map_or_else(String::new, |folder| folder.shown(shard))
    }

    fn refusal(&self, error: Error, shard: ShardId) -> Refusal {
        refusal(error, &self.shown(shard))
    }
}

/// What an owner took over, with nothing wrong.
fn granted((writer, takeover): (Writer, Takeover), place: String) -> Claimed {
    let Takeover { stand, missing, .. } = takeover;
    Claimed {
        owned: Box::new(Shard { writer, place }),
        session: stand.session,
        missing: named(missing),
        trouble: String::new(),
        received: false,
    }
}

/// Resources that are missing, for a person.
fn named(missing: Resources) -> String {
    match missing.is_empty() {
        true => String::new(),
        false => format!("{missing:?}"),
    }
}

/// What an error means for a shard.
fn refusal(error: Error, place: &str) -> Refusal {
    let text = format!("{place}: {error}");
    match error {
        Error::Fenced { .. } | Error::Sealed => Refusal::Fenced(text),
        Error::Full(full) => Refusal::NoRoom(format!("{text}; {}", what_to_do(full))),
        Error::Busy => Refusal::Busy(text),
        Error::Damaged(_) | Error::Absent { .. } | Error::OtherSession => Refusal::Gone(text),
        Error::Folder { .. }
        | Error::Namespace { .. }
        | Error::Format { .. }
        | Error::Open { .. }
        | Error::NoGuild(_)
        | Error::Resources(_)
        | Error::Io { .. }
        | Error::Engine(_) => Refusal::Unusable(text),
        // The enum may grow.
        _ => Refusal::Unusable(text),
    }
}

/// What gives it room.
const fn what_to_do(full: Full) -> &'static str {
    match full {
        Full::Limit => "raise the limit of the store (Guilds::with_limit) with the next deploy",
        Full::Disk => "make room there: for /dev/shm, mount it larger (--shm-size in a container)",
        Full::Readers => "too many threads read the shard: let views go",
    }
}

#[cfg(test)]
#[path = "owner_tests.rs"]
#[allow(clippy::unwrap_used)]
mod tests;
