//! The one who may change a shard's state.

use std::{sync::Arc, time::Duration};

use baton_protocol::{Epoch, Sequence};
use heed::PutFlags;

use crate::{
    Error, Options, Store,
    apply::Apply,
    care,
    error::Damage,
    header::{Header, LONGEST_SESSION, Owner},
    key,
    packed::{Doc, payload},
    place::{Claim, Claimed, Found, Generation, Txn, WriteTxn, header, move_to_new},
    resources::{Kind, Resources},
};

/// One dispatch of the gateway.
#[derive(Clone, Copy, Debug)]
pub struct Dispatch<'e> {
    /// Its sequence in its session.
    pub sequence: Sequence,
    /// Its type, as Discord writes it.
    pub kind: &'e str,
    /// The whole payload: `{"t":..,"s":..,"op":0,"d":{..}}`.
    pub json: &'e str,
}

/// Where a state stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    /// The fingerprint of its session; `None`: none began, or what was copied of it is not
    /// whole yet.
    pub session: Option<Box<str>>,
    /// Every event of that session up to here is in it, and none above.
    pub sequence: Sequence,
    /// Of the last owner.
    pub epoch: Epoch,
}

impl Stand {
    pub(crate) fn of(header: &Header) -> Self {
        Self {
            session: Some(header.session.clone())
                .filter(|session| !session.is_empty() && header.sequence >= header.whole_at),
            sequence: header.sequence,
            epoch: header.epoch,
        }
    }
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Events that are in the state now and were not before.
    pub new: usize,
    /// Events that were in it already.
    pub known: usize,
    /// Of the new ones, those whose payload is no JSON: nothing of them is in the state.
    pub unread: usize,
}

/// The one who may change a shard's state, until a later owner begins.
///
/// Its methods may wait for the [patience](crate::Options::patience) if another process is
/// in the middle of a change, which happens at a handover only. Each is one change: it is
/// made as a whole, or not at all.
#[derive(Debug)]
pub struct Writer {
    store: Store,
    generation: Arc<Generation>,
    claim: Claim,
    epoch: Epoch,
    owner: Owner,
    stand: Stand,
    is_sealed: bool,
}

impl Writer {
    /// Of a state that nobody owns yet: see [`Store::receive`].
    pub(crate) fn of_received(store: Store, claimed: Claimed) -> Self {
        Self::new(store, claimed).0
    }

    /// The generation that it writes.
    pub(crate) fn generation_name(&self) -> &str {
        &self.claim.generation
    }

    pub(crate) fn new(store: Store, claimed: Claimed) -> (Self, Takeover) {
        let takeover = Takeover {
            found: claimed.found,
            stand: Stand::of(&claimed.header),
            missing: store.options().resources - claimed.header.resources,
        };
        let writer = Self {
            store,
            generation: claimed.generation,
            claim: claimed.claim,
            epoch: claimed.header.epoch,
            owner: claimed.header.owner,
            stand: takeover.stand.clone(),
            is_sealed: false,
        };
        (writer, takeover)
    }

    /// The writer of a state that nobody has open, in the name of its last owner.
    pub(crate) fn of_last_owner(store: &Store) -> Result<Self, Error> {
        let (generation, claim) = store.current()?;
        let header = generation.header()?;
        Ok(Self {
            store: store.clone(),
            generation,
            claim,
            epoch: header.epoch,
            owner: header.owner,
            stand: Stand::of(&header),
            is_sealed: false,
        })
    }

    /// The store, for reading.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Where the state stands after the last change.
    #[must_use]
    pub const fn stand(&self) -> &Stand {
        &self.stand
    }

