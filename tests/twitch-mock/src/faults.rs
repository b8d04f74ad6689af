//! Faults by name: what can go wrong, and for whom.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    eventsub::{frames, route, session},
    helix::tokens,
    state::{Shared, State},
    wire::{Handle, Order},
};

/// Faults that may wait at a time.
const WAITING: usize = 1000;

/// The faults that the simulated Twitch can play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultName {
    /// RECONNECT; the connection ends after the grace period.
    IrcReconnect,
    /// The connections end in order.
    IrcClose,
    /// The connections end with a RST.
    IrcReset,
    /// No more bytes either way, and no FIN.
    IrcHalfOpen,
    /// Neither reads nor writes for `duration_ms`.
    IrcStall,
    /// Answers no PING any more.
    IrcSilence,
    /// Events take `duration_ms` longer from now on.
    IrcDelay,
    /// The next `times` logins fail.
    RefuseLogin,
    /// The next `times` JOINs are not answered.
    IgnoreJoin,
    /// `session_reconnect`; the old socket is closed with 4004 after the grace period.
    SessionReconnect,
    /// The sessions are closed with `code`, 4000 to 4007.
    SessionClose,
    /// The sessions end with a RST.
    SessionReset,
    /// No more bytes either way, and no FIN; the shards are disabled when a Pong is late.
    SessionHalfOpen,
    /// Neither reads nor writes for `duration_ms`.
    SessionStall,
    /// No more keepalives.
    SessionSilence,
    /// Notifications take `duration_ms` longer from now on.
    SessionDelay,
    /// The broadcaster of `channel` disconnects the application: its tokens end, and the
    /// subscriptions with `authorization_revoked`.
    Revoke,
    /// The next `times` requests to Helix get the status `code`, 400 to 599.
    HelixStatus,
    /// The next `times` requests to Helix are answered `duration_ms` late.
    HelixSlow,
    /// The next `times` shards of PATCHes get an error.
    ShardError,
    /// The next `times` chat messages by Helix are dropped with a reason.
    ChatDropped,
}

/// A fault, and for whom it is. What is left out holds for all.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Its name.
    pub name: FaultName,
    /// Only for this connection of IRC.
    #[serde(default)]
    pub conn: Option<u64>,
    /// Only for this login.
    #[serde(default)]
    pub login: Option<String>,
    /// Only for this channel, without `#`.
    #[serde(default)]
    pub channel: Option<String>,
    /// Only for this session.
    #[serde(default)]
    pub session: Option<String>,
    /// Only for the session of this shard.
    #[serde(default)]
    pub shard: Option<u32>,
    /// Only for this kind of request to Helix, as in `POST /helix/chat/messages`.
    #[serde(default)]
    pub request: Option<String>,
    /// A close code or an HTTP status.
    #[serde(default)]
    pub code: Option<u16>,
    /// How long, in milliseconds.
    #[serde(default)]
    pub duration_ms: u64,
    /// How often a fault that waits happens.
    #[serde(default = "once")]
    pub times: u32,
}

const fn once() -> u32 {
    1
}

/// A fault that waits for its occasion.
#[derive(Clone, Debug)]
pub(crate) struct Armed {
    pub(crate) fault: Fault,
    left: u32,
}

impl Fault {
    /// A fault for everybody.
    pub const fn new(name: FaultName) -> Self {
        Self {
            name,
            conn: None,
            login: None,
            channel: None,
            session: None,
            shard: None,
            request: None,
            code: None,
            duration_ms: 0,
            times: 1,
        }
    }

    pub(crate) fn is_of_login(&self, login: &str) -> bool {
        self.login.as_ref().is_none_or(|only| only == login)
    }

    pub(crate) fn is_of_channel(&self, channel: &str) -> bool {
        self.channel.as_ref().is_none_or(|only| only == channel)
    }

    pub(crate) fn is_of_request(&self, name: &str) -> bool {
        self.request.as_ref().is_none_or(|only| only == name)
    }

    /// How long.
    pub(crate) const fn duration(&self) -> Duration {
        Duration::from_millis(self.duration_ms)
    }
}

impl State {
    /// Whether a fault of this name waits for this occasion. It is used up by that.
    pub(crate) fn fire(&mut self, name: FaultName, fits: impl Fn(&Fault) -> bool) -> bool {
        self.take_fault(name, fits).is_some()
    }

    pub(crate) fn take_fault(
        &mut self,
        name: FaultName,
        fits: impl Fn(&Fault) -> bool,
    ) -> Option<Fault> {
        let waits = |armed: &Armed| armed.fault.name == name && fits(&armed.fault);
        let at = self.faults.iter().position(waits)?;
        let armed = &mut self.faults[at];
        armed.left -= 1;
        let fault = armed.fault.clone();
        if armed.left == 0 {
            self.faults.remove(at);
        }
        Some(fault)
    }

    fn handles_of_irc(&mut self, fault: &Fault) -> Vec<&mut Handle> {
        let clients = self.clients.iter_mut();
        clients
            .filter(|(id, client)| {
                fault.conn.is_none_or(|only| only == **id) && fault.is_of_login(&client.login)
            })
            .map(|(_, client)| &mut client.handle)
            .collect()
    }

