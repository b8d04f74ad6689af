//! Becoming the owner of a shard's state. See `place`.

mod format;

use std::{path::Path, sync::Arc};

use baton_protocol::{Epoch, Sequence};

use super::{
    claims::{self, Claim},
    copy,
    generation::{Generation, How, WriteTxn},
};
use crate::{
    Error, Options, Resources,
    error::Damage,
    header::{Header, Owner, this_boot},
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
    /// A state of this other format, which was converted. Integrations and messages are
    /// not; nor are they said to be.
    Converted(u16),
    /// A state of this other format, which this build cannot read. An older one of its own
    /// was kept from before that, and goes on.
    Kept(u16),
    /// A state of this other format, which this build cannot read. It is kept; a new one
    /// begins.
    OtherFormat(u16),
}

/// A shard that was claimed.
pub(crate) struct Claimed {
    pub(crate) generation: Arc<Generation>,
    pub(crate) header: Header,
    pub(crate) claim: Claim,
    pub(crate) found: Found,
    /// A state of another format that is kept.
    pub(crate) former: Option<Claim>,
}

/// Becomes the owner of the state in this folder.
///
/// # Errors
/// A later owner began, or there is no room.
pub(crate) fn claim(claimant: &Claimant<'_>) -> Result<Claimed, Error> {
    for _ in 0..ATTEMPTS {
        if let Some(claimed) = claimant.attempt()? {
            claims::clean(claimant.shard, &claimed.claim, claimed.former.as_ref())?;
            return Ok(claimed);
        }
    }
    Err(Error::Busy)
}

/// Becomes the owner if that takes no longer than a small change: by going on in a generation
/// that is open here. `None`: it is not that simple. [`claim`] finds out why.
///
/// # Errors
/// A later owner began.
pub(crate) fn claim_at_once(claimant: &Claimant<'_>) -> Result<Option<Claimed>, Error> {
    let claimed = claimant.at_once().and_then(|claimed| {
        if let Some(claimed) = &claimed {
            claims::clean(claimant.shard, &claimed.claim, None)?;
        }
        Ok(claimed)
    });
    match claimed {
        Err(error @ Error::Fenced { .. }) => Err(error),
        claimed => Ok(claimed.unwrap_or(None)),
    }
}

/// Makes a generation that nobody claims yet, of the owner that will begin at this epoch or a
/// later one. The owner now leaves it alone, because it is of a later epoch.
pub(crate) fn receive(claimant: &Claimant<'_>) -> Result<Claimed, Error> {
    let name = claims::new_name(claimant.epoch)?;
    let (generation, header) = claimant.make(&name)?;
    Ok(Claimed {
        generation,
        header,
        claim: Claim {
            epoch: claimant.epoch,
            turn: 0,
            generation: name,
        },
        found: Found::Nothing,
        former: None,
    })
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
        Ok((_, next)) => claims::clean(shard, next, None)?,
        Err(_) => claims::remove_unclaimed(shard, claim.epoch, None)?,
    }
    moved
}

