//! What happened earlier, drawn from the news: alarms, deaths, lost sessions,
//! and what the last deploys did and cost. It is kept on the disk, bounded, for the next
//! master ([`chronicle`]); nothing relies on it.

pub mod chronicle;
mod deaths;
mod deploys;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use baton_core::event::{self, Death, Evidence, MovePhase, News, Outcome};
use baton_protocol::{DeployId, ShardId, SlaveId, Term};
use serde_json::Value;
use tracing::warn;

use self::{chronicle::Chronicle, deaths::Deaths};
pub use self::{
    deaths::Died,
    deploys::{Deployed, Gaps, LastDeploy, Slowest, StepAt, Underway},
};
use crate::{
    clock::{millis, monotonic_us, unix_ms},
    news::{Brought, Gap, Observer, Stamped},
};

/// So many deploys are remembered.
const REMEMBERED: usize = 50;

/// Steps of one deploy that are kept; an operator may pause it for ever.
const STEPS: usize = 64;

/// What this master saw, and what earlier ones kept.
#[derive(Debug, Default)]
pub struct History(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// The build of each slave that is not known to be dead.
    builds: BTreeMap<SlaveId, String>,
    running: BTreeMap<DeployId, Running>,
    /// The new slaves of deploys that are not done, the newest last.
    candidates: VecDeque<(SlaveId, DeployId)>,
    ended: VecDeque<Deployed>,
    deaths: Deaths,
    chronicle: Chronicle,
}

#[derive(Debug, Default)]
struct Running {
    deploy: DeployId,
    slot: String,
    brought: Brought,
    began_us: u64,
    began_unix_ms: u64,
    /// The builds: either slave may be gone when the deploy ends.
    from: Option<String>,
    to: Option<String>,
    /// The longest gap of each shard.
    gaps: BTreeMap<ShardId, Duration>,
    /// When the first shard was to seal, and when the last one served.
    migrates_us: Option<(u64, u64)>,
    steps: Vec<StepAt>,
}

impl History {
    /// With what earlier masters kept in this data directory; goes on there.
    #[must_use]
    pub fn open(data_dir: &Path, term: Term) -> Self {
        let (mut chronicle, opened) = Chronicle::open(data_dir);
        if let Err(error) = opened {
            warn!(%error, "what happens is kept for this master only");
        }
        let mut seen = Seen::default();
        for event in chronicle.events() {
            seen.remember(event);
        }
        let cut_off = chronicle.without_end();
        chronicle.keep(chronicle::started(&term.to_string()));
        for cut_off in cut_off {
            chronicle.keep(cut_off);
        }
        seen.chronicle = chronicle;
        Self(Mutex::new(seen))
    }

    /// The journal knows a deploy that has not ended, since `unix_ms`. Its answer does not
    /// wait for the history: a master that was killed at once may not have written it down
    /// here.
    pub fn remembers(&self, last: &event::LastDeploy, unix_ms: u64) {
        let mut seen = self.seen();
        let number = last.deploy.get();
        let is_known = |event: &Arc<Value>| {
            let kind = event["type"].as_str().unwrap_or_default();
            kind.starts_with("deploy_") && event["deploy"] == number
        };
        let first = seen.chronicle.events().next();
        let first = first.and_then(|first| first["at_unix_ms"].as_u64());
        // What is older is not expected here.
        let reaches = first.is_some_and(|first| first <= unix_ms);
        if number == 0 || unix_ms == 0 || !reaches || seen.chronicle.events().any(is_known) {
            return;
        }
        let cut_off = chronicle::cut_off(Some(number), &last.slot);
        seen.chronicle.keep(cut_off);
    }

    /// What happened since, in milliseconds since 1970, the newest last.
    #[must_use]
    pub fn events(&self, since_unix_ms: u64) -> Vec<Arc<Value>> {
        // Nothing is copied here: the driver waits for this lock.
        let seen = self.seen();
        let mut events: Vec<_> = seen
            .chronicle
            .events()
            .rev()
            .take_while(|event| event["at_unix_ms"].as_u64() >= Some(since_unix_ms))
            .map(Arc::clone)
            .collect();
        events.reverse();
        events
    }

    /// The master leaves as it was asked to.
    pub fn leaves(&self) {
        let left = serde_json::json!({ "type": "master_left" });
        self.seen().chronicle.keep(left);
    }

    /// Those that ended, the newest last.
    #[must_use]
    pub fn deploys(&self) -> Vec<Deployed> {
        let seen = self.seen();
        seen.ended.iter().cloned().collect()
    }

    /// Slaves that ended and were not to, at most 50, the newest last.
    #[must_use]
    pub fn deaths(&self) -> Vec<Died> {
        self.seen().deaths.all()
    }

    /// The one that runs; of several the one that began first.
    #[must_use]
    pub fn running(&self) -> Option<Underway> {
        let seen = self.seen();
        let first = seen.running.values().next();
        first.map(|running| running.underway(monotonic_us()))
    }

