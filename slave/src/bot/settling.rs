//! The moment in which a bot comes to rest before its shard leaves.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::oneshot;

/// Goes with [`Bot::shard_leaves`](super::Bot::shard_leaves). As long as it lives, the ticket
/// waits, for [`LONGEST`](Self::LONGEST) at most. Dropped at once, nothing waits.
#[derive(Debug)]
pub struct Settling {
    gives_back: Arc<AtomicBool>,
    /// Dropped, it is over.
    _ends: Option<oneshot::Sender<()>>,
}

/// The shard's side of it.
#[derive(Debug)]
pub(crate) struct Settles {
    gives_back: Arc<AtomicBool>,
    ended: oneshot::Receiver<()>,
}

impl Settling {
    /// A ticket waits no longer than this. Each event that comes meanwhile is late by the
    /// time that the bot takes.
    pub const LONGEST: Duration = Duration::from_millis(250);

    pub(crate) fn new() -> (Self, Settles) {
        let (ends, ended) = oneshot::channel();
        let gives_back = Arc::new(AtomicBool::new(false));
        let settling = Self {
            gives_back: Arc::clone(&gives_back),
            _ends: Some(ends),
        };
        (settling, Settles { gives_back, ended })
    }

    /// One that no ticket waits for, for a bot's own tests.
    #[must_use]
    pub fn detached() -> Self {
        Self {
            gives_back: Arc::default(),
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

    /// Whether what is not finished was given back.
    pub(crate) fn gives_back(&self) -> bool {
        self.gives_back.load(Ordering::Relaxed)
    }
}
