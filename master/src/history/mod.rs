//! What the last deploys did and what they cost, drawn from the news: nothing
//! relies on it. A gap is the time for which a shard was nobody's, from the order to
//! seal it to RESUMED.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use baton_protocol::{DeployId, ShardId, SlaveId};
use serde::Serialize;

use crate::{
    core::event::{News, Outcome, Phase},
    driver::{Told, monotonic_us},
};

/// So many deploys are remembered, those of this start of the master.
const REMEMBERED: usize = 20;

/// Steps of one deploy that are kept; an operator may pause it for ever.
const STEPS: usize = 64;

/// The deploys that this master saw.
#[derive(Debug, Default)]
pub struct History(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// The build of each slave that is not known to be dead.
    builds: BTreeMap<SlaveId, String>,
    running: Option<Running>,
    ended: VecDeque<(u64, Deployed)>,
}

#[derive(Debug, Default)]
struct Running {
    deploy: DeployId,
    slot: String,
    began_us: u64,
    began_unix_ms: u64,
    /// The builds: either slave may be gone when the deploy ends.
    from: Option<String>,
    to: Option<String>,
    /// When each shard was to seal that does not serve again yet.
    sealed: BTreeMap<ShardId, u64>,
    /// The longest gap of each shard.
    gaps: BTreeMap<ShardId, Duration>,
    /// When the first shard was to seal, and when the last one served.
    migrates_us: Option<(u64, u64)>,
    steps: Vec<StepAt>,
}

/// The deploy that runs, for whoever begins to look in the middle of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Underway {
    /// Its number.
    pub deploy: u64,
    /// The build that serves the slot when it begins; absent: none does.
    pub from: Option<String>,
    /// The build that its shards go to; absent: it has not joined yet.
    pub to: Option<String>,
    /// When it began, in microseconds of the host's monotonic clock, as events are
    /// told.
    pub began_us: u64,
    /// For how long it has run.
    pub took_ms: u64,
    /// From the first seal to the last RESUMED so far.
    pub migrating_ms: u64,
    /// Shards that were sealed and serve again, at the new slave or taken back.
    pub handed_over: u32,
    /// The longest gap so far; absent: no shard was sealed.
    pub slowest: Option<Slowest>,
    /// When each step began.
    pub steps: Vec<StepAt>,
}

/// A gap, and whose it was.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Slowest {
    /// The shard.
    pub shard: u32,
    /// For how long it was nobody's, in milliseconds.
    pub ms: f64,
}

/// A shard serves again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// At the new slave, or taken back.
    pub on: bool,
    /// For how long it was nobody's.
    pub length: Duration,
}

/// A deploy that ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Deployed {
    /// Its number.
    pub deploy: u64,
    /// Its slot.
    pub slot: String,
    /// The build that served the slot when it began; absent: none did.
    pub from: Option<String>,
    /// The build that its shards were to go to; absent: it never joined.
    pub to: Option<String>,
    /// `done`, `aborted`, `rolled_back`, `forced`, `handed_on`.
    pub outcome: &'static str,
    /// Why, where it was not `done`.
    pub reason: Option<String>,
    /// The outcome with the reason, for a person.
    pub text: String,
    /// When it began, in milliseconds since 1970.
    pub began_unix_ms: u64,
    /// From the trigger to the end.
    pub took_ms: u64,
    /// From the first seal to the last RESUMED.
    pub migrating_ms: u64,
    /// Shards that the new slave served then.
    pub shards: u32,
    /// The longest gap of each shard that was sealed, ascending, in milliseconds.
    pub gaps_ms: Vec<f64>,
    /// When each step began.
    pub steps: Vec<StepAt>,
}

/// When a step of a deploy began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StepAt {
    /// Milliseconds after the trigger.
    pub at_ms: u64,
    /// Which.
    pub step: &'static str,
}

/// The deploy that ended last, in short.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LastDeploy {
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
    pub gap: Option<Gaps>,
}

/// The gaps of the shards of a deploy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Gaps {
    /// Of how many shards.
    pub shards: u32,
    /// Half of them were shorter, in milliseconds.
    pub p50_ms: u64,
    /// All but one in a hundred were shorter.
    pub p99_ms: u64,
    /// The longest.
    pub max_ms: u64,
}