    /// The deploy with this number, while it runs.
    #[must_use]
    pub fn underway(&self, deploy: DeployId) -> Option<Underway> {
        let seen = self.seen();
        let running = seen.running.get(&deploy);
        running.map(|running| running.underway(monotonic_us()))
    }

    /// The one that ended last.
    #[must_use]
    pub fn last(&self) -> Option<LastDeploy> {
        let seen = self.seen();
        let ended = seen.ended.back()?;
        Some(LastDeploy {
            deploy: ended.deploy,
            slot: ended.slot.clone(),
            outcome: ended.outcome.clone(),
            text: ended.text.clone(),
            sessions_lost: ended.sessions_lost,
            events_given_up: ended.events_given_up,
            moved: ended.shards,
            migrating_ms: ended.migrating_ms,
            total_ms: ended.took_ms,
            ended_ms_ago: unix_ms().saturating_sub(ended.ended_unix_ms),
            gap: ended.spread(),
        })
    }

    // Nothing panics in here.
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for History {
    fn happened(&self, stamped: &Arc<Stamped>) {
        let mut seen = self.seen();
        seen.happened(stamped);
        if stamped.meaning().is_kept {
            let mut event = stamped.to_json();
            if let Some(event) = event.as_object_mut() {
                // Of a clock that starts at zero with each boot.
                event.remove("at_us");
            }
            if let (News::DeployEnded { .. }, Some(deployed)) = (&stamped.news, seen.ended.back()) {
                event["deployed"] = serde_json::to_value(deployed).unwrap_or(Value::Null);
            }
            if let News::SlaveEnded(death) = &stamped.news
                && let Some(of) = seen.candidate_of(death)
            {
                event["candidate_of"] = of.get().into();
            }
            if let News::Fenced { slave, .. }
            | News::SlaveGone {
                slave,
                dead: Some(_),
                ..
            } = &stamped.news
            {
                event["died"] = serde_json::to_value(seen.deaths.of(*slave)).unwrap_or(Value::Null);
            }
            seen.chronicle.keep(event);
        }
    }
}

impl Seen {
    /// What an earlier master kept.
    fn remember(&mut self, event: &Value) {
        match event["type"].as_str() {
            Some("deploy_ended") => {
                if let Ok(deployed) = serde_json::from_value(event["deployed"].clone()) {
                    self.ended(deployed);
                }
            }
            Some("slave_ended") => {
                if let Ok(died) = serde_json::from_value(event.clone()) {
                    self.deaths.ended(died, event["well"] != false);
                }
            }
            Some("fenced" | "slave_gone") => {
                if let Ok(died) = serde_json::from_value(event["died"].clone()) {
                    self.deaths.keep(died);
                }
            }
            Some(_) | None => {}
        }
    }

    fn ended(&mut self, deployed: Deployed) {
        if self.ended.len() == REMEMBERED {
            self.ended.pop_front();
        }
        self.ended.push_back(deployed);
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "it follows deploys and their slaves, and nothing else"
    )]
    fn happened(&mut self, told: &Stamped) {
        match &told.news {
            News::SlaveJoined {
                slave,
                build,
                slot,
                back,
                ..
            } => self.joined(*slave, build, slot, *back),
            News::SlaveGone {
                slave,
                dead: Some(evidence),
                slot,
                build,
                pid,
                host,
                ..
            } => {
                self.builds.remove(slave);
                // The end of a process is told with its exit code and its last lines.
                if *evidence != Evidence::Process {
                    self.deaths.keep(Died {
                        at_unix_ms: unix_ms(),
                        slot: slot.clone(),
                        slave: Some(slave.to_string()),
                        build: Some(build.clone()),
                        pid: *pid,
                        host: host.clone(),
                        evidence: *evidence,
                        ending: evidence.told().to_owned(),
                        ..Died::default()
                    });
                }
            }
            News::Fenced { slave, .. } => {
                self.builds.remove(slave);
            }
            News::DeployAccepted {
                deploy, slot, from, ..
            } => self.began(*deploy, slot, *from, told),
            News::DeployStep { deploy, step } => {
                if let Some(running) = self.running.get_mut(deploy)
                    && running.steps.len() < STEPS
                {
                    let at_ms = told.at_us.saturating_sub(running.began_us) / 1000;
                    let step = step.name().into();
                    running.steps.push(StepAt { at_ms, step });
                }
            }
            News::Migration {
                deploy,
                shard,
                from,
                to,
                phase,
                ..
            } => {
                if let Some(deploy) = *deploy
                    && let Some(running) = self.running.get_mut(&deploy)
                {
                    running.migrates(*shard, (*from, *to), *phase, &self.builds, told);
                    if *phase == MovePhase::Copying {
                        self.is_candidate(*to, deploy);
                    }
                }
            }
            News::DeployEnded {
                deploy,
                outcome,
                moved,
                migrating,
                total,
                losses,
            } => {
                let Some(running) = self.running.remove(deploy) else {
                    return;
                };
                if matches!(outcome, Outcome::Done | Outcome::Forced { .. }) {
                    // The slot is its own now.
                    self.candidates.retain(|(_, of)| *of != running.deploy);
                }
                self.ended(Deployed {
                    sessions_lost: losses.sessions,
                    events_given_up: losses.events,
                    text: format!("{outcome}{losses}"),
                    took_ms: millis(*total),
                    migrating_ms: millis(*migrating),
                    shards: *moved,
                    ..running.ended(outcome)
                });
            }
            News::SlaveEnded(death) => {
                let of = self.candidate_of(death);
                let died = Died::of(death, unix_ms(), of);
                self.deaths.ended(died, death.ending.is_well());
            }
            _ => {}
        }
    }
}

