//! What the last deploy cost: for how long each of its shards was nobody's, from
//! the order to seal it to RESUMED. Drawn from the news, so nothing relies on it.

use std::{collections::BTreeMap, time::Duration};

use baton_protocol::{DeployId, ShardId};
use serde::Serialize;

use super::{
    Core,
    event::{News, Outcome, Phase, Time},
};

/// A deploy that ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LastDeployView {
    /// Its number.
    pub deploy: u64,
    /// Its slot.
    pub slot: String,
    /// `done`, `aborted`, `rolled_back`, `forced`, `handed_on`.
    pub outcome: &'static str,
    /// The same with the reason, for a person.
    pub text: String,
    /// Shards that the new slave served then.
    pub moved: u32,
    /// From the first seal to the last RESUMED, in milliseconds.
    pub migrating_ms: u64,
    /// From the trigger to the end.
    pub total_ms: u64,
    /// How long ago it ended.
    pub ended_ms_ago: u64,
    /// For how long its shards were nobody's; absent: none was sealed.
    pub gap: Option<GapView>,
}

/// The gaps of the shards of a deploy: from the order to seal one to RESUMED.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GapView {
    /// Of how many shards.
    pub shards: u32,
    /// Half of them were shorter, in milliseconds.
    pub p50_ms: u64,
    /// All but one in a hundred were shorter.
    pub p99_ms: u64,
    /// The longest.
    pub max_ms: u64,
}

/// The running deploy's gaps, and what is left of the one before.
#[derive(Clone, Debug, Default)]
pub(super) struct Gaps {
    slot: String,
    /// When each shard was to seal that does not serve again yet.
    sealed: BTreeMap<ShardId, Time>,
    /// The longest gap of each shard.
    gaps: BTreeMap<ShardId, Duration>,
    last: Option<Last>,
}

/// A deploy that ended.
#[derive(Clone, Debug)]
struct Last {
    deploy: DeployId,
    slot: String,
    outcome: Outcome,
    moved: u32,
    migrating: Duration,
    total: Duration,
    gap: Option<GapView>,
    ended: Time,
}

impl Core {
    /// Every piece of news passes by here.
    pub(super) fn note_gaps(&mut self, news: &News) {
        let gaps = &mut self.gaps;
        match news {
            News::DeployAccepted { .. } => {
                let deploy = self.deploy.as_ref();
                gaps.slot = deploy.map_or_else(String::new, |deploy| deploy.order.slot.clone());
                gaps.sealed.clear();
                gaps.gaps.clear();
            }
            News::Migration { shard, phase, .. } => match phase {
                Phase::Sealing | Phase::TakingBack => {
                    gaps.sealed.entry(*shard).or_insert(self.now);
                }
                Phase::Moved | Phase::Back => {
                    if let Some(sealed) = gaps.sealed.remove(shard) {
                        let gap = gaps.gaps.entry(*shard).or_default();
                        *gap = self.now.since(sealed).max(*gap);
                    }
                }
                Phase::Copying | Phase::Dialling | Phase::Resuming => {}
            },
            News::DeployEnded {
                deploy,
                outcome,
                moved,
                migrating,
                total,
            } => {
                gaps.last = Some(Last {
                    deploy: *deploy,
                    slot: std::mem::take(&mut gaps.slot),
                    outcome: outcome.clone(),
                    moved: *moved,
                    migrating: *migrating,
                    total: *total,
                    gap: spread(&std::mem::take(&mut gaps.gaps)),
                    ended: self.now,
                });
                gaps.sealed.clear();
            }
            News::RequestRefused { .. }
            | News::Fenced { .. }
            | News::DeployStep { .. }
            | News::SoakShortened { .. }
            | News::SlaveJoined { .. }
            | News::SlaveGone { .. }
            | News::ShardServing { .. }
            | News::SessionLost { .. }
            | News::Launching { .. }
            | News::Alarm { .. } => {}
        }
    }

    pub(super) fn last_deploy_view(&self, now: Time) -> Option<LastDeployView> {
        let last = self.gaps.last.as_ref()?;
        Some(LastDeployView {
            deploy: last.deploy.get(),
            slot: last.slot.clone(),
            outcome: last.outcome.name(),
            text: last.outcome.to_string(),
            moved: last.moved,
            migrating_ms: millis(last.migrating),
            total_ms: millis(last.total),
            ended_ms_ago: millis(now.since(last.ended)),
            gap: last.gap,
        })
    }
}

fn spread(gaps: &BTreeMap<ShardId, Duration>) -> Option<GapView> {
    let mut sorted: Vec<u64> = gaps.values().copied().map(millis).collect();
    sorted.sort_unstable();
    let last = sorted.len().checked_sub(1)?;
    let at = |percent: usize| sorted[(last * percent).div_ceil(100)];
    Some(GapView {
        shards: u32::try_from(sorted.len()).unwrap_or(u32::MAX),
        p50_ms: at(50),
        p99_ms: at(99),
        max_ms: at(100),
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_of_what_was_measured() {
        let gaps = |ms: &[u64]| {
            let gaps = ms.iter().map(|ms| Duration::from_millis(*ms));
            (0..).map(ShardId).zip(gaps).collect()
        };
        assert_eq!(spread(&gaps(&[])), None);
        let one = spread(&gaps(&[7])).map(|gap| (gap.p50_ms, gap.p99_ms, gap.max_ms));
        assert_eq!(one, Some((7, 7, 7)));
        let many: Vec<u64> = (0..=100).rev().collect();
        let many = spread(&gaps(&many)).map(|gap| (gap.p50_ms, gap.p99_ms, gap.max_ms));
        assert_eq!(many, Some((50, 99, 100)));
    }
}
