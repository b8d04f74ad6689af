//! A fleet as lines for a person. What serves is counted, what does not has a
//! line of its own, so that 1024 shards fit on a screen.

mod clients;
mod hosts;
mod parts;
mod shards;
mod sinks;
mod slaves;
mod summary;

use std::collections::BTreeMap;

use serde_json::Value;

pub(super) use self::summary::{counts, deploy};
use self::{
    parts::{Table, list, text},
    shards::{Rank, rank},
    summary::cold,
};
use crate::{
    cli::text::{Paint, clock, count, gap, ranges, span, wrapped},
    clock::unix_ms,
};

/// Where what is wrong stands: a screen that moves in place shows its beginning, and of
/// what scrolled by the end is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    First,
    Last,
}

/// Lines of `status`, none wider than `width` where that can be helped.
pub(super) fn table(status: &Value, paint: Paint, width: usize, wrong: Wrong) -> Vec<String> {
    let table = Table {
        status,
        paint,
        width,
        now_ms: unix_ms(),
    };
    let mut lines = table.head();
    if wrong == Wrong::First {
        lines.extend(table.next_steps());
        lines.extend(table.doctor());
        lines.extend(table.deploys());
    }
    lines.push(String::new());
    lines.extend(table.slaves());
    lines.push(String::new());
    lines.extend(table.shards());
    if wrong == Wrong::Last {
        lines.extend(table.deploys());
        lines.extend(table.next_steps());
        lines.extend(table.doctor());
    }
    lines.iter().flat_map(|line| wrapped(line, width)).collect()
}

