//! What other tasks tell a connection.

use crate::faults::Fault;

/// What another task tells a connection.
#[derive(Debug)]
pub(crate) enum Command {
    /// Another connection resumed the session.
    TakenOver,
    /// The session ended for good.
    SessionEnded,
    /// The token is of no more use.
    TokenReset,
    /// The client is so far behind that its connection is dropped.
    Overrun,
    /// Carry this out.
    Fault(Fault),
}
