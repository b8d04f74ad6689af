//! One shard's state, for reading, and the way to its writer.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use baton_protocol::{Epoch, ShardId};

use crate::{
    Error, Owner, Resources, Room, Takeover, View, Writer,
    place::{self, Claim, Claimant, Generation, How, folder, shard_folder},
};

/// How a store is kept. All processes of a fleet should agree.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// What is kept.
    pub resources: Resources,
    /// The size limit of a shard, in bytes: 8 GiB. A change that does not fit is refused.
    pub most: u64,
    /// How long another process that is in the middle of a change is waited for: 1 s.
    pub patience: Duration,
    /// Messages that are kept of each channel, if any are: 100.
    pub messages_per_channel: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            resources: Resources::default(),
            most: 8 << 30,
            patience: Duration::from_secs(1),
            messages_per_channel: 100,
        }
    }
}

impl Options {
    /// Keeps these resources.
    #[must_use]
    pub const fn with_resources(mut self, resources: Resources) -> Self {
        self.resources = resources;
        self
    }

    /// Limits a shard to so many bytes.
    #[must_use]
    pub const fn with_most(mut self, most: u64) -> Self {
        self.most = most;
        self
    }

    /// Waits so long for another process.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Keeps so many messages of a channel.
    #[must_use]
    pub const fn with_messages_per_channel(mut self, messages: usize) -> Self {
        self.messages_per_channel = messages;
        self
    }

    /// Whether it can be kept like that.
    ///
    /// # Errors
    /// [`Error::Resources`]: not together.
    pub const fn check(&self) -> Result<(), Error> {
        let kept = self.resources;
        if kept.contains(Resources::USER) && !kept.contains(Resources::MEMBER) {
            return Err(Error::Resources(
                "USER needs MEMBER: a user is kept as long as it is a member somewhere",
            ));
        }
        Ok(())
    }

    pub(crate) const fn how(&self) -> How {
        How {
            most: self.most,
            patience: self.patience,
        }
    }
}

/// One shard's state. Cheap to clone; all clones of a process share what is open.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shard: ShardId,
    path: PathBuf,
    options: Options,
    current: RwLock<Option<Arc<Generation>>>,
}

impl Store {
    /// Opens the state of a shard in this folder, which all shards of a fleet share, and
    /// makes the folder if it is not there. What another process wrote is there at once.
    /// It may block, for [`Options::patience`] at most.
    ///
    /// # Errors
    /// The folder cannot be used, or the resources cannot be kept together.
    pub fn open(dir: &Path, shard: ShardId, options: Options) -> Result<Self, Error> {
        options.check()?;
        folder(dir)?;
        let path = shard_folder(dir, shard);
        folder(&path)?;
        let inner = Inner {
            shard,
            path,
            options,
            current: RwLock::default(),
        };
        let store = Self {
            inner: Arc::new(inner),
        };
        match store.refresh() {
            // What is there is looked at again when it is claimed.
            Err(Error::Damaged(_) | Error::Busy) | Ok(()) => Ok(store),
            Err(error) => Err(error),
        }
    }

