//! How a simulated Twitch is set up. Each default is what Twitch documents; what nobody
//! knows of Twitch is a switch in [`Unknown`].

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{error::Error, limits::Limit, traffic::Traffic};

/// The set-up of a simulated Twitch. It can be read from JSON, in which every field may
/// be left out.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where IRC over TCP listens. Every address must be of the loopback.
    pub irc_listen: SocketAddr,
    /// Where IRC over websocket listens.
    pub irc_ws_listen: SocketAddr,
    /// Where EventSub listens.
    pub eventsub_listen: SocketAddr,
    /// Where Helix and OAuth listen.
    pub helix_listen: SocketAddr,
    /// Where the control port listens.
    pub control_listen: SocketAddr,
    /// Seed of ids, hashes, jitter and traffic.
    pub seed: u64,
    /// Channels there are, named `channel1` and so on; 1 to 1,000,000.
    pub channels: u32,
    /// The accounts that are known by name.
    pub accounts: Vec<Account>,
    /// Whether any other account may log in to IRC with any token, and the token
    /// `user-LOGIN` is one of the user `LOGIN`.
    pub open_accounts: bool,
    /// The application's client id.
    pub client_id: String,
    /// The application's secret; `None` takes any that is not empty.
    pub client_secret: Option<String>,
    /// Addresses that are registered for the application, to which browsers are sent back; empty:
    /// any.
    pub redirects: Vec<String>,
    /// From a byte to the answer to it, of whoever comes by the network, but for the control port;
    /// at most 10 s. A connection costs two more.
    #[serde(with = "humantime_serde")]
    pub round_trip: Duration,
    /// IRC.
    pub irc: Irc,
    /// EventSub.
    pub eventsub: EventSub,
    /// Helix and OAuth.
    pub helix: Helix,
    /// What happens in the channels.
    pub traffic: Traffic,
    /// What nobody knows of Twitch.
    pub unknown: Unknown,
    /// Connections and sessions at a time.
    pub connections: usize,
    /// What may wait for a connection to read it; one more ends the connection.
    pub backlog: usize,
    /// Messages the ledger holds.
    pub messages_limit: usize,
    /// Deliveries the ledger holds.
    pub deliveries_limit: usize,
    /// Lines the log holds.
    pub log_limit: usize,
}

/// An account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Account {
    /// The login: 1 to 25 of `a` to `z`, digits and `_`.
    pub login: String,
    /// Its user token, without `oauth:`.
    pub token: String,
    /// Channels in which it is moderator.
    pub moderates: Vec<String>,
    /// Channels in which it is banned.
    pub banned_in: Vec<String>,
}

/// IRC: its limits and the way to its clients.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Irc {
    /// JOINs of an account, each channel of a command counted.
    pub join: Limit,
    /// What becomes of whoever joins too often.
    pub join_penalty: JoinPenalty,
    /// Logins of an account.
    pub auth: Limit,
    /// PRIVMSGs of an account to channels in which it is no moderator.
    pub privmsg: Limit,
    /// PRIVMSGs of an account in all, where it is moderator or broadcaster.
    pub privmsg_moderator: Limit,
    /// How long an account is ignored that has sent too much.
    #[serde(with = "humantime_serde")]
    pub ignored_for: Duration,
    /// How long an account cannot say the same in the same channel again.
    #[serde(with = "humantime_serde")]
    pub duplicate_within: Duration,
    /// Channels of an account at a time; not counted are those in which it is moderator
    /// or broadcaster. 0 means that there is no cap.
    pub channel_cap: u32,
    /// How long a login may take.
    #[serde(with = "humantime_serde")]
    pub login_timeout: Duration,
    /// How often the server sends PING.
    #[serde(with = "humantime_serde")]
    pub ping_every: Duration,
    /// How long the PONG may take.
    #[serde(with = "humantime_serde")]
    pub pong_within: Duration,
    /// From RECONNECT to the end of the connection.
    #[serde(with = "humantime_serde")]
    pub reconnect_grace: Duration,
    /// How long an event of a channel takes to each connection.
    #[serde(with = "humantime_serde")]
    pub delay: Duration,
    /// Up to how much longer it takes, chosen anew for each connection and event. The
    /// order on a connection stays.
    #[serde(with = "humantime_serde")]
    pub jitter: Duration,
    /// TCP is written in pieces of at most so many bytes, each a segment of its own; 0
    /// writes whole lines.
    pub split: usize,
}

