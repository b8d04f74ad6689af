//! How many shards the conduit is to have: as many as its channels need, or as an operator said.
//!
//! ```text
//!            units N                     units auto
//! channels ─────────▶ operator ─────────────────────▶ channels
//! ```
//!
//! The count is stored before anything acts on it, and so are the pause and who decides: the
//! next process goes on with them, also where this one died between the two. An operator's count
//! holds whatever the channels are, and bounds are for the automatism alone.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{may_block, state::State};
use crate::{
    channels::Unix,
    scale::{Rules, Scale, Step},
};

/// What is stored of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Count {
    scale: Scale,
    /// An operator said it.
    #[serde(default)]
    held: bool,
}

/// See the module.
pub(super) struct Shards {
    rules: Rules,
    path: PathBuf,
    state: State,
}

impl Shards {
    /// As the process before left it.
    ///
    /// # Errors
    /// The file of that cannot be read.
    pub(super) async fn open(rules: Rules, path: PathBuf) -> Result<Self, String> {
        let file = path.clone();
        let read = may_block(move || State::read(&file)).await;
        let state = read
            .ok_or_else(|| "the process ends".to_owned())?
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { rules, path, state })
    }

    /// Whether an operator's count holds.
    pub(super) fn is_held(&self) -> bool {
        self.state.conduit.as_ref().is_some_and(|count| count.held)
    }

    /// How many there are to be, of a conduit that has `has` and may have `most`.
    ///
    /// A conduit that is seen for the first time keeps what it has for one pause: whoever made it
    /// had a reason.
    ///
    /// # Errors
    /// A new count cannot be written, and nothing is to be done.
    pub(super) async fn wanted(
        &mut self,
        channels: u64,
        has: u32,
        most: u32,
        now: Unix,
    ) -> Result<u32, String> {
        let mut count = self.state.conduit.clone().unwrap_or_else(|| {
            let mut scale = Scale::new(has);
            scale.set(has, now);
            Count { scale, held: false }
        });
        if !count.held {
            let step = count.scale.step(channels, &self.within(most), now);
            if step != Step::Stay {
                tracing::info!(
                    channels,
                    ?step,
                    "the number of the conduit's shards changes"
                );
                count.scale.take(step, now);
            }
        }
        let units = count.scale.units();
        self.keep(count).await?;
        Ok(units)
    }

    /// An operator's count holds from now on.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) async fn hold(&mut self, units: u32, now: Unix) -> Result<(), String> {
        let mut scale = Scale::new(units);
        scale.set(units, now);
        self.keep(Count { scale, held: true }).await
    }

    /// The count follows the channels again, after a pause.
    ///
    /// # Errors
    /// That cannot be written.
    pub(super) async fn follow(&mut self, has: u32, now: Unix) -> Result<(), String> {
        let mut scale = Scale::new(has);
        scale.set(has, now);
        self.keep(Count { scale, held: false }).await
    }

    /// No bound is above what the fleet has units for.
    fn within(&self, most: u32) -> Rules {
        let most = most.max(1);
        Rules {
            min: self.rules.min.min(most),
            max: self.rules.max.min(most),
            ..self.rules.clone()
        }
    }

    async fn keep(&mut self, count: Count) -> Result<(), String> {
        if self.state.conduit.as_ref() == Some(&count) {
            return Ok(());
        }
        let mut next = self.state.clone();
        next.conduit = Some(count);
        let (state, path) = (next.clone(), self.path.clone());
        let written = may_block(move || state.write(&path)).await;
        written
            .ok_or_else(|| "the process ends".to_owned())?
            .map_err(|error| {
                let path = self.path.display();
                format!("how many units there are cannot be written to {path}: {error}")
            })?;
        self.state = next;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const T0: i64 = 1_000_000;
    const PAUSE: i64 = 300;

    fn rules() -> Rules {
        Rules {
            limit: 500,
            min: 2,
            max: 100,
            ..Rules::default()
        }
    }

    async fn open(folder: &tempfile::TempDir) -> Shards {
        let path = State::path(&folder.path().join("channels"));
        Shards::open(rules(), path).await.unwrap()
    }

    #[tokio::test]
    async fn a_conduit_grows_with_its_channels_and_shrinks_by_one_a_pause() {
        let folder = tempfile::tempdir().unwrap();
        let mut shards = open(&folder).await;
        let mut wanted = async |channels, now| {
            let wanted = shards.wanted(channels, 4, 24, Unix(T0 + now)).await;
            wanted.unwrap()
        };
        assert_eq!(wanted(10, 0).await, 4, "one that is seen first is let be");
        assert_eq!(wanted(10, PAUSE - 1).await, 4);
        assert_eq!(wanted(10, PAUSE).await, 3);
        assert_eq!(wanted(10, PAUSE + 1).await, 3);
        assert_eq!(wanted(10, 2 * PAUSE).await, 2);
        assert_eq!(wanted(10, 9 * PAUSE).await, 2, "never fewer than the least");
        assert_eq!(
            wanted(7_000, 9 * PAUSE + 1).await,
            20,
            "channels have no room"
        );
        assert_eq!(
            wanted(50_000, 20 * PAUSE).await,
            24,
            "never more than the fleet has"
        );
    }

    #[tokio::test]
    async fn the_count_and_its_pause_and_who_decides_survive_a_restart_of_the_work() {
        let folder = tempfile::tempdir().unwrap();
        let now = |seconds| Unix(T0 + seconds);
        let mut shards = open(&folder).await;
        assert_eq!(shards.wanted(7_000, 4, 24, now(0)).await.unwrap(), 20);
        // It died before Twitch heard of it: the conduit still has four.
        let mut shards = open(&folder).await;
        let wanted = shards.wanted(7_000, 4, 24, now(1)).await.unwrap();
        assert_eq!(wanted, 20);
        assert_eq!(shards.wanted(10, 20, 24, now(PAUSE - 1)).await.unwrap(), 20);

        shards.hold(7, now(PAUSE)).await.unwrap();
        let mut shards = open(&folder).await;
        assert!(shards.is_held());
        let held = shards.wanted(50_000, 20, 24, now(99 * PAUSE)).await;
        assert_eq!(held.unwrap(), 7, "whatever the channels are");

        shards.follow(7, now(100 * PAUSE)).await.unwrap();
        let mut shards = open(&folder).await;
        assert!(!shards.is_held());
        let soon = shards.wanted(10, 7, 24, now(101 * PAUSE - 1)).await;
        assert_eq!(soon.unwrap(), 7, "a pause follows what an operator did");
        let later = shards.wanted(10, 7, 24, now(101 * PAUSE)).await;
        assert_eq!(later.unwrap(), 6);
    }

    #[tokio::test]
    async fn a_fleet_of_one_unit_has_one_whatever_the_least_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut shards = open(&folder).await;
        let wanted = shards.wanted(9_000, 1, 1, Unix(T0)).await;
        assert_eq!(wanted.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_count_that_cannot_be_written_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut shards = open(&folder).await;
        assert_eq!(shards.wanted(10, 4, 24, Unix(T0)).await.unwrap(), 4);
        folder.close().unwrap();
        let error = shards.wanted(7_000, 4, 24, Unix(T0)).await.unwrap_err();
        assert!(error.contains("channels.units"), "{error}");
        let error = shards.hold(9, Unix(T0)).await.unwrap_err();
        assert!(error.contains("cannot be written"), "{error}");
        assert!(!shards.is_held());
    }
}
