//! A fleet as lines for a person. What serves is counted, what does not has a
//! line of its own, so that 1024 shards fit on a screen.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use serde_json::Value;

use super::super::death::{how, last_lines};
use super::super::text::{
    Cell, Look, Paint, clock, count, gap, grid, plain, ranges, ranges_within, span, wrapped,
};

/// Shards that get a line each; of more it is only said which they are.
const SINGLE: usize = 12;

/// Pings are answered sooner, by default, in milliseconds.
const QUIET: u64 = 6_000;

/// Last words of the slave whose slot is empty, and of one that has a successor.
const LINES: usize = 20;
const FEW: usize = 5;

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

/// Counts of shards by state, in one line. What is copied or dialled is served meanwhile.
pub(super) fn counts(status: &Value) -> String {
    let mut states: BTreeMap<&str, u64> = BTreeMap::new();
    for shard in list(&status["shards"]) {
        *states.entry(text(&shard["state"])).or_default() += 1;
    }
    let total: u64 = states.values().sum();
    let serving = states.remove("serving").unwrap_or(0);
    let leaving: u64 = MOVING.iter().filter_map(|state| states.remove(state)).sum();
    let others = states
        .iter()
        .map(|(state, count)| format!(", {count} {state}"));
    let leaving = match leaving {
        0 => String::new(),
        leaving => format!(" ({leaving} about to move)"),
    };
    let serving = serving + states_of(status, &MOVING);
    format!(
        "{serving} of {} serving{leaving}{}",
        count(total, "shard"),
        others.collect::<String>()
    )
}

/// States of a shard that its owner serves while its next owner prepares.
const MOVING: [&str; 2] = ["copying", "dialling"];

/// Shards in one of these states.
fn states_of(status: &Value, states: &[&str]) -> u64 {
    let shards = list(&status["shards"]).iter();
    shards
        .filter(|shard| states.contains(&text(&shard["state"])))
        .count() as u64
}

/// The running deploy, in one line: what goes where, how far it is, and how long still.
pub(super) fn deploy(status: &Value) -> Option<String> {
    let deploy = &status["deploy"];
    deploy.is_object().then(|| {
        let still = still(status).map_or_else(String::new, |still| format!(", {still}"));
        format!(
            "deploy {} of slot {}: {}{}{}, {} of {} shards at the new build{still}",
            deploy["deploy"],
            text(&deploy["slot"]),
            text(&deploy["step"]),
            if deploy["paused"] == true {
                " (paused)"
            } else {
                ""
            },
            builds(&status["underway"]),
            deploy["moved"],
            deploy["total"]
        )
    })
}

/// `, v1 -> v2`
fn builds(underway: &Value) -> String {
    match (underway["from"].as_str(), underway["to"].as_str()) {
        (from, Some(to)) => format!(", {} -> {to}", from.unwrap_or("nothing")),
        (Some(from), None) => format!(", {from} -> ?"),
        (None, None) => String::new(),
    }
}

/// How long the step of a deploy will take still, as far as that can be told.
fn still(status: &Value) -> Option<String> {
    let (deploy, underway) = (&status["deploy"], &status["underway"]);
    match text(&deploy["step"]) {
        "soaking" => {
            let steps = list(&underway["steps"]).iter();
            let began = steps.rev().find(|step| step["step"] == "soaking")?["at_ms"].as_u64()?;
            let gone = underway["took_ms"].as_u64()?.saturating_sub(began);
            let rest = deploy["soak_ms"].as_u64()?.saturating_sub(gone);
            Some(format!(
                "the old slave stays ready for {} still",
                span(rest)
            ))
        }
        "moving" | "canary" => {
            let (first, last) = (&underway["migrates_us"][0], &underway["migrates_us"][1]);
            let us = last.as_u64()?.checked_sub(first.as_u64()?)?;
            let moved = underway["handed_over"]
                .as_u64()
                .filter(|moved| *moved > 0)?;
            let rest = deploy["total"]
                .as_u64()?
                .checked_sub(deploy["moved"].as_u64()?)?;
            let ms = us.saturating_mul(rest) / moved / 1000;
            Some(format!("about {} still", span(ms)))
        }
        _ => None,
    }
}

