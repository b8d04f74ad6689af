//! Conduits: which session each shard has.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    clock::rfc3339,
    eventsub::{frames, route},
    state::{Shared, State},
    wire::Order,
};

/// A shard with a session.
pub(crate) const ENABLED: &str = "enabled";

/// A conduit.
#[derive(Debug)]
pub(crate) struct Conduit {
    pub(crate) id: Arc<str>,
    pub(crate) client_id: String,
    pub(crate) shards: Vec<Shard>,
}

/// A shard; one that never had a session has no status.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shard {
    pub(crate) status: Option<&'static str>,
    pub(crate) session: Option<Arc<str>>,
    pub(crate) connected_at: String,
    pub(crate) disconnected_at: Option<String>,
}

/// A shard that was given to another session: for a while, some of its messages still go
/// to the old one.
#[derive(Debug)]
pub(crate) struct Shift {
    pub(crate) conduit: Arc<str>,
    pub(crate) shard: u32,
    pub(crate) old: Arc<str>,
    pub(crate) until: Instant,
    pub(crate) turn: bool,
}

impl Shard {
    pub(crate) fn enabled(&self) -> Option<&Arc<str>> {
        let enabled = self.status == Some(ENABLED);
        self.session.as_ref().filter(|_| enabled)
    }
}

impl Conduit {
    pub(crate) fn new(id: Arc<str>, client_id: &str, count: u32) -> Self {
        Self {
            id,
            client_id: client_id.to_owned(),
            shards: vec![Shard::default(); count as usize],
        }
    }

    /// How many shards it has.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.shards.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn set_session(&mut self, shard: u32, session: &Arc<str>) {
        if let Some(shard) = self.shards.get_mut(shard as usize) {
            shard.session = Some(Arc::clone(session));
        }
    }

    /// As Helix writes it.
    pub(crate) fn json(&self) -> Value {
        json!({ "id": &*self.id, "shard_count": self.shards.len() })
    }

    /// A shard as Helix writes it; `None` if it never had a session.
    pub(crate) fn shard_json(&self, number: u32) -> Option<Value> {
        let shard = self.shards.get(number as usize)?;
        Some(json!({
            "id": number.to_string(),
            "status": shard.status?,
            "transport": shard.transport(),
        }))
    }
}

impl Shard {
    fn transport(&self) -> Value {
        let mut transport = json!({
            "method": "websocket",
            "session_id": self.session.as_deref(),
            "connected_at": self.connected_at,
        });
        if let Some(at) = &self.disconnected_at {
            transport["disconnected_at"] = at.as_str().into();
        }
        transport
    }
}

/// Gives a shard to a session.
///
/// # Errors
///
/// What Helix answers for this shard: the message.
pub(crate) fn assign(
    shared: &Shared,
    state: &mut State,
    conduit: &Arc<str>,
    number: u32,
    session: &str,
) -> Result<(), String> {
    let unknown = &shared.config.unknown;
    let Some(of) = state.conduits.get_mut(conduit) else {
        return Err("The conduit does not exist".to_owned());
    };
    let Some(shard) = of.shards.get_mut(number as usize) else {
        return Err("The shard id is outside of the conduit's range".to_owned());
    };
    let Some((session, new)) = state.sessions.get_key_value(session) else {
        return Err("The websocket session does not exist or has already disconnected".to_owned());
    };
    let session = Arc::clone(session);
    let own = (Arc::clone(conduit), number);
    let others = new.shards.iter().any(|other| *other != own);
    if others && !unknown.session_of_many_shards {
        return Err("The websocket session is already that of another shard".to_owned());
    }
    if !new.subscriptions.is_empty() {
        return Err("The websocket session already has subscriptions".to_owned());
    }
    let old = shard.enabled().filter(|old| **old != session).cloned();
    *shard = Shard {
        status: Some(ENABLED),
        session: Some(Arc::clone(&session)),
        connected_at: new.connected_at.clone(),
        disconnected_at: None,
    };
    state.counters.shards_set += 1;
    if let Some(new) = state.sessions.get_mut(&session) {
        new.shards.insert(own.clone());
    }
    if let Some(old) = old {
        leave(shared, state, &own, &old);
    }
    Ok(())
}

