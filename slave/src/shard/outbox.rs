//! Commands of the bot, one of which at most is with the library.

use tokio::sync::mpsc;

use crate::bot::{Command, Way};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Outbox {
    waiting: mpsc::Receiver<Command>,
    /// It was with the library, or is.
    first: Option<Command>,
}

impl Outbox {
    pub(super) const fn new(waiting: mpsc::Receiver<Command>) -> Self {
        Self {
            waiting,
            first: None,
        }
    }

    /// What the library is to write next. Survives being cancelled.
    pub(super) async fn next(&mut self) -> (String, Way) {
        loop {
            let command = match self.first.take() {
                Some(command) => command,
                None => match self.waiting.recv().await {
                    Some(command) => command,
                    // The handle of the shard itself is still there.
                    None => std::future::pending().await,
                },
            };
            if let Some(way) = command.give() {
                let json = command.json().to_owned();
                self.first = Some(command);
                return (json, way);
            }
        }
    }

    /// Says of what was written that it is.
    pub(super) fn tell(&mut self) {
        if let Some(command) = self.first.take_if(|command| command.is_written()) {
            command.into_sent();
        }
    }

    /// There is no connection any more.
    pub(super) fn takes_back(&mut self) {
        self.tell();
        if let Some(command) = &self.first {
            command.take_back();
        }
    }

    /// So many will not be written, and nobody took them back.
    pub(super) fn drain(&mut self) -> usize {
        let waiting = std::iter::from_fn(|| self.waiting.try_recv().ok());
        let all = self.first.take().into_iter().chain(waiting);
        all.filter(|command| command.give().is_some()).count()
    }
}
