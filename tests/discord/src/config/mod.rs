//! Everything that a simulated Discord can be set to.

use std::{net::SocketAddr, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use self::traffic::Traffic;
use crate::{error::Error, kind::intents, wire::tls::Tls};

pub(crate) mod traffic;

/// What happens to a RESUME for a session whose connection is still open.
/// Discord's answer is unknown, so a client must be safe with all three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResumeWhileConnected {
    /// The old connection is closed with 4000, the new one is served.
    TakeOver,
    /// The new connection gets op 9 `d:true`, the old one is served.
    Refuse,
    /// The new connection gets op 9 `d:false`, which ends the session; the old
    /// one gets the same.
    RefuseFalse,
    /// Both connections are served from then on.
    Both,
}

/// What happens to a client that misses its heartbeats for 1.5 intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissedHeartbeat {
    /// TCP is closed without a close frame; the session stays resumable.
    Drop,
    /// Close 4009, which ends the session.
    Close4009,
}

/// The settings of a [`crate::Discord`]. [`Default`] is Discord's own strictness
/// with a small world on free loopback ports.
#[derive(Clone, Debug)]
pub struct DiscordConfig {
    /// Where the websocket and the REST interface listen. Port 0 = any.
    pub listen: SocketAddr,
    /// Where the control port listens; loopback only. Port 0 = any.
    pub control: SocketAddr,
    /// Shards the world is divided into, 1 to 4096.
    pub shards: u32,
    /// Guilds of each shard, 0 to 2500.
    pub guilds_per_shard: u32,
    /// Members of each guild at the start, the bot included, 2 to 100,000.
    pub members_per_guild: u32,
    /// Extra bytes of state in each guild, as channel topics; at most 400,000.
    pub state_bytes_per_guild: u32,
    /// The seed of the world and of its events.
    pub seed: u64,
    /// What happens in the world.
    pub traffic: Traffic,
    /// Round-trip time that the delay line adds, 0 = none. Whole milliseconds.
    pub rtt: Duration,
    /// TLS on the websocket's listener.
    pub tls: Tls,
    /// The only token that is accepted, without `Bot `. `None` accepts every
    /// token that is not empty.
    pub token: Option<String>,
    /// IDENTIFYs per identify window, in buckets `shard % max_concurrency`.
    pub max_concurrency: u32,
    /// How long a bucket is taken by one IDENTIFY; Discord: 5 s.
    pub identify_window: Duration,
    /// IDENTIFYs until every session is ended and the token is reset.
    pub session_start_limit: u32,
    /// When the session start limit is reset; Discord: 24 h.
    pub session_start_reset: Duration,
    /// What HELLO says, in whole milliseconds; Discord: 41.25 s.
    pub heartbeat_interval: Duration,
    /// What a client that misses heartbeats meets.
    pub missed_heartbeat: MissedHeartbeat,
    /// How long a session without a connection can be resumed.
    pub resume_window: Duration,
    /// Events a session keeps for a replay. `None`: `max(100, min(3500, guilds * 75))`.
    pub replay_buffer: Option<u32>,
    /// Events a connected client may be behind before its connection is dropped.
    pub backlog: u32,
    /// See [`ResumeWhileConnected`].
    pub resume_while_connected: ResumeWhileConnected,
    /// Whether the sequence of a heartbeat removes what is at or below it from
    /// the replay buffer.
    pub heartbeat_trims: bool,
    /// Each so many dispatches of a session, 1 to 3 numbers are left out before the
    /// next; 0 = never. Discord's documentation does not promise that sequence
    /// numbers follow on each other.
    pub skip_every: u32,
    /// Each Nth event is sent twice, as Discord does now and then; 0 =
    /// none. Both are dispatches, with numbers of their own.
    pub repeat_every: u32,
    /// Each so many guilds and changes of one have something odd in them: unknown fields
    /// and values, nulls, members twice, and values that no model can read; 0 = none.
    /// The truth stays as it is.
    pub odd_every: u32,
    /// Whether the `d` of each dispatch has one more field that no library knows:
    /// `_stamp`, which names it as the ledger does, `SESSION:SEQ`. With it, what a client
    /// received through somebody else, who numbers anew, can be found in the ledger.
    pub stamp: bool,
    /// Whether an IDENTIFY that is answered with op 9 counts off the session start
    /// limit. Discord's documentation speaks of IDENTIFY calls, and does not say
    /// whether it counts those that it refuses.
    pub refused_identify_counts: bool,
    /// Shards of the world on which nothing happens until they are given traffic.
    pub quiet_shards: Vec<u32>,
    /// Commands a connection may send in 60 s, heartbeats included; Discord: 120.
    pub commands_per_minute: u32,
    /// REST requests a second, all together; 0 = no limit. Discord: 50.
    pub rest_per_second: u32,
    /// REST requests of one method, route and channel, guild or webhook in a
    /// [`rest_bucket_window`](Self::rest_bucket_window); 0 = no limit. Discord does
    /// not document them; for messages it is known to be 5 in 5 s.
    pub rest_bucket: u32,
    /// See [`rest_bucket`](Self::rest_bucket).
    pub rest_bucket_window: Duration,
    /// Answers 401, 403 and 429 in ten minutes until the address is banned; 0 = no
    /// limit. Discord: 10,000.
    pub invalid_requests: u32,
    /// How long after a request for all members of a guild the next one is answered
    /// with `RATE_LIMITED`, whichever session asks; 0 = never. Discord: 30 s.
    pub member_request_window: Duration,
    /// Intents that a client may ask for without a close with 4014.
    pub allowed_intents: u64,
    /// Entries the ledger holds before it drops and says so.
    pub ledger_limit: usize,
    /// Entries the connection log holds before it drops and says so.
    pub log_limit: usize,
}

