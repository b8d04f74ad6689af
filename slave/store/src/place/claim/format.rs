//! A state in another format than this build's.
//!
//! The claimant never goes on in it. It converts it, if it can read it; or goes on in a
//! state of its own format that was kept, which is older, as it is after a rollback; or
//! begins with nothing. In each case the other state is kept for the build that wrote it,
//! until the next claim of the new one or until it is compacted.

use std::sync::Arc;

use super::{Claimant, Claimed, Found};
use crate::{
    Error, Resources,
    apply::Apply,
    header::Header,
    place::{
        claims::{self, Claim},
        former::{Former, FormerState, former},
        generation::Generation,
    },
};

/// Guilds that are converted in one change.
const AT_ONCE: usize = 64;

/// What no GUILD_CREATE brings.
const NOT_CONVERTED: [Resources; 2] = [Resources::INTEGRATION, Resources::MESSAGE];

impl Claimant<'_> {
    /// Takes the place of a state of another format, without touching it. `None`: another
    /// claimant came between.
    pub(super) fn other_format(
        &self,
        latest: &Claim,
        there: &Arc<Generation>,
        found: u16,
    ) -> Result<Option<Claimed>, Error> {
        let taken = if let Some(former) = former(found) {
            let converted = self.converted(there, former)?;
            Some((converted, Found::Converted(found)))
        } else {
            let kept = self.kept(latest)?;
            kept.map(|kept| (kept, Found::Kept(found)))
        };
        let Some(((generation, header), how)) = taken else {
            let begun = self.begin(Some(latest), Found::OtherFormat(found))?;
            return Ok(begun.map(|begun| begun.keeping(latest)));
        };
        // The mark of an attempt to go on there may be in place.
        let mut claim = self.mark(Some(latest), generation.name());
        claim.turn += 1;
        claim.create(self.shard)?;
        if !self.is_alone(Some(latest))? {
            return Ok(None);
        }
        let claimed = Claimed {
            generation,
            header,
            claim,
            found: how,
            former: None,
        };
        Ok(Some(claimed.keeping(latest)))
    }

    /// The newest state of this build's format that was kept, as this owner's.
    fn kept(&self, latest: &Claim) -> Result<Option<(Arc<Generation>, Header)>, Error> {
        let claims = claims::list(self.shard)?;
        for kept in claims.iter().rev().filter(|claim| *claim < latest) {
            let opened = Generation::open(self.shard, kept.generation.clone(), self.how());
            let entered = opened.and_then(|generation| {
                let header = self.enter(&generation)?;
                Ok((generation, header))
            });
            match entered {
                Ok(entered) => return Ok(Some(entered)),
                Err(Error::Format { .. } | Error::Damaged(_) | Error::Busy) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The state in this build's format, as this owner's.
    fn converted(
        &self,
        there: &Arc<Generation>,
        former: &Former,
    ) -> Result<(Arc<Generation>, Header), Error> {
        let txn = there.read()?;
        let state = (former.read)(&txn)?;
        self.check(state.boot, state.shard)?;
        self.follows(state.epoch, state.owner)?;
        self.fill(state)
    }

    /// Writes a state into a new generation, in pieces: nobody claims it yet, so that it need
    /// not be whole before the last.
    fn fill(&self, mut state: FormerState<'_>) -> Result<(Arc<Generation>, Header), Error> {
        let name = claims::new_name(self.epoch)?;
        let to = Generation::create(self.shard, name, self.how())?;
        let (options, patience) = (self.options, self.options.patience);
        let resources = NOT_CONVERTED
            .into_iter()
            .fold(state.resources, |all, not| all - not);
        let mut header = self.header(resources - (resources - options.resources));
        to.write(patience, |txn| {
            if let Some(user) = &state.current_user {
                Apply::new(txn, &mut header, options).take_in("USER_UPDATE", user)?;
            }
            txn.set_header(&header)
        })?;
        loop {
            let piece: Vec<String> = state
                .guilds
                .by_ref()
                .take(AT_ONCE)
                .collect::<Result<_, _>>()?;
            if piece.is_empty() {
                break;
            }
            to.write(patience, |txn| {
                for guild in &piece {
                    Apply::new(txn, &mut header, options).take_in("GUILD_CREATE", guild)?;
                }
                txn.set_header(&header)
            })?;
        }
        header.session = state.session;
        header.sequence = state.sequence;
        to.write(patience, |txn| txn.set_header(&header))?;
        Ok((to, header))
    }
}

impl Claimed {
    /// The state that was current before is kept for the build that wrote it.
    fn keeping(self, former: &Claim) -> Self {
        Self {
            former: Some(former.clone()),
            ..self
        }
    }
}
