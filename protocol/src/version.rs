//! Versions of the wire, newest first. Version 0 is that of YAGPDB's 2018 Go master.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A version of the wire. A slave's hello names the range it speaks, the
/// master's [`Welcome`](crate::message::Welcome) the one that is used.
///
/// | version | change |
/// |---|---|
/// | 6 | [`CopyAnew`](crate::message::ToMaster::CopyAnew): a seal that a heartbeat overtook waits for the next copy; [`Leave`](crate::message::ToMaster::Leave): a slave that is asked to end has its shards moved; [`Settled`](crate::message::Settled) carries events that are beyond Discord's replay, [`Ticket`](crate::ticket::Ticket) says where the replay begins and how many guilds there are, [`Pong`](crate::message::Pong) names the oldest unfinished events; [`Trying`](crate::message::Trying) and [`SetAside`](crate::message::SetAside): events that are in hand whenever a process dies are handed out alone |
/// | 5 | [`SealLate`](crate::message::ToSlave::SealLate) and [`Overtaken`](crate::message::Overtaken): the next owner resumes while the owner is still connected; state frames have a checksum and may be packed ([`CopyState`](crate::message::CopyState) says whether); [`Pong`](crate::message::Pong) says how old the oldest unfinished event is, [`Ticket`](crate::ticket::Ticket) when its session began |
/// | 4 | [`Pong`](crate::message::Pong) says how long shards could take nothing, their windows being full; [`Held`](crate::message::Held) whether anything came since a resume |
/// | 3 | [`Dial`](crate::message::Dial): the next owner has a connection ready before the seal |
/// | 2 | [`Pong`](crate::message::Pong) says how many events finished and how many failed |
/// | 1 | the first: hello with a `Baton` key, ids 11 to 31, state frames |
/// | 0 | the Go wire: ids 1 to 10, no `Baton` key |
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Version(pub u16);

impl Version {
    /// The newest version that this build speaks.
    pub const NEWEST: Self = Self(6);
    /// The oldest version that this build speaks, beside the Go wire.
    pub const OLDEST: Self = Self(1);

    /// The first version with [`Dial`](crate::message::Dial).
    pub const DIAL: Self = Self(3);

    /// The first version in which a [`Pong`](crate::message::Pong) says whether a
    /// slave keeps up.
    pub const FULLNESS: Self = Self(4);

    /// The first version that reads [checked](crate::state) copies of state.
    pub const CHECKED_STATE: Self = Self(5);

    /// The first version with [`SealLate`](crate::message::ToSlave::SealLate).
    pub const LATE_SEAL: Self = Self(5);

    /// The first version in which a [`Pong`](crate::message::Pong) says how old the
    /// oldest unfinished event is, and how well connections hear.
    pub const LAG: Self = Self(5);

    /// The first version with [`CopyAnew`](crate::message::ToMaster::CopyAnew).
    pub const COPY_ANEW: Self = Self(6);

    /// The first version with [`Leave`](crate::message::ToMaster::Leave).
    pub const LEAVE: Self = Self(6);

    /// The first version in which unfinished events travel with
    /// [`Settled`](crate::message::Settled), and in which a
    /// [`Pong`](crate::message::Pong) names them.
    pub const UNFINISHED: Self = Self(6);

    /// The first version with [`Trying`](crate::message::Trying).
    pub const TRIAL: Self = Self(6);

    /// The newest version that both this build and a peer speak.
    #[must_use]
    pub fn agree(peer_lowest: Self, peer_newest: Self) -> Option<Self> {
        let version = Self::NEWEST.min(peer_newest);
        (version >= Self::OLDEST && version >= peer_lowest).then_some(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_common_version_is_used() {
        assert_eq!(
            Version::agree(Version(1), Version(9)),
            Some(Version::NEWEST)
        );
        assert_eq!(Version::agree(Version(1), Version(1)), Some(Version(1)));
    }

    #[test]
    fn without_a_common_version_there_is_no_agreement() {
        assert_eq!(Version::agree(Version(8), Version(9)), None);
        assert_eq!(Version::agree(Version(0), Version(0)), None);
    }
}