impl Table<'_> {
    fn head(&self) -> Vec<String> {
        let (status, master) = (self.status, &self.status["master"]);
        let title = format!("master {}", text(&master["version"]));
        let mut lines = vec![format!(
            "{}  pid {}, start {} of the fleet, up {}",
            self.paint.strong(&title),
            master["pid"],
            master["term"]["counter"],
            span(master["uptime_ms"].as_u64().unwrap_or(0)),
        )];
        if status["adopting"] == true {
            lines.push(
                self.paint
                    .busy("starting   it collects what the slaves hold; nothing moves until then"),
            );
        }
        let whole = list(&status["shards"])
            .iter()
            .all(|shard| rank(text(&shard["state"])) == Rank::Fine);
        let counts = counts(status);
        let counts = if whole {
            self.paint.good(&counts)
        } else {
            self.paint.bad(&counts)
        };
        lines.push(format!("shards     {counts}"));
        if let Some(cold) = cold(status) {
            lines.push(format!("           {cold}"));
        }
        lines.extend(self.masters());
        lines.extend(self.arrangement());
        if status["overlaps"] != true {
            lines.push(format!("IDENTIFY   {}", self.identifies()));
        }
        if let Some(replay) = self.replay() {
            lines.push(format!("replay     {replay}"));
        }
        lines.extend(self.hosts());
        lines.extend(self.clients());
        lines.extend(self.sinks());
        lines
    }

    /// What operators changed of where shards are, as far as it is not done or holds on.
    fn arrangement(&self) -> Vec<String> {
        let status = self.status;
        let mut lines = Vec::new();
        if status["held"] == true {
            lines.push(self.paint.busy(
                "held       no launch, no standby that steps in, no move: baton-master hold --release",
            ));
        }
        let moves = &status["moves"];
        if let Some(left) = moves["left"].as_u64().filter(|left| *left > 0) {
            lines.push(self.paint.busy(&format!(
                "moves      {} to another slot, {} on their way",
                count(left, "shard"),
                moves["in_hand"].as_u64().unwrap_or(0)
            )));
        }
        let cordoned = list(&status["cordoned"]);
        if !cordoned.is_empty() {
            let hosts: Vec<_> = cordoned.iter().map(text).collect();
            lines.push(format!("cordoned   {}", hosts.join(", ")));
        }
        lines
    }

    /// What Discord allows, against what a cold start of the fleet would cost.
    fn identifies(&self) -> String {
        let status = self.status;
        let Some(left) = status["identifies_left"].as_u64() else {
            return "not known: Discord was not asked, or did not answer".to_owned();
        };
        let reset = status["identifies_reset_ms"].as_u64().unwrap_or(0);
        let shards = status["shard_count"].as_u64().unwrap_or(0);
        let mut told = format!("{left} left, reset in {}", span(reset));
        let waiting = status["identifies_waiting"].as_u64().unwrap_or(0);
        let reserve = status["identifies_reserve"].as_u64().unwrap_or(0);
        let refused = status["identifies_refused"].as_u64().unwrap_or(0);
        if waiting > 0 && left <= reserve && left > 0 {
            told = format!("{told}, kept for baton-master identify");
        }
        if refused > 0 {
            let pause = status["identify_pause_ms"].as_u64().unwrap_or(0);
            let next = match pause {
                0 => "one shard tries".to_owned(),
                pause => format!("one shard tries in {}", span(pause)),
            };
            told = format!(
                "{told}; refused {} in a row, {next}",
                count(refused, "time")
            );
        }
        let held = status["identifies_held"].as_str();
        if let Some(why) = held {
            let pause = status["identify_pause_ms"].as_u64().unwrap_or(0);
            let next = match status["identifies_trial"].as_u64() {
                Some(shard) => format!("shard {shard} tries for all, for {}", span(pause)),
                None => format!("one shard tries for all, in {}", span(pause)),
            };
            told = format!("{told}; held up: {why}; {next}");
        }
        if waiting > 0 {
            told = format!("{told}; {} waiting", count(waiting, "shard"));
        }
        if held.is_some() || refused > 0 || (waiting > 0 && left <= reserve) {
            return self.paint.bad(&told);
        }
        if left < shards {
            let short = format!("{told}; {shards} shards could not start a new session");
            return self.paint.bad(&short);
        }
        told
    }

    /// For how long the busiest shard can be gone back to.
    fn replay(&self) -> Option<String> {
        if self.status["overlaps"] == true {
            return None;
        }
        let shards = list(&self.status["shards"]).iter();
        let budgets =
            shards.filter_map(|shard| Some((shard["replay_budget_seconds"].as_u64()?, shard)));
        let (seconds, shard) = budgets.min_by_key(|(seconds, _)| *seconds)?;
        let rate = shard["events_per_1000_s"].as_u64().unwrap_or(0);
        let told = format!(
            "{} at least: shard {} gets {}.{} events/s",
            span(seconds.saturating_mul(1000)),
            shard["shard"],
            rate / 1000,
            rate % 1000 / 100,
        );
        Some(if seconds < 10 {
            self.paint.busy(&told)
        } else {
            told
        })
    }

    fn deploys(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(deploy) = deploy(self.status) {
            lines.push(String::new());
            lines.push(self.paint.busy(&deploy));
            let soak = (
                &self.status["deploy"]["soak_asked_ms"],
                &self.status["deploy"]["soak_ms"],
            );
            if let (Some(asked), Some(soak)) = (soak.0.as_u64(), soak.1.as_u64())
                && asked != soak
            {
                lines.push(format!(
                    "  its soak is {} instead of {}: what Discord replays covers no more",
                    span(soak),
                    span(asked)
                ));
            }
        }
        let last = &self.status["last_deploy"];
        if last.is_object() {
            let outcome = text(&last["text"]);
            let outcome = match text(&last["outcome"]) {
                "done" => self.paint.good(outcome),
                _ => self.paint.bad(outcome),
            };
            lines.push(String::new());
            let ago = last["ended_ms_ago"].as_u64().unwrap_or(0);
            lines.push(format!(
                "last deploy {} of slot {}, {} ago at {}: {outcome}",
                last["deploy"],
                text(&last["slot"]),
                span(ago),
                clock(self.now_ms.saturating_sub(ago)),
            ));
            let gap = gap(&last["gap"]).map_or_else(String::new, |gap| format!("; {gap}"));
            lines.push(format!(
                "  {} at the new build in {}{gap}",
                count(last["moved"].as_u64().unwrap_or(0), "shard"),
                span(last["migrating_ms"].as_u64().unwrap_or(0)),
            ));
        }
        lines
    }

    /// What the doctor found, but what is shown above.
    fn doctor(&self) -> Vec<String> {
        let found = list(&self.status["doctor"]).iter();
        let found = found.filter(|finding| finding["check"] != "shards");
        let mut lines: Vec<String> = found
            .map(|finding| {
                let line = format!(
                    "{}: {}; next: {}",
                    text(&finding["check"]),
                    text(&finding["detail"]),
                    text(&finding["next"])
                );
                match text(&finding["level"]) {
                    "error" => self.paint.bad(&line),
                    _ => self.paint.busy(&line),
                }
            })
            .collect();
        if !lines.is_empty() {
            lines.insert(0, String::new());
        }
        lines
    }

    /// What an operator can do about it.
    fn next_steps(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for slave in list(&self.status["slaves"]) {
            let holds = slave["shards"].as_u64().unwrap_or(0);
            if slave["connected"] != true && holds > 0 {
                lines.push(format!(
                    "slave {:.8} cannot be reached and may serve {}: it redials by itself. If you know \
                     that it is dead: baton-master fence {:.8}",
                    text(&slave["slave"]),
                    count(holds, "shard"),
                    text(&slave["slave"]),
                ));
            }
        }
        let mut troubles: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for shard in list(&self.status["shards"]) {
            // The others are on their way, or told of where their slave is.
            if shard["state"] == "failed"
                && let (Some(trouble), Some(number)) =
                    (shard["reason"].as_str(), shard["shard"].as_u64())
            {
                troubles.entry(trouble).or_default().push(number);
            }
        }
        for (trouble, shards) in troubles {
            let which = match shards.len() {
                1 => "shard",
                _ => "shards",
            };
            lines.push(
                self.paint
                    .bad(&format!("{which} {} failed: {trouble}", ranges(&shards))),
            );
        }
        if !lines.is_empty() {
            lines.insert(0, String::new());
        }
        lines
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