/// A session whose shard was given to another.
fn leave(shared: &Shared, state: &mut State, shard: &(Arc<str>, u32), old: &Arc<str>) {
    let unknown = &shared.config.unknown;
    let now = Instant::now();
    if !unknown.old_shard_stragglers.is_zero() {
        state.shifts.retain(|shift| shift.until > now);
        state.shifts.push(Shift {
            conduit: Arc::clone(&shard.0),
            shard: shard.1,
            old: Arc::clone(old),
            until: now + unknown.old_shard_stragglers,
            turn: false,
        });
    }
    let Some(session) = state.sessions.get_mut(old) else {
        return;
    };
    session.shards.remove(shard);
    session.mind_unused();
    if let Some(code) = unknown.old_shard_close {
        let why = "the shard was given to another session";
        let order = Order::CloseIn(unknown.old_shard_close_after, code, why);
        session.handle.order(order);
    }
}

/// Sets how many shards there are. Those above are gone, and their sessions unused.
pub(crate) fn resize(state: &mut State, conduit: &Arc<str>, count: u32) {
    let Some(of) = state.conduits.get_mut(conduit) else {
        return;
    };
    of.shards.resize(count as usize, Shard::default());
    forget(state, conduit, count);
}

/// Removes a conduit, with its subscriptions.
pub(crate) fn remove(state: &mut State, conduit: &Arc<str>) {
    state.conduits.remove(conduit);
    state.subscriptions.remove_conduit(conduit);
    forget(state, conduit, 0);
}

/// No session has shards from this number on.
fn forget(state: &mut State, conduit: &Arc<str>, from: u32) {
    for session in state.sessions.values_mut() {
        let before = session.shards.len();
        session
            .shards
            .retain(|(of, shard)| of != conduit || *shard < from);
        if session.shards.len() < before {
            session.mind_unused();
        }
    }
}

/// A shard has lost its session. Whether it was enabled.
pub(crate) fn disable(
    state: &mut State,
    conduit: &Arc<str>,
    number: u32,
    status: &'static str,
) -> bool {
    let shards = state.conduits.get_mut(conduit).map(|c| &mut c.shards);
    let Some(shard) = shards.and_then(|shards| shards.get_mut(number as usize)) else {
        return false;
    };
    shard.status = Some(status);
    shard.disconnected_at = Some(rfc3339());
    state.counters.shards_disabled += 1;
    true
}

/// Tells whoever subscribed to `conduit.shard.disabled`.
pub(crate) fn tell_disabled(shared: &Shared, state: &mut State, conduit: &Arc<str>, number: u32) {
    let Some(of) = state.conduits.get(conduit) else {
        return;
    };
    let Some(shard) = of.shards.get(number as usize) else {
        return;
    };
    let event = json!({
        "conduit_id": &**conduit,
        "shard_id": number.to_string(),
        "status": shard.status,
        "transport": shard.transport(),
    });
    shared.ledger.log(
        format!("conduit/{conduit}/{number}"),
        "shard_disabled",
        shard.status.unwrap_or_default(),
    );
    for subscription in state.subscriptions.of_shards_disabled(conduit) {
        let message_id = state.uuid();
        let text = frames::notification(&message_id, &subscription, &event);
        route::notify(shared, state, &subscription, &text, None);
    }
}

/// The session that gets a message of the shard now: mostly its own.
pub(crate) fn session_of(state: &mut State, conduit: &Arc<str>, number: u32) -> Option<Arc<str>> {
    let now = Instant::now();
    let State {
        shifts,
        sessions,
        conduits,
        ..
    } = state;
    shifts.retain(|shift| shift.until > now && sessions.contains_key(&shift.old));
    let shift = shifts
        .iter_mut()
        .rev()
        .find(|shift| shift.conduit == *conduit && shift.shard == number);
    if let Some(shift) = shift {
        shift.turn = !shift.turn;
        if shift.turn {
            return Some(Arc::clone(&shift.old));
        }
    }
    conduits
        .get(conduit)?
        .shards
        .get(number as usize)?
        .enabled()
        .cloned()
}
