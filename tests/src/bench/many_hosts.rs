//! A fleet of many hosts: the core alone, in virtual time. Each host has an agent and a slot,
//! whose state stays where it is.

use std::time::Duration;

use baton_core::{
    Members,
    event::{AgentIs, Arranging, Beside, DeployOrder, Evidence, Input, RequestId},
    settings::{Settings, SlotSettings},
};
use baton_protocol::{Epoch, Sequence, ShardId, ToMaster, message::Checkpoint};
use serde::{Deserialize, Serialize};

use super::virtual_fleet::{Takes, VirtualFleet, entry};

/// Round trip to the service, and how long the master's orders and a launch take: what the
/// virtual times rest on.
const TAKES: Takes = Takes {
    link: Duration::from_millis(1),
    service: Duration::from_millis(50),
    launch: Duration::from_secs(2),
};

/// IDENTIFYs in one window.
const AT_ONCE: u32 = 64;

/// Events that a shard gets in a second, for the checkpoints of a serving fleet.
const EVENTS: u32 = 20;

/// Checkpoints of a slave in a second.
const CHECKPOINTS: u32 = 100;

/// What happened, in seconds of virtual time, and what the core took for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ManyHosts {
    /// Hosts.
    pub hosts: u32,
    /// Shards of the bot.
    pub shards: u32,
    /// From the master's start until the last session began, 64 at once.
    pub cold_s: f64,
    /// `deploy --all`, a slot after the other.
    pub rolling_s: f64,
    /// The same with `--max-unavailable 8`.
    pub eight_at_once_s: f64,
    /// IDENTIFYs of both.
    pub identifies: u32,
    /// From the operator's word that a host is lost, and is to be drained, until its last
    /// shard was resumed elsewhere.
    pub lost_host_s: f64,
    /// From `rebalance`, when the host is there again, until each slot has as many shards as
    /// the others.
    pub rebalance_s: f64,
    /// Time of the core for an input, in microseconds, checkpoints apart.
    pub input_us: f64,
    /// The longest that it took for one, in milliseconds.
    pub longest_ms: f64,
    /// Processors that the core takes while every shard serves 20 events a second.
    pub serving_cores: f64,
}

/// Plays a cold start, two deploys of everything, and the loss of a host.
///
/// # Panics
/// The core does not get on: a bug, not a measurement.
#[must_use]
pub fn play(hosts: u32, shards: u32) -> ManyHosts {
    let mut fleet = VirtualFleet::new(settings(hosts, shards), TAKES);
    for host in 0..hosts {
        fleet.agent(&name(host));
    }
    fleet.run_until(|fleet| fleet.identified == shards);
    let cold_s = fleet.elapsed().as_secs_f64();
    let rolling_s = deploy(&mut fleet, hosts, 1);
    let eight_at_once_s = deploy(&mut fleet, hosts, 8);
    let identifies = fleet.identified - shards;
    let lost_host_s = lose(&mut fleet, shards / hosts);
    let rebalance_s = rebalance(&mut fleet, hosts, shards);
    let (input_us, longest) = (
        fleet.spent.as_secs_f64() * 1e6 / fleet.inputs as f64,
        fleet.longest,
    );
    let serving_cores = serve(hosts, shards);
    ManyHosts {
        hosts,
        shards,
        cold_s,
        rolling_s,
        eight_at_once_s,
        identifies,
        lost_host_s,
        rebalance_s,
        input_us,
        longest_ms: longest.as_secs_f64() * 1000.0,
        serving_cores,
    }
}

fn name(host: u32) -> String {
    format!("host-{host:02}")
}

fn settings(hosts: u32, shards: u32) -> Settings {
    let each = shards / hosts;
    let slots = (0..hosts).map(|host| SlotSettings {
        name: name(host),
        shards: Some(
            (host * each..(host + 1) * each)
                .map(ShardId)
                .collect::<Members>(),
        ),
        launches: true,
        host: Some(name(host)),
        ..SlotSettings::default()
    });
    Settings {
        slots: slots.collect(),
        shard_count: shards,
        permits_at_once: AT_ONCE,
        adopt_grace: Duration::ZERO,
        service: &baton_master::discord::Discord,
        ..Settings::default()
    }
}

