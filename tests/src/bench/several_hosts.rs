//! A deploy of a fleet on several hosts, beside one of the same shards on one host. The hosts
//! are network namespaces of this machine, so what differs is TLS, the agents and the slots, and
//! not a network's way.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::handover::SAMPLED;
use crate::{
    demo::{self, DemoOptions, hosts},
    error::Result,
    gap::Spread,
    verdict::{Judged, Verdict},
};

/// Hosts of the fleet.
const HOSTS: u8 = 4;

/// A deploy on one host or on several.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OnHosts {
    /// Hosts, each with a slot.
    pub hosts: u32,
    /// Shards of the bot.
    pub shards: u32,
    /// Round-trip time to the simulated Discord.
    pub rtt_ms: u64,
    /// The gap of a shard with a probe: they are in the first slot.
    pub probed_gap_ms: Spread,
    /// The gap of a shard.
    pub gap_ms: Spread,
    /// First seal to last RESUMED: with several hosts the sum of the slots, which follow each
    /// other.
    pub deploy_ms: f64,
    /// From the operator's word that a host is lost until its shards serve elsewhere.
    pub back_ms: Option<f64>,
    /// The median gap of probed shards, to that on one host.
    pub gap_of_one: Option<f64>,
    /// The time of the deploy, to that on one host.
    pub deploy_of_one: Option<f64>,
    /// What was wrong; empty: nothing.
    pub faults: Vec<String>,
}

/// Both, one after the other.
///
/// # Errors
/// One could not be judged: for one, network namespaces are not permitted here.
pub async fn measure(shards: u32, rtt_ms: u64) -> Result<[OnHosts; 2]> {
    let options = options(shards, rtt_ms);
    let one = demo::run(&options, |_| {}).await?;
    let one = of(&one, 1, one.deploy_ms, one.faults());
    let several = hosts::run(&options, HOSTS, |_| {}).await?;
    let deploy_ms = several.slots.iter().map(|slot| slot.deploy_ms).sum();
    let faults = several.faults();
    let mut several_row = of(&several.demo, u32::from(HOSTS), deploy_ms, faults);
    several_row.back_ms = Some(several.lost_host.back_ms);
    let gaps = several_row.probed_gap_ms.p50.zip(one.probed_gap_ms.p50);
    several_row.gap_of_one = gaps.map(|(several, one)| several / one);
    several_row.deploy_of_one = Some(several_row.deploy_ms / one.deploy_ms);
    Ok([one, several_row])
}

fn of(verdict: &Verdict, hosts: u32, deploy_ms: f64, faults: Vec<String>) -> OnHosts {
    OnHosts {
        hosts,
        shards: verdict.shards,
        rtt_ms: verdict.rtt_ms as u64,
        probed_gap_ms: verdict.gap_probed_ms,
        gap_ms: verdict.gap_ms,
        deploy_ms,
        back_ms: None,
        gap_of_one: None,
        deploy_of_one: None,
        faults,
    }
}

fn options(shards: u32, rtt_ms: u64) -> DemoOptions {
    DemoOptions {
        shards,
        rate: 1.0,
        rtt: Duration::from_millis(rtt_ms),
        handler_ms: 0,
        guilds_per_shard: 20,
        members_per_guild: 2,
        tls: false,
        sampled: SAMPLED,
        slave: "baton-slave".to_owned(),
        seed: 0,
        keep: false,
        live: false,
        late_seal: false,
        slave_flags: Vec::new(),
        store: None,
        behind: None,
    }
}
