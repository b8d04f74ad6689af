//! A fleet on several hosts: a rolling deploy under traffic, then a host that is lost.

mod play;
mod verdict;

use std::collections::BTreeMap;

pub use self::verdict::{HostsVerdict, LostHost, SlotVerdict};
use crate::{
    demo::DemoOptions,
    discord::Counts,
    error::Result,
    gap::Interval,
    records::{Handled, Sent},
};

/// Hosts that a demo may have: each is a network namespace of this machine.
pub const MOST_HOSTS: u8 = 16;

/// Runs the demo with so many hosts; `say` gets one line for each thing that a watcher
/// should know.
///
/// # Errors
/// The run could not be judged: for one, network namespaces are not permitted here. A run
/// that was judged and found wanting is a [`HostsVerdict`].
pub async fn run(options: &DemoOptions, hosts: u8, say: impl Fn(&str)) -> Result<HostsVerdict> {
    let outcome = play::play(options, hosts, &say).await?;
    Ok(verdict::judge(options, &outcome))
}

/// One slot, which is on a host of its own.
#[derive(Clone, Debug)]
struct OnHost {
    slot: String,
    host: String,
    first: u32,
    last: u32,
}

impl OnHost {
    /// The shards of the fleet in `hosts` parts, as equal as can be.
    fn of(shards: u32, hosts: &[String]) -> Vec<Self> {
        let count = hosts.len() as u32;
        let begin = |at: u32| (u64::from(shards) * u64::from(at) / u64::from(count)) as u32;
        let parts = hosts.iter().zip(0u32..).map(|(host, at)| Self {
            slot: format!("main-{host}"),
            host: host.clone(),
            first: begin(at),
            last: begin(at + 1).saturating_sub(1),
        });
        parts.collect()
    }

    const fn has(&self, shard: u32) -> bool {
        self.first <= shard && shard <= self.last
    }

    const fn size(&self) -> u32 {
        self.last - self.first + 1
    }
}

/// What is judged.
struct Outcome {
    slots: Vec<OnHost>,
    sent: Vec<Sent>,
    handled: Vec<Handled>,
    /// Of the deploy.
    moves: BTreeMap<u32, Interval>,
    /// What the master said of the end of each slot's deploy, by slot: moved, outcome.
    ended: BTreeMap<String, (u64, String)>,
    cold: Counts,
    before: Counts,
    after: Counts,
    total_ms: f64,
    lost: Lost,
    state_mismatches: Vec<String>,
    wire: String,
}

/// What became of the host that was lost.
struct Lost {
    at: OnHost,
    /// When.
    at_us: u64,
    /// From the operator's word that it is dead until every shard served again.
    back_ms: f64,
    /// IDENTIFYs from the loss to the end.
    identifies: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_is_on_one_host() {
        let hosts = ["a", "b", "c"].map(str::to_owned);
        for shards in 3..40 {
            let slots = OnHost::of(shards, &hosts);
            for shard in 0..shards {
                assert_eq!(slots.iter().filter(|slot| slot.has(shard)).count(), 1);
            }
            let sizes: Vec<u32> = slots.iter().map(OnHost::size).collect();
            assert_eq!(sizes.iter().sum::<u32>(), shards);
            assert!(sizes.iter().max() <= sizes.iter().min().map(|least| least + 1).as_ref());
        }
    }
}
