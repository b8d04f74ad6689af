//! Names of things. Distinct things get distinct types, so that an epoch can
//! never be passed where a sequence is meant.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::host_name::HostName;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The plain number.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

number! {
    /// One gateway connection of the bot, `0 .. shard count`.
    ShardId(u32)
}

number! {
    /// Counts the owners of a shard. A higher epoch always wins; `0` means that
    /// the shard was never owned.
    Epoch(u64)
}

impl Epoch {
    /// No owner has a higher one: a number above it was given by no master. A journal
    /// can hold twice as much.
    pub const LAST: Self = Self(1 << 62);

    /// The epoch of the next owner.
    ///
    /// Saturates: at one owner a nanosecond that takes 584 years.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

number! {
    /// Discord's sequence number of a dispatch, counted for each session from 1.
    /// Numbers order dispatches; they need not be contiguous.
    Sequence(u64)
}

impl Sequence {
    /// The number behind this one. Saturates.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

number! {
    /// One deploy: a slot moves. Counted by the master, never reused.
    DeployId(u64)
}

/// 128 random bits, written as 32 hex digits.
macro_rules! random {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            /// The whole id; with a precision, its first digits (`{:.8}`).
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&format!("{:032x}", self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:032x})"), self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                u128::from_str_radix(text, 16).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

random! {
    /// One run of a slave process. Drawn at its start, kept over reconnects,
    /// never reused.
    SlaveId
}

random! {
    /// One run of an agent. Drawn at its start, kept over reconnects, never reused.
    AgentId
}

random! {
    /// One fleet: everything that one journal knows. A slave of another fleet is
    /// refused.
    FleetId
}

random! {
    /// One launch of a process into a slot. Made by the master that launches, never used
    /// again: a process id is of one host, and the kernel gives it to others later.
    LaunchId
}

random! {
    /// One host: an installation of an operating system, over its reboots. Made of its
    /// `/etc/machine-id` ([`HostId::of_machine`]); zero: not said, as in a container that
    /// has none.
    HostId
}

impl HostId {
    /// Whether it is one: zero is none.
    #[must_use]
    pub const fn is_said(self) -> bool {
        self.0 != 0
    }

    /// Whether both are known and not the same. What is not said may be any host.
    #[must_use]
    pub const fn is_another_than(self, other: Self) -> bool {
        self.is_said() && other.is_said() && self.0 != other.0
    }
}

const fn is_unsaid(host: &HostId) -> bool {
    !host.is_said()
}

impl LaunchId {
    /// Whether it is one: zero is none.
    #[must_use]
    pub const fn is_said(self) -> bool {
        self.0 != 0
    }

    /// The launch behind this one. Wraps, and is never zero.
    #[must_use]
    pub const fn next(self) -> Self {
        match self.0.checked_add(1) {
            Some(next) => Self(next),
            None => Self(1),
        }
    }
}

/// Counts the starts of a fleet's master. A slave refuses orders of a term lower
/// than one that it has seen, and of another fleet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Term {
    /// The fleet.
    pub fleet: FleetId,
    /// Which start of its master, from 1.
    pub counter: u64,
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.8}/{}", self.fleet, self.counter)
    }
}

/// Enough to name one process for ever: a process id alone is of one host, and used again
/// by its kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessIdentity {
    /// Process id, as seen in `pid_namespace`.
    pub pid: u32,
    /// Start time in clock ticks since boot (`/proc/PID/stat`, field 22).
    pub start_time: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// Inode of `/proc/PID/ns/pid`.
    pub pid_namespace: u64,
    /// The host; not said by slaves before this field.
    #[serde(skip_serializing_if = "is_unsaid")]
    pub host: HostId,
    /// The host's name, as an operator gave it. A master puts here what the certificate says
    /// of a slave that dials by TLS, and its own host's where the kernel says that a slave is
    /// on it. Not said by others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_name: Option<HostName>,
}

impl ProcessIdentity {
    /// Whether both name one process. A host that one of them does not name may be the
    /// other's: a slave that dials by another way is named by another side.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let Self {
            pid,
            start_time,
            boot_id,
            pid_namespace,
            host,
            host_name,
        } = self;
        let names = host_name.as_ref().zip(other.host_name.as_ref());
        *pid == other.pid
            && *start_time == other.start_time
            && *boot_id == other.boot_id
            && *pid_namespace == other.pid_namespace
            && *host == other.host
            && names.is_none_or(|(one, other)| one == other)
    }
}
