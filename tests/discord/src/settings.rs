//! What can be changed while the simulated Discord runs.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Deserialize;

use crate::{
    config::{DiscordConfig, ResumeWhileConnected, heartbeat_interval},
    error::Error,
};

/// The settings as they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// See [`DiscordConfig::resume_while_connected`].
    pub resume_while_connected: ResumeWhileConnected,
    /// See [`DiscordConfig::heartbeat_trims`].
    pub heartbeat_trims: bool,
    /// See [`DiscordConfig::heartbeat_interval`]; for connections to come.
    pub heartbeat_interval: Duration,
    /// See [`DiscordConfig::skip_every`].
    pub skip_every: u32,
    /// See [`DiscordConfig::refused_identify_counts`].
    pub refused_identify_counts: bool,
}

impl Settings {
    fn of(config: &DiscordConfig) -> Self {
        Self {
            resume_while_connected: config.resume_while_connected,
            heartbeat_trims: config.heartbeat_trims,
            heartbeat_interval: config.heartbeat_interval,
            skip_every: config.skip_every,
            refused_identify_counts: config.refused_identify_counts,
        }
    }
}

/// A change of the settings, as `POST /settings` takes it: what is left out stays
/// as it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SettingsChange {
    /// `take_over`, `refuse`, `refuse_false` or `both`.
    pub resume_while_connected: Option<ResumeWhileConnected>,
    /// Whether heartbeats trim the replay buffer.
    pub heartbeat_trims: Option<bool>,
    /// What HELLO says, 10 ms to 1 h.
    pub heartbeat_interval_ms: Option<u64>,
    /// Each how many dispatches numbers are left out; 0 = never.
    pub skip_every: Option<u32>,
    /// Whether a refused IDENTIFY counts off the session start limit.
    pub refused_identify_counts: Option<bool>,
    /// IDENTIFYs that are left until the session start limit is reached.
    pub identifies_left: Option<u32>,
}

impl SettingsChange {
    /// Checks the limits written at the fields.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        match self.heartbeat_interval_ms {
            Some(ms) => heartbeat_interval(Duration::from_millis(ms)),
            None => Ok(()),
        }
    }
}

/// The settings that all connections share.
#[derive(Debug)]
pub(crate) struct SharedSettings(Mutex<Settings>);

impl SharedSettings {
    pub(crate) fn new(config: &DiscordConfig) -> Self {
        Self(Mutex::new(Settings::of(config)))
    }

    fn lock(&self) -> MutexGuard<'_, Settings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self) -> Settings {
        *self.lock()
    }

    /// Takes over a change that was validated. `identifies_left` is not one of the
    /// settings and is left to the caller.
    pub(crate) fn change(&self, change: &SettingsChange) -> Settings {
        let mut settings = self.lock();
        let before = *settings;
        *settings = Settings {
            resume_while_connected: change
                .resume_while_connected
                .unwrap_or(before.resume_while_connected),
            heartbeat_trims: change.heartbeat_trims.unwrap_or(before.heartbeat_trims),
            heartbeat_interval: change
                .heartbeat_interval_ms
                .map_or(before.heartbeat_interval, Duration::from_millis),
            skip_every: change.skip_every.unwrap_or(before.skip_every),
            refused_identify_counts: change
                .refused_identify_counts
                .unwrap_or(before.refused_identify_counts),
        };
        *settings
    }
}
