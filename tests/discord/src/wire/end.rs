//! How a connection ends, and what that means for its session.

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The server closes.
    Close(u16, &'static str),
    /// The client closed, with this code; 1005 stands for none.
    Client(u16),
    /// No close frame either way.
    Lost(&'static str),
}

impl End {
    /// A fault closes with this code; 1006 is no close frame.
    pub(crate) const fn by_fault(code: u16) -> Self {
        if code == 1006 {
            Self::Lost("fault")
        } else {
            Self::Close(code, "fault")
        }
    }
}

/// Close codes after which a client must begin a new session. Source: the
/// table of gateway close event codes.
pub(crate) fn ends_session(code: u16) -> bool {
    matches!(code, 1000 | 4004 | 4007 | 4009..=4014)
}
