//! How far a deploy is, from its events: shards moved, how many a second, how long
//! each had no owner.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::text::{count, gap, span};

/// What the events of one deploy told.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Shards of its slot.
    pub(super) total: u64,
    pub(super) moved: BTreeSet<u64>,
    /// Shards that went back.
    back: BTreeSet<u64>,
    /// What it is at.
    pub(super) step: String,
    /// When each shard that moves was to seal, in microseconds.
    sealed: BTreeMap<u64, u64>,
    /// The longest gap of each shard, in microseconds.
    gaps: BTreeMap<u64, u64>,
    /// When the first one behind the canary was to seal, how many had moved by then, and
    /// when the last one served. The look at the canary is no pace.
    first_us: Option<u64>,
    canaries: u64,
    last_us: u64,
}

impl Progress {
    pub(super) fn of(total: u64) -> Self {
        Self {
            total,
            ..Self::default()
        }
    }

    /// Takes one event of the deploy.
    pub(super) fn note(&mut self, event: &Value) {
        match event["type"].as_str() {
            Some("deploy_step") => {
                self.step = event["step"].as_str().unwrap_or_default().to_owned();
            }
            Some("migration") => self.migration(event),
            _ => {}
        }
    }

    fn migration(&mut self, event: &Value) {
        let (Some(shard), Some(at)) = (event["shard"].as_u64(), event["at_us"].as_u64()) else {
            return;
        };
        match event["phase"].as_str() {
            Some("sealing" | "taking back") => {
                if self.step != "canary" && self.first_us.is_none() {
                    self.first_us = Some(at);
                    self.canaries = self.moved.len() as u64;
                }
                self.sealed.entry(shard).or_insert(at);
            }
            Some(phase @ ("moved" | "back")) => {
                if phase == "moved" {
                    self.moved.insert(shard);
                    self.back.remove(&shard);
                } else {
                    self.moved.remove(&shard);
                    self.back.insert(shard);
                }
                self.last_us = at;
                if let Some(sealed) = self.sealed.remove(&shard) {
                    let gap = self.gaps.entry(shard).or_default();
                    *gap = at.saturating_sub(sealed).max(*gap);
                }
            }
            _ => {}
        }
    }

    /// Some events were missed: what the master says now counts.
    pub(super) fn correct(&mut self, status: &Value) {
        let deploy = &status["deploy"];
        let Some(to) = deploy["to"].as_str() else {
            return;
        };
        let shards = status["shards"].as_array().into_iter().flatten();
        self.moved = shards
            .filter(|shard| shard["owner"] == to && shard["state"] == "serving")
            .filter_map(|shard| shard["shard"].as_u64())
            .collect();
        self.step = deploy["step"].as_str().unwrap_or_default().to_owned();
        self.sealed.clear();
    }

    /// `12 of 64 shards moved, 31/s, 2 s still, slowest gap 55 ms (shard 7)`
    pub(super) fn figures(&self) -> String {
        let moved = self.moved.len() as u64;
        if !self.back.is_empty() {
            return format!(
                "{} back, {moved} still at the new build",
                count(self.back.len() as u64, "shard")
            );
        }
        let mut figures = format!("{moved} of {} moved", count(self.total, "shard"));
        if let Some(rate) = self.per_second() {
            figures.push_str(&format!(", {rate:.0}/s"));
            let rest = self.total.saturating_sub(moved);
            if rest > 0 && rate > 0.0 {
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "saturates"
                )]
                let still = (rest as f64 / rate * 1000.0) as u64;
                figures.push_str(&format!(", {} still", span(still)));
            }
        }
        if let Some(slowest) = self.slowest() {
            figures.push_str(&format!(", {slowest}"));
        }
        figures
    }

    /// Whether a shard moved, or went back.
    pub(super) fn began(&self) -> bool {
        !self.moved.is_empty() || !self.back.is_empty()
    }

    pub(super) fn slowest(&self) -> Option<String> {
        let (shard, us) = self.gaps.iter().max_by_key(|(_, us)| **us)?;
        Some(format!("slowest gap {} (shard {shard})", span(us / 1000)))
    }

    pub(super) fn per_second(&self) -> Option<f64> {
        let us = self.last_us.saturating_sub(self.first_us?);
        let moved = (self.moved.len() as u64).saturating_sub(self.canaries);
        (us > 0 && moved > 0).then(|| moved as f64 * 1_000_000.0 / us as f64)
    }

    /// What the whole deploy cost its shards.
    pub(super) fn spread(&self) -> Option<String> {
        let mut sorted: Vec<u64> = self.gaps.values().map(|us| us / 1000).collect();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        let at = |percent: usize| sorted[(last * percent).div_ceil(100)];
        gap(&serde_json::json!({"p50_ms": at(50), "p99_ms": at(99), "max_ms": at(100)}))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_gap_is_from_the_seal_to_the_next_owner() {
        let mut progress = Progress::of(4);
        for (at_us, shard, phase) in [
            (0, 0, "copying"),
            (10_000, 0, "sealing"),
            (12_000, 1, "sealing"),
            (30_000, 0, "resuming"),
            (50_000, 0, "moved"),
            (112_000, 1, "moved"),
        ] {
            progress.note(&moved(at_us, shard, phase));
        }
        assert_eq!(
            progress.figures(),
            "2 of 4 shards moved, 20/s, 102 ms still, slowest gap 100 ms (shard 1)"
        );
        let spread = progress.spread().unwrap_or_default();
        assert!(
            spread.contains("p50 100 ms") && spread.contains("at most 100 ms"),
            "{spread}"
        );
    }

    #[test]
    fn the_look_at_the_canary_is_no_pace() {
        let mut progress = Progress::of(3);
        let step = |step: &str| json!({"type": "deploy_step", "step": step});
        progress.note(&step("canary"));
        progress.note(&moved(0, 0, "sealing"));
        progress.note(&moved(10_000, 0, "moved"));
        assert_eq!(
            progress.figures(),
            "1 of 3 shards moved, slowest gap 10 ms (shard 0)"
        );
        progress.note(&step("moving"));
        progress.note(&moved(2_000_000, 1, "sealing"));
        progress.note(&moved(2_050_000, 1, "moved"));
        assert_eq!(
            progress.figures(),
            "2 of 3 shards moved, 20/s, 50 ms still, slowest gap 50 ms (shard 1)"
        );
    }

    #[test]
    fn a_shard_that_goes_back_has_not_moved() {
        let mut progress = Progress::of(2);
        progress.note(&moved(1000, 0, "sealing"));
        progress.note(&moved(2000, 0, "moved"));
        progress.note(&moved(9000, 0, "taking back"));
        progress.note(&moved(19_000, 0, "back"));
        assert!(progress.moved.is_empty());
        assert_eq!(progress.figures(), "1 shard back, 0 still at the new build");
        assert_eq!(
            progress.slowest().as_deref(),
            Some("slowest gap 10 ms (shard 0)")
        );
    }

    #[test]
    fn after_events_that_were_missed_the_status_counts() {
        let mut progress = Progress::of(2);
        progress.correct(&json!({
            "deploy": {"to": "b", "step": "moving"},
            "shards": [
                {"shard": 0, "owner": "b", "state": "serving"},
                {"shard": 1, "owner": "a", "state": "copying"},
            ],
        }));
        assert_eq!(progress.moved, [0].into());
        assert_eq!(progress.step, "moving");
    }

    fn moved(at_us: u64, shard: u64, phase: &str) -> Value {
        json!({"type": "migration", "at_us": at_us, "shard": shard, "phase": phase})
    }
}
