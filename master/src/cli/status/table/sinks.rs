//! Brokers to which slaves publish: two lines each, where a slave does.

use serde_json::Value;

use super::parts::{Table, list, text};
use crate::cli::text::{clock, count, span};

impl Table<'_> {
    /// The line of what it is, then of what is not well.
    pub(super) fn sinks(&self) -> Vec<String> {
        let slaves = list(&self.status["slaves"]).iter();
        // One without shards publishes nothing, but for what its last ones left.
        let sinks = slaves.filter(|slave| {
            let number = |value: &Value| value.as_u64().unwrap_or(0);
            slave["sink"].is_object()
                && number(&slave["shards"]) + number(&slave["sink"]["waiting"]) > 0
        });
        sinks
            .flat_map(|slave| self.of_sink(&slave["sink"]))
            .collect()
    }

    fn of_sink(&self, sink: &Value) -> Vec<String> {
        let number = |key: &str| sink[key].as_u64().unwrap_or(0);
        let ms = |key: &str| {
            let micros = number(key);
            format!("{}.{}", micros / 1000, micros % 1000 / 100)
        };
        let mut lines = vec![
            format!(
                "sink       {}; {}, {}",
                text(&sink["broker"]),
                count(number("confirmed"), "confirm"),
                count(number("waiting"), "event") + " waiting",
            ),
            format!(
                "           confirm p50 {} ms, p99 {} ms; {} published again, {}",
                ms("confirm_p50_us"),
                ms("confirm_p99_us"),
                number("retries"),
                count(number("repeats"), "repeat"),
            ),
        ];
        if let Some(troubled) = sink["troubled_ms"].as_u64() {
            let since = clock(self.now_ms.saturating_sub(troubled));
            let lasts = format!(
                "it has taken nothing for {}, since {since}:",
                span(troubled)
            );
            for line in [&lasts, text(&sink["reason"])] {
                lines.push(format!("           {}", self.paint.bad(line)));
            }
            let covered = match sink["covered_ms"].as_u64() {
                Some(0) => Some("Discord does not keep all of them any more".to_owned()),
                Some(left) => Some(format!(
                    "Discord keeps all of them for another {}",
                    span(left)
                )),
                None => None,
            };
            lines.extend(covered.map(|it| format!("           {}", self.paint.bad(&it))));
        }
        lines
    }
}
