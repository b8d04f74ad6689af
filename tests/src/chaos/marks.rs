//! Whether events that are marked may have been repeated.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{judge::Findings, scene::Scene};
use crate::{
    discord::LogLine,
    records::{Handled, Sent},
};

/// Checkpoints go to the master each 10 ms. On a loaded host one may be late by
/// this much, and what it covers still be repeated.
const LATE_CHECKPOINT_US: u64 = 1_000_000;

/// A power cut takes the end of the journal along: a tenth of what was written
/// since it was folded last.
const LOST_CHECKPOINTS_US: u64 = 3_000_000;

/// A RESUME is written down this much after it has decided what is replayed, at
/// most, on an idle host.
const LATE_LOG_US: u64 = 20_000;

/// Whether anything may have been repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marks {
    /// Nobody died holding a shard, and every handler ended in time.
    None,
    /// What was replayed in a recovery may have been.
    OfRecovery,
    /// The same where the new slave had been given a ticket, else as [`None`](Self::None).
    /// A blow that takes its time lands behind its phase: the master's news say which it
    /// was. After the death of the new slave nothing is given to it.
    IfHandedOn,
    /// What was replayed in a recovery may have been, and checkpoints that were on the disk
    /// are gone with the end of the journal.
    OfPowerCut,
    /// What was replayed may have been, in every move of a shard.
    OfEveryMove,
}

impl Marks {
    /// The same, where the news of the masters decide.
    pub(super) fn as_told(self, news: &[Value]) -> Self {
        let is_given = |event: &Value| event["type"] == "migration" && event["phase"] == "resuming";
        match self {
            Self::IfHandedOn if news.iter().any(is_given) => Self::OfRecovery,
            Self::IfHandedOn => Self::None,
            Self::None | Self::OfRecovery | Self::OfPowerCut | Self::OfEveryMove => self,
        }
    }
}

/// A mark is justified when the dispatch was replayed by a RESUME of a recovery,
/// and was not finished so long before it that a checkpoint must have said so.
pub(super) fn judge(
    scene: &Scene,
    marks: Marks,
    sent: &[Sent],
    handled: &[Handled],
    log: &[LogLine],
    findings: &mut Findings,
) {
    let created: BTreeMap<_, u64> = sent.iter().map(|s| (s.key(), s.created_us)).collect();
    let mut times: BTreeMap<(Arc<str>, u64), Vec<&Handled>> = BTreeMap::new();
    for event in handled {
        times.entry(event.key()).or_default().push(event);
    }
    let late_log = (LATE_LOG_US as f64 * scene.setup.stretch) as u64;
    for event in handled.iter().filter(|event| event.mark.is_some()) {
        let unending = scene.unending.as_ref();
        if unending.is_some_and(|unending| unending.is_carried(event)) {
            continue;
        }
        let all = times.get(&event.key()).map_or(&[][..], Vec::as_slice);
        if all.len() > 1 {
            findings.repeated_marked += 1;
        }
        let created = created.get(&event.key()).copied().unwrap_or(0);
        let brings = |line: &&LogLine| {
            line.what == "resume"
                && line.session.as_ref() == Some(&event.session)
                && resumed_at(line).is_some_and(|from| event.seq > from)
                && line.at_us + late_log >= created
                && line.at_us <= event.handed_us + late_log
        };
        let replayed = log.iter().any(|line| brings(&line));
        let mut strikes = scene.strikes.iter();
        let strike = strikes.rfind(|strike| strike.at_us <= event.handed_us);
        // What was replayed before the calm may be handed out behind it, where a slave hands
        // it out one event at a time.
        let recovers = strike.is_some_and(|strike| {
            strike.calm_us.is_none_or(|calm| {
                let recovery = strike.at_us..=calm;
                event.handed_us <= calm
                    || log
                        .iter()
                        .any(|line| brings(&line) && recovery.contains(&line.at_us))
            })
        });
        let struck = strike.map_or(u64::MAX, |strike| strike.at_us);
        let (recovery, late) = match marks {
            Marks::OfRecovery => (
                true,
                (LATE_CHECKPOINT_US as f64 * scene.setup.stretch) as u64,
            ),
            Marks::OfPowerCut => (true, LOST_CHECKPOINTS_US),
            Marks::None | Marks::IfHandedOn | Marks::OfEveryMove => (false, 0),
        };
        let known = all
            .iter()
            .any(|other| other.pid != event.pid && other.finished_us + late < struck);
        let why = if marks == Marks::None {
            "nothing was to be recovered"
        } else if !replayed {
            "it was not replayed"
        } else if recovery && !recovers {
            "everything was calm"
        } else if recovery && known {
            "a checkpoint had it"
        } else {
            continue;
        };
        findings.needless_marks += 1;
        if findings.examples.len() < 20 {
            findings.examples.push(format!(
                "needless mark, {why}: shard {} epoch {} sequence {} {} by {}",
                event.shard, event.epoch, event.seq, event.kind, event.pid
            ));
        }
    }
}

/// The sequence that a RESUME named.
fn resumed_at(line: &LogLine) -> Option<u64> {
    line.detail
        .strip_prefix("seq ")?
        .split(' ')
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_death_is_recovered_from_only_where_a_ticket_had_been_handed_on() {
        let told = |phase: &str| json!({"type": "migration", "phase": phase});
        let before = ["copying", "dialling", "sealing", "taking back"].map(told);
        assert_eq!(Marks::IfHandedOn.as_told(&before), Marks::None);
        let handed_on = ["sealing", "resuming"].map(told);
        assert_eq!(Marks::IfHandedOn.as_told(&handed_on), Marks::OfRecovery);
        assert_eq!(Marks::None.as_told(&handed_on), Marks::None);
    }
}
