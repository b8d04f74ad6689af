//! What a deploy was worth: as JSON for programs, as a table for people.

use std::fmt::{self, Write as _};

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{checker::Exactness, gap::Spread};

/// The result of one demo run.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Shards of the bot.
    pub shards: u32,
    /// Shards that the new slave serves.
    pub moved: u64,
    /// What was handled, and how often.
    #[serde(flatten)]
    pub exactness: Exactness,
    /// Sampled guilds whose cache is not true.
    pub state_mismatches: u64,
    /// What differs, for a person.
    pub mismatches: Vec<String>,
    /// IDENTIFYs of the cold start that were answered with READY.
    pub identifies_cold_start: u64,
    /// IDENTIFYs of the cold start that were refused: they came inside the window of
    /// the one before in their bucket.
    pub identifies_refused_cold_start: u64,
    /// IDENTIFYs from the trigger to the end of the deploy.
    pub identifies_deploy: u64,
    /// RESUMEs from the trigger to the end of the deploy.
    pub resumes: u64,
    /// First seal to last RESUMED.
    pub deploy_ms: f64,
    /// Trigger to the end of the old process.
    pub total_ms: f64,
    /// Round-trip time to the simulated Discord.
    pub rtt_ms: f64,
    /// Gap of the shards.
    pub gap_ms: Spread,
    /// Gap of the sampled shards, which have a probe every millisecond.
    pub gap_probed_ms: Spread,
    /// Shards without an event in their interval.
    pub gap_unmeasured: u64,
    /// The same statistic where nothing moved.
    pub gap_noise_ms: Spread,
    /// Longest pause between two handled events of the sampled shards.
    pub silence_ms: Spread,
    /// The transport compression that the connections asked for: `zstd-stream`,
    /// `zlib-stream` or `plain`; each that was seen, with commas.
    pub wire: String,
    /// How the master says that the deploy ended.
    pub outcome: String,
}

/// What a run of the demo was worth.
pub trait Judged: Serialize {
    /// What is wrong with the run, for a person; empty if nothing is.
    fn faults(&self) -> Vec<String>;

    /// One JSON object on one line, with `ok` if nothing is wrong.
    fn to_json(&self) -> String {
        let mut value = serde_json::to_value(self).unwrap_or(Value::Null);
        value["ok"] = json!(self.faults().is_empty());
        value.to_string()
    }
}

impl Judged for Verdict {
    fn faults(&self) -> Vec<String> {
        let exactness = &self.exactness;
        let counts = [
            (exactness.lost, "lost"),
            (exactness.duplicated, "handled twice"),
            (exactness.marked, "needlessly marked"),
            (exactness.out_of_order, "out of order"),
            (exactness.invented, "handled but never sent"),
            (
                self.state_mismatches,
                "guilds whose cached state is not true",
            ),
            (self.identifies_deploy, "IDENTIFYs spent by the deploy"),
        ];
        let mut faults: Vec<String> = counts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        if self.moved != u64::from(self.shards) {
            faults.push(format!(
                "{} of {} shards moved: {}",
                self.moved, self.shards, self.outcome
            ));
        }
        if exactness.events_sent == 0 {
            faults.push("no event was sent".to_owned());
        }
        faults
    }
}

impl Verdict {
    /// A table, in colour or not.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn show(&self, out: &mut impl fmt::Write, colour: bool) -> fmt::Result {
        let (good, bad, dim) = if colour {
            (
                AnsiColor::Green.on_default().bold(),
                AnsiColor::Red.on_default().bold(),
                Style::new().dimmed(),
            )
        } else {
            (Style::new(), Style::new(), Style::new())
        };
        let mut row = |name: &str, value: String, ok: bool| {
            let style = if ok { Style::new() } else { bad };
            writeln!(out, "  {dim}{name:<22}{dim:#}{style}{value}{style:#}")
        };
        let exactness = &self.exactness;
        row(
            "shards moved",
            format!("{} of {}", self.moved, self.shards),
            self.moved == u64::from(self.shards),
        )?;
        row(
            "events",
            format!(
                "{} sent, {} handled",
                exactness.events_sent, exactness.events_handled
            ),
            exactness.events_sent == exactness.events_handled,
        )?;
        for (name, count) in [
            ("lost", exactness.lost),
            ("handled twice", exactness.duplicated),
            ("needlessly marked", exactness.marked),
            ("out of order", exactness.out_of_order),
            ("false guild state", self.state_mismatches),
            ("IDENTIFYs spent", self.identifies_deploy),
        ] {
            row(name, count.to_string(), count == 0)?;
        }
        row(
            "IDENTIFYs, cold start",
            format!(
                "{} accepted, {} refused",
                self.identifies_cold_start, self.identifies_refused_cold_start
            ),
            true,
        )?;
        row("RESUMEs", self.resumes.to_string(), true)?;
        row(
            "first seal to last RESUMED",
            format!(" {:.0} ms", self.deploy_ms),
            true,
        )?;
        row(
            "trigger to old gone",
            format!("{:.0} ms, soak included", self.total_ms),
            true,
        )?;
        row("gap of a shard", self.gap_ms.to_string(), true)?;
        row("  of those probed", self.gap_probed_ms.to_string(), true)?;
        row("  of quiet intervals", self.gap_noise_ms.to_string(), true)?;
        row("silence of a shard", self.silence_ms.to_string(), true)?;
        let faults = self.faults();
        for example in exactness.examples.iter().chain(&self.mismatches).take(20) {
            writeln!(out, "    {dim}{example}{dim:#}")?;
        }
        if faults.is_empty() {
            writeln!(
                out,
                "{good}Nothing was lost, repeated, marked or out of order.{good:#}"
            )
        } else {
            writeln!(out, "{bad}Not clean: {}.{bad:#}", faults.join(", "))
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown =
            |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms"));
        let mut text = String::new();
        write!(
            text,
            "p50 {}, p99 {}, max {}",
            shown(self.p50),
            shown(self.p99),
            shown(self.max)
        )?;
        f.pad(&text)
    }
}