/// What becomes of a connection whose account joins too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinPenalty {
    /// It is closed.
    Kick,
    /// The JOIN is passed over.
    Ignore,
}

/// EventSub: time limits and the way to its clients.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventSub {
    /// How long a session may be without subscription and without shard after its
    /// Welcome: then 4003.
    #[serde(with = "humantime_serde")]
    pub unused_for: Duration,
    /// Seconds of silence until a keepalive, unless the client asks for other 10 to 600.
    pub keepalive_seconds: u64,
    /// How often a session gets a Ping frame.
    #[serde(with = "humantime_serde")]
    pub ping_every: Duration,
    /// How long the Pong may take: then 4002.
    #[serde(with = "humantime_serde")]
    pub pong_within: Duration,
    /// From `session_reconnect` until the old connection is closed with 4004.
    #[serde(with = "humantime_serde")]
    pub reconnect_grace: Duration,
    /// How long a notification takes.
    #[serde(with = "humantime_serde")]
    pub delay: Duration,
    /// Up to how much longer it takes. The order on a connection stays.
    #[serde(with = "humantime_serde")]
    pub jitter: Duration,
    /// Each so many notifications, one is sent twice with the same id; 0 = never.
    pub resend_every: u64,
    /// Subscriptions of a session.
    pub subscriptions: usize,
    /// Sessions of a user that have subscriptions.
    pub sessions: usize,
}

/// Helix and OAuth.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Helix {
    /// Points of a token's owner; each request costs one.
    pub points: Limit,
    /// Conduits of the application.
    pub conduits: usize,
    /// Shards of a conduit.
    pub shards: u32,
    /// Cost of all subscriptions of the application that use a conduit.
    pub max_total_cost: u32,
    /// The same for those of a user's sessions.
    pub max_user_cost: u32,
    /// How long tokens are valid.
    #[serde(with = "humantime_serde")]
    pub token_lifetime: Duration,
}

/// What nobody knows of Twitch, or what only reports of others say. A client is right
/// only if it is right for every position of every switch.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Unknown {
    /// A channel joined on two connections of an account counts twice against the cap.
    pub double_join_counts: bool,
    /// The cap holds for anonymous logins, too.
    pub anonymous_cap: bool,
    /// `tmi-sent-ts` of a CLEARCHAT is the same on every connection.
    pub clearchat_same_time: bool,
    /// What the old session gets when its shard was given to another: a close code, or
    /// nothing. A session without any use is closed with 4003 in the end.
    pub old_shard_close: Option<u16>,
    /// How long after that it is closed.
    #[serde(with = "humantime_serde")]
    pub old_shard_close_after: Duration,
    /// For how long after a PATCH every second message still goes to the old session.
    #[serde(with = "humantime_serde")]
    pub old_shard_stragglers: Duration,
    /// A `reconnect_url` may be used from another address.
    pub reconnect_from_elsewhere: bool,
    /// The session keeps its id when it reconnects.
    pub reconnect_keeps_id: bool,
    /// `keepalive_timeout_seconds` of the client takes the place of
    /// [`EventSub::unused_for`].
    pub unused_follows_keepalive: bool,
    /// A Ping frame of a client is a message: 4001.
    pub ping_is_a_message: bool,
    /// One session may be that of several shards.
    pub session_of_many_shards: bool,
    /// Shards in one PATCH.
    pub shards_in_a_patch: usize,
}

impl Default for Config {
    fn default() -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            irc_listen: any,
            irc_ws_listen: any,
            eventsub_listen: any,
            helix_listen: any,
            control_listen: any,
            seed: 1,
            channels: 100,
            accounts: Vec::new(),
            open_accounts: true,
            client_id: "client".to_owned(),
            client_secret: None,
            redirects: Vec::new(),
            round_trip: Duration::ZERO,
            irc: Irc::default(),
            eventsub: EventSub::default(),
            helix: Helix::default(),
            traffic: Traffic::default(),
            unknown: Unknown::default(),
            connections: 20_000,
            backlog: 20_000,
            messages_limit: 4_000_000,
            deliveries_limit: 8_000_000,
            log_limit: 500_000,
        }
    }
}