impl Default for DiscordConfig {
    fn default() -> Self {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            listen: loopback,
            control: loopback,
            shards: 1,
            guilds_per_shard: 5,
            members_per_guild: 10,
            state_bytes_per_guild: 0,
            seed: 1,
            traffic: Traffic::default(),
            rtt: Duration::ZERO,
            tls: Tls::Off,
            token: None,
            max_concurrency: 1,
            identify_window: Duration::from_secs(5),
            session_start_limit: 1000,
            session_start_reset: Duration::from_secs(24 * 3600),
            heartbeat_interval: Duration::from_millis(41_250),
            missed_heartbeat: MissedHeartbeat::Drop,
            resume_window: Duration::from_secs(90),
            replay_buffer: None,
            backlog: 100_000,
            resume_while_connected: ResumeWhileConnected::TakeOver,
            heartbeat_trims: false,
            skip_every: 0,
            repeat_every: 0,
            odd_every: 0,
            stamp: false,
            refused_identify_counts: false,
            quiet_shards: Vec::new(),
            commands_per_minute: 120,
            member_request_window: Duration::from_secs(30),
            rest_per_second: 50,
            rest_bucket: 5,
            rest_bucket_window: Duration::from_secs(5),
            invalid_requests: 10_000,
            allowed_intents: intents::ALL,
            ledger_limit: 8_000_000,
            log_limit: 1_000_000,
        }
    }
}

impl DiscordConfig {
    /// The default with every pace that only costs time taken out: no identify
    /// window, a session start limit of 100,000. What tests usually want.
    pub fn quick() -> Self {
        Self {
            max_concurrency: 4096,
            identify_window: Duration::ZERO,
            session_start_limit: 100_000,
            ..Self::default()
        }
    }

    /// Checks every limit written at the fields.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] names the setting and what it may be.
    pub fn validate(&self) -> Result<(), Error> {
        check("shards", self.shards, 1, 4096)?;
        check("guilds-per-shard", self.guilds_per_shard, 0, 2500)?;
        check("members-per-guild", self.members_per_guild, 2, 100_000)?;
        check(
            "state-bytes-per-guild",
            self.state_bytes_per_guild,
            0,
            400_000,
        )?;
        check("max-concurrency", self.max_concurrency, 1, 4096)?;
        check("backlog", self.backlog, 100, 10_000_000)?;
        check(
            "commands-per-minute",
            self.commands_per_minute,
            1,
            1_000_000,
        )?;
        if !self.control.ip().is_loopback() {
            return Err(Error::invalid(format!(
                "control is {}: give a loopback address, it has no authentication",
                self.control
            )));
        }
        if self.rtt > Duration::from_secs(10) {
            return Err(Error::invalid("rtt is above 10s: give at most 10s"));
        }
        heartbeat_interval(self.heartbeat_interval)?;
        if let Some(shard) = self.quiet_shards.iter().find(|s| **s >= self.shards) {
            return Err(Error::invalid(format!(
                "quiet-shards has {shard}: the shards are 0 to {}",
                self.shards - 1
            )));
        }
        if self.allowed_intents & !intents::ALL != 0 {
            return Err(Error::invalid(
                "allowed-intents has a bit that v10 does not know",
            ));
        }
        self.traffic.validate()
    }
}

/// Checks what HELLO is to say.
pub(crate) fn heartbeat_interval(interval: Duration) -> Result<(), Error> {
    if (Duration::from_millis(10)..=Duration::from_secs(3600)).contains(&interval) {
        return Ok(());
    }
    Err(Error::invalid(
        "heartbeat-interval must be between 10ms and 1h; for another one there is the fault odd_hello",
    ))
}

fn check(name: &str, value: u32, low: u32, high: u32) -> Result<(), Error> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{name} is {value}: give a number from {low} to {high}"
    )))
}

impl FromStr for ResumeWhileConnected {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "take_over" => Ok(Self::TakeOver),
            "refuse" => Ok(Self::Refuse),
            "refuse_false" => Ok(Self::RefuseFalse),
            "both" => Ok(Self::Both),
            other => Err(format!(
                "`{other}` is not take_over, refuse, refuse_false or both"
            )),
        }
    }
}

impl ResumeWhileConnected {
    /// The name in settings and in the status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TakeOver => "take_over",
            Self::Refuse => "refuse",
            Self::RefuseFalse => "refuse_false",
            Self::Both => "both",
        }
    }
}

impl FromStr for MissedHeartbeat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "drop" => Ok(Self::Drop),
            "close_4009" => Ok(Self::Close4009),
            other => Err(format!("`{other}` is not drop or close_4009")),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::DiscordConfig;

    #[test]
    fn a_wrong_setting_is_named_together_with_what_it_may_be() {
        let config = DiscordConfig {
            shards: 0,
            ..DiscordConfig::default()
        };
        let text = config.validate().unwrap_err().to_string();
        assert_eq!(text, "shards is 0: give a number from 1 to 4096");
    }

    #[test]
    fn the_control_port_is_never_open_to_others() {
        let config = DiscordConfig {
            control: "0.0.0.0:0".parse().unwrap(),
            ..DiscordConfig::default()
        };
        assert!(
            config
                .validate()
                .unwrap_err()
                .to_string()
                .contains("loopback")
        );
    }
}
