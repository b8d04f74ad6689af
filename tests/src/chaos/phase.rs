//! The phases of a migration, and how a run gets into one of them.

use std::{fmt, str::FromStr};

use serde::Serialize;

/// A phase of one migration, as the fault matrix numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Phase {
    /// Steady: no deploy is under way.
    M0,
    /// The new slave's process has started.
    M1,
    /// State is copied while the old slave serves.
    M2,
    /// The next epoch is reserved; the order to seal has just left.
    M3,
    /// The old slave has sealed; its ticket is on its way.
    M4,
    /// The new slave has the ticket and resumes.
    M5,
    /// The first shard has moved, others have not.
    M6,
    /// Everything moved; the old slave stays ready.
    M7,
}

impl Phase {
    /// All of them, in their order.
    pub const ALL: [Self; 8] = [
        Self::M0,
        Self::M1,
        Self::M2,
        Self::M3,
        Self::M4,
        Self::M5,
        Self::M6,
        Self::M7,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::M0 => "M0",
            Self::M1 => "M1",
            Self::M2 => "M2",
            Self::M3 => "M3",
            Self::M4 => "M4",
            Self::M5 => "M5",
            Self::M6 => "M6",
            Self::M7 => "M7",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Phase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|phase| phase.name() == text);
        known.ok_or_else(|| format!("`{text}` is no phase: give M0 to M7"))
    }
}