/// Who wants to own a shard.
pub(crate) struct Claimant<'c> {
    pub(crate) shard: &'c Path,
    pub(crate) id: u32,
    pub(crate) options: &'c Options,
    pub(crate) epoch: Epoch,
    pub(crate) owner: Owner,
    /// A generation that this process has filled, and that takes the place of whatever is
    /// there.
    pub(crate) received: Option<&'c str>,
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
        let claimed = self.try_from(before.as_ref());
        if let Ok(Some(_)) = claimed {
            return claimed;
        }
        let is_alone = self.is_alone(before.as_ref())?;
        self.give_way(before.as_ref())?;
        match claimed {
            // What it was built on, or what it made, was taken away under it.
            Err(_) if !is_alone => Ok(None),
            claimed => claimed,
        }
    }

    /// An attempt that waits for nobody and makes no generation. What is in its way is in the
    /// way of the next one too, which sees to it.
    fn at_once(&self) -> Result<Option<Claimed>, Error> {
        let Some(latest) = claims::current(self.shard)? else {
            return Ok(None);
        };
        if latest.epoch > self.epoch {
            return Err(self.fenced(latest.epoch));
        }
        let Some(generation) = Generation::opened_already(self.shard, &latest.generation) else {
            return Ok(None);
        };
        // One of another format is converted.
        if !generation.is_named()? || generation.header().is_err() {
            return Ok(None);
        }
        let claimed = self.take(generation, &latest);
        if !matches!(claimed, Ok(Some(_))) {
            self.give_way(Some(&latest))?;
        }
        claimed
    }

    /// Takes back what this attempt made: its marks first, and then the generations that
    /// nobody else claims. Whoever claimed one of them saw its mark after making its own,
    /// and is seen now. What this process had filled before is there for the next attempt.
    fn give_way(&self, before: Option<&Claim>) -> Result<(), Error> {
        for claim in claims::list(self.shard)? {
            if self.is_own(&claim, before) {
                claim.remove(self.shard);
            }
        }
        claims::remove_unclaimed(self.shard, self.epoch, self.received)
    }

    fn try_from(&self, before: Option<&Claim>) -> Result<Option<Claimed>, Error> {
        if let Some(received) = self.received {
            return self.adopt(received, before);
        }
        let Some(latest) = before else {
            return self.begin(None, Found::Nothing);
        };
        let opened = Generation::open(self.shard, latest.generation.clone(), self.how());
        match opened.and_then(|generation| self.take(generation, latest)) {
            // Its owner keeps everybody waiting.
            Err(Error::Busy | Error::Engine(heed::Error::Mdb(heed::MdbError::MapResized))) => {
                self.copy(latest)
            }
            Err(Error::Damaged(damage)) => self.damaged(latest, damage),
            taken => taken,
        }
    }

    fn fenced(&self, latest: Epoch) -> Error {
        let own = self.epoch;
        Error::Fenced { own, latest }
    }

    fn how(&self) -> How {
        self.options.how()
    }

    /// What is there cannot be used. It is set aside, and the next state begins with nothing;
    /// unless it is another claimant who took it away.
    fn damaged(&self, latest: &Claim, damage: Damage) -> Result<Option<Claimed>, Error> {
        if !self.is_alone(Some(latest))? {
            return Ok(None);
        }
        claims::set_aside(self.shard, &latest.generation)?;
        self.begin(Some(latest), Found::SetAside(damage))
    }

    /// Whether nobody else made a mark since this one looked.
    fn is_alone(&self, before: Option<&Claim>) -> Result<bool, Error> {
        let claims = claims::list(self.shard)?;
        let other = claims.iter().rfind(|claim| !self.is_own(claim, before));
        Ok(other == before || mutant!("claims-unseen"))
    }

    /// Whether it is a mark of this attempt.
    fn is_own(&self, claim: &Claim, before: Option<&Claim>) -> bool {
        claim.epoch == self.epoch && Some(claim) > before
    }

    /// Whether a state of this boot and shard is of any use here.
    fn check(&self, boot: [u8; 16], shard: u32) -> Result<(), Error> {
        if boot != this_boot() {
            return Err(Error::Damaged(Damage::Boot));
        }
        if shard != self.id {
            return Err(Error::Damaged(Damage::Shard));
        }
        Ok(())
    }

    /// Whether this owner comes behind that one, or is the same.
    fn follows(&self, epoch: Epoch, owner: Owner) -> Result<(), Error> {
        let is_other = epoch == self.epoch && owner != self.owner;
        if epoch > self.epoch || is_other {
            return Err(self.fenced(epoch));
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

    /// Goes on in the generation that is there. `None`: another claimant came between.
    fn take(&self, generation: Arc<Generation>, latest: &Claim) -> Result<Option<Claimed>, Error> {
        // Before any lock: whoever writes there may be another build, or be stopped.
        if let Err(Error::Format { found, .. }) = generation.header() {
            return self.other_format(latest, &generation, found);
        }
        let mark = self.mark(Some(latest), &latest.generation);
        mark.create(self.shard)?;
        if !self.is_alone(Some(latest))? {
            return Ok(None);
        }
        let header = self.enter(&generation)?;
        Ok(Some(Claimed {
            generation,
            header,
            claim: mark,
            found: Found::State,
            former: None,
        }))
    }

    /// Makes the generation this owner's, if it is sound.
    fn enter(&self, generation: &Generation) -> Result<Header, Error> {
        generation.write(self.options.patience, |txn| {
            let mut header = txn.header()?;
            self.check(header.boot, header.shard)?;
            self.own(&mut header)?;
            txn.set_header(&header)?;
            Ok(header)
        })
    }

    /// Writes the owner into a header, unless a later one stands there.
    fn own(&self, header: &mut Header) -> Result<(), Error> {
        self.follows(header.epoch, header.owner)?;
        header.epoch = self.epoch;
        header.owner = self.owner;
        header.most = self.options.most;
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
            .and_then(|()| Generation::open(self.shard, name.clone(), self.how()))
            .and_then(|generation| match generation.header() {
                Err(Error::Format { found, .. }) => Ok((generation, Err(found))),
                Ok(_) | Err(_) => {
                    let header = self.enter(&generation)?;
                    Ok((generation, Ok(header)))
                }
            });
        let (generation, header) = match copied {
            Ok((generation, Ok(header))) => (generation, header),
            Ok((generation, Err(found))) => return self.other_format(latest, &generation, found),
            Err(Error::Damaged(damage)) => return self.damaged(latest, damage),
            Err(error) => return Err(error),
        };
        // The mark of an attempt to go on there may be in place.
        let mut mark = self.mark(Some(latest), &name);
        mark.turn += 1;
        mark.create(self.shard)?;
        if !self.is_alone(Some(latest))? {
            return Ok(None);
        }
        Ok(Some(Claimed {
            generation,
            header,
            claim: mark,
            found: Found::Copied,
            former: None,
        }))
    }

    /// Goes on in a generation that this process has filled itself.
    fn adopt(&self, name: &str, before: Option<&Claim>) -> Result<Option<Claimed>, Error> {
        let generation = Generation::open(self.shard, name.to_owned(), self.how())?;
        let header = self.enter(&generation)?;
        let mark = self.mark(before, name);
        mark.create(self.shard)?;
        if !self.is_alone(before)? {
            return Ok(None);
        }
        // What another build wrote is kept for it.
        let former = before.filter(|latest| {
            let there = Generation::open(self.shard, latest.generation.clone(), self.how());
            let header = there.and_then(|there| there.header());
            matches!(header, Err(Error::Format { .. }))
        });
        Ok(Some(Claimed {
            generation,
            header,
            claim: mark,
            found: Found::State,
            former: former.cloned(),
        }))
    }

    /// The header of a new state of this owner's.
    fn header(&self, resources: Resources) -> Header {
        Header {
            level: Level::NEW,
            shard: self.id,
            resources,
            boot: this_boot(),
            epoch: self.epoch,
            owner: self.owner,
            index: 0,
            sequence: Sequence(0),
            most: self.options.most,
            whole_at: Sequence(0),
            session: "".into(),
        }
    }

    /// Makes a generation with nothing in it.
    fn make(&self, name: &str) -> Result<(Arc<Generation>, Header), Error> {
        let header = self.header(self.options.resources);
        let generation = Generation::create(self.shard, name.to_owned(), self.how())?;
        generation.write(self.options.patience, |txn| txn.set_header(&header))?;
        Ok((generation, header))
    }

    /// Begins with nothing.
    fn begin(&self, before: Option<&Claim>, found: Found) -> Result<Option<Claimed>, Error> {
        let name = claims::new_name(self.epoch)?;
        let (generation, header) = self.make(&name)?;
        let claim = self.mark(before, &name);
        claim.create(self.shard)?;
        let alone = self.is_alone(before)?;
        Ok(alone.then_some(Claimed {
            generation,
            header,
            claim,
            found,
            former: None,
        }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests;
