//! What a run was worth: as JSON for programs, as a table for people.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::{OnHost, Outcome};
use crate::{
    checker::Exactness,
    demo::{DemoOptions, judging::whole},
    gap::{Spread, Timeline},
    records::{Handled, Sent},
    verdict::{Judged, Verdict},
};

/// A checkpoint of what is finished goes to the master each 10 ms. On a loaded host one may
/// be late by this much, and what it covers still be repeated.
const LATE_CHECKPOINT_US: u64 = 1_000_000;

/// The verdict of the demo, of each slot's deploy, and of the lost host.
#[derive(Clone, Debug, Serialize)]
pub struct HostsVerdict {
    /// Everything together: the rolling deploy, and what was handled in the whole run.
    #[serde(flatten)]
    pub demo: Verdict,
    /// Each slot's part of the deploy.
    pub slots: Vec<SlotVerdict>,
    /// The host that was lost.
    pub lost_host: LostHost,
}

/// A slot's part of the deploy.
#[derive(Clone, Debug, Serialize)]
pub struct SlotVerdict {
    /// Its name.
    pub slot: String,
    /// Its host.
    pub host: String,
    /// Its shards.
    pub shards: u32,
    /// Of them, those that the new slave serves.
    pub moved: u64,
    /// How the master says that its deploy ended.
    pub outcome: String,
    /// First seal to last RESUMED.
    pub deploy_ms: f64,
    /// Gap of its shards.
    pub gap_ms: Spread,
}

/// What became of the shards of a host that was lost.
#[derive(Clone, Debug, Serialize)]
pub struct LostHost {
    /// Which.
    pub host: String,
    /// Shards that it had.
    pub shards: u32,
    /// From the operator's word until every shard served again.
    pub back_ms: f64,
    /// Events that came a second time, marked: nobody could know whether they were finished.
    pub repeated_marked: u64,
    /// IDENTIFYs from the loss to the end.
    pub identifies: u64,
}

impl Judged for HostsVerdict {
    fn faults(&self) -> Vec<String> {
        let mut faults = self.demo.faults();
        let undone = self.slots.iter().filter(|slot| slot.outcome != "done");
        faults.extend(undone.map(|slot| format!("slot {}: {}", slot.slot, slot.outcome)));
        let lost = &self.lost_host;
        if lost.identifies > 0 {
            let host = &lost.host;
            faults.push(format!(
                "{} IDENTIFYs after host {host} was lost",
                lost.identifies
            ));
        }
        faults
    }
}

impl HostsVerdict {
    /// A table.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn show(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let exactness = &self.demo.exactness;
        writeln!(
            out,
            "  {} events sent, {} handled, {} lost, {} handled twice, {} needlessly marked, {} out \
             of order, {} false guild states",
            exactness.events_sent,
            exactness.events_handled,
            exactness.lost,
            exactness.duplicated,
            exactness.marked,
            exactness.out_of_order,
            self.demo.state_mismatches,
        )?;
        writeln!(
            out,
            "  {:<10} {:<6} {:>13} {:<12} {:>8}  gap of a shard",
            "slot", "host", "shards moved", "outcome", "took"
        )?;
        for slot in &self.slots {
            writeln!(
                out,
                "  {:<10} {:<6} {:>6} of {:>3} {:<12} {:>5.0} ms  {}",
                slot.slot,
                slot.host,
                slot.moved,
                slot.shards,
                slot.outcome,
                slot.deploy_ms,
                slot.gap_ms
            )?;
        }
        writeln!(
            out,
            "  {} IDENTIFYs in the deploy, {} RESUMEs",
            self.demo.identifies_deploy, self.demo.resumes
        )?;
        let lost = &self.lost_host;
        writeln!(
            out,
            "  host {} was lost with {} shards: they served again {:.0} ms after the operator's \
             word; {} events came again, marked; {} IDENTIFYs",
            lost.host, lost.shards, lost.back_ms, lost.repeated_marked, lost.identifies
        )?;
        for example in exactness.examples.iter().take(20) {
            writeln!(out, "    {example}")?;
        }
        let faults = self.faults();
        if faults.is_empty() {
            writeln!(
                out,
                "Nothing was lost, repeated unmarked, needlessly marked or out of order."
            )
        } else {
            writeln!(out, "Not clean: {}.", faults.join(", "))
        }
    }
}

