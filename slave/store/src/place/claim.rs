//! Becoming the owner of a shard's state. See `place`.

use std::{fs, path::Path, sync::Arc};

use baton_protocol::{Epoch, Sequence};

use super::{
    claims::{self, Claim},
    copy,
    generation::{Generation, How, WriteTxn},
};
use crate::{
    Error, Options,
    error::Damage,
    header::{FORMAT, Header, Owner, Unread, this_boot},
    key,
    packed::Level,
};

/// Claimants that may come between.
const ATTEMPTS: usize = 16;

/// What an owner found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The state of the owner before.
    State,
    /// The same, as a copy: the owner before is stopped in the middle of a change.
    Copied,
    /// No state was ever here.
    Nothing,
    /// It was set aside, because it cannot be used.
    SetAside(Damage),
}

/// A shard that was claimed.
pub(crate) struct Claimed {
    pub(crate) generation: Arc<Generation>,
    pub(crate) header: Header,
    pub(crate) claim: Claim,
    pub(crate) found: Found,
}

/// Becomes the owner of the state in this folder.
///
/// # Errors
/// A later owner began, there is no room, or what is there is of another format.
pub(crate) fn claim(
    shard: &Path,
    id: u32,
    options: &Options,
    epoch: Epoch,
    owner: Owner,
) -> Result<Claimed, Error> {
    let claimant = Claimant {
        shard,
        id,
        options,
        epoch,
        owner,
    };
    for _ in 0..ATTEMPTS {
        if let Some(claimed) = claimant.attempt()? {
            claims::clean(shard, &claimed.claim)?;
            return Ok(claimed);
        }
    }
    Err(Error::Busy)
}

/// Moves the state of its owner into a new generation: `fill` writes it there.
pub(crate) fn move_to_new(
    from: &Generation,
    claim: &Claim,
    options: &Options,
    fill: impl FnOnce(&mut WriteTxn<'_>) -> Result<(), Error>,
) -> Result<(Arc<Generation>, Claim), Error> {
    let shard = from.shard();
    let name = claims::new_name(claim.epoch)?;
    let filled = Generation::create(shard, name.clone(), options.how()).and_then(|generation| {
        generation.write(options.patience, fill)?;
        Ok(generation)
    });
    let moved = filled.and_then(|generation| {
        let next = Claim {
            epoch: claim.epoch,
            turn: claim.turn + 1,
            generation: name.clone(),
        };
        next.create(shard)?;
        match claims::current(shard)? {
            Some(latest) if latest > next => {
                next.remove(shard);
                Err(Error::Fenced {
                    own: claim.epoch,
                    latest: latest.epoch,
                })
            }
            Some(_) | None => Ok((generation, next)),
        }
    });
    match &moved {
        Ok((_, next)) => claims::clean(shard, next)?,
        Err(_) => claims::remove(&shard.join(&name)),
    }
    moved
}

struct Claimant<'c> {
    shard: &'c Path,
    id: u32,
    options: &'c Options,
    epoch: Epoch,
    owner: Owner,
}

/// What there is to go on from.
enum Base {
    Nothing(Found),
    Open(Arc<Generation>),
    /// Its owner keeps everybody waiting.
    Stuck,
}

