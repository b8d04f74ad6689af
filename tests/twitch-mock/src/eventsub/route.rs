//! The way of a notification: to a session, or by a conduit to one of its shards. A
//! message that a shard cannot take is tried on one other, and then it is dropped.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    eventsub::{
        conduit,
        subscription::{Subscription, Target},
    },
    ledger::Recipient,
    state::{Shared, State, hash},
    wire::Note,
};

/// What travels.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) text: Arc<str>,
    /// Its number in the ledger, if it has one.
    pub(crate) number: Option<u64>,
}

/// Sends a notification of a subscription, and sometimes the same again.
pub(crate) fn notify(
    shared: &Shared,
    state: &mut State,
    subscription: &Subscription,
    text: &str,
    number: Option<u64>,
) {
    state.notifications += 1;
    let every = shared.config.eventsub.resend_every;
    let twice = every > 0 && state.notifications.is_multiple_of(every);
    let load = Load {
        text: text.into(),
        number,
    };
    for _ in 0..=usize::from(twice) {
        match &subscription.target {
            Target::Session(id) => {
                if to_session(shared, state, id, None, &load).is_err()
                    && let Some(number) = number
                {
                    shared.ledger.dropped(number, None);
                }
            }
            Target::Conduit(id) => {
                let Some(count) = state.conduits.get(id).map(conduit::Conduit::count) else {
                    return;
                };
                let home = home(subscription, count);
                if to_shard(shared, state, id, home, false, &load).is_err() {
                    elsewhere(shared, state, id, home, false, load.clone());
                }
            }
        }
    }
}

/// The shard of a channel: all its messages go there.
pub(crate) fn home(subscription: &Subscription, count: u32) -> u32 {
    let of = subscription.broadcaster();
    let hash = if of == 0 {
        hash(subscription.id.as_bytes())
    } else {
        hash(&of.to_be_bytes())
    };
    u32::try_from(hash % u64::from(count.max(1))).unwrap_or(0)
}

/// Tries one other shard, unless that was done already; then it is dropped.
pub(crate) fn elsewhere(
    shared: &Shared,
    state: &mut State,
    conduit: &Arc<str>,
    home: u32,
    tried: bool,
    load: Load,
) {
    let count = state
        .conduits
        .get(conduit)
        .map_or(0, conduit::Conduit::count);
    if !tried && count > 1 {
        let step = 1 + hash(load.text.as_bytes()) % u64::from(count - 1);
        let other = (u64::from(home) + step) % u64::from(count);
        let other = u32::try_from(other).unwrap_or(0);
        if to_shard(shared, state, conduit, other, true, &load).is_ok() {
            state.counters.retried += 1;
            return;
        }
    }
    state.counters.dropped += 1;
    if let Some(number) = load.number {
        shared.ledger.dropped(number, None);
    }
}

fn to_shard(
    shared: &Shared,
    state: &mut State,
    conduit: &Arc<str>,
    shard: u32,
    tried: bool,
    load: &Load,
) -> Result<(), ()> {
    let session = conduit::session_of(state, conduit, shard).ok_or(())?;
    let way = Some((Arc::clone(conduit), shard, tried));
    to_session(shared, state, &session, way, load)
}

fn to_session(
    shared: &Shared,
    state: &mut State,
    id: &Arc<str>,
    way: Option<(Arc<str>, u32, bool)>,
    load: &Load,
) -> Result<(), ()> {
    let config = &shared.config.eventsub;
    let travel = state.travel(config.delay, config.jitter);
    let session = state.sessions.get_mut(id).ok_or(())?;
    let note = load.number.map(|number| Note {
        number,
        to: Recipient::Session {
            session: Arc::clone(id),
            shard: way.as_ref().map(|(_, shard, _)| *shard),
        },
        conduit: way.map(|(conduit, _, tried)| (conduit, tried)),
    });
    let text = Arc::clone(&load.text);
    let sent = session.handle.event(Instant::now(), travel, text, note);
    sent.map_err(|_| ())
}
