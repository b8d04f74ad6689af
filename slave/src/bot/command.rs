//! A command on its way to Discord.
//!
//! ```text
//! Waiting ──given to the library──▶ Given ──written──▶ Written
//!    │  ▲                             │
//!    │  └──its connection is over─────┘
//!    └──withdrawn──▶ Withdrawn
//! ```
//!
//! The library writes a command some time after it was given it, or never, if its connection
//! ends first. So only a command that is known to be written is said to be sent, and one that
//! is not can be taken back for certain.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use tokio::sync::oneshot;

use super::CommandError;

/// A command on its way. Dropped before it is written: the shard went away.
#[derive(Debug)]
pub(crate) struct Command {
    json: String,
    way: Way,
    sent: oneshot::Sender<()>,
}

/// How far it is. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Way(Arc<AtomicU8>);

const WAITING: u8 = 0;
const GIVEN: u8 = 1;
const WRITTEN: u8 = 2;
const WITHDRAWN: u8 = 3;

/// Resolves when the command was written to the connection. May be dropped.
#[derive(Debug)]
pub struct Receipt {
    way: Way,
    sent: oneshot::Receiver<()>,
}

impl Command {
    pub(crate) fn new(json: String) -> (Self, Receipt) {
        let (sent, receiver) = oneshot::channel();
        let way = Way::default();
        let receipt = Receipt {
            way: way.clone(),
            sent: receiver,
        };
        (Self { json, way, sent }, receipt)
    }

    pub(crate) fn json(&self) -> &str {
        &self.json
    }

    /// The library is about to have it: `None`, if it was withdrawn.
    pub(crate) fn give(&self) -> Option<Way> {
        self.way.goes(WAITING, GIVEN).then(|| self.way.clone())
    }

    /// The connection whose library had it is over.
    pub(crate) fn take_back(&self) {
        self.way.goes(GIVEN, WAITING);
    }

    pub(crate) fn is_written(&self) -> bool {
        self.way.is(WRITTEN)
    }

    /// It was written: says so, and gives what it was.
    pub(crate) fn into_sent(self) -> String {
        self.way.written();
        // No task waits for the receipt: fine.
        let _ = self.sent.send(());
        self.json
    }
}

impl Way {
    fn goes(&self, from: u8, to: u8) -> bool {
        let (order, else_order) = (Ordering::AcqRel, Ordering::Acquire);
        let went = self.0.compare_exchange(from, to, order, else_order);
        went.is_ok()
    }

    fn is(&self, state: u8) -> bool {
        self.0.load(Ordering::Acquire) == state
    }

    pub(crate) fn written(&self) {
        self.0.store(WRITTEN, Ordering::Release);
    }
}

impl Receipt {
    /// Waits until the command was written to the connection. Survives being cancelled; is
    /// not to be asked again once it has answered.
    ///
    /// # Errors
    /// [`CommandError::Moved`]: the shard went away first, and the command is not written.
    pub async fn sent(&mut self) -> Result<(), CommandError> {
        match (&mut self.sent).await {
            Ok(()) => Ok(()),
            Err(_) if self.way.is(WRITTEN) => Ok(()),
            Err(_) => Err(CommandError::Moved),
        }
    }

    /// Takes the command back. `true`: it was not written, and will not be. `false`: it is
    /// written, or about to be; see [`sent`](Self::sent).
    #[must_use]
    pub fn withdraw(&self) -> bool {
        self.way.goes(WAITING, WITHDRAWN) || self.way.is(WITHDRAWN)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_is_withdrawn_before_it_is_given_and_after_its_connection_is_over() {
        let (command, receipt) = Command::new("a".to_owned());
        assert!(command.give().is_some());
        assert!(!receipt.withdraw(), "it may be written at any moment");
        command.take_back();
        assert!(receipt.withdraw() && receipt.withdraw());
        assert!(command.give().is_none(), "it is not written any more");

        let (command, mut receipt) = Command::new("b".to_owned());
        command.give().unwrap().written();
        assert!(!receipt.withdraw());
        command.take_back();
        assert!(command.is_written() && !receipt.withdraw());
        drop(command);
        assert_eq!(receipt.sent().await, Ok(()), "written, and the shard left");

        let (command, mut receipt) = Command::new("c".to_owned());
        drop(command);
        assert_eq!(receipt.sent().await, Err(CommandError::Moved));
    }
}