impl History {
    /// Takes a piece of news; gives the gap that it ends.
    pub fn told(&self, told: &Told) -> Option<Gap> {
        let mut seen = self.seen();
        match &told.news {
            News::SlaveJoined {
                slave,
                build,
                slot,
                back,
            } => {
                seen.builds.insert(*slave, build.clone());
                if let Some(running) = &mut seen.running
                    && !back
                    && running.slot == *slot
                {
                    running.to.get_or_insert_with(|| build.clone());
                }
            }
            News::SlaveGone {
                slave, dead: true, ..
            }
            | News::Fenced { slave, .. } => {
                seen.builds.remove(slave);
            }
            News::DeployAccepted {
                deploy, slot, from, ..
            } => {
                let from = from.and_then(|from| seen.builds.get(&from).cloned());
                seen.running = Some(Running {
                    deploy: *deploy,
                    slot: slot.clone(),
                    from,
                    began_us: told.at_us,
                    began_unix_ms: unix_ms(),
                    ..Running::default()
                });
            }
            News::DeployStep { step, .. } => {
                if let Some(running) = &mut seen.running
                    && running.steps.len() < STEPS
                {
                    let at_ms = told.at_us.saturating_sub(running.began_us) / 1000;
                    let step = step.name();
                    running.steps.push(StepAt { at_ms, step });
                }
            }
            News::Migration {
                shard,
                from,
                to,
                phase,
                ..
            } => {
                let Seen {
                    builds, running, ..
                } = &mut *seen;
                let running = running.as_mut()?;
                if *phase == Phase::Copying {
                    // Whoever joined meanwhile may have been a standby.
                    running.from = builds.get(from).cloned();
                    running.to = builds.get(to).cloned();
                }
                return running.migrates(*shard, *phase, told.at_us);
            }
            News::DeployEnded {
                outcome,
                moved,
                migrating,
                total,
                ..
            } => {
                let running = seen.running.take()?;
                let deployed = Deployed {
                    outcome: outcome.name(),
                    reason: reason(outcome),
                    text: outcome.to_string(),
                    took_ms: millis(*total),
                    migrating_ms: millis(*migrating),
                    shards: *moved,
                    ..running.told()
                };
                if seen.ended.len() == REMEMBERED {
                    seen.ended.pop_front();
                }
                seen.ended.push_back((told.at_us, deployed));
            }
            News::RequestRefused { .. }
            | News::SoakShortened { .. }
            | News::SlaveGone { dead: false, .. }
            | News::ShardServing { .. }
            | News::SessionLost { .. }
            | News::Launching { .. }
            | News::Alarm { .. } => {}
        }
        None
    }

    /// Those that ended, the newest last.
    #[must_use]
    pub fn deploys(&self) -> Vec<Deployed> {
        let seen = self.seen();
        seen.ended.iter().map(|(_, ended)| ended.clone()).collect()
    }

    /// The one that runs.
    #[must_use]
    pub fn running(&self) -> Option<Underway> {
        let seen = self.seen();
        seen.running
            .as_ref()
            .map(|running| running.underway(monotonic_us()))
    }

    /// The one that ended last.
    #[must_use]
    pub fn last(&self) -> Option<LastDeploy> {
        let seen = self.seen();
        let (at_us, ended) = seen.ended.back()?;
        Some(LastDeploy {
            deploy: ended.deploy,
            slot: ended.slot.clone(),
            outcome: ended.outcome,
            text: ended.text.clone(),
            moved: ended.shards,
            migrating_ms: ended.migrating_ms,
            total_ms: ended.took_ms,
            ended_ms_ago: monotonic_us().saturating_sub(*at_us) / 1000,
            gap: spread(&ended.gaps_ms),
        })
    }

    // Nothing panics in here.
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn migrates(&mut self, shard: ShardId, phase: Phase, at_us: u64) -> Option<Gap> {
        let on = match phase {
            // Of what a dead slave had, from when the old one was told to resume it.
            Phase::Sealing | Phase::TakingBack => {
                self.sealed.entry(shard).or_insert(at_us);
                self.migrates_us.get_or_insert((at_us, at_us));
                return None;
            }
            Phase::Copying | Phase::Dialling | Phase::Resuming => return None,
            Phase::Moved => true,
            Phase::Back => false,
        };
        let sealed = self.sealed.remove(&shard)?;
        let length = Duration::from_micros(at_us.saturating_sub(sealed));
        let longest = self.gaps.entry(shard).or_default();
        *longest = length.max(*longest);
        if let Some((_, last)) = &mut self.migrates_us {
            *last = at_us;
        }
        Some(Gap { on, length })
    }