impl Claimant<'_> {
    /// `None`: another claimant came between.
    fn attempt(&self) -> Result<Option<Claimed>, Error> {
        let before = claims::current(self.shard)?;
        if let Some(latest) = &before
            && latest.epoch > self.epoch
        {
            return Err(self.fenced(latest.epoch));
        }
        let base = match &before {
            None => Base::Nothing(Found::Nothing),
            Some(latest) => self.base(latest)?,
        };
        match (base, &before) {
            (Base::Open(generation), Some(latest)) => match self.take(generation, latest)? {
                Taken::Done(claimed) => Ok(Some(*claimed)),
                Taken::Overtaken => Ok(None),
                Taken::Stuck => self.copy(latest),
                Taken::Damaged(damage) => {
                    self.set_aside(latest)?;
                    self.begin(before.as_ref(), Found::SetAside(damage))
                }
            },
            (Base::Stuck, Some(latest)) => self.copy(latest),
            (Base::Nothing(found), _) => self.begin(before.as_ref(), found),
            (Base::Open(_) | Base::Stuck, None) => Ok(None),
        }
    }

    fn fenced(&self, latest: Epoch) -> Error {
        let own = self.epoch;
        Error::Fenced { own, latest }
    }

    fn how(&self) -> How {
        self.options.how()
    }

    fn base(&self, latest: &Claim) -> Result<Base, Error> {
        let opened = Generation::open(self.shard, latest.generation.clone(), self.how());
        match opened {
            Ok(generation) => Ok(Base::Open(generation)),
            Err(Error::Busy) => Ok(Base::Stuck),
            Err(Error::Engine(heed::Error::Mdb(heed::MdbError::MapResized))) => Ok(Base::Stuck),
            Err(Error::Damaged(damage)) => {
                self.set_aside(latest)?;
                Ok(Base::Nothing(Found::SetAside(damage)))
            }
            Err(error) => Err(error),
        }
    }

    fn set_aside(&self, latest: &Claim) -> Result<(), Error> {
        // Another claimant may have moved it; then it is looked for again.
        if claims::current(self.shard)?.as_ref() == Some(latest) {
            claims::set_aside(self.shard, &latest.generation)?;
        }
        Ok(())
    }

    fn check(&self, header: &Header) -> Result<(), Error> {
        if header.boot != this_boot() {
            return Err(Error::Damaged(Damage::Boot));
        }
        if header.shard != self.id {
            return Err(Error::Damaged(Damage::Shard));
        }
        Ok(())
    }

    /// The mark of this claimant for a generation.
    fn mark(&self, before: Option<&Claim>, generation: &str) -> Claim {
        let own = before.filter(|latest| latest.epoch == self.epoch);
        Claim {
            epoch: self.epoch,
            turn: own.map_or(0, |own| own.turn + 1),
            generation: generation.to_owned(),
        }
    }

    /// Whether, with the own mark in place, the highest other one is still `before`.
    fn still_follows(&self, mark: &Claim, before: Option<&Claim>) -> Result<bool, Error> {
        let mut others = claims::list(self.shard)?;
        others.retain(|other| other != mark);
        Ok(others.last() == before)
    }

    /// Goes on in the generation that is there.
    fn take(&self, generation: Arc<Generation>, latest: &Claim) -> Result<Taken, Error> {
        let mark = self.mark(Some(latest), &latest.generation);
        mark.create(self.shard)?;
        if !self.still_follows(&mark, Some(latest))? {
            mark.remove(self.shard);
            return Ok(Taken::Overtaken);
        }
        let written = generation.write(self.options.patience, |txn| {
            let mut header = txn.header()?;
            self.check(&header)?;
            self.own(&mut header)?;
            txn.set_header(&header)?;
            Ok(header)
        });
        match written {
            Ok(header) => Ok(Taken::Done(Box::new(Claimed {
                generation,
                header,
                claim: mark,
                found: Found::State,
            }))),
            Err(Error::Busy) => Ok(Taken::Stuck),
            Err(Error::Engine(heed::Error::Mdb(heed::MdbError::MapResized))) => Ok(Taken::Stuck),
            Err(Error::Damaged(damage)) => {
                mark.remove(self.shard);
                Ok(Taken::Damaged(damage))
            }
            Err(error) => {
                mark.remove(self.shard);
                Err(error)
            }
        }
    }

    /// Writes the owner into a header, unless a later one stands there.
    fn own(&self, header: &mut Header) -> Result<(), Error> {
        let is_other = header.epoch == self.epoch && header.owner != self.owner;
        if header.epoch > self.epoch || is_other {
            return Err(self.fenced(header.epoch));
        }
        header.epoch = self.epoch;
        header.owner = self.owner;
        // What this build does not keep would grow old there: it is no longer said to be.
        header.resources = header.resources - (header.resources - self.options.resources);
        Ok(())
    }

    /// Takes the last committed state into a generation of its own.
    fn copy(&self, latest: &Claim) -> Result<Option<Claimed>, Error> {
        let name = claims::new_name(self.epoch)?;
        let (from, to) = (self.shard.join(&latest.generation), self.shard.join(&name));
        super::folder(&to)?;
        let copied = copy::copy(&from.join("data.mdb"), &to.join("data.mdb"))
            .and_then(|()| self.open_own(&name));
        let (generation, header) = match copied {
            Ok(copied) => copied,
            Err(error) => {
                let _ = fs::remove_dir_all(&to);
                // It was moved or removed: by whom is seen in the next attempt.
                let is_gone = matches!(error, Error::Damaged(Damage::File)) && !from.exists();
                return if is_gone { Ok(None) } else { Err(error) };
            }
        };
        // The mark of an attempt to go on there may be in place.
        let own = self.mark(Some(latest), &latest.generation);
        let mark = Claim {
            turn: own.turn + 1,
            ..self.mark(Some(latest), &name)
        };
        mark.create(self.shard)?;
        let mut others = claims::list(self.shard)?;
        others.retain(|other| *other != mark && *other != own);
        if others.last() != Some(latest) {
            mark.remove(self.shard);
            own.remove(self.shard);
            drop(generation);
            claims::remove(&to);
            return Ok(None);
        }
        Ok(Some(Claimed {
            generation,
            header,
            claim: mark,
            found: Found::Copied,
        }))
    }

    fn open_own(&self, name: &str) -> Result<(Arc<Generation>, Header), Error> {
        let generation = Generation::open(self.shard, name.to_owned(), self.how())?;
        let header = generation.write(self.options.patience, |txn| {
            let mut header = txn.header()?;
            self.check(&header)?;
            self.own(&mut header)?;
            txn.set_header(&header)?;
            Ok(header)
        })?;
        Ok((generation, header))
    }

    /// Begins with nothing.
    fn begin(&self, before: Option<&Claim>, found: Found) -> Result<Option<Claimed>, Error> {
        let name = claims::new_name(self.epoch)?;
        let header = Header {
            level: Level::OWN,
            shard: self.id,
            resources: self.options.resources,
            boot: this_boot(),
            epoch: self.epoch,
            owner: self.owner,
            index: 0,
            sequence: Sequence(0),
            session: "".into(),
        };
        let generation = Generation::create(self.shard, name.clone(), self.how());
        let begun = generation.and_then(|generation| {
            generation.write(self.options.patience, |txn| txn.set_header(&header))?;
            let mark = self.mark(before, &name);
            mark.create(self.shard)?;
            if self.still_follows(&mark, before)? {
                return Ok(Some((generation, mark)));
            }
            mark.remove(self.shard);
            Ok(None)
        });
        match begun {
            Ok(Some((generation, claim))) => Ok(Some(Claimed {
                generation,
                header,
                claim,
                found,
            })),
            Ok(None) => {
                claims::remove(&self.shard.join(&name));
                Ok(None)
            }
            Err(error) => {
                claims::remove(&self.shard.join(&name));
                Err(error)
            }
        }
    }
}

enum Taken {
    Done(Box<Claimed>),
    Overtaken,
    Stuck,
    Damaged(Damage),
}

impl WriteTxn<'_> {
    /// The header.
    pub(crate) fn header(&self) -> Result<Header, Error> {
        let bytes = self.table.get(&self.txn, &key::header());
        header(bytes.map_err(Error::engine)?)
    }

    /// Writes the header.
    pub(crate) fn set_header(&mut self, header: &Header) -> Result<(), Error> {
        let put = self
            .table
            .put(&mut self.txn, &key::header(), &header.to_bytes());
        put.map_err(Error::engine)
    }
}

/// Reads a header.
pub(crate) fn header(bytes: Option<&[u8]>) -> Result<Header, Error> {
    let bytes = bytes.ok_or(Error::Damaged(Damage::Header))?;
    Header::read(bytes).map_err(|unread| match unread {
        Unread::Damaged(damage) => Error::Damaged(damage),
        Unread::Format(found) => Error::Format {
            found,
            known: FORMAT,
        },
    })
}
