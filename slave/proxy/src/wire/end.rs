//! How a connection ends.

use std::borrow::Cow;

/// How a connection ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With this code and reason.
    Close(u16, Cow<'static, str>),
    /// The client closed, with this code; 1005 stands for none.
    Client(u16),
    /// Without a close frame.
    Lost(&'static str),
}

impl End {
    pub(crate) const fn close(code: u16, reason: &'static str) -> Self {
        Self::Close(code, Cow::Borrowed(reason))
    }

    pub(crate) fn because(code: u16, reason: String) -> Self {
        Self::Close(code, Cow::Owned(reason))
    }

    pub(crate) const fn undecoded(reason: &'static str) -> Self {
        Self::close(4002, reason)
    }
}

/// Whether a client that closes like this gives its session up. Source: "Disconnecting".
pub(crate) const fn gives_up(code: u16) -> bool {
    matches!(code, 1000 | 1001)
}
