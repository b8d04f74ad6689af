//! What the core is told of a configuration.

use std::{iter::repeat, time::Duration};

use baton_core::settings::{Settings, SlotSettings};
use baton_protocol::message::Hello;

use super::{Config, Platform, Slot, shards::arrange, signs};
use crate::{discord, error::Error, twitch};

/// The servers of a store need 4 to 8 s to choose another leader among them.
const STORE_CHOOSES: Duration = Duration::from_secs(10);

impl Config {
    /// A slave that is reached and does not hang answers within this time: one ping may be on
    /// its way, and one late.
    pub(crate) fn answers(&self) -> Duration {
        let pings = self.limits.ping.saturating_mul(2);
        pings.saturating_add(Duration::from_secs(1))
    }

    /// What the core is to keep to, with `shard_count` shards.
    #[must_use]
    pub fn settings(&self, shard_count: u32) -> Settings {
        let limits = &self.limits;
        // A configuration that does not fit the bot was refused before.
        let shards = arrange(&self.slots, shard_count, self.max_concurrency).unwrap_or_default();
        let shards = shards.into_iter().map(Some).chain(repeat(None));
        let slots = self.slots.iter().zip(shards);
        Settings {
            service: match self.platform {
                Platform::Discord => &discord::Discord,
                Platform::Twitch => &twitch::Twitch,
            },
            named: match self.platform {
                Platform::Discord => Vec::new(),
                Platform::Twitch => twitch::named(limits),
            },
            slots: slots
                .map(|(slot, shards)| SlotSettings {
                    name: slot.name.clone(),
                    shards,
                    launches: slot.command.is_some(),
                    host: slot.host.clone(),
                    lease: slot.lease,
                })
                .collect(),
            work_slot: self.work_slot.clone(),
            host: self.host_name(),
            shard_count,
            pinned: None,
            contact: limits.contact,
            adopt_grace: limits.adopt_grace,
            ready: limits.ready,
            seal: limits.seal,
            drain: limits.drain,
            no_progress: limits.no_progress,
            copy: limits.copy,
            soak: limits.soak,
            replay_buffer: match self.platform {
                Platform::Discord => limits.replay_buffer,
                // Nothing is replayed, so no replay bounds anything.
                Platform::Twitch => u32::MAX,
            },
            behind_gate: limits.behind_gate,
            silent: match self.platform {
                Platform::Discord => limits.silent,
                // A unit sees for itself that its connection is dead, and nobody resumes it.
                Platform::Twitch => Duration::ZERO,
            },
            error_gate: limits.error_gate,
            error_gate_events: limits.error_gate_events,
            answers: self.answers(),
            retire: limits.retire,
            lag_gate: limits.lag_gate,
            canary: limits.canary,
            canary_time: limits.canary_time,
            canary_events: limits.canary_events,
            width: limits.width,
            standbys: self.standbys,
            late_seal: self.late_seal,
            resume_window: limits.resume_window,
            save_alarm: match self.store {
                Some(_) => STORE_CHOOSES,
                None => Duration::ZERO,
            },
            backoff: limits.backoff,
            backoff_max: limits.backoff_max,
            identify_window: limits.identify_window,
            identify_pause: limits.identify_pause,
            identify_reserve: limits.identify_reserve,
            identify_storm: limits.identify_storm,
            identify_storm_reserve: limits.identify_storm_reserve,
            permits_at_once: self.max_concurrency.unwrap_or(1),
            checkpoint_to_disk: limits.checkpoint_to_disk,
            // Five checkpoints: a session is not thought older by more.
            seen: signs(limits),
            shard_in_hand: limits.shard_in_hand,
        }
    }

    /// Whether the agent of another host sees to this slave.
    #[must_use]
    pub fn is_elsewhere(&self, hello: &Hello) -> bool {
        let mut slots = self.slots.iter();
        let of_slot = |slot: &Slot| slot.name == hello.slot && slot.host.is_some();
        !hello.host.is_empty() || slots.any(of_slot)
    }

    /// Whether every slot's shards exist in a bot of `shard_count` shards, and
    /// every shard has exactly one slot.
    ///
    /// # Errors
    /// [`Error::Configuration`], naming the slot or the shard.
    pub fn check_shards(&self, shard_count: u32) -> Result<(), Error> {
        match arrange(&self.slots, shard_count, self.max_concurrency) {
            Ok(_) => Ok(()),
            Err((_, reason)) => Err(Error::Configuration(reason)),
        }
    }
}
