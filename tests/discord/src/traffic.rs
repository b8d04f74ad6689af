//! What happens in the world and how often: seeded traffic and probes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{error::Error, kind::EventKind, rng::Rng, server::Shared, world::cell::Cell};

/// Events above this rate per shard are not generated.
const MAX_RATE: f64 = 100_000.0;
/// Events one shard makes up for when it woke late; the rest is skipped.
const CATCH_UP: u32 = 64;

/// What happens in the world. The text form is that of `POST /traffic`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Traffic {
    /// Events per second and shard, Poisson distributed; 0 to 100,000.
    pub rate: f64,
    /// Nothing happens while true; probes go on.
    pub paused: bool,
    /// Weight of each kind of event, see [`Traffic::kinds`]. Empty: a mix like
    /// that of a public bot.
    pub mix: BTreeMap<String, u32>,
    /// Additional events all at once.
    pub burst: Option<Burst>,
}

/// Additional events, all at once, again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    /// Milliseconds from burst to burst; at least 1.
    pub every_ms: u64,
    /// Events of one burst, 1 to 100,000.
    pub size: u32,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            rate: 0.0,
            paused: false,
            mix: BTreeMap::new(),
            burst: None,
        }
    }
}

type Act = fn(&mut Cell) -> Option<()>;

/// Name, default weight, and the function that makes the event.
const ACTS: &[(&str, u32, Act)] = &[
    ("MESSAGE_CREATE", 300, Cell::message_create),
    ("MESSAGE_UPDATE", 30, Cell::message_update),
    ("MESSAGE_DELETE", 20, Cell::message_delete),
    ("MESSAGE_REACTION_ADD", 60, |c| {
        c.reaction(EventKind::ReactionAdd)
    }),
    ("MESSAGE_REACTION_REMOVE", 15, |c| {
        c.reaction(EventKind::ReactionRemove)
    }),
    ("PRESENCE_UPDATE", 250, Cell::presence_update),
    ("TYPING_START", 120, Cell::typing),
    ("INTERACTION_CREATE", 40, Cell::interaction),
    ("GUILD_MEMBER_ADD", 15, Cell::member_add),
    ("GUILD_MEMBER_REMOVE", 15, Cell::member_remove),
    ("GUILD_MEMBER_UPDATE", 40, Cell::member_update),
    ("VOICE_STATE_UPDATE", 60, Cell::voice_update),
    ("CHANNEL_CREATE", 5, Cell::channel_create),
    ("CHANNEL_UPDATE", 8, Cell::channel_update),
    ("CHANNEL_DELETE", 5, Cell::channel_delete),
    ("CHANNEL_PINS_UPDATE", 4, Cell::channel_pins),
    ("GUILD_ROLE_CREATE", 5, Cell::role_create),
    ("GUILD_ROLE_UPDATE", 8, Cell::role_update),
    ("GUILD_ROLE_DELETE", 5, Cell::role_delete),
    ("GUILD_UPDATE", 6, Cell::guild_update),
    ("GUILD_DELETE", 2, Cell::outage),
    ("DIRECT_MESSAGE", 10, Cell::direct_message),
];

impl Traffic {
    /// The default mix at this rate per shard and second.
    pub fn at_rate(rate: f64) -> Self {
        Self {
            rate,
            ..Self::default()
        }
    }

    /// The kinds a mix can name. `GUILD_DELETE` makes a guild unavailable and,
    /// the next time, available again.
    pub fn kinds() -> impl Iterator<Item = &'static str> {
        ACTS.iter().map(|(name, _, _)| *name)
    }

    /// Checks the limits written at the fields.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] says what to change.
    pub fn validate(&self) -> Result<(), Error> {
        if !(0.0..=MAX_RATE).contains(&self.rate) {
            return Err(Error::invalid(format!(
                "rate is {}: give events per second and shard from 0 to {MAX_RATE}",
                self.rate
            )));
        }
        for name in self.mix.keys() {
            if !Self::kinds().any(|known| known == name) {
                let known: Vec<&str> = Self::kinds().collect();
                return Err(Error::invalid(format!(
                    "mix has `{name}`: give only {}",
                    known.join(", ")
                )));
            }
        }
        if let Some(burst) = &self.burst
            && (burst.every_ms == 0 || burst.size == 0 || burst.size > 100_000)
        {
            return Err(Error::invalid(
                "burst must have every_ms of at least 1 and a size from 1 to 100000",
            ));
        }
        Ok(())
    }

    fn is_on(&self) -> bool {
        !self.paused && self.rate > 0.0
    }

    /// The acts with their weights added up.
    fn table(&self) -> Vec<(u64, Act)> {
        let mut sum = 0;
        let mut table = Vec::new();
        for (name, default, act) in ACTS {
            let weight = if self.mix.is_empty() {
                *default
            } else {
                self.mix.get(*name).copied().unwrap_or(0)
            };
            if weight > 0 {
                sum += u64::from(weight);
                table.push((sum, *act));
            }
        }
        table
    }
}

/// What a shard is told: its traffic, and its probe as microseconds between two.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Orders {
    pub(crate) traffic: Traffic,
    pub(crate) probe_every: Option<Duration>,
}

/// Makes the events of one shard until the gateway goes away. `seed` decides
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
    let table = now.traffic.table();
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
        if !cell.has_sessions() {
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
    let table = traffic.table();
    for _ in 0..events {
        act(cell, &table);
    }
}

/// Time to the next event of a Poisson process.
fn gap(rate: f64, pace: &mut Rng) -> Duration {
    Duration::from_secs_f64((-pace.unit().ln() / rate).min(3600.0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Traffic;

    #[test]
    fn a_mix_with_an_unknown_kind_is_refused_and_lists_the_known_ones() {
        let traffic: Traffic = serde_json::from_str(r#"{"rate":1,"mix":{"PARTY":1}}"#).unwrap();
        let text = traffic.validate().unwrap_err().to_string();
        assert!(
            text.contains("`PARTY`") && text.contains("MESSAGE_CREATE"),
            "{text}"
        );
    }

    #[test]
    fn a_rate_that_is_no_number_is_refused() {
        assert!(Traffic::at_rate(f64::NAN).validate().is_err());
        assert!(Traffic::at_rate(-1.0).validate().is_err());
    }
}