/// Deploys every slot: the first alone, then so many at once. What `deploy --all` does.
fn deploy(fleet: &mut VirtualFleet, hosts: u32, at_once: u32) -> f64 {
    let began = fleet.elapsed();
    let before = fleet.ended.len();
    let mut next = 0;
    while next < hosts {
        let limit = if next == 0 { 1 } else { at_once };
        let over = fleet.ended.len() - before;
        while next < hosts && (next as usize) < over + limit as usize {
            order(fleet, next);
            next += 1;
        }
        fleet.run_until(|fleet| fleet.ended.len() - before > over);
    }
    fleet.run_until(|fleet| fleet.ended.len() - before == hosts as usize);
    let failed = fleet.ended[before..].iter().find(|how| *how != "done");
    assert_eq!(failed, None, "a deploy did not come through");
    (fleet.elapsed() - began).as_secs_f64()
}

fn order(fleet: &mut VirtualFleet, host: u32) {
    let settings = Settings::default();
    fleet.input(Input::Deploy {
        request: RequestId(1),
        order: DeployOrder {
            slot: name(host),
            command: None,
            canary: settings.canary,
            width: settings.width,
            soak: settings.soak,
            late_seal: false,
            beside: Beside::Others,
            expect: None,
        },
    });
}

/// The first host is lost. The operator says so, and gives its shards to the others.
fn lose(fleet: &mut VirtualFleet, each: u32) -> f64 {
    let host = name(0);
    let (began, resumed) = (fleet.elapsed(), fleet.resumed);
    fleet.input(Input::Agent {
        host: host.clone(),
        is: AgentIs::Away,
    });
    for slave in fleet.slaves_of(&host) {
        fleet.dies(slave, Evidence::Operator);
    }
    arrange(fleet, Arranging::Drain(vec![host]));
    fleet.run_until(|fleet| fleet.resumed - resumed == each);
    (fleet.elapsed() - began + TAKES.service).as_secs_f64()
}

/// It is there again, and gets as many shards as the others.
fn rebalance(fleet: &mut VirtualFleet, hosts: u32, shards: u32) -> f64 {
    let host = name(0);
    fleet.agent(&host);
    arrange(fleet, Arranging::Uncordon(vec![host.clone()]));
    fleet.run_until(|fleet| !fleet.slaves_of(&host).is_empty());
    let (began, resumed) = (fleet.elapsed(), fleet.resumed);
    let each = shards / hosts;
    arrange(fleet, Arranging::Rebalance);
    fleet.run_until(|fleet| fleet.resumed - resumed == each);
    let took = fleet.elapsed() - began + TAKES.service;
    fleet.run_until(|fleet| fleet.is_at_rest());
    assert!(fleet.loads().iter().all(|load| *load == each));
    took.as_secs_f64()
}

fn arrange(fleet: &mut VirtualFleet, order: Arranging) {
    fleet.input(Input::Arrange {
        request: RequestId(1),
        order,
    });
}

/// A second of a fleet that serves, of what the core takes for it.
fn serve(hosts: u32, shards: u32) -> f64 {
    let mut fleet = VirtualFleet::new(settings(hosts, shards), Takes::default());
    for host in 0..hosts {
        fleet.agent(&name(host));
    }
    fleet.run_until(|fleet| fleet.identified == shards);
    let each = shards / hosts;
    let slaves: Vec<_> = (0..hosts)
        .filter_map(|host| fleet.slaves_of(&name(host)).pop())
        .collect();
    let before = fleet.spent;
    // Each shard is in so many checkpoints of a second as it has events.
    let every = CHECKPOINTS / EVENTS;
    for number in 0..CHECKPOINTS {
        for (slave, host) in slaves.iter().zip(0..) {
            let of =
                (host * each..(host + 1) * each).filter(|shard| shard % every == number % every);
            let entries = of.map(|shard| {
                let mut entry = entry(ShardId(shard), Epoch(1));
                entry.handled = Sequence(200 + u64::from(number));
                entry
            });
            let shards = entries.collect();
            fleet.say(*slave, ToMaster::Checkpoint(Checkpoint { shards }));
            fleet.drain();
        }
    }
    (fleet.spent - before).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_of_many_hosts_is_deployed_loses_one_and_is_whole_again_without_an_identify() {
        let played = play(4, 64);
        assert_eq!(played.identifies, 0);
        assert!(played.eight_at_once_s < played.rolling_s);
        assert!(played.lost_host_s > 0.0 && played.rebalance_s > 0.0);
    }
}
