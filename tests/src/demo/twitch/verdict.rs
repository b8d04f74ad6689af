//! What a run was worth: as JSON for programs, as a table for people.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Range,
    time::Duration,
};

use serde::Serialize;
use serde_json::Value;

use super::{MORE, Options, dropped};
use crate::{error::Result, twitch::TwitchFleet, verdict::Judged};

/// What became of every message that was said.
#[derive(Clone, Debug, Serialize)]
pub struct TwitchVerdict {
    /// Messages that were said.
    pub messages: u64,
    /// Of them, those that were handled.
    pub handled: u64,
    /// Not handled, though Twitch had somebody to send them to.
    pub lost: u64,
    /// Of those that Twitch had sent, what the killed process had not handled when it died: a
    /// service without replay sends nothing again.
    pub in_its_hands: u64,
    /// Handled once more.
    pub repeated: u64,
    /// Handled behind a later one of their channel.
    pub out_of_order: u64,
    /// Given up by Twitch before the process was killed, while the fleet was whole.
    pub dropped_before_the_kill: u64,
    /// Given up by Twitch while nobody served a unit, after the kill.
    pub dropped_by_the_kill: u64,
    /// Given up by Twitch while the fleet was scaled out and in.
    pub dropped_by_scaling: u64,
    /// Units that the deploy moved.
    pub moved: u64,
    /// From the order to prepare a unit until the next owner served it: the longest.
    pub longest_move_ms: f64,
    /// For how long no process served a unit after the kill: the longest.
    pub deaf_ms: u64,
    /// From the start of the master until every unit served.
    pub cold_start_ms: f64,
    /// What is wrong with it, for a person.
    pub faults: Vec<String>,
}

/// What was counted on the way.
#[derive(Clone, Debug)]
pub(super) struct Counts {
    /// Given up by Twitch before the kill.
    pub(super) before: u64,
    /// When the process was killed: microseconds on the monotonic clock, before and after.
    pub(super) kill: Range<u64>,
    /// And until the fleet was whole again.
    pub(super) by_the_kill: u64,
    pub(super) moved: u64,
    pub(super) cold: Duration,
}

/// What was sent to a process longer ago, it has handled, also on a busy machine.
const HANDLED_WITHIN_US: u64 = 1_000_000;

/// A killed process has its sockets for so long yet, and Twitch writes into them.
const DIES_WITHIN_US: u64 = 200_000;

/// The longest that a move of a unit may take, with a round trip of 50 ms or less.
const MOVE: Duration = Duration::from_millis(1500);
const NEAR: Duration = Duration::from_millis(50);

/// After a kill no unit is deaf for longer than this.
const DEAF: Duration = Duration::from_secs(2);

pub(super) fn judge(
    options: Options,
    fleet: &TwitchFleet,
    news: &[Value],
    counts: &Counts,
) -> Result<TwitchVerdict> {
    let &Counts {
        before,
        ref kill,
        by_the_kill,
        moved,
        cold,
    } = counts;
    let seen = fleet.judge()?;
    let in_its_hands = in_its_hands(fleet, kill)?.min(seen.lost);
    let lost = seen.lost - in_its_hands;
    let deaf = news.iter().filter(|event| event["type"] == "was_deaf");
    let deaf_ms = deaf.filter_map(|event| event["deaf_ms"].as_u64()).max();
    let deaf_ms = deaf_ms.unwrap_or(0);
    let mut verdict = TwitchVerdict {
        messages: seen.messages,
        handled: seen.seen,
        lost,
        in_its_hands,
        repeated: seen.repeated,
        out_of_order: seen.out_of_order,
        dropped_before_the_kill: before,
        dropped_by_the_kill: by_the_kill - before,
        dropped_by_scaling: dropped(fleet) - by_the_kill,
        moved,
        longest_move_ms: longest_move(news),
        deaf_ms,
        cold_start_ms: cold.as_secs_f64() * 1000.0,
        faults: Vec::new(),
    };
    let mut fault = |is: bool, what: String| {
        if is {
            verdict.faults.push(what);
        }
    };
    fault(
        lost > 0,
        format!("{lost} messages are lost: some of {:?}", seen.lost_ids),
    );
    fault(
        seen.repeated > 0,
        format!(
            "{} messages came twice: {:?}",
            seen.repeated, seen.repeated_ids
        ),
    );
    fault(
        seen.invented > 0,
        format!("{} messages never were", seen.invented),
    );
    fault(seen.overflow, "the ledger was too small".to_owned());
    fault(
        before > 0,
        format!("Twitch gave {before} messages up while the fleet was whole"),
    );
    fault(
        moved != u64::from(options.units + MORE),
        format!("{moved} of {} units moved", options.units + MORE),
    );
    fault(
        dropped(fleet) > by_the_kill,
        "Twitch gave messages up while the fleet was scaled".to_owned(),
    );
    let longest = longest_move(news);
    fault(
        options.round_trip <= NEAR && longest > MOVE.as_secs_f64() * 1000.0,
        format!("a unit moved for {longest:.0} ms"),
    );
    fault(
        Duration::from_millis(deaf_ms) > DEAF,
        format!("a unit was deaf for {deaf_ms} ms"),
    );
    Ok(verdict)
}

