//! Sessions of EventSub: which socket has one, what uses it, and what its end means.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    clock::rfc3339,
    eventsub::{conduit, frames, route},
    ledger::Recipient,
    state::{Shared, State},
    wire::{Handle, Order, Out},
};

/// A session. It outlives its socket when the client reconnects as it was told to.
#[derive(Debug)]
pub(crate) struct Session {
    /// The way to the socket that gets its notifications.
    pub(crate) handle: Handle,
    /// Which socket that is, counted in the whole server.
    pub(crate) socket: u64,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) connected_at: String,
    pub(crate) keepalive: u64,
    pub(crate) shards: BTreeSet<(Arc<str>, u32)>,
    pub(crate) subscriptions: BTreeSet<Arc<str>>,
    /// Whose subscriptions it has.
    pub(crate) user: Option<u64>,
}

impl Session {
    pub(crate) fn is_used(&self) -> bool {
        !self.shards.is_empty() || !self.subscriptions.is_empty()
    }

    /// If nothing uses it any more, the time it may be so begins.
    pub(crate) fn mind_unused(&self) {
        if !self.is_used() {
            self.handle.order(Order::Unused);
        }
    }
}

/// What a new socket was given.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) id: Arc<str>,
    pub(crate) socket: u64,
    pub(crate) keepalive: Duration,
    /// The first text.
    pub(crate) welcome: String,
}

/// A new session.
pub(crate) fn open(
    state: &mut State,
    handle: Handle,
    peer: Option<IpAddr>,
    keepalive: u64,
) -> Opened {
    let id: Arc<str> = format!("session-{}", state.uuid()).into();
    state.last_conn += 1;
    let session = Session {
        handle,
        socket: state.last_conn,
        peer,
        connected_at: rfc3339(),
        keepalive,
        shards: BTreeSet::new(),
        subscriptions: BTreeSet::new(),
        user: None,
    };
    insert(state, id, session)
}

fn insert(state: &mut State, id: Arc<str>, session: Session) -> Opened {
    state.counters.sessions += 1;
    let message_id = state.uuid();
    let opened = Opened {
        welcome: frames::welcome(&message_id, &id, &session),
        socket: session.socket,
        keepalive: Duration::from_secs(session.keepalive),
        id: Arc::clone(&id),
    };
    state.sessions.insert(id, session);
    opened
}

/// A socket takes over the session of a `reconnect_url`. `None`: there is no such thing,
/// or no longer, or not for this address.
pub(crate) fn take_over(
    shared: &Shared,
    state: &mut State,
    token: &str,
    handle: Handle,
    peer: Option<IpAddr>,
) -> Option<Opened> {
    let unknown = &shared.config.unknown;
    let id = state.reconnects.get(token)?.clone();
    let before = state.sessions.get(&id)?;
    if !unknown.reconnect_from_elsewhere && before.peer != peer {
        return None;
    }
    state.reconnects.remove(token);
    let mut session = state.sessions.remove(&id)?;
    state.last_conn += 1;
    session.handle = handle;
    session.socket = state.last_conn;
    session.peer = peer;
    if unknown.reconnect_keeps_id {
        return Some(insert(state, id, session));
    }
    let new: Arc<str> = format!("session-{}", state.uuid()).into();
    for (conduit, shard) in &session.shards {
        if let Some(conduit) = state.conduits.get_mut(conduit) {
            conduit.set_session(*shard, &new);
        }
    }
    for subscription in &session.subscriptions {
        state.subscriptions.move_to_session(subscription, &new);
    }
    Some(insert(state, new, session))
}

/// Tells a session to reconnect. The URL is good for `reconnect_grace`.
pub(crate) fn reconnect(shared: &Shared, state: &mut State, id: &Arc<str>) {
    let grace = shared.config.eventsub.reconnect_grace;
    let (token, message_id) = (state.uuid(), state.uuid());
    let base = shared
        .addresses
        .get()
        .map_or_else(String::new, |addresses| addresses.eventsub.clone());
    let url = format!("{base}?reconnect={token}");
    let Some(session) = state.sessions.get_mut(id) else {
        return;
    };
    let text = frames::reconnect(&message_id, id, &session.connected_at, &url).into();
    let now = Instant::now();
    let _ = session.handle.event(now, Duration::ZERO, text, None);
    session
        .handle
        .order(Order::CloseIn(grace, 4004, "reconnect grace time expired"));
    state.reconnects.insert(token.to_string(), Arc::clone(id));
}

/// A socket has ended. If the session is still its own, the session ends: its shards are
/// disabled, its subscriptions too, and what did not reach it is tried elsewhere.
pub(crate) fn end(
    shared: &Shared,
    state: &mut State,
    (id, socket): (&Arc<str>, u64),
    status: &'static str,
    left: Vec<Out>,
) {
    let own = state
        .sessions
        .get(id)
        .is_some_and(|session| session.socket == socket);
    let mut disabled = Vec::new();
    if own && let Some(session) = state.sessions.remove(id) {
        state.reconnects.retain(|_, of| of != id);
        for subscription in session.subscriptions {
            state.subscriptions.disable(&subscription, status);
        }
        for (conduit, shard) in session.shards {
            if conduit::disable(state, &conduit, shard, status) {
                disabled.push((conduit, shard));
            }
        }
    }
    for out in left {
        let Some(note) = out.note else { continue };
        match (note.conduit, &note.to) {
            (
                Some((conduit, tried)),
                Recipient::Session {
                    shard: Some(shard), ..
                },
            ) => {
                let number = Some(note.number);
                let load = route::Load {
                    text: out.text,
                    number,
                };
                route::elsewhere(shared, state, &conduit, *shard, tried, load);
            }
            (_, _) => shared.ledger.dropped(note.number, Some(note.to)),
        }
    }
    for (conduit, shard) in disabled {
        conduit::tell_disabled(shared, state, &conduit, shard);
    }
}
