//! What happens in the world and how often: seeded traffic and probes.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    config::traffic::{Orders, Traffic},
    kind::EventKind,
    rng::Rng,
    server::Shared,
    world::cell::Cell,
};

/// Events one shard makes up for when it woke late; the rest is skipped.
const CATCH_UP: u32 = 64;

type Act = fn(&mut Cell) -> Option<()>;

/// The function that makes each kind of event.
const ACTS: &[(&str, Act)] = &[
    ("MESSAGE_CREATE", Cell::message_create),
    ("MESSAGE_UPDATE", Cell::message_update),
    ("MESSAGE_DELETE", Cell::message_delete),
    ("MESSAGE_REACTION_ADD", |c| {
        c.reaction(EventKind::ReactionAdd)
    }),
    ("MESSAGE_REACTION_REMOVE", |c| {
        c.reaction(EventKind::ReactionRemove)
    }),
    ("PRESENCE_UPDATE", Cell::presence_update),
    ("TYPING_START", Cell::typing),
    ("INTERACTION_CREATE", Cell::interaction),
    ("GUILD_MEMBER_ADD", Cell::member_add),
    ("GUILD_MEMBER_REMOVE", Cell::member_remove),
    ("GUILD_MEMBER_UPDATE", Cell::member_update),
    ("VOICE_STATE_UPDATE", Cell::voice_update),
    ("CHANNEL_CREATE", Cell::channel_create),
    ("CHANNEL_UPDATE", Cell::channel_update),
    ("CHANNEL_DELETE", Cell::channel_delete),
    ("CHANNEL_PINS_UPDATE", Cell::channel_pins),
    ("GUILD_ROLE_CREATE", Cell::role_create),
    ("GUILD_ROLE_UPDATE", Cell::role_update),
    ("GUILD_ROLE_DELETE", Cell::role_delete),
    ("GUILD_UPDATE", Cell::guild_update),
    ("GUILD_DELETE", Cell::outage),
    ("DIRECT_MESSAGE", Cell::direct_message),
    ("AN_EVENT_OF_NEXT_YEAR", Cell::of_next_year),
];

/// The acts of a mix, with their weights added up.
fn table(traffic: &Traffic) -> Vec<(u64, Act)> {
    let mut sum = 0;
    let mut table = Vec::new();
    for (name, weight) in traffic.weights() {
        let act = ACTS.iter().find(|(known, _)| *known == name);
        if let Some((_, act)) = act.filter(|_| weight > 0) {
            sum += u64::from(weight);
            table.push((sum, *act));
        }
    }
    table
}

/// Makes the events of one shard until the server goes away. `seed` decides
/// what happens; the clock decides when.
pub(crate) async fn run(shared: Arc<Shared>, index: usize, mut orders: watch::Receiver<Orders>) {
    let mut pace = Rng::new(shared.config.seed, 0x7261_6666_6963 + index as u64);
    loop {
        let now = orders.borrow_and_update().clone();
        let idle = !shared.cell(index).has_sessions();
        if idle || (!now.traffic.is_on() && now.probe_every.is_none()) {
            tokio::select! {
                changed = orders.changed() => if changed.is_err() { return },
                () = shared.cell_wake[index].notified() => {}
            }
            continue;
        }
        if generate(&shared, index, &now, &mut orders, &mut pace)
            .await
            .is_none()
        {
            return;
        }
    }
}

/// Follows one set of orders until they change or nobody listens.
async fn generate(
    shared: &Shared,
    index: usize,
    now: &Orders,
    orders: &mut watch::Receiver<Orders>,
    pace: &mut Rng,
) -> Option<()> {
    let table = table(&now.traffic);
    let start = Instant::now();
    let on = now.traffic.is_on() && !table.is_empty();
    let mut next_event = on.then(|| start + gap(now.traffic.rate, pace));
    let burst = now.traffic.burst.as_ref().filter(|_| on);
    let mut next_burst = burst.map(|b| start + Duration::from_millis(b.every_ms));
    let mut next_probe = now.probe_every.map(|_| start);
    loop {
        let due = [next_event, next_burst, next_probe]
            .into_iter()
            .flatten()
            .min();
        let Some(due) = due else {
            return orders.changed().await.ok();
        };
        tokio::select! {
            changed = orders.changed() => return changed.ok(),
            () = sleep_until(due) => {}
        }
        let time = Instant::now();
        let mut cell = shared.cell(index);
        // Also where the orders came while this waited for the cell: see
        // `Shared::change_traffic`.
        if !cell.has_sessions() || orders.has_changed().unwrap_or(true) {
            return Some(());
        }
        if let (Some(next), Some(every)) = (&mut next_probe, now.probe_every) {
            catch_up(next, time, || every, || cell.probe());
        }
        if let Some(next) = &mut next_event {
            let rate = now.traffic.rate;
            catch_up(next, time, || gap(rate, pace), || act(&mut cell, &table));
        }
        if let (Some(next), Some(burst)) = (&mut next_burst, burst)
            && *next <= time
        {
            for _ in 0..burst.size {
                act(&mut cell, &table);
            }
            *next = time + Duration::from_millis(burst.every_ms);
        }
    }
}

/// Does what has become due, but not more than [`CATCH_UP`] times.
fn catch_up(
    next: &mut Instant,
    now: Instant,
    mut step: impl FnMut() -> Duration,
    mut act: impl FnMut(),
) {
    for _ in 0..CATCH_UP {
        if *next > now {
            return;
        }
        act();
        *next += step();
    }
    *next = now + step();
}

/// One event of the mix. A kind without an occasion gives way to a message.
fn act(cell: &mut Cell, table: &[(u64, Act)]) {
    let Some((sum, _)) = table.last() else {
        return;
    };
    let roll = cell.rng.next_u64() % sum;
    let at = table.partition_point(|(upto, _)| *upto <= roll);
    if let Some((_, act)) = table.get(at)
        && act(cell).is_none()
    {
        cell.message_create();
    }
}

/// Sends `events` of the traffic's mix at once.
pub(crate) fn flood(cell: &mut Cell, traffic: &Traffic, events: u32) {
    let table = table(traffic);
    for _ in 0..events {
        act(cell, &table);
    }
}

/// Time to the next event of a Poisson process.
fn gap(rate: f64, pace: &mut Rng) -> Duration {
    Duration::from_secs_f64((-pace.unit().ln() / rate).min(3600.0))
}

#[cfg(test)]
mod tests {
    use super::{ACTS, Traffic};

    #[test]
    fn each_kind_of_a_mix_has_a_function_that_makes_it() {
        let made: Vec<&str> = ACTS.iter().map(|(name, _)| *name).collect();
        assert_eq!(made, Traffic::kinds().collect::<Vec<_>>());
    }
}
