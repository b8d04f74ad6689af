//! The signals by which a process of the fleet is asked to end: `SIGTERM` and `SIGINT`.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::Error;

/// See the [module](self).
pub(crate) struct Ending {
    term: Signal,
    interrupt: Signal,
}

impl Ending {
    /// Listens from now on.
    ///
    /// # Errors
    /// The operating system refused.
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self {
            term: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Returns when this process is asked to end.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Listens to a signal from now on.
///
/// # Errors
/// The operating system refused.
pub(crate) fn listen(kind: SignalKind) -> Result<Signal, Error> {
    signal(kind).map_err(|error| Error::system("signals", error))
}
