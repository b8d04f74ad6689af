//! For how long a shard that moves has no owner.

use std::{collections::BTreeMap, time::Duration};

use baton_core::event::{MovePhase, News};
use baton_protocol::{DeployId, ShardId};

/// A shard serves again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// At the new slave, or taken back.
    pub on: bool,
    /// For how long it had no owner.
    pub length: Duration,
}

/// When each shard was to seal that does not serve again yet.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    sealed: BTreeMap<ShardId, (Option<DeployId>, u64)>,
}

impl Gaps {
    /// The gap that a piece of news ends.
    pub(crate) fn ended_by(&mut self, at_us: u64, news: &News) -> Option<Gap> {
        if let News::DeployEnded { deploy, .. } = news {
            self.sealed.retain(|_, (of, _)| *of != Some(*deploy));
        }
        let News::Migration {
            deploy,
            shard,
            phase,
            ..
        } = news
        else {
            return None;
        };
        self.migrates(*deploy, *shard, *phase, at_us)
    }

    fn migrates(
        &mut self,
        deploy: Option<DeployId>,
        shard: ShardId,
        phase: MovePhase,
        at_us: u64,
    ) -> Option<Gap> {
        let on = match phase {
            // Of what a dead slave had, from when the old one was ordered to resume it.
            MovePhase::Sealing | MovePhase::TakingBack => {
                self.sealed.entry(shard).or_insert((deploy, at_us));
                return None;
            }
            MovePhase::Copying | MovePhase::Dialling | MovePhase::Resuming => return None,
            MovePhase::Moved => true,
            MovePhase::Back => false,
        };
        let (_, sealed) = self.sealed.remove(&shard)?;
        let length = Duration::from_micros(at_us.saturating_sub(sealed));
        Some(Gap { on, length })
    }
}

#[cfg(test)]
mod tests {
    use baton_core::event::{Losses, Outcome};
    use baton_protocol::{Epoch, SlaveId};

    use super::*;

    #[test]
    fn a_gap_is_from_the_order_to_seal_until_the_shard_serves_again() {
        let migration = |deploy, shard, phase| News::Migration {
            deploy: Some(DeployId(deploy)),
            shard: ShardId(shard),
            from: SlaveId(1),
            to: SlaveId(2),
            epoch: Epoch(2),
            phase,
        };
        let ended = News::DeployEnded {
            deploy: DeployId(1),
            outcome: Outcome::HandedOn,
            moved: 1,
            migrating: Duration::ZERO,
            total: Duration::ZERO,
            losses: Losses::default(),
        };
        let mut gaps = Gaps::default();
        let found: Vec<_> = [
            (1000, migration(1, 0, MovePhase::Copying)),
            (2000, migration(1, 0, MovePhase::Sealing)),
            (2001, migration(1, 1, MovePhase::Sealing)),
            (2003, migration(1, 0, MovePhase::Resuming)),
            (2004, migration(1, 0, MovePhase::Moved)),
            // Sealed, and then it goes back.
            (2100, migration(1, 1, MovePhase::TakingBack)),
            (2401, migration(1, 1, MovePhase::Back)),
            // Of another deploy, which goes on when the first one ends.
            (2900, migration(2, 3, MovePhase::Sealing)),
            // Its deploy ends with the shard in hand.
            (3000, migration(1, 2, MovePhase::Sealing)),
            (3001, ended),
            (9000, migration(1, 2, MovePhase::Moved)),
            (9900, migration(2, 3, MovePhase::Moved)),
        ]
        .iter()
        .filter_map(|(at_us, news)| gaps.ended_by(*at_us, news))
        .map(|gap| (gap.on, gap.length.as_micros()))
        .collect();
        assert_eq!(found, [(true, 4), (false, 400), (true, 7000)]);
    }
}
