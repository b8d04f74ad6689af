//! Which of several masters leads.
//!
//! ```text
//!             the key is free: take it
//!   stands by ────────────────────────▶ leads ── lost, or asked to step down ──▶ ends
//!     refuses slaves, says who leads      renews the key every 3 s                (5)
//! ```
//!
//! The key of the leader is in a bucket whose messages are removed after 15 s. A master that
//! stands by looks twice a second, is connected and has its configuration read. It takes the
//! key when its owner said that it stepped down, or when the key has been gone for a second: a
//! leader whose store was away has that time to come back.
//!
//! The key says who is to begin, and no more. What makes two leaders harmless is the term
//! (`store`): with the first batch of the next one, no save of the one before succeeds, and
//! slaves that joined the next one take no order of the one before.
//!
//! # Why a master that leads no more ends
//!
//! It ends with exit code 5, and is started again by what started it. So nothing of a term, no
//! task, timer or order that was half carried out, is left when the same host leads again.
//! Slaves outlive it as they outlive any master. Where nothing starts it again, one standby
//! master is missing; who started it by hand sees the code.
//!
//! # When the store does not answer
//!
//! The leader stays: nobody can take the term from it meanwhile, or its first save afterwards
//! says so. Every save is refused at once, so nothing begins that has to be saved before.

mod keeper;
mod lease;
mod standby;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use baton_protocol::{ProcessIdentity, auth::Secret};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::{
    keeper::{Ended, Keeper},
    lease::{Lease, Seat},
};
use crate::{
    config::{Config, SharedStore},
    error::Error,
    journal::{Copy, Home},
    notice::Notice,
    post::{Named, Post},
    process::{Watch, WatchError},
    store::{
        Store, StoreError,
        nats::{Buckets, Client, Nats, Trouble},
    },
};
pub(crate) use standby::Doors;

/// How often a standby master looks who leads.
const LOOK: Duration = Duration::from_millis(500);

/// How often it says that it is there, and writes down what the store says.
const SAY: Duration = Duration::from_secs(3);

/// A key that is gone was not given back: its owner may come back first.
const GONE: Duration = Duration::from_secs(1);

/// A leader that stepped down for another host waits for it so long.
const YIELDED: Duration = Duration::from_secs(4);

/// Streams that cannot be declared are tried again after this time.
const DECLARE_AGAIN: Duration = Duration::from_secs(2);

/// The lease is given back within this time, or runs out.
const GIVE_BACK: Duration = Duration::from_secs(3);

/// A master that leads.
pub(crate) struct Leadership {
    pub(crate) post: Arc<Post>,
    buckets: Buckets,
    lost: watch::Receiver<Option<String>>,
    closing: CancellationToken,
    keeping: JoinHandle<()>,
}

impl Leadership {
    /// The store of the journal, for its thread.
    ///
    /// # Errors
    /// The operating system has no randomness.
    pub(crate) fn store(&self, secret: &Secret) -> Result<(Box<dyn Store>, String), Error> {
        let bucket = self.buckets.journal.clone();
        let place = bucket.client().place().to_owned();
        let store = Nats::new(bucket, secret, Handle::current());
        let store = store.map_err(|error| Error::Failed(error.to_string()))?;
        Ok((Box::new(store.kept()), place))
    }

    /// Why it is over; `None`: it is not.
    pub(crate) fn lost(&self) -> Option<String> {
        self.lost.borrow().clone()
    }

    /// Tells the driver when it is over.
    pub(crate) fn tell(&self, notices: mpsc::Sender<Notice>) -> impl Future<Output = ()> + use<> {
        self.post.attach(notices.clone());
        let mut lost = self.lost.clone();
        async move {
            let why = match lost.wait_for(Option::is_some).await {
                Ok(why) => why.clone().unwrap_or_default(),
                // It is given back by this master itself.
                Err(_) => return,
            };
            // The driver may have ended.
            let _ = notices.send(Notice::NotLeading(why)).await;
        }
    }

    /// Gives the lead back, where it is not lost.
    pub(crate) async fn give_back(self) {
        self.closing.cancel();
        // It ends within the time of its last request.
        let _ = self.keeping.await;
    }
}

/// Whether the kernel of this host says that a master is dead.
fn is_dead(leader: &Named) -> bool {
    let process = leader.process.as_ref();
    process.is_some_and(|process| matches!(Watch::open(process), Err(WatchError::Dead)))
}

/// A master that would lead.
pub(crate) struct Candidate {
    buckets: Buckets,
    me: Named,
    pub(crate) post: Arc<Post>,
    copy: Copy,
    /// A slave that answers the leader nothing for so long is not reached.
    answers: Duration,
    declared: bool,
    declare_at: Instant,
    say_at: Instant,
    /// Since when the key is free.
    free: Option<Instant>,
}