    fn underway(&self, now_us: u64) -> Underway {
        let (first, last) = self.migrates_us.unwrap_or_default();
        let slowest = self.gaps.iter().max_by_key(|(_, gap)| **gap);
        Underway {
            deploy: self.deploy.get(),
            from: self.from.clone(),
            to: self.to.clone(),
            began_us: self.began_us,
            took_ms: now_us.saturating_sub(self.began_us) / 1000,
            migrating_ms: last.saturating_sub(first) / 1000,
            handed_over: u32::try_from(self.gaps.len()).unwrap_or(u32::MAX),
            slowest: slowest.map(|(shard, gap)| Slowest {
                shard: shard.get(),
                ms: tenths(gap),
            }),
            steps: self.steps.clone(),
        }
    }

    fn told(self) -> Deployed {
        let mut gaps_ms: Vec<f64> = self.gaps.values().map(tenths).collect();
        gaps_ms.sort_by(f64::total_cmp);
        Deployed {
            deploy: self.deploy.get(),
            slot: self.slot,
            from: self.from,
            to: self.to,
            began_unix_ms: self.began_unix_ms,
            gaps_ms,
            steps: self.steps,
            ..Deployed::default()
        }
    }
}

/// In milliseconds.
fn tenths(gap: &Duration) -> f64 {
    (gap.as_secs_f64() * 10_000.0).round() / 10.0
}

fn reason(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Aborted { reason }
        | Outcome::Forced { reason }
        | Outcome::RolledBack { reason, .. } => Some(reason.clone()),
        Outcome::Done | Outcome::HandedOn => None,
    }
}

