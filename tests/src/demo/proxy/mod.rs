//! Bots on real libraries in front of a proxy: everything that happens to them and to the
//! process under them, under traffic, and what each of them received.

mod play;
mod verdict;

pub use self::verdict::{CaseVerdict, ClientVerdict, ProxyVerdict};
use crate::{
    clients::{
        journal::Journal,
        library::{LIBRARIES, Tools},
    },
    demo::{DemoOptions, deployed::Deploy},
    error::Result,
    gap::Interval,
    records::{Handled, Sent},
};

/// Runs the demo; `say` gets one line for each thing that a watcher should know.
///
/// # Errors
/// The run could not be judged. A run that was judged and found wanting is a
/// [`ProxyVerdict`].
pub async fn run(options: &DemoOptions, say: impl Fn(&str)) -> Result<ProxyVerdict> {
    let tools = Tools::from_environment()?;
    let options = DemoOptions {
        shards: LIBRARIES.len() as u32,
        ..options.clone()
    };
    let outcome = play::play(&options, tools, &say).await?;
    Ok(verdict::judge(&options, outcome))
}

/// Something that happened to all clients, or under all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Case {
    name: &'static str,
    /// Whether nothing may come twice.
    is_planned: bool,
    /// IDENTIFYs at Discord that it makes necessary for each shard.
    identifies: u64,
}

const fn planned(name: &'static str) -> Case {
    Case {
        name,
        is_planned: true,
        identifies: 0,
    }
}

const KILLED: Case = Case {
    is_planned: false,
    ..planned("client killed and started again")
};
const REPLACED: Case = planned("client replaced by a second one");
const OP7: Case = planned("op 7 from Discord");
const OP9_TRUE: Case = planned("op 9 from Discord, resumable");
const DEPLOYED: Case = planned("proxy deployed");
const PROXY_KILLED: Case = Case {
    is_planned: false,
    ..planned("proxy killed")
};
const OP9_FALSE: Case = Case {
    is_planned: false,
    identifies: 1,
    ..planned("op 9 from Discord, not resumable")
};

/// A case that was played.
#[derive(Clone, Debug)]
struct Played {
    case: Case,
    /// From its beginning to that of the next one.
    during: Interval,
}

/// What is judged.
struct Outcome {
    journal: Journal,
    /// The last life of each client, by shard.
    lives: Vec<u32>,
    cases: Vec<Played>,
    /// The whole ledger.
    all: Vec<Sent>,
    /// What of it clients have to receive.
    sent: Vec<Sent>,
    handled: Vec<Handled>,
    /// Of each shard, when.
    identifies: Vec<(u32, u64)>,
    deploy: Deploy,
    state_mismatches: Vec<String>,
    cold: (u64, u64),
    wire: String,
}