impl Candidate {
    /// Connects; a store that is away is waited for later.
    ///
    /// # Errors
    /// The configuration is wrong.
    pub(crate) async fn new(
        config: &Config,
        store: &SharedStore,
        listen: &str,
        home: &Home,
    ) -> Result<Self, Error> {
        let host = config.host_name();
        let wrong = |error: String| Error::Configuration(format!("store: {error}"));
        let client = Client::connect(store, &host).await;
        let client = client.map_err(|trouble| wrong(trouble.to_string()))?;
        let id = getrandom::u64();
        let id = id.map_err(|error| Error::Failed(format!("no random numbers: {error}")))?;
        let me = Named {
            id: format!("{id:016x}"),
            process: ProcessIdentity::current().ok(),
            host: host.clone(),
            listen: listen.to_owned(),
            ..Named::default()
        };
        let copy = Copy::open(home);
        let copy = copy.map_err(|error| Error::system("read the file fleet", error))?;
        let now = Instant::now();
        let mut candidate = Self {
            buckets: Buckets::new(&client, store),
            me,
            post: Arc::new(Post::new(&host, &store.place())),
            copy,
            answers: config.answers(),
            declared: false,
            declare_at: now,
            say_at: now,
            free: None,
        };
        match candidate.declare().await {
            Err(error @ StoreError::Unlike { .. }) => Err(wrong(error.to_string())),
            Ok(()) | Err(_) => Ok(candidate),
        }
    }

    async fn declare(&mut self) -> Result<(), StoreError> {
        let declared = self.buckets.declare().await;
        self.declared = declared.is_ok();
        self.declare_at = Instant::now() + DECLARE_AGAIN;
        let trouble = declared.as_ref().err().map(ToString::to_string);
        self.post.note(|standing| standing.trouble = trouble);
        declared
    }

    /// Looks once, and takes the lead if it is free.
    pub(crate) async fn look(&mut self) -> Option<Leadership> {
        let looked = self.try_to_lead().await;
        let away = self.buckets.leader.client().away();
        self.post.store_away(away);
        match looked {
            Ok(leads) => leads,
            Err(trouble) => {
                // After an outage the key is not what it was.
                self.free = None;
                if !matches!(trouble, Trouble::Away(_) | Trouble::Nobody) {
                    self.declared = false;
                    warn!(%trouble, "the store refuses what a standby master asks");
                }
                None
            }
        }
    }

    async fn try_to_lead(&mut self) -> Result<Option<Leadership>, Trouble> {
        if !self.declared {
            if self.declare_at > Instant::now() {
                return Ok(None);
            }
            if let Err(error) = self.declare().await {
                error!(%error, "this master cannot lead");
                return Ok(None);
            }
        }
        if self.say_at <= Instant::now() {
            self.say_at = Instant::now() + SAY;
            self.copy.follow(&self.buckets.journal).await?;
            self.me.reaches = self.post.reaches(|slave| self.copy.knows(slave));
            lease::stand_by(&self.buckets.leader, &self.me).await?;
        }
        let seat = lease::look(&self.buckets.leader).await?;
        let leader = seat.leader().cloned();
        self.post.note(|standing| standing.leader = leader);
        if !self.may_take(&seat) {
            return Ok(None);
        }
        let lease = lease::take(&self.buckets.leader, &self.me, seat.sequence).await?;
        Ok(lease.map(|lease| self.lead(lease)))
    }

    fn may_take(&mut self, seat: &Seat) -> bool {
        if let Some(leader) = seat.leader() {
            self.free = None;
            // Its own, where the answer was lost; or of the one before on this host.
            return leader.id == self.me.id || is_dead(leader);
        }
        let free = self.free.get_or_insert_with(Instant::now).elapsed();
        match seat.left() {
            Some(left) if left.yields_to.is_empty() => left.host != self.me.host || free >= GONE,
            Some(left) => left.yields_to == self.me.host || free >= YIELDED,
            None => free >= GONE || !self.copy.was_led(),
        }
    }

    fn lead(&self, lease: Lease) -> Leadership {
        let me = self.me.clone();
        info!(host = me.host, "this master leads");
        self.post.note(|standing| {
            standing.leads = true;
            standing.leader = Some(me.clone());
        });
        let (told, lost) = watch::channel(None);
        let closing = CancellationToken::new();
        let bucket = self.buckets.leader.clone();
        let keeper = Keeper {
            lease,
            bucket: bucket.clone(),
            me: me.clone(),
            post: Arc::clone(&self.post),
            answers: self.answers,
            lost: told,
        };
        let keep = closing.clone();
        let keeping = tokio::spawn(async move {
            // What is not said any more runs out by itself.
            let _ = lease::stand_by_no_more(&bucket, &me).await;
            if let Ended::Release(lease, to) = keeper.keep(keep).await {
                let released = tokio::time::timeout(GIVE_BACK, lease.release(&to)).await;
                if !matches!(released, Ok(Ok(()))) {
                    warn!("the lead could not be given back: it runs out");
                }
            }
        });
        Leadership {
            post: Arc::clone(&self.post),
            buckets: self.buckets.clone(),
            lost,
            closing,
            keeping,
        }
    }

    /// Until it leads.
    pub(crate) async fn lead_when_free(&mut self) -> Leadership {
        loop {
            if let Some(leadership) = self.look().await {
                return leadership;
            }
            sleep(LOOK).await;
        }
    }

    /// It is not there any more.
    pub(crate) async fn leave(self) {
        // What is not said any more runs out by itself.
        let _ = lease::stand_by_no_more(&self.buckets.leader, &self.me).await;
    }
}
