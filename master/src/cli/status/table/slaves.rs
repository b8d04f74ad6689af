//! Slaves and slots, a line each.

use std::collections::BTreeSet;

use baton_protocol::text::size;
use serde_json::Value;

use super::parts::{Table, list, text};
use crate::cli::{
    death::{how, last_lines},
    text::{Cell, Look, Paint, clock, count, grid, plain, span},
};

/// Pings are answered sooner, by default, in milliseconds.
const QUIET: u64 = 6_000;

/// Last words of the slave whose slot is empty, and of one that has a successor.
const LINES: usize = 20;
const FEW: usize = 5;

impl Table<'_> {
    pub(super) fn slaves(&self) -> Vec<String> {
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
            "SLOT", "SLAVE", "BUILD", ">PID", "ROLE", ">SHARDS", ">LAG", ">FULL", ">FAILED",
            ">MEMORY", "LINK",
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
        for column in [">FULL", ">PID", ">FAILED", ">MEMORY"] {
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
        if let Some(why) = slot["cannot_start"].as_str() {
            notes.push(self.paint.bad(&format!("slot {name}: {why}")));
        }
        notes.extend(self.lease(name, slot));
        notes.extend(self.store(name, slot));
        let wanted = slot["standbys_wanted"].as_u64().unwrap_or(0);
        let built = slot["standbys_built"].as_u64().unwrap_or(0);
        if built < wanted {
            let few = format!("slot {name}: {built} of {} ready", count(wanted, "standby"));
            notes.push(self.paint.busy(&few));
        }
        notes
    }

    /// That a slot has a lease, and what is left of it where a slave is silent.
    fn lease(&self, name: &str, slot: &Value) -> Vec<String> {
        let Some(lease) = slot["lease_ms"].as_u64() else {
            return Vec::new();
        };
        let mut notes = vec![self.paint.faint(&format!(
            "slot {name}: lease of {}: its slaves stop by themselves so long after a master's \
             last word",
            span(lease)
        ))];
        let silent = list(&self.status["slaves"]).iter();
        let silent = silent.filter(|slave| {
            let is_silent = slave["connected"] != true || slave["hangs"] == true;
            slave["slot"] == name && is_silent && slave["shards"].as_u64() > Some(0)
        });
        notes.extend(silent.map(|slave| {
            let who = format!("slave {:.8}", text(&slave["slave"]));
            let shards = count(slave["shards"].as_u64().unwrap_or(0), "shard");
            self.paint.bad(&match slave["lease_left_ms"].as_u64() {
                Some(left) => format!(
                    "{who} is silent: if it stays so for {} still, its shards go on elsewhere",
                    span(left)
                ),
                None => format!(
                    "{who} is silent and keeps no lease: {shards} wait for it, or for \
                     baton-master fence"
                ),
            })
        }));
        notes
    }

    /// The store of the slave that fills a slot.
    fn store(&self, name: &str, slot: &Value) -> Option<String> {
        let mut slaves = list(&self.status["slaves"]).iter();
        let slave = slaves.find(|slave| slave["slave"] == slot["slave"])?;
        let store = slave["store"].as_object()?;
        let number = |name: &str| store.get(name).and_then(Value::as_u64).unwrap_or(0);
        let limit = number("limit").max(1);
        let percent = number("fullest_used").saturating_mul(100) / limit;
        let shown = format!(
            "slot {name}: store of {}, {} in the fullest shard ({percent} % of its limit), {} free",
            size(number("bytes")),
            size(number("fullest_used")),
            size(number("free")),
        );
        Some(match number("held_up") {
            0 => self.paint.faint(&shown),
            held_up => {
                let held_up = count(held_up, "shard");
                let shown = format!("{shown}; {held_up} held up for lack of room, or by a process");
                self.paint.bad(&shown)
            }
        })
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
        let because = slave["full_because"]
            .as_str()
            .filter(|why| *why != "window");
        let because = because.map_or_else(String::new, |why| format!(" {why}"));
        let full = full.map_or_else(none, |full| {
            (format!("{full} %{because}"), graded(full, 10, 50))
        });
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
            false => match slave["lease_left_ms"].as_u64() {
                Some(left) => (format!("unreachable, lease {}", span(left)), Look::Bad),
                None => ("unreachable".to_owned(), Look::Bad),
            },
        };
        let place = match slave["host"].as_str() {
            Some(host) => plain(format!("{slot}@{host}")),
            None => plain(slot),
        };
        vec![
            place,
            plain(format!("{:.8}", text(&slave["slave"]))),
            plain(format!("{:.24}", text(&slave["build"]))),
            plain(slave["pid"].to_string()),
            (role.to_owned(), look),
            plain(slave["shards"].to_string()),
            lag,
            full,
            failed,
            memory(slave),
            link,
        ]
    }
}

/// What its process has, and what it may have.
fn memory(slave: &Value) -> Cell {
    let memory = &slave["memory"];
    let Some(resident) = memory["resident"].as_u64() else {
        return plain("-");
    };
    match memory["limit"].as_u64() {
        Some(limit) if memory["is_above"] == true => {
            let shown = format!("{} of {}", size(resident), size(limit));
            (shown, Look::Bad)
        }
        Some(_) | None => plain(size(resident)),
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