impl Default for Irc {
    fn default() -> Self {
        Self {
            join: Limit::new(20, 10),
            join_penalty: JoinPenalty::Kick,
            auth: Limit::new(20, 10),
            privmsg: Limit::new(20, 30),
            privmsg_moderator: Limit::new(100, 30),
            ignored_for: Duration::from_secs(30 * 60),
            duplicate_within: Duration::from_secs(30),
            channel_cap: 100,
            login_timeout: Duration::from_secs(10),
            ping_every: Duration::from_secs(300),
            pong_within: Duration::from_secs(10),
            reconnect_grace: Duration::from_secs(30),
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            split: 0,
        }
    }
}

impl Default for EventSub {
    fn default() -> Self {
        Self {
            unused_for: Duration::from_secs(10),
            keepalive_seconds: 10,
            ping_every: Duration::from_secs(30),
            pong_within: Duration::from_secs(10),
            reconnect_grace: Duration::from_secs(30),
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            resend_every: 0,
            subscriptions: 300,
            sessions: 3,
        }
    }
}

impl Default for Helix {
    fn default() -> Self {
        Self {
            points: Limit::new(800, 60),
            conduits: 5,
            shards: 20_000,
            max_total_cost: 10_000,
            max_user_cost: 10,
            token_lifetime: Duration::from_secs(60 * 86_400),
        }
    }
}

impl Default for Unknown {
    fn default() -> Self {
        Self {
            double_join_counts: true,
            anonymous_cap: false,
            clearchat_same_time: true,
            old_shard_close: None,
            old_shard_close_after: Duration::ZERO,
            old_shard_stragglers: Duration::ZERO,
            reconnect_from_elsewhere: true,
            reconnect_keeps_id: true,
            unused_follows_keepalive: false,
            ping_is_a_message: false,
            session_of_many_shards: false,
            shards_in_a_patch: 100,
        }
    }
}

impl Config {
    /// Reads JSON.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] names the place of what cannot be read or is out of range.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let config: Self = serde_json::from_str(text)
            .map_err(|error| Error::invalid(format!("configuration: {error}")))?;
        config.validate()?;
        Ok(config)
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] says which is not.
    pub fn validate(&self) -> Result<(), Error> {
        let addresses = [
            self.irc_listen,
            self.irc_ws_listen,
            self.eventsub_listen,
            self.helix_listen,
            self.control_listen,
        ];
        if let Some(outside) = addresses.iter().find(|at| !at.ip().is_loopback()) {
            return Err(Error::invalid(format!(
                "{outside} is not of the loopback: nothing here is protected; take 127.0.0.1"
            )));
        }
        if !(1..=1_000_000).contains(&self.channels) {
            return Err(Error::invalid("channels: 1 to 1000000"));
        }
        if !(10..=600).contains(&self.eventsub.keepalive_seconds) {
            return Err(Error::invalid("eventsub.keepalive_seconds: 10 to 600"));
        }
        for account in &self.accounts {
            if !is_login(&account.login) || account.token.is_empty() {
                return Err(Error::invalid(format!(
                    "account {:?}: a login has 1 to 25 of a to z, 0 to 9 and _, and a token",
                    account.login
                )));
            }
        }
        if self.connections == 0 || self.backlog == 0 {
            return Err(Error::invalid("connections and backlog: at least 1"));
        }
        if self.round_trip > Duration::from_secs(10) {
            return Err(Error::invalid("round_trip: at most 10s"));
        }
        let code = self.unknown.old_shard_close;
        if code.is_some_and(|code| !(4000..=4007).contains(&code)) {
            return Err(Error::invalid("unknown.old_shard_close: 4000 to 4007"));
        }
        self.traffic.validate()
    }
}

/// Whether this can be the name of a user.
pub(crate) fn is_login(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    (1..=25).contains(&text.len()) && text.chars().all(fits)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_may_leave_everything_out() {
        let config = Config::from_json(r#"{"irc": {"jitter": "3s"}}"#).unwrap();
        assert_eq!(config.irc.jitter, Duration::from_secs(3));
        assert_eq!(config.irc.join, Limit::new(20, 10));
    }

    #[test]
    fn a_configuration_that_cannot_be_meant_is_refused_with_its_place() {
        let refused = |text| Config::from_json(text).unwrap_err().to_string();
        assert!(refused(r#"{"chanels": 1}"#).contains("chanels"));
        assert!(refused(r#"{"channels": 0}"#).contains("channels"));
        assert!(refused(r#"{"irc_listen": "0.0.0.0:1"}"#).contains("loopback"));
        assert!(refused(r#"{"accounts": [{"login": "Big", "token": "x"}]}"#).contains("Big"));
    }
}