pub(super) fn judge(options: &DemoOptions, outcome: &Outcome) -> HostsVerdict {
    let mut exactness = Exactness::of(&outcome.sent, &outcome.handled);
    let (needless, may) = marks(outcome);
    exactness.marked = needless;
    if needless == 0 {
        exactness
            .examples
            .retain(|example| !example.starts_with("marked"));
    }
    let timelines = Timeline::of(&outcome.sent, &outcome.handled);
    let gap = |shard: &u32| {
        let interval = outcome.moves.get(shard)?;
        timelines.get(shard)?.gap_us(*interval)
    };
    let slots: Vec<SlotVerdict> = outcome
        .slots
        .iter()
        .map(|slot| {
            let shards: Vec<u32> = (slot.first..=slot.last).collect();
            let (moved, ended) = outcome.ended.get(&slot.slot).cloned().unwrap_or_default();
            SlotVerdict {
                slot: slot.slot.clone(),
                host: slot.host.clone(),
                shards: slot.size(),
                moved,
                outcome: ended,
                deploy_ms: took_ms(outcome, slot),
                gap_ms: Spread::of_us(shards.iter().filter_map(gap).collect()),
            }
        })
        .collect();
    let all: Vec<u32> = (0..options.shards).collect();
    let gaps: Vec<i64> = all.iter().filter_map(gap).collect();
    let probed = (0..options.shards.min(options.sampled)).filter_map(|shard| gap(&shard));
    let probed = Spread::of_us(probed.collect());
    let took = whole(&outcome.moves);
    let is_done = |slot: &&SlotVerdict| slot.outcome != "done";
    let demo = Verdict {
        shards: options.shards,
        moved: slots.iter().map(|slot| slot.moved).sum(),
        exactness,
        state_mismatches: outcome.state_mismatches.len() as u64,
        mismatches: outcome.state_mismatches.clone(),
        identifies_cold_start: outcome.cold.identifies - outcome.cold.identifies_refused,
        identifies_refused_cold_start: outcome.cold.identifies_refused,
        identifies_deploy: outcome.after.identifies - outcome.before.identifies,
        resumes: outcome.after.resumes - outcome.before.resumes,
        deploy_ms: (took.resumed_us - took.sealed_us) as f64 / 1000.0,
        total_ms: outcome.total_ms,
        rtt_ms: options.rtt.as_secs_f64() * 1000.0,
        gap_unmeasured: u64::from(options.shards) - gaps.len() as u64,
        gap_ms: Spread::of_us(gaps),
        gap_probed_ms: probed,
        gap_noise_ms: Spread::default(),
        silence_ms: Spread::default(),
        wire: outcome.wire.clone(),
        outcome: match slots.iter().find(is_done) {
            Some(slot) => slot.outcome.clone(),
            None => "done".to_owned(),
        },
    };
    let lost = &outcome.lost;
    HostsVerdict {
        demo,
        slots,
        lost_host: LostHost {
            host: lost.at.host.clone(),
            shards: lost.at.size(),
            back_ms: lost.back_ms,
            repeated_marked: may,
            identifies: lost.identifies,
        },
    }
}

fn took_ms(outcome: &Outcome, slot: &OnHost) -> f64 {
    let of_slot: BTreeMap<_, _> = outcome
        .moves
        .iter()
        .filter(|(shard, _)| slot.has(**shard))
        .map(|(shard, interval)| (*shard, *interval))
        .collect();
    let took = whole(&of_slot);
    (took.resumed_us - took.sealed_us) as f64 / 1000.0
}

/// Marks that were needless, and repeats that were marked. A mark is due on a shard of the
/// lost host, where nobody could know whether the event was finished: it was sent before the
/// next owner had the shard, and not finished so long before the loss that a checkpoint must
/// have said so.
fn marks(outcome: &Outcome) -> (u64, u64) {
    let lost = &outcome.lost;
    let created: BTreeMap<_, u64> = outcome
        .sent
        .iter()
        .map(|sent: &Sent| (sent.key(), sent.created_us))
        .collect();
    let mut times: BTreeMap<_, Vec<&Handled>> = BTreeMap::new();
    for event in &outcome.handled {
        times.entry(event.key()).or_default().push(event);
    }
    let (mut needless, mut repeated) = (0, 0);
    for event in outcome.handled.iter().filter(|event| event.mark.is_some()) {
        let all = times.get(&event.key()).map_or(&[][..], Vec::as_slice);
        repeated += u64::from(all.len() > 1);
        let covered = lost.at_us.saturating_sub(LATE_CHECKPOINT_US);
        let was_known = all
            .iter()
            .any(|it| it.mark.is_none() && it.finished_us < covered);
        let is_old = created
            .get(&event.key())
            .is_some_and(|at| *at < event.handed_us);
        let is_due = lost.at.has(event.shard) && is_old && !was_known;
        needless += u64::from(!is_due);
    }
    (needless, repeated)
}