/// Of gaps that ascend.
fn spread(gaps_ms: &[f64]) -> Option<Gaps> {
    let last = gaps_ms.len().checked_sub(1)?;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates"
    )]
    let at = |percent: usize| gaps_ms[(last * percent).div_ceil(100)] as u64;
    Some(Gaps {
        shards: u32::try_from(gaps_ms.len()).unwrap_or(u32::MAX),
        p50_ms: at(50),
        p99_ms: at(99),
        max_ms: at(100),
    })
}

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, millis)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use baton_protocol::Epoch;

    use super::*;
    use crate::core::event::DeployStep;

    const OLD: SlaveId = SlaveId(1);
    const NEW: SlaveId = SlaveId(2);

    fn told(at_ms: u64, news: News) -> Told {
        let at_us = at_ms * 1000;
        Told { at_us, news }
    }

    fn joined(slave: SlaveId, build: &str) -> News {
        News::SlaveJoined {
            slave,
            build: build.to_owned(),
            slot: "main".to_owned(),
            back: false,
        }
    }

    fn began(deploy: u64) -> News {
        News::DeployAccepted {
            request: None,
            deploy: DeployId(deploy),
            slot: "main".to_owned(),
            from: Some(OLD),
        }
    }

    fn migration(shard: u32, phase: Phase) -> News {
        News::Migration {
            deploy: DeployId(1),
            shard: ShardId(shard),
            from: OLD,
            to: NEW,
            epoch: Epoch(2),
            phase,
        }
    }

    fn ended(outcome: Outcome) -> News {
        News::DeployEnded {
            deploy: DeployId(1),
            outcome,
            moved: 1,
            migrating: Duration::from_millis(7),
            total: Duration::from_millis(9),
        }
    }

    #[test]
    fn a_gap_is_from_the_order_to_seal_until_the_shard_serves_again() {
        let history = History::default();
        let gaps: Vec<_> = [
            told(900, began(1)),
            told(1000, migration(0, Phase::Copying)),
            told(2000, migration(0, Phase::Sealing)),
            told(2001, migration(1, Phase::Sealing)),
            told(2003, migration(0, Phase::Resuming)),
            told(2004, migration(0, Phase::Moved)),
            // Sealed, and then it goes back.
            told(2100, migration(1, Phase::TakingBack)),
            told(2401, migration(1, Phase::Back)),
            // Its deploy ends with the shard in hand.
            told(3000, migration(2, Phase::Sealing)),
            told(3001, ended(Outcome::HandedOn)),
            told(9000, migration(2, Phase::Moved)),
        ]
        .iter()
        .filter_map(|told| history.told(told))
        .map(|gap| (gap.on, gap.length.as_millis()))
        .collect();
        assert_eq!(gaps, [(true, 4), (false, 400)]);
        assert_eq!(history.deploys()[0].gaps_ms, [4.0, 400.0]);
        let last = history.last().and_then(|last| last.gap).unwrap();
        assert_eq!((last.shards, last.p50_ms, last.max_ms), (2, 400, 400));
    }

    #[test]
    fn a_deploy_is_remembered_with_its_builds_steps_and_reason() {
        let history = History::default();
        let reason = "its handlers fail".to_owned();
        for told in [
            told(0, joined(OLD, "v1")),
            told(5000, began(1)),
            told(5100, joined(NEW, "v2")),
            told(
                5100,
                News::DeployStep {
                    deploy: DeployId(1),
                    step: DeployStep::Canary,
                },
            ),
            told(5200, migration(0, Phase::Copying)),
            told(
                5300,
                ended(Outcome::RolledBack {
                    shard: None,
                    reason: reason.clone(),
                }),
            ),
        ] {
            history.told(&told);
        }
        let deploys = history.deploys();
        let [one] = deploys.as_slice() else {
            panic!("{deploys:?}");
        };
        assert_eq!(
            (one.from.as_deref(), one.to.as_deref()),
            (Some("v1"), Some("v2"))
        );
        assert_eq!(
            (one.outcome, one.reason.as_deref()),
            ("rolled_back", Some(&*reason))
        );
        assert_eq!(
            one.steps,
            [StepAt {
                at_ms: 100,
                step: "canary"
            }]
        );
        assert_eq!((one.took_ms, one.migrating_ms, one.shards), (9, 7, 1));
    }

    #[test]
    fn whoever_begins_to_look_in_the_middle_of_a_deploy_is_told_how_far_it_is() {
        let history = History::default();
        assert_eq!(history.running(), None);
        for told in [
            told(0, joined(OLD, "v1")),
            told(5000, began(1)),
            told(5100, joined(NEW, "v2")),
            told(5200, migration(0, Phase::Sealing)),
            told(5204, migration(0, Phase::Moved)),
            told(5203, migration(1, Phase::Sealing)),
            told(5210, migration(1, Phase::Moved)),
            told(5220, migration(2, Phase::Sealing)),
        ] {
            history.told(&told);
        }
        let running = history.running().unwrap();
        let builds = (running.from.as_deref(), running.to.as_deref());
        assert_eq!(builds, (Some("v1"), Some("v2")));
        assert_eq!((running.handed_over, running.migrating_ms), (2, 10));
        assert_eq!(running.slowest, Some(Slowest { shard: 1, ms: 7.0 }));
        history.told(&told(5300, ended(Outcome::Done)));
        assert_eq!(history.running(), None);
    }

    #[test]
    fn a_deploy_whose_build_never_joined_was_from_the_one_that_serves() {
        let history = History::default();
        history.told(&told(0, joined(OLD, "v1")));
        history.told(&told(1, began(1)));
        let reason = "the slave ended before it joined".to_owned();
        history.told(&told(2, ended(Outcome::Aborted { reason })));
        let deploys = history.deploys();
        let builds = deploys
            .iter()
            .map(|one| (one.from.as_deref(), one.to.as_deref()));
        assert_eq!(builds.collect::<Vec<_>>(), [(Some("v1"), None)]);
    }

    #[test]
    fn only_the_last_deploys_are_remembered() {
        let history = History::default();
        for number in 0..50 {
            history.told(&told(number, began(number)));
            history.told(&told(number, ended(Outcome::Done)));
        }
        let numbers: Vec<_> = history.deploys().iter().map(|one| one.deploy).collect();
        assert_eq!(numbers, (30..50).collect::<Vec<_>>());
    }

    #[test]
    fn a_spread_is_of_what_was_measured() {
        let of = |ms: &[f64]| spread(ms).map(|gap| (gap.p50_ms, gap.p99_ms, gap.max_ms));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[7.0]), Some((7, 7, 7)));
        let many: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!(of(&many), Some((50, 99, 100)));
    }
}
