//! Local clients of slaves: a few lines, where a slave serves some.

use baton_protocol::text::size;
use serde_json::Value;

use super::parts::{Table, list, text};
use crate::cli::text::{count, span};

/// A client that restarts is back sooner, in milliseconds.
const SOON: u64 = 10_000;

/// Refusals of the last time that are shown, in milliseconds.
const LATELY: u64 = 600_000;

/// Codes of refusals, and shards with events that wait, that are shown.
const SHOWN: usize = 3;

impl Table<'_> {
    /// The line of what they are, then of what is not well.
    pub(super) fn clients(&self) -> Vec<String> {
        let slaves = list(&self.status["slaves"]).iter();
        // A slave that has no shards yet serves nobody.
        let served = slaves.filter(|slave| slave["clients"].is_object());
        let served = served.filter(|slave| slave["shards"].as_u64().unwrap_or(0) > 0);
        served
            .flat_map(|slave| self.of_slave(&slave["clients"]))
            .collect()
    }

    fn of_slave(&self, clients: &Value) -> Vec<String> {
        let number = |key: &str| clients[key].as_u64().unwrap_or(0);
        let (attended, unattended) = (number("attended"), number("unattended"));
        let libraries: Vec<String> = list(&clients["libraries"])
            .iter()
            .map(|library| format!("{} {}", library["clients"], shown(&library["name"], 24)))
            .collect();
        let libraries = match libraries.len() {
            0 => "none is connected".to_owned(),
            _ => libraries.join(", "),
        };
        let attended = format!(
            "{attended} of {} attended",
            count(attended + unattended, "shard")
        );
        let attended = match unattended {
            0 => self.paint.good(&attended),
            _ => self.paint.busy(&attended),
        };
        let mut lines = vec![
            format!(
                "clients    {attended}; {libraries}; {}",
                text(&clients["address"])
            ),
            format!("           {}", self.kept(clients)),
        ];
        if clients["passed"] == false {
            let own = "the socket is this slave's own: its master did not pass it on";
            lines.push(format!("           {own}"));
        }
        if clients["listening"] != true {
            let taken = "another process has that address: no client can connect";
            lines.push(format!("           {}", self.paint.bad(taken)));
        }
        if let lost @ 1.. = number("lost") + number("passed_by") {
            let lost = format!("{} lost: no client took them", count(lost, "event"));
            lines.push(format!("           {}", self.paint.bad(&lost)));
        }
        if let Some(absent) = list(&clients["absent"]).first()
            && let away @ SOON.. = absent["away_ms"].as_u64().unwrap_or(0)
        {
            let none = format!(
                "shard {} has had no client for {}, {} events wait",
                absent["shard"],
                span(away),
                absent["waiting"],
            );
            lines.push(format!("           {}", self.paint.busy(&none)));
        }
        let waits = list(&clients["waiting"]).iter().filter(|it| is_long(it));
        for waits in waits.take(SHOWN) {
            lines.push(format!("           {}", self.paint.busy(&waiting(waits))));
        }
        let given_up = list(&clients["given_up"]).iter();
        for given_up in given_up.take(SHOWN) {
            let told = format!(
                "{} of shard {} given up {} ago: {}",
                count(given_up["events"].as_u64().unwrap_or(0), "event"),
                given_up["shard"],
                span(given_up["ago_ms"].as_u64().unwrap_or(0)),
                shown(&given_up["reason"], 120),
            );
            lines.push(format!("           {}", self.paint.bad(&told)));
        }
        let ago = |refused: &&Value| refused["ago_ms"].as_u64().unwrap_or(0);
        let refused = list(&clients["refused"]).iter();
        let mut lately: Vec<_> = refused.filter(|it| ago(it) < LATELY).collect();
        lately.sort_by_key(ago);
        for refused in lately.into_iter().take(SHOWN) {
            let told = format!(
                "refused {} with {}: {}",
                count(refused["count"].as_u64().unwrap_or(0), "time"),
                refused["code"],
                shown(&refused["reason"], 120),
            );
            lines.push(format!("           {}", self.paint.busy(&told)));
        }
        lines
    }

    /// How much is kept.
    fn kept(&self, clients: &Value) -> String {
        let number = |key: &str| clients[key].as_u64().unwrap_or(0);
        let (all, limit) = (number("kept_bytes"), number("kept_limit"));
        let share = |bytes: u64, limit: u64| bytes.saturating_mul(100) / limit.max(1);
        let fullest = share(number("fullest_bytes"), number("shard_limit"));
        let kept = format!(
            "{} of {} kept, shard {} has {fullest} % of its own; {}",
            size(all),
            size(limit),
            clients["fullest_shard"],
            count(number("resumes"), "resume"),
        );
        match share(all, limit).max(fullest) {
            75.. => self.paint.bad(&kept),
            25.. => self.paint.busy(&kept),
            _ => kept,
        }
    }
}

/// Whether what waits for a client is more than what is on its way to it.
fn is_long(waiting: &Value) -> bool {
    waiting["gives_up_ms"].is_u64() || waiting["oldest_ms"].as_u64() >= Some(SOON)
}

/// How long and how much is kept of a shard.
fn waiting(waiting: &Value) -> String {
    let number = |key: &str| waiting[key].as_u64().unwrap_or(0);
    let mut told = format!(
        "shard {} keeps {} ({}) for {}",
        waiting["shard"],
        count(number("events"), "event"),
        size(number("bytes")),
        span(number("oldest_ms")),
    );
    if let Some(full) = waiting["full_ms"].as_u64() {
        told += &format!("; full for {}", span(full));
    }
    if let Some(soon) = waiting["gives_up_ms"].as_u64() {
        told += &format!("; given up in {}", span(soon));
    }
    told
}

fn shown(value: &Value, longest: usize) -> String {
    text(value).chars().take(longest).collect()
}
