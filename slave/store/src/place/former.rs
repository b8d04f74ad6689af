//! Formats that this build reads and does not write.
//!
//! A state of one of them is converted by whoever claims it: guild by guild, as the
//! GUILD_CREATE that rebuilds each, into a generation of this build's format. So a reader
//! of a former format gives what another host would be sent, and needs no writer.

use baton_protocol::{Epoch, Sequence};

use super::Txn;
use crate::{Error, Owner, Resources};

/// What a state of a former format says.
pub(crate) struct FormerState<'t> {
    pub(crate) shard: u32,
    pub(crate) boot: [u8; 16],
    pub(crate) epoch: Epoch,
    pub(crate) owner: Owner,
    pub(crate) resources: Resources,
    pub(crate) session: Box<str>,
    pub(crate) sequence: Sequence,
    /// The bot's own user, as JSON.
    pub(crate) current_user: Option<String>,
    /// Each guild, as the `d` of its GUILD_CREATE.
    pub(crate) guilds: Box<dyn Iterator<Item = Result<String, Error>> + 't>,
}

/// A former format.
pub(crate) struct Former {
    pub(crate) format: u16,
    /// Reads what one transaction sees.
    pub(crate) read: for<'t> fn(&'t Txn) -> Result<FormerState<'t>, Error>,
}

/// All of them. There is none yet: format 1 is the first. The next format adds the reader
/// of this one, which is `View` as it is.
#[cfg(not(test))]
const FORMERS: &[Former] = &[];
#[cfg(test)]
const FORMERS: &[Former] = &[super::claim::tests::format::ZERO];

/// The reader of a format; `None`: this build has none.
pub(super) fn former(format: u16) -> Option<&'static Former> {
    FORMERS.iter().find(|former| former.format == format)
}