    /// Which shard it is of.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.inner.shard
    }

    pub(crate) fn options(&self) -> &Options {
        &self.inner.options
    }

    pub(crate) fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Becomes the owner of the state at this epoch, wherever it is, and however the owner
    /// before ended. From now on no earlier owner can change it.
    ///
    /// `owner` names this process among all that may ever ask for the same epoch: a
    /// process that restarts a shard's task claims it once more with the same one.
    ///
    /// It may block for twice [`Options::patience`], and for a copy of the state if the owner
    /// before is stopped in the middle of a change.
    ///
    /// A state of another format is converted, if this build reads it, and kept for the
    /// build that wrote it until the next claim. See [`Found`](crate::Found).
    ///
    /// # Errors
    /// [`Error::Fenced`]: a later owner began. [`Error::Full`]: there is no room.
    pub fn claim(&self, epoch: Epoch, owner: Owner) -> Result<(Writer, Takeover), Error> {
        let claimed = place::claim(&self.claimant(epoch, owner))?;
        self.goes_on_in(&claimed.generation);
        Ok(Writer::new(self.clone(), claimed))
    }

    /// [`claim`](Self::claim), if it is as simple as a change: this process has the state open,
    /// it is of this build's format, and nobody is in the middle of a change. Then it takes as
    /// long as one, and may be called where nothing may block, if no disk is behind the folder.
    /// `None`: it is not, and nothing was changed.
    ///
    /// # Errors
    /// [`Error::Fenced`]: a later owner began.
    pub fn claim_at_once(
        &self,
        epoch: Epoch,
        owner: Owner,
    ) -> Result<Option<(Writer, Takeover)>, Error> {
        let options = self.options().clone().with_patience(Duration::ZERO);
        let claimed = place::claim_at_once(&Claimant {
            options: &options,
            ..self.claimant(epoch, owner)
        })?;
        Ok(claimed.map(|claimed| {
            self.goes_on_in(&claimed.generation);
            Writer::new(self.clone(), claimed)
        }))
    }

    fn claimant(&self, epoch: Epoch, owner: Owner) -> Claimant<'_> {
        Claimant {
            shard: &self.inner.path,
            id: self.inner.shard.get(),
            options: &self.inner.options,
            epoch,
            owner,
            received: None,
        }
    }

    /// Begins a state that is taken in while another process owns the shard at this epoch,
    /// and beside whatever is here: nothing of it is touched. Fill it with [`Writer::import`]
    /// and [`Writer::settle`], and give it to [`claim_received`](Self::claim_received). What is
    /// not claimed is removed by the next owner.
    ///
    /// # Errors
    /// There is no room, or the folder cannot be used.
    pub fn receive(&self, owners: Epoch, owner: Owner) -> Result<Writer, Error> {
        let received = place::receive(&self.claimant(owners.next(), owner))?;
        Ok(Writer::of_received(self.clone(), received))
    }

    /// [`claim`](Self::claim) for a process that has taken the state in itself: what is here
    /// makes room for that.
    ///
    /// # Errors
    /// As [`claim`](Self::claim). [`Error::Damaged`]: what was taken in is not there any more.
    /// With any other error it is there, and can be claimed again.
    pub fn claim_received(
        &self,
        epoch: Epoch,
        owner: Owner,
        received: &Writer,
    ) -> Result<(Writer, Takeover), Error> {
        let claimed = place::claim(&Claimant {
            received: Some(received.generation_name()),
            ..self.claimant(epoch, owner)
        })?;
        self.goes_on_in(&claimed.generation);
        Ok(Writer::new(self.clone(), claimed))
    }

    /// Whether the owner at this epoch has the state of this session here. A session is one
    /// shard's of one bot, so that it is no other owner of the same number.
    ///
    /// # Errors
    /// It cannot be read, which is no answer: [`Error::Format`] for example.
    pub fn is_owned_at(&self, epoch: Epoch, session: &str) -> Result<bool, Error> {
        match place::current(self.path())? {
            Some(claim) if claim.epoch == epoch => {}
            Some(_) | None => return Ok(false),
        }
        self.refresh()?;
        let stand = self.view()?.stand();
        Ok(stand.epoch == epoch && stand.session.as_deref() == Some(session))
    }

    /// Says in the folder, to the owner that asked with this number, that this process will go
    /// on with the state where it is.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn accept(&self, offer: u64) -> Result<(), Error> {
        place::accept(self.path(), offer)
    }

    /// Whether another process said so. Asked once, it is forgotten.
    ///
    /// # Errors
    /// It cannot be seen.
    pub fn is_accepted(&self, offer: u64) -> Result<bool, Error> {
        place::is_accepted(self.path(), offer)
    }

    pub(crate) fn goes_on_in(&self, generation: &Arc<Generation>) {
        let current = self.inner.current.write();
        *current.unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(generation));
    }

    /// Looks for the state that is current now: a later owner may have moved it.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn refresh(&self) -> Result<(), Error> {
        match self.current() {
            Ok((generation, _)) => self.goes_on_in(&generation),
            Err(Error::Absent { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// How much room it takes, and there is.
    ///
    /// # Errors
    /// There is no state, or it cannot be read.
    pub fn room(&self) -> Result<Room, Error> {
        let generation = self.generation()?;
        let (readers, stale_readers) = generation.readers()?;
        Ok(Room {
            generation: generation.name().to_owned(),
            bytes: generation.size()?,
            used: generation.used()?,
            limit: generation.header()?.most,
            free: place::free(&self.inner.path)?,
            readers,
            stale_readers,
            set_aside: place::damaged(&self.inner.path)?.len(),
        })
    }

    /// Whether what is open here is where the state is: its owner did not move it since. False
    /// also if nothing is open.
    #[must_use]
    pub fn is_there(&self) -> bool {
        let named = self
            .generation()
            .and_then(|generation| generation.is_named());
        named.unwrap_or(false)
    }

    /// Gives back what this process has mapped of these states. They stay where they are, and
    /// what is read again is mapped again, 16 pages at a time. A process that is killed is only
    /// gone when all that it had mapped is taken from it, 5 ms for each 100 MB, and its
    /// successor waits for that.
    ///
    /// # Errors
    /// The process cannot look at its own maps.
    pub fn unmap(stores: &[Self]) -> Result<(), Error> {
        // One of which nothing is open has nothing mapped.
        let open: Vec<_> = stores.iter().flat_map(Self::generation).collect();
        Generation::unmap(&open)
    }

    /// The state that is current now, and its claim.
    pub(crate) fn current(&self) -> Result<(Arc<Generation>, Claim), Error> {
        let Inner { path, options, .. } = &*self.inner;
        let absent = || Error::Absent { path: path.clone() };
        let claim = place::current(path)?.ok_or_else(absent)?;
        let generation = Generation::open(path, claim.generation.clone(), options.how())?;
        Ok((generation, claim))
    }

    fn generation(&self) -> Result<Arc<Generation>, Error> {
        let current = self.inner.current.read();
        let current = current.unwrap_or_else(PoisonError::into_inner).clone();
        let absent = || Error::Absent {
            path: self.inner.path.clone(),
        };
        current.ok_or_else(absent)
    }

    /// What there is now. Everything that is read through one view is of one moment. A view
    /// belongs to its thread and keeps pages from being used again as long as it lives: it
    /// is for one piece of work, and cannot be held while another task runs on its thread.
    ///
    /// # Errors
    /// There is no state yet, or it cannot be read.
    pub fn view(&self) -> Result<View, Error> {
        View::new(&self.generation()?)
    }
}
