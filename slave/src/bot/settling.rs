//! The moment in which a bot comes to rest before its shard leaves.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use baton_protocol::Ticket;
use tokio::sync::oneshot;

use super::handle::LuggageError;

/// Goes with [`Bot::shard_leaves`](super::Bot::shard_leaves). As long as it lives, the ticket
/// waits, for [`LONGEST`](Self::LONGEST) at most. Dropped at once, nothing waits. Of several clones
/// the last one counts.
#[derive(Clone, Debug)]
pub struct Settling {
    gives_back: Arc<AtomicBool>,
    along: Arc<Mutex<Option<Box<str>>>>,
    /// Dropped, it is over.
    _ends: Option<Arc<oneshot::Sender<()>>>,
}

/// The shard's side of it.
#[derive(Debug)]
pub(crate) struct Settles {
    gives_back: Arc<AtomicBool>,
    along: Arc<Mutex<Option<Box<str>>>>,
    ended: oneshot::Receiver<()>,
}

impl Settling {
    /// A ticket waits no longer than this. Each event that comes meanwhile is late by the
    /// time that the bot takes.
    pub const LONGEST: Duration = Duration::from_millis(250);

    pub(crate) fn new() -> (Self, Settles) {
        let (ends, ended) = oneshot::channel();
        let (gives_back, along) = (Arc::<AtomicBool>::default(), Arc::default());
        let settling = Self {
            gives_back: Arc::clone(&gives_back),
            along: Arc::clone(&along),
            _ends: Some(Arc::new(ends)),
        };
        let settles = Settles {
            gives_back,
            along,
            ended,
        };
        (settling, settles)
    }

    /// One that no ticket waits for, for a bot's own tests.
    #[must_use]
    pub fn detached() -> Self {
        Self {
            gives_back: Arc::default(),
            along: Arc::default(),
            _ends: None,
        }
    }

    /// What is not finished when the ticket is made will not be handled here: the next owner
    /// hands it out in its turn, as if this process had not had it. Its [`Ack`](super::Ack)s
    /// are then to be [given back](super::Ack::give_back).
    ///
    /// It holds as far back as Discord replays events; what is older stays in doubt.
    pub fn gives_back_the_rest(&self) {
        self.gives_back.store(true, Ordering::Relaxed);
    }

    /// Gives this along, in the place of what [`ShardHandle::set_luggage`] said last. If the
    /// ticket is made already, it changes nothing: the shard may be back by then, with what its
    /// owner in between gave along.
    ///
    /// # Errors
    /// It has more than 4,096 bytes, and nothing is changed.
    ///
    /// [`ShardHandle::set_luggage`]: super::ShardHandle::set_luggage
    pub fn takes_along(&self, luggage: &str) -> Result<(), LuggageError> {
        if luggage.len() > Ticket::MAX_LUGGAGE {
            return Err(LuggageError(luggage.len()));
        }
        *self.along.lock().unwrap_or_else(PoisonError::into_inner) = Some(luggage.into());
        Ok(())
    }
}

impl Settles {
    /// Whether it is over already.
    pub(crate) fn is_over(&mut self) -> bool {
        !matches!(
            self.ended.try_recv(),
            Err(oneshot::error::TryRecvError::Empty)
        )
    }

    /// Waits for its end, or as long as a ticket waits.
    pub(crate) async fn end(&mut self) {
        if tokio::time::timeout(Settling::LONGEST, &mut self.ended)
            .await
            .is_err()
        {
            tracing::warn!("the bot did not come to rest in time: the shard leaves");
        }
    }

    /// What goes along, if that was said.
    pub(crate) fn along(&self) -> Option<Box<str>> {
        let mut along = self.along.lock().unwrap_or_else(PoisonError::into_inner);
        along.take()
    }

    /// Whether what is not finished was given back.
    pub(crate) fn gives_back(&self) -> bool {
        self.gives_back.load(Ordering::Relaxed)
    }
}