/// Messages that nobody handled and that were written to a connection around the kill.
fn in_its_hands(fleet: &TwitchFleet, kill: &Range<u64>) -> Result<u64> {
    let just = kill.start.saturating_sub(HANDLED_WITHIN_US)..kill.end + DIES_WITHIN_US;
    let handled: BTreeSet<String> = fleet
        .written()?
        .into_iter()
        .filter_map(|event| event.id)
        .collect();
    let twitch = &fleet.twitch;
    let unhandled: BTreeSet<u64> = twitch
        .messages(0, usize::MAX)
        .iter()
        .filter(|message| message.dropped == 0 && !handled.contains(&*message.id))
        .map(|message| message.number)
        .collect();
    let deliveries = twitch.deliveries(0, usize::MAX);
    let theirs = deliveries.iter().filter(|delivery| {
        !delivery.dropped && just.contains(&delivery.at_us) && unhandled.contains(&delivery.number)
    });
    let theirs: BTreeSet<u64> = theirs.map(|delivery| delivery.number).collect();
    Ok(u64::try_from(theirs.len()).unwrap_or(u64::MAX))
}

/// From the first word about a unit's move until it was served there.
fn longest_move(news: &[Value]) -> f64 {
    let mut began = BTreeMap::new();
    let mut longest = 0;
    for event in news.iter().filter(|event| event["type"] == "migration") {
        let (Some(unit), Some(at)) = (event["shard"].as_u64(), event["at_us"].as_u64()) else {
            continue;
        };
        match event["phase"].as_str() {
            Some("moved") => {
                if let Some(from) = began.remove(&unit) {
                    longest = longest.max(at.saturating_sub(from));
                }
            }
            Some(_) | None => {
                began.entry(unit).or_insert(at);
            }
        }
    }
    Duration::from_micros(longest).as_secs_f64() * 1000.0
}

impl Judged for TwitchVerdict {
    fn faults(&self) -> Vec<String> {
        self.faults.clone()
    }
}

impl TwitchVerdict {
    /// For people.
    ///
    /// # Errors
    /// The writer's.
    pub fn show(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let mut row = |name: &str, value: String| writeln!(out, "  {name:<44}{value:>12}");
        row("messages said", self.messages.to_string())?;
        row("handled", self.handled.to_string())?;
        row("lost", self.lost.to_string())?;
        row(
            "in the hands of the killed process",
            self.in_its_hands.to_string(),
        )?;
        row("handled twice", self.repeated.to_string())?;
        row(
            "out of order in their channel",
            self.out_of_order.to_string(),
        )?;
        row(
            "given up by Twitch before the kill",
            self.dropped_before_the_kill.to_string(),
        )?;
        row(
            "given up by Twitch by the kill",
            self.dropped_by_the_kill.to_string(),
        )?;
        row(
            "given up by Twitch by scaling out and in",
            self.dropped_by_scaling.to_string(),
        )?;
        row("units that the deploy moved", self.moved.to_string())?;
        row(
            "the longest move",
            format!("{:.0} ms", self.longest_move_ms),
        )?;
        row("deaf after the kill", format!("{} ms", self.deaf_ms))?;
        row("cold start", format!("{:.0} ms", self.cold_start_ms))?;
        for fault in &self.faults {
            writeln!(out, "FAULT: {fault}")?;
        }
        Ok(())
    }
}