    fn sessions_of(&self, fault: &Fault) -> Vec<Arc<str>> {
        let of_shard = |shards: &std::collections::BTreeSet<(Arc<str>, u32)>| {
            let only = fault.shard;
            only.is_none_or(|only| shards.iter().any(|(_, shard)| *shard == only))
        };
        let sessions = self.sessions.iter();
        sessions
            .filter(|(id, session)| {
                fault.session.as_ref().is_none_or(|only| **only == ***id)
                    && of_shard(&session.shards)
            })
            .map(|(id, _)| Arc::clone(id))
            .collect()
    }
}

/// Plays a fault, or lets it wait. How many it hit at once.
pub(crate) fn play(shared: &Shared, fault: Fault) -> Result<usize, Error> {
    let mut state = shared.state();
    shared
        .ledger
        .log("fault", "fault", format!("{:?}", fault.name));
    let wait = fault.duration();
    let grace = shared.config.irc.reconnect_grace;
    match fault.name {
        FaultName::IrcReconnect => irc(&mut state, &fault, |handle| {
            let text = ":tmi.twitch.tv RECONNECT\r\n".into();
            let now = tokio::time::Instant::now();
            let _ = handle.event(now, Duration::ZERO, text, None);
            handle.order(Order::CloseIn(grace, 0, "reconnect grace time expired"));
        }),
        FaultName::IrcClose => irc(&mut state, &fault, |h| h.order(Order::Close(0, "fault"))),
        FaultName::IrcReset => irc(&mut state, &fault, |h| h.order(Order::Reset)),
        FaultName::IrcHalfOpen => irc(&mut state, &fault, |h| h.order(Order::HalfOpen)),
        FaultName::IrcStall => irc(&mut state, &fault, |h| h.order(Order::Stall(wait))),
        FaultName::IrcSilence => irc(&mut state, &fault, |h| h.order(Order::Silence)),
        FaultName::IrcDelay => irc(&mut state, &fault, |h| h.extra = wait),
        FaultName::SessionReconnect => {
            let of = state.sessions_of(&fault);
            for id in &of {
                session::reconnect(shared, &mut state, id);
            }
            Ok(of.len())
        }
        FaultName::SessionClose => {
            let code = fault.code.unwrap_or(4000);
            if !(4000..=4007).contains(&code) {
                return Err(Error::invalid("session_close: a code from 4000 to 4007"));
            }
            eventsub(&mut state, &fault, |h| h.order(Order::Close(code, "fault")))
        }
        FaultName::SessionReset => eventsub(&mut state, &fault, |h| h.order(Order::Reset)),
        FaultName::SessionHalfOpen => eventsub(&mut state, &fault, |h| h.order(Order::HalfOpen)),
        FaultName::SessionStall => eventsub(&mut state, &fault, |h| h.order(Order::Stall(wait))),
        FaultName::SessionSilence => eventsub(&mut state, &fault, |h| h.order(Order::Silence)),
        FaultName::SessionDelay => eventsub(&mut state, &fault, |h| h.extra = wait),
        FaultName::Revoke => revoke(shared, &mut state, &fault),
        FaultName::HelixStatus if !fault.code.is_some_and(|c| (400..=599).contains(&c)) => {
            Err(Error::invalid("helix_status: a code from 400 to 599"))
        }
        FaultName::RefuseLogin
        | FaultName::IgnoreJoin
        | FaultName::HelixStatus
        | FaultName::HelixSlow
        | FaultName::ShardError
        | FaultName::ChatDropped => {
            if state.faults.len() >= WAITING || fault.times == 0 {
                return Err(Error::invalid(
                    "times: at least 1, and at most 1000 faults wait",
                ));
            }
            let left = fault.times;
            state.faults.push(Armed { fault, left });
            Ok(0)
        }
    }
}

fn irc(state: &mut State, fault: &Fault, act: impl Fn(&mut Handle)) -> Result<usize, Error> {
    let of = state.handles_of_irc(fault);
    let hit = of.len();
    of.into_iter().for_each(act);
    Ok(hit)
}

fn eventsub(state: &mut State, fault: &Fault, act: impl Fn(&mut Handle)) -> Result<usize, Error> {
    let of = state.sessions_of(fault);
    for id in &of {
        if let Some(session) = state.sessions.get_mut(id) {
            act(&mut session.handle);
        }
    }
    Ok(of.len())
}

/// The broadcaster takes the grant back: the subscriptions end, and say so.
fn revoke(shared: &Shared, state: &mut State, fault: &Fault) -> Result<usize, Error> {
    let name = fault.channel.as_deref().unwrap_or_default();
    let channel = state.known_channel(name)?;
    let id = state.channels[channel].id;
    state.channels[channel].grants_bot = false;
    tokens::forget(state, name);
    let all = state.subscriptions.iter();
    let of: Vec<Arc<str>> = all
        .filter(|(_, one)| one.broadcaster() == id && one.is_enabled())
        .map(|(_, one)| Arc::clone(&one.id))
        .collect();
    for id in &of {
        state.subscriptions.disable(id, "authorization_revoked");
        let Some(gone) = state.subscriptions.get(id).cloned() else {
            continue;
        };
        let message_id = state.uuid();
        let text = frames::revocation(&message_id, &gone);
        route::notify(shared, state, &gone, &text, None);
        for session in state.sessions.values_mut() {
            if session.subscriptions.remove(id) {
                session.mind_unused();
            }
        }
    }
    Ok(of.len())
}
