//! Local clients of slaves: a few lines, where a slave serves some.

use baton_protocol::text::size;
use serde_json::Value;

use super::parts::{Table, list, text};
use crate::cli::text::{count, span};

/// A client that restarts is back sooner, in milliseconds.
const SOON: u64 = 10_000;

/// Refusals of the last time that are shown, in milliseconds.
const LATELY: u64 = 600_000;

/// Codes of refusals that are shown.
const CODES: usize = 3;

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
        let ago = |refused: &&Value| refused["ago_ms"].as_u64().unwrap_or(0);
        let refused = list(&clients["refused"]).iter();
        let mut lately: Vec<_> = refused.filter(|it| ago(it) < LATELY).collect();
        lately.sort_by_key(ago);
        for refused in lately.into_iter().take(CODES) {
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

fn shown(value: &Value, longest: usize) -> String {
    text(value).chars().take(longest).collect()
}
