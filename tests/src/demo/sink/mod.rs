//! A publisher, a real broker, and a worker behind that: everything that happens to each of
//! the three, under traffic, and what the worker handled.

mod play;
mod verdict;

use std::time::Duration;

use baton_brokers::Kind;

pub use self::verdict::{CaseVerdict, SinkVerdict};
use crate::{
    demo::{DemoOptions, deployed::Deploy},
    error::Result,
    records::Sent,
    workers::Work,
};

/// How long each thing lasts.
#[derive(Clone, Copy, Debug)]
pub struct Spans {
    /// The worker is dead.
    pub worker: Duration,
    /// The broker is dead.
    pub broker: Duration,
    /// The broker takes no more events.
    pub full: Duration,
}

impl Spans {
    /// What is to be shown.
    pub const WHOLE: Self = Self {
        worker: Duration::from_secs(60),
        broker: Duration::from_secs(5),
        full: Duration::from_secs(5),
    };

    /// For somebody in a hurry.
    pub const QUICK: Self = Self {
        worker: Duration::from_secs(5),
        broker: Duration::from_secs(1),
        full: Duration::from_secs(2),
    };
}

/// Runs the demo; `say` gets one line for each thing that a watcher should know.
///
/// # Errors
/// The run could not be judged. A run that was judged and found wanting is a
/// [`SinkVerdict`].
pub async fn run(
    options: &DemoOptions,
    kind: Kind,
    spans: Spans,
    say: impl Fn(&str),
) -> Result<SinkVerdict> {
    let outcome = play::play(options, kind, spans, &say).await?;
    Ok(verdict::judge(options, kind, outcome))
}

/// Something that happened.
const DEPLOYED: &str = "publisher deployed";
const SLAVE_KILLED: &str = "publisher killed";
const BROKER_KILLED: &str = "broker killed and started again";
const FULL: &str = "broker full";
const WORKER_KILLED: &str = "worker killed and started again";

/// A case that was played.
#[derive(Clone, Debug)]
struct Played {
    case: &'static str,
    began_us: u64,
    /// For so long somebody was away, or full.
    away: Duration,
    /// From there until the worker had handled everything.
    caught_up: Duration,
    /// IDENTIFYs at Discord.
    identifies: u64,
}

/// What is judged.
struct Outcome {
    cases: Vec<Played>,
    sent: Vec<Sent>,
    work: Work,
    deploy: Deploy,
    state_mismatches: Vec<String>,
    /// IDENTIFYs of the cold start, and those of them that were refused.
    cold: (u64, u64),
    wire: String,
}
