//! The master's core alone, in virtual time: a fleet is started and deployed,
//! its slaves answer at once, then checkpoints come in. What one input costs must
//! not depend on how many shards there are.

use std::time::Duration;

use baton_core::settings::{Settings, SlotSettings};
use baton_protocol::{
    Epoch, Sequence, ShardId, ToMaster,
    message::{Checkpoint, Role},
};
use serde::{Deserialize, Serialize};

use super::virtual_fleet::{Takes, VirtualFleet, entry};

/// What the core took for a number of shards.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CoreCost {
    /// Shards of the bot.
    pub shards: u32,
    /// Inputs of a cold start and one deploy of every shard.
    pub deploy_inputs: u64,
    /// Time for each of them, in microseconds.
    pub deploy_input_us: f64,
    /// Time for a checkpoint of one shard, in microseconds.
    pub checkpoint_us: f64,
    /// Rows of the journal that a deploy writes, for each shard.
    pub deploy_rows: f64,
    /// Saves that it waits for until they are on the disk, for each shard, at most:
    /// the driver puts those together that come at once.
    pub deploy_syncs: f64,
}

/// Checkpoints that are timed.
const CHECKPOINTS: u32 = 50_000;

/// Measures it.
///
/// # Panics
/// The core does not end the deploy: a bug, not a measurement.
#[must_use]
pub fn cost(shards: u32) -> CoreCost {
    let settings = Settings {
        slots: vec![SlotSettings {
            name: "main".to_owned(),
            shards: None,
            launches: true,
            ..SlotSettings::default()
        }],
        shard_count: shards,
        permits_at_once: 16,
        adopt_grace: Duration::ZERO,
        service: &baton_master::discord::Discord,
        ..Settings::default()
    };
    let mut fleet = VirtualFleet::new(settings, Takes::default());
    fleet.join("main", Role::Relaunch);
    fleet.run_until(|fleet| fleet.identified == shards);
    let (rows, syncs) = (fleet.rows, fleet.syncs);
    let new = fleet.join("main", Role::Candidate);
    fleet.run_until(|fleet| fleet.gone == 1);
    let (rows, syncs) = (fleet.rows - rows, fleet.syncs - syncs);
    let (inputs, spent) = (fleet.inputs, fleet.spent);

    for number in 0..CHECKPOINTS {
        let mut entry = entry(ShardId(number % shards), Epoch(2));
        entry.handled = Sequence(1000 + u64::from(number));
        let shards = vec![entry];
        fleet.say(new, ToMaster::Checkpoint(Checkpoint { shards }));
        fleet.drain();
    }
    let checkpoints = fleet.spent - spent;
    CoreCost {
        shards,
        deploy_inputs: inputs,
        deploy_input_us: spent.as_secs_f64() * 1e6 / inputs as f64,
        checkpoint_us: checkpoints.as_secs_f64() * 1e6 / f64::from(CHECKPOINTS),
        deploy_rows: f64::from(rows) / f64::from(shards),
        deploy_syncs: f64::from(syncs) / f64::from(shards),
    }
}