impl Seen {
    /// The deploy whose new slave this was.
    fn candidate_of(&self, death: &Death) -> Option<DeployId> {
        match death.slave {
            Some(slave) => {
                let mut candidates = self.candidates.iter();
                candidates.find_map(|(id, of)| (*id == slave).then_some(*of))
            }
            // A deploy launches one process into its slot, and nobody else does meanwhile.
            None => {
                let mut running = self.running.values();
                let running = running.find(|running| running.slot == death.slot);
                running.map(|running| running.deploy)
            }
        }
    }

    fn is_candidate(&mut self, slave: SlaveId, of: DeployId) {
        if self.candidates.contains(&(slave, of)) {
            return;
        }
        if self.candidates.len() == REMEMBERED {
            self.candidates.pop_front();
        }
        self.candidates.push_back((slave, of));
    }

    fn joined(&mut self, slave: SlaveId, build: &str, slot: &str, back: bool) {
        self.builds.insert(slave, build.to_owned());
        let mut running = self.running.values_mut();
        if let Some(running) = running.find(|running| running.slot == slot)
            && !back
        {
            running.to.get_or_insert_with(|| build.to_owned());
            let deploy = running.deploy;
            self.is_candidate(slave, deploy);
        }
    }

    fn began(&mut self, deploy: DeployId, slot: &str, from: Option<SlaveId>, told: &Stamped) {
        let running = Running {
            deploy,
            slot: slot.to_owned(),
            from: from.and_then(|from| self.builds.get(&from).cloned()),
            brought: told.brought.clone().unwrap_or_default(),
            began_us: told.at_us,
            began_unix_ms: unix_ms(),
            ..Running::default()
        };
        self.running.insert(deploy, running);
    }
}

impl Running {
    fn migrates(
        &mut self,
        shard: ShardId,
        (from, to): (SlaveId, SlaveId),
        phase: MovePhase,
        builds: &BTreeMap<SlaveId, String>,
        told: &Stamped,
    ) {
        if phase == MovePhase::Copying {
            // A slave that joined meanwhile may have been a standby.
            self.from = builds.get(&from).cloned();
            self.to = builds.get(&to).cloned();
        }
        match told.gap {
            Some(gap) => self.serves_again(shard, gap, told.at_us),
            None if matches!(phase, MovePhase::Sealing | MovePhase::TakingBack) => {
                let at_us = told.at_us;
                self.migrates_us.get_or_insert((at_us, at_us));
            }
            None => {}
        }
    }

    fn serves_again(&mut self, shard: ShardId, gap: Gap, at_us: u64) {
        let longest = self.gaps.entry(shard).or_default();
        *longest = gap.length.max(*longest);
        if let Some((_, last)) = &mut self.migrates_us {
            *last = at_us;
        }
    }

    fn underway(&self, now_us: u64) -> Underway {
        let slowest = self.gaps.iter().max_by_key(|(_, gap)| **gap);
        Underway {
            deploy: self.deploy.get(),
            slot: self.slot.clone(),
            brought: self.brought.clone(),
            from: self.from.clone(),
            to: self.to.clone().or_else(|| self.brought.build()),
            began_us: self.began_us,
            took_ms: now_us.saturating_sub(self.began_us) / 1000,
            migrates_us: self.migrates_us,
            handed_over: u32::try_from(self.gaps.len()).unwrap_or(u32::MAX),
            slowest: slowest.map(|(shard, gap)| Slowest {
                shard: shard.get(),
                ms: tenths(gap),
            }),
            steps: self.steps.clone(),
        }
    }

    fn ended(self, outcome: &Outcome) -> Deployed {
        let to = self.to.or_else(|| self.brought.build());
        let mut gaps_ms: Vec<f64> = self.gaps.values().map(tenths).collect();
        gaps_ms.sort_by(f64::total_cmp);
        Deployed {
            deploy: self.deploy.get(),
            slot: self.slot,
            brought: self.brought,
            from: self.from,
            to,
            began_unix_ms: self.began_unix_ms,
            outcome: outcome.name().into(),
            ended_unix_ms: unix_ms(),
            reason: outcome.reason().map(str::to_owned),
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
