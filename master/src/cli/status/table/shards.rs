//! Shards: those that serve are counted, the others have a line each.

use std::collections::BTreeMap;

use serde_json::Value;

use super::parts::{Table, list, text};
use crate::cli::text::{Cell, Look, Paint, grid, plain, ranges_within, span};

/// Shards that get a line each; of more it is only said which they are.
const SINGLE: usize = 12;

impl Table<'_> {
    /// What serves, by slave; then what does not, one by one.
    pub(super) fn shards(&self) -> Vec<String> {
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
        let state = text(&shard["state"]);
        let verb = if state == "no session" { "has" } else { "is" };
        format!(
            "  shard {} {verb} {}{}: epoch {}, handled {}{session}",
            shard["shard"],
            self.state(state),
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
}

/// How much a state asks for attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Fine,
    /// It goes on by itself.
    OnItsWay,
    /// No slave is known to serve it.
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

pub(super) fn rank(state: &str) -> Rank {
    match state {
        "serving" | "copying" | "dialling" => Rank::Fine,
        "sealing" | "resuming" | "starting" | "reconnecting" | "taking back" => Rank::OnItsWay,
        _ => Rank::Nowhere,
    }
}
