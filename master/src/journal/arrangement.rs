//! What operators changed of where shards are to be, as a row of the journal.

use std::collections::BTreeSet;

use baton_core::{
    Members,
    event::{Arrangement, Moved},
};
use serde::{Deserialize, Serialize};

/// `arrangement`: what operators changed of where shards are to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ArrangementRow {
    pub(super) moved: Vec<MovedRow>,
    /// Hosts onto which nothing is placed.
    pub(super) cordoned: BTreeSet<String>,
    /// Whether nothing begins by itself.
    pub(super) held: bool,
}

/// Shards that were moved, while the configuration names the same slot for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct MovedRow {
    pub(super) shards: Members,
    pub(super) configured: String,
    pub(super) to: String,
}

impl ArrangementRow {
    pub(super) fn of(arrangement: &Arrangement) -> Self {
        let moved = arrangement.moved.iter().cloned();
        let moved = moved.map(|moved| MovedRow {
            shards: moved.shards,
            configured: moved.configured,
            to: moved.to,
        });
        Self {
            moved: moved.collect(),
            cordoned: arrangement.cordoned.clone(),
            held: arrangement.held,
        }
    }

    pub(super) fn arrangement(&self) -> Arrangement {
        let moved = self.moved.iter().cloned();
        let moved = moved.map(|moved| Moved {
            shards: moved.shards,
            configured: moved.configured,
            to: moved.to,
        });
        Arrangement {
            moved: moved.collect(),
            cordoned: self.cordoned.clone(),
            held: self.held,
        }
    }
}