    /// Brings the state up to these dispatches of a session, which are in the order of their
    /// sequences: those of one wake-up, for example. Where the state stands is written in
    /// the same change. Those that it holds already change nothing. READY begins a session:
    /// everything of the one before is dropped.
    ///
    /// # Errors
    /// None of them was applied. [`Error::Fenced`] and [`Error::Sealed`] are final;
    /// [`Error::Full`] is not: the same batch can be tried again.
    pub fn apply(&mut self, session: &str, batch: &[Dispatch<'_>]) -> Result<Applied, Error> {
        self.apply_within(self.store.options().patience, session, batch)
    }

    /// The same with a patience of its own. With none it never waits for another process, and
    /// may be called where nothing may block.
    ///
    /// # Errors
    /// As [`apply`](Self::apply). [`Error::Busy`]: another process is in the middle of a
    /// change.
    pub fn apply_within(
        &mut self,
        patience: Duration,
        session: &str,
        batch: &[Dispatch<'_>],
    ) -> Result<Applied, Error> {
        self.may_write()?;
        if session.is_empty() || session.len() > LONGEST_SESSION {
            return Err(Error::OtherSession);
        }
        let options = self.store.options();
        let mut applied = Applied::default();
        let (epoch, owner) = (self.epoch, self.owner);
        let header = self.generation.write(patience, |txn| {
            let mut header = owned(txn.header()?, epoch, owner)?;
            for event in batch {
                if header.session.as_ref() == session
                    && event.sequence <= header.sequence
                    && !mutant!("applied-twice")
                {
                    applied.known += 1;
                    continue;
                }
                let begins = event.kind == "READY";
                if header.session.as_ref() != session && !begins {
                    return Err(Error::OtherSession);
                }
                // What cannot be read would come again and again, if it were refused.
                let packed = payload(event.json, header.level).unwrap_or_default();
                let data = Doc::whole(&packed).and_then(|whole| whole.get("d")?.object());
                if begins {
                    header.session = session.into();
                    header.resources = options.resources;
                    header.whole_at = Sequence(0);
                }
                match data {
                    Some(data) => Apply::new(txn, &mut header, options).event(event.kind, data)?,
                    None if begins => Apply::new(txn, &mut header, options).clear()?,
                    None => {}
                }
                applied.unread += usize::from(packed.is_empty());
                header.sequence = event.sequence;
                applied.new += 1;
            }
            if !mutant!("sequence-outside") {
                txn.set_header(&header)?;
            }
            Ok(header)
        })?;
        if mutant!("sequence-outside") {
            let outside = |txn: &mut WriteTxn<'_>| txn.set_header(&header);
            self.generation.write(patience, outside)?;
        }
        self.stand = Stand::of(&header);
        Ok(applied)
    }

    /// Takes in a guild that was copied from elsewhere, as
    /// [`View::guild_create`](crate::View::guild_create) writes it. From then on the state
    /// stands where `stand` says: where the oldest guild of the copy does.
    ///
    /// # Errors
    /// It is no guild, or as [`apply`](Self::apply).
    pub fn import(&mut self, stand: &Stand, guild: &str) -> Result<(), Error> {
        self.change(|options, txn, header| {
            Apply::new(txn, header, options).take_in("GUILD_CREATE", guild)?;
            header.session = stand.session.clone().unwrap_or_default();
            header.sequence = stand.sequence;
            Ok(())
        })
    }

    /// The same for the bot's own user.
    ///
    /// # Errors
    /// It is no user, or as [`apply`](Self::apply).
    pub fn import_user(&mut self, user: &str) -> Result<(), Error> {
        self.change(|options, txn, header| {
            Apply::new(txn, header, options).take_in("USER_UPDATE", user)
        })
    }

    /// All of a copy was taken in: the state is of this session, holds every event up to
    /// `sequence`, and from `whole_at` on all of it stands at the same one. Until then
    /// [`Stand::session`] is `None`, because a piece that is ahead of the others must not get
    /// an event twice, and only whoever took the copy in knows which one is.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn settle(
        &mut self,
        session: &str,
        sequence: Sequence,
        whole_at: Sequence,
    ) -> Result<(), Error> {
        if session.len() > LONGEST_SESSION {
            return Err(Error::OtherSession);
        }
        self.change(|_, _, header| {
            header.session = session.into();
            header.sequence = sequence;
            header.whole_at = whole_at;
            Ok(())
        })
    }

    /// One change of this owner's, with the header.
    fn change(
        &mut self,
        change: impl FnOnce(&Options, &mut WriteTxn<'_>, &mut Header) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.may_write()?;
        let options = self.store.options();
        let (epoch, owner) = (self.epoch, self.owner);
        let header = self.generation.write(options.patience, |txn| {
            let mut header = owned(txn.header()?, epoch, owner)?;
            change(options, txn, &mut header)?;
            txn.set_header(&header)?;
            Ok(header)
        })?;
        self.stand = Stand::of(&header);
        Ok(())
    }

    /// Forgets everything: the session is over, or its state is to come from elsewhere.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn clear(&mut self) -> Result<(), Error> {
        self.begin("", Sequence(0))
    }

    /// Forgets everything, and goes on with the events of this session that are above
    /// `sequence`. It is for a session that is under way, of which the state was lost: whoever
    /// owns the shard next must be able to tell it from a whole one, so name it otherwise
    /// than that.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn begin(&mut self, session: &str, sequence: Sequence) -> Result<(), Error> {
        if session.len() > LONGEST_SESSION {
            return Err(Error::OtherSession);
        }
        self.change(|options, txn, header| {
            header.resources = options.resources;
            header.session = session.into();
            header.sequence = sequence;
            header.whole_at = Sequence(0);
            Apply::new(txn, header, options).clear()
        })
    }