/// How long a cold start takes still at the pace that Discord allows.
fn cold(status: &Value) -> Option<String> {
    let every = status["identify_every_ms"].as_u64()?;
    let starting = states_of(status, &["starting"]);
    (starting > 0).then(|| {
        format!(
            "{} with a new session, one every {}: about {} still",
            count(starting, "shard"),
            span(every),
            span(every.saturating_mul(starting))
        )
    })
}

struct Table<'a> {
    status: &'a Value,
    paint: Paint,
    width: usize,
    now_ms: u64,
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
        lines.push(format!("IDENTIFY   {}", self.identifies()));
        if let Some(replay) = self.replay() {
            lines.push(format!("replay     {replay}"));
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
        if waiting > 0 {
            told = format!("{told}; {} waiting", count(waiting, "shard"));
        }
        if refused > 0 || (waiting > 0 && left <= reserve) {
            return self.paint.bad(&told);
        }
        if left < shards {
            let short = format!("{told}; {shards} shards could not start anew");
            return self.paint.bad(&short);
        }
        told
    }

    /// For how long the busiest shard can be gone back to.
    fn replay(&self) -> Option<String> {
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

    fn slaves(&self) -> Vec<String> {
        let mut rows = Vec::new();
        let mut notes = Vec::new();
        let mut named = BTreeSet::new();
        for slot in list(&self.status["slots"]) {
            let name = text(&slot["name"]);
            named.insert(name);
            let slaves = list(&self.status["slaves"]).iter();
            let mut slaves: Vec<_> = slaves.filter(|slave| slave["slot"] == name).collect();
            slaves.sort_by_key(|slave| std::cmp::Reverse(slave["shards"].as_u64()));
            rows.extend(slaves.iter().map(|slave| self.slave(name, slave)));
            notes.extend(self.slot(name, slot));
        }
        let others = list(&self.status["slaves"]).iter();
        let others = others.filter(|slave| !named.contains(text(&slave["slot"])));
        rows.extend(others.map(|slave| self.slave(text(&slave["slot"]), slave)));
        let mut lines = self.fitting(rows);
        lines.extend(notes);
        lines
    }

    /// The table of slaves: where it is too wide, names of builds are cut, and the columns
    /// left out that say the least.
    fn fitting(&self, mut rows: Vec<Vec<Cell>>) -> Vec<String> {
        let mut head = vec![
            "SLOT", "SLAVE", "BUILD", ">PID", "ROLE", ">SHARDS", ">LAG", ">FULL", ">FAILED", "LINK",
        ];
        let wide = |head: &[&str], rows: &[Vec<Cell>]| {
            let lines = grid(Paint::Plain, head, rows);
            lines
                .iter()
                .map(|line| line.chars().count())
                .max()
                .unwrap_or(0)
        };
        for build in [16, 12, 8] {
            if wide(&head, &rows) > self.width {
                for row in &mut rows {
                    if row[2].0.chars().count() > build {
                        let cut: String = row[2].0.chars().take(build - 1).collect();
                        row[2].0 = format!("{cut}~");
                    }
                }
            }
        }
        for column in [">FULL", ">PID", ">FAILED"] {
            if wide(&head, &rows) > self.width
                && let Some(at) = head.iter().position(|title| *title == column)
            {
                head.remove(at);
                for row in &mut rows {
                    row.remove(at);
                }
            }
        }
        grid(self.paint, &head, &rows)
    }

    /// What a slot lacks.
    fn slot(&self, name: &str, slot: &Value) -> Vec<String> {
        let mut notes = Vec::new();
        let death = self.last_death(name);
        if slot["slave"].is_null() {
            let why = match slot["failed_launches"].as_u64().unwrap_or(0) {
                0 => format!("slot {name} is empty: it waits for a slave"),
                failed => format!(
                    "slot {name} is empty: {} failed in a row",
                    count(failed, "start")
                ),
            };
            notes.push(self.paint.bad(&why));
            if let Some(death) = death {
                notes.push(self.death(death, "the last one"));
                notes.extend(last_lines(death, LINES));
            }
        } else if let Some(death) = death
            && let deaths @ 1.. = self.status["died_last_hour"][name].as_u64().unwrap_or(0)
        {
            let many = format!(
                "slot {name}: {} ended in the last hour",
                count(deaths, "slave")
            );
            notes.push(self.paint.busy(&many));
            notes.push(self.death(death, "the last one"));
            notes.extend(last_lines(death, FEW));
        }
        let wanted = slot["standbys_wanted"].as_u64().unwrap_or(0);
        let built = slot["standbys_built"].as_u64().unwrap_or(0);
        if built < wanted {
            let few = format!("slot {name}: {built} of {} ready", count(wanted, "standby"));
            notes.push(self.paint.busy(&few));
        }
        notes
    }

    fn last_death(&self, slot: &str) -> Option<&Value> {
        let mut deaths = list(&self.status["deaths"]).iter();
        deaths.rfind(|death| death["slot"] == slot)
    }

    fn death(&self, death: &Value, which: &str) -> String {
        let at = death["at_unix_ms"].as_u64().unwrap_or(0);
        format!(
            "  {which}, {} ago at {} (build {}, pid {}): {}",
            span(self.now_ms.saturating_sub(at)),
            clock(at),
            text(&death["build"]),
            death["pid"],
            how(death),
        )
    }

    fn slave(&self, slot: &str, slave: &Value) -> Vec<Cell> {
        let role = text(&slave["role"]);
        let look = match role {
            "owner" => Look::Good,
            "candidate" | "leaving" => Look::Busy,
            _ => Look::Plain,
        };
        let none = || plain("-");
        let lag = slave["lag_ms"].as_u64();
        let lag = lag.map_or_else(none, |lag| (span(lag), graded(lag, 1_000, 5_000)));
        let full = slave["full_percent"].as_u64();
        let full = full.map_or_else(none, |full| (format!("{full} %"), graded(full, 10, 50)));
        let (finished, failed) = (slave["finished"].as_u64(), slave["failed"].as_u64());
        let share = finished.zip(failed).filter(|(finished, _)| *finished > 0);
        let failed = share.map_or_else(none, |(finished, failed)| {
            let mille = failed.saturating_mul(1000) / finished;
            let shown = format!("{}.{} %", mille / 10, mille % 10);
            (shown, graded(mille, 10, 100))
        });
        let link = match slave["connected"] == true {
            true => match slave["answered_ms_ago"].as_u64().unwrap_or(0) {
                ago if slave["hangs"] == true => (format!("silent for {}", span(ago)), Look::Bad),
                ago if ago > QUIET => (format!("silent for {}", span(ago)), Look::Busy),
                _ => plain("connected"),
            },
            false => ("unreachable".to_owned(), Look::Bad),
        };
        vec![
            plain(slot),
            plain(format!("{:.8}", text(&slave["slave"]))),
            plain(format!("{:.24}", text(&slave["build"]))),
            plain(slave["pid"].to_string()),
            (role.to_owned(), look),
            plain(slave["shards"].to_string()),
            lag,
            full,
            failed,
            link,
        ]
    }

    /// What serves, by slave; then what does not, one by one.
    fn shards(&self) -> Vec<String> {
        let mut groups: BTreeMap<(Rank, &str, &str), Vec<&Value>> = BTreeMap::new();
        for shard in list(&self.status["shards"]) {
            let state = text(&shard["state"]);
            let owner = shard["owner"].as_str().unwrap_or("-");
            let group = groups.entry((rank(state), state, owner)).or_default();
            group.push(shard);
        }
        let mut rows: Vec<Vec<Cell>> = groups
            .iter()
            .map(|((rank, state, owner), shards)| {
                vec![
                    ((*state).to_owned(), rank.look()),
                    plain(shards.len().to_string()),
                    plain(format!("{owner:.8}")),
                    plain(self.sessions(shards)),
                ]
            })
            .collect();
        let fixed = ["STATE", ">SHARDS", "SLAVE", "SESSIONS"];
        let taken = grid(Paint::Plain, &[&fixed[..], &[""]].concat(), &rows);
        let taken = taken.first().map_or(0, |head| head.chars().count());
        let room = self.width.saturating_sub(taken).max(20);
        for (row, shards) in rows.iter_mut().zip(groups.values()) {
            let numbers: Vec<u64> = shards.iter().filter_map(|s| s["shard"].as_u64()).collect();
            row.push(plain(ranges_within(&numbers, room)));
        }
        let mut lines = grid(self.paint, &[&fixed[..], &["WHICH"]].concat(), &rows);
        let idle = groups.iter().filter(|((rank, ..), _)| *rank != Rank::Fine);
        let idle: Vec<&Value> = idle.flat_map(|(_, shards)| shards).copied().collect();
        if !idle.is_empty() && idle.len() <= SINGLE {
            lines.extend(idle.iter().map(|shard| self.shard(shard)));
        }
        lines
    }

    fn shard(&self, shard: &Value) -> String {
        let session = match self.age(shard) {
            Some(age) => format!(", session {} old", span(age)),
            None => String::new(),
        };
        format!(
            "  shard {} is {}{}: epoch {}, handled {}{session}",
            shard["shard"],
            self.state(text(&shard["state"])),
            match shard["owner"].as_str() {
                Some(owner) => format!(" at {owner:.8}"),
                None => String::new(),
            },
            shard["epoch"],
            shard["handled"],
        )
    }

    fn state(&self, state: &str) -> String {
        match rank(state) {
            Rank::Fine => self.paint.good(state),
            Rank::OnItsWay => self.paint.busy(state),
            Rank::Nowhere => self.paint.bad(state),
        }
    }

    /// From the youngest to the oldest.
    fn sessions(&self, shards: &[&Value]) -> String {
        let ages = || shards.iter().filter_map(|shard| self.age(shard));
        match (ages().min(), ages().max()) {
            (Some(least), Some(most)) if span(least) == span(most) => span(most),
            (Some(least), Some(most)) => format!("{} to {}", span(least), span(most)),
            (_, None) | (None, _) => "-".to_owned(),
        }
    }

    fn age(&self, shard: &Value) -> Option<u64> {
        let began = shard["session_began_unix_ms"].as_u64()?;
        Some(self.now_ms.saturating_sub(began))
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

    /// What an operator can do about it.
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
            if let (Some(trouble), Some(number)) =
                (shard["trouble"].as_str(), shard["shard"].as_u64())
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

/// How much a state asks for attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Fine,
    /// It goes on by itself.
    OnItsWay,
    /// Nobody is known to serve it.
    Nowhere,
}

impl Rank {
    const fn look(self) -> Look {
        match self {
            Self::Fine => Look::Good,
            Self::OnItsWay => Look::Busy,
            Self::Nowhere => Look::Bad,
        }
    }
}

fn rank(state: &str) -> Rank {
    match state {
        "serving" | "copying" | "dialling" => Rank::Fine,
        "sealing" | "resuming" | "starting" | "reconnecting" | "taking back" => Rank::OnItsWay,
        _ => Rank::Nowhere,
    }
}

const fn graded(value: u64, busy: u64, bad: u64) -> Look {
    if value >= bad {
        Look::Bad
    } else if value >= busy {
        Look::Busy
    } else {
        Look::Plain
    }
}

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
