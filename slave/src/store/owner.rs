//! The store as the shards of a slave use it: see `state/stays`.

use std::{sync::PoisonError, sync::atomic::Ordering, time::Duration};

use baton_protocol::{Epoch, Sequence, ShardId};
use baton_store::{Dispatch, Error, Found, Full, Store, Takeover, Writer};

use super::Guilds;
use crate::state::stays::{Change, Claim, Claimed, Owned, Refusal, Stays};

/// Claims that nobody counts are tried so often: each other claimant comes between once.
const ATTEMPTS: usize = 8;

/// The state of one shard, as its owner has it.
struct Shard {
    writer: Writer,
    /// Where it is and how large it may be, for whoever reads an error.
    place: String,
}

impl Guilds {
    fn open(&self, claim: &Claim) -> Result<Store, Refusal> {
        let inner = &self.inner;
        let (shard, count) = (claim.shard, claim.shard_count);
        inner.shard_count.store(count, Ordering::Relaxed);
        if let Some(store) = self.shard(shard) {
            return Ok(store);
        }
        let Some(folder) = inner.folder.get() else {
            // It was not given to a slave.
            return Err(Refusal::Unusable("the store has no folder".to_owned()));
        };
        let refused = |error| refusal(error, &folder.shown(shard));
        let at = folder.at(claim.fleet).map_err(refused)?;
        let store = Store::open(at, shard, inner.options.clone()).map_err(refused)?;
        let mut open = inner.open.write().unwrap_or_else(PoisonError::into_inner);
        open.insert(shard, store.clone());
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
    fn claim(&self, claim: &Claim) -> Result<Claimed, Refusal> {
        let folder = self.inner.folder.get();
        let place = folder.map_or_else(String::new, |folder| folder.shown(claim.shard));
        let store = self.open(claim)?;
        let claimed = self.claim_at(&store, claim.epoch).or_else(|error| {
            // Its folder was taken away since it was opened.
            if !matches!(error, Error::Io { .. } | Error::Folder { .. }) {
                return Err(error);
            }
            self.close(claim.shard);
            let Ok(store) = self.open(claim) else {
                return Err(error);
            };
            self.claim_at(&store, claim.epoch)
        });
        let (writer, takeover) = claimed.map_err(|error| refusal(error, &place))?;
        let Takeover {
            found,
            stand,
            missing,
        } = takeover;
        let trouble = match found {
            Found::SetAside(damage) => format!("{damage}; it is set aside in {place}"),
            Found::Copied => {
                tracing::warn!(
                    shard = %claim.shard, place,
                    "its owner before is stopped in the middle of a change: the state was copied"
                );
                String::new()
            }
            Found::OtherFormat(format) => format!(
                "the state is of format {format}, which this build does not know; \
                 it is kept in {place} for the build that does"
            ),
            Found::Converted(format) => {
                tracing::info!(shard = %claim.shard, format, "a state of a former format was converted");
                String::new()
            }
            Found::Kept(format) => {
                tracing::warn!(
                    shard = %claim.shard, format, place,
                    "this build does not know the format of the state: \
                     it goes on in one of its own that was kept, which is older"
                );
                String::new()
            }
            Found::State | Found::Nothing => String::new(),
        };
        Ok(Claimed {
            owned: Box::new(Shard { writer, place }),
            session: stand.session,
            missing: match missing.is_empty() {
                true => String::new(),
                false => format!("{missing:?}"),
            },
            trouble,
        })
    }

    fn is_in_memory(&self) -> bool {
        let folder = self.inner.folder.get();
        folder.is_some_and(|folder| folder.is_in_memory)
    }

    fn leave(&self, shard: ShardId) {
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

    fn seal(&mut self) -> Sequence {
        self.writer.seal().sequence
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