    /// The shard is sealed: the last change stands, and this writer makes no other. Says
    /// where the state stands for ever, or until the next owner begins.
    pub fn seal(&mut self) -> Stand {
        self.is_sealed = true;
        self.stand.clone()
    }

    /// Writes the state once more, into full pages, and drops what no document needs. Also
    /// the way out if a reader that never ends keeps pages: it keeps the former ones.
    /// It takes the time and, for a moment, the room of a copy.
    ///
    /// # Errors
    /// As [`apply`](Self::apply). The state stays where it was.
    pub fn compact(&mut self) -> Result<Compacted, Error> {
        let compacted = self.compact_once();
        // Whoever asked for it has the answer, whatever it is.
        care::answered(self.store.path())?;
        compacted
    }

    /// Whether an operator asks for [`compact`](Self::compact)
    /// (`baton-slave store compact`). It looks at a file.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn is_compact_asked(&self) -> Result<bool, Error> {
        care::is_asked(self.store.path())
    }

    fn compact_once(&mut self) -> Result<Compacted, Error> {
        self.may_write()?;
        let before = self.generation.size()?;
        let view = self.generation.read()?;
        let header = owned(header(view.get(&key::header())?)?, self.epoch, self.owner)?;
        let fill = |txn: &mut WriteTxn<'_>| copy_all(&view, &header, txn);
        let options = self.store.options();
        let moved = move_to_new(&self.generation, &self.claim, options, fill)?;
        drop(view);
        (self.generation, self.claim) = moved;
        self.store.goes_on_in(&self.generation);
        let after = self.generation.size()?;
        Ok(Compacted { before, after })
    }

    fn may_write(&self) -> Result<(), Error> {
        if self.is_sealed && !mutant!("commit-after-seal") {
            return Err(Error::Sealed);
        }
        if self.generation.is_named()? {
            return Ok(());
        }
        match self.generation.latest()? {
            Some(latest) if latest.epoch > self.epoch => Err(Error::Fenced {
                own: self.epoch,
                latest: latest.epoch,
            }),
            Some(_) | None => Err(Error::Damaged(Damage::File)),
        }
    }
}

/// Writes every document that is kept behind the one before, so that pages are full.
fn copy_all(from: &Txn, header: &Header, to: &mut WriteTxn<'_>) -> Result<(), Error> {
    let all = from.table().iter(from.txn()).map_err(Error::engine)?;
    for entry in all {
        let (key, value) = entry.map_err(Error::engine)?;
        let kind = match key::read(key) {
            Some(key::Read::Document { kind, .. }) => Some(kind),
            Some(key::Read::Message { .. }) => Some(Kind::Message),
            Some(key::Read::User(_)) => Some(Kind::User),
            Some(_) => None,
            None => return Err(Error::Damaged(Damage::Structure)),
        };
        if kind.is_none_or(|kind| header.resources.contains(kind.resource())) {
            let put = to
                .table
                .put_with_flags(&mut to.txn, PutFlags::APPEND, key, value);
            put.map_err(Error::engine)?;
        }
    }
    Ok(())
}

/// The header, if this owner is still the last.
fn owned(header: Header, epoch: Epoch, owner: Owner) -> Result<Header, Error> {
    let is_own = header.epoch == epoch && header.owner == owner;
    if !is_own && !mutant!("epoch-not-compared") {
        return Err(Error::Fenced {
            own: epoch,
            latest: header.epoch,
        });
    }
    Ok(header)
}

/// What an owner took over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Takeover {
    /// Whose state it is.
    pub found: Found,
    /// Where it stands.
    pub stand: Stand,
    /// Resources that are wanted and that the owner before did not keep: they come with the
    /// next session only. Until then the state is not complete for whoever wants them.
    pub missing: Resources,
}

/// What [`Writer::compact`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// Bytes of the file before.
    pub before: u64,
    /// Bytes of the file after.
    pub after: u64,
}
