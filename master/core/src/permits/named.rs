//! Permits that have names: so many of each in a window, leased to the slaves that ask.
//!
//! A limit of a service that holds for an account, and not for a connection, is nobody's but
//! the fleet's. So a slave asks for permits by name (`join/ACCOUNT` say) and gets some
//! when there are any; it uses them within the time that it was told, or they are void.
//!
//! ```text
//! wanted ─▶ leased, at most `count` in (window + VALID) ─▶ used within VALID, or void
//! ```
//!
//! The service counts when a permit is used, and that may be up to [`VALID`] later than it was
//! leased. So the window here is longer by that: however the uses lie, no window of the service
//! has more than `count` of them. A permit counts as used when it is leased, whatever becomes of
//! the slave. A master that follows another one does not know what that one leased, and leases
//! nothing for one window, where the service punishes too many.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use baton_protocol::{
    SlaveId, ToSlave,
    message::{MAX_PERMIT, PermitsLeased, PermitsWanted},
};

use crate::{
    event::Time,
    fleet::Fleet,
    out::Out,
    settings::{NamedLimit, Settings},
    timers::Timer,
};

/// A leased permit is void after this time. A slave uses it at once as a rule.
pub(crate) const VALID: Duration = Duration::from_secs(1);

/// Names that are known at a time. Each is one that a slave chose: a fleet with more
/// accounts than that is none.
const MOST: usize = 4096;

/// What was leased of each name, and who waits.
#[derive(Clone, Debug, Default)]
pub(crate) struct NamedPermits {
    known: BTreeMap<String, State>,
    /// Since when it is known what was leased; `None`: nothing was before.
    since: Option<Time>,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// What was leased in the last window, the oldest first.
    leased: VecDeque<(Time, u32)>,
    waiting: BTreeMap<SlaveId, u32>,
    /// Who got some last: the next one is whoever follows.
    last: Option<SlaveId>,
}

impl NamedPermits {
    /// `since`: a master before may have leased some.
    pub(crate) const fn new(since: Option<Time>) -> Self {
        Self {
            known: BTreeMap::new(),
            since,
        }
    }

    /// A slave says how many permits of a name it waits for.
    pub(crate) fn wanted(
        &mut self,
        slave: SlaveId,
        wanted: PermitsWanted,
        fleet: &Fleet,
        settings: &Settings,
        out: &mut Out,
    ) {
        let PermitsWanted { name, count } = wanted;
        let is_known = self.known.contains_key(&name);
        let fits = name.len() <= MAX_PERMIT && settings.named(&name).is_some();
        if !is_known && (!fits || self.known.len() >= MOST) {
            // It is told, and does not wait for ever.
            let none = PermitsLeased {
                name,
                ..PermitsLeased::default()
            };
            out.send(slave, ToSlave::PermitsLeased(none));
            return;
        }
        let state = self.known.entry(name).or_default();
        match count {
            0 => state.waiting.remove(&slave),
            _ => state.waiting.insert(slave, count),
        };
        self.lease(fleet, settings, out);
    }

    /// A slave lost its link: it asks again on the next.
    pub(crate) fn asks_anew(&mut self, slave: SlaveId) {
        for state in self.known.values_mut() {
            state.waiting.remove(&slave);
        }
    }

    /// Leases what there is.
    pub(crate) fn lease(&mut self, fleet: &Fleet, settings: &Settings, out: &mut Out) {
        let mut next: Option<Time> = None;
        for (name, state) in &mut self.known {
            let Some(limit) = settings.named(name) else {
                // The settings have changed.
                state.waiting.clear();
                continue;
            };
            state.waiting.retain(|slave, _| fleet.is_joined(*slave));
            let from = self.since.filter(|_| limit.punished);
            let from = from.map(|since| since.after(limit.span()));
            if let Some(from) = from.filter(|from| *from > out.now)
                && !state.waiting.is_empty()
                && !mutant!("named-forgotten")
            {
                next = Some(next.map_or(from, |next| next.min(from)));
                continue;
            }
            state.lease(name, limit, out);
            if !state.waiting.is_empty()
                && let Some(&(at, _)) = state.leased.front()
            {
                let at = at.after(limit.span());
                next = Some(next.map_or(at, |next| next.min(at)));
            }
        }
        self.known
            .retain(|_, state| !state.waiting.is_empty() || !state.leased.is_empty());
        match next {
            Some(at) => out.start(Timer::Named, at.since(out.now)),
            None => out.stop(Timer::Named),
        }
    }
}

impl State {
    fn lease(&mut self, name: &str, limit: &NamedLimit, out: &mut Out) {
        while let Some(&(at, _)) = self.leased.front()
            && at.after(limit.span()) <= out.now
        {
            self.leased.pop_front();
        }
        let leased: u32 = self.leased.iter().map(|(_, count)| count).sum();
        let mut left = limit.count.saturating_sub(leased);
        let (mut given, before) = (BTreeMap::<SlaveId, u32>::new(), left);
        // One at a time, in turns: nobody waits for somebody who wants very many.
        while left > 0 {
            let Some(slave) = self.next() else {
                break;
            };
            self.last = Some(slave);
            *given.entry(slave).or_default() += 1;
            left -= 1;
            if let Some(wants) = self.waiting.get_mut(&slave) {
                *wants -= 1;
                if *wants == 0 {
                    self.waiting.remove(&slave);
                }
            }
        }
        if left < before && !mutant!("named-without-window") {
            self.leased.push_back((out.now, before - left));
        }
        for (slave, count) in given {
            let leased = PermitsLeased {
                name: name.to_owned(),
                count,
                valid_ms: u64::try_from(VALID.as_millis()).unwrap_or(u64::MAX),
            };
            out.send(slave, ToSlave::PermitsLeased(leased));
        }
    }

    /// Whose turn it is.
    fn next(&self) -> Option<SlaveId> {
        let after = |last: SlaveId| {
            let behind = (std::ops::Bound::Excluded(last), std::ops::Bound::Unbounded);
            self.waiting.range(behind).next()
        };
        let next = self.last.and_then(after).or(self.waiting.first_key_value());
        next.map(|(slave, _)| *slave)
    }
}
