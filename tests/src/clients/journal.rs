//! What every client of a run received, when, and what it said to have received.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};

use crate::{
    demo::now_us,
    records::{Handled, Sent},
};

/// One session of one client: which of its lives, which shard, and how many READYs it had
/// before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Counts the processes of the bot, or what stands for one.
    pub life: u32,
    /// The shard.
    pub shard: u32,
    /// Counts its READYs.
    pub session: u32,
}

/// A dispatch that a client received.
#[derive(Clone, Debug)]
pub struct Received {
    /// Where.
    pub place: Place,
    /// When, in microseconds of the host's monotonic clock.
    pub at_us: u64,
    /// Its number at the client.
    pub sequence: u64,
    /// Its type.
    pub kind: Arc<str>,
    /// Discord's session, and its number there.
    pub stamp: (Arc<str>, u64),
    /// Whether it is a guild that follows READY: the state, perhaps, and not the event.
    pub greets: bool,
}

/// A client said that it has everything up to here.
#[derive(Clone, Copy, Debug)]
pub struct Said {
    /// Where.
    pub place: Place,
    /// When, as [`Received::at_us`].
    pub at_us: u64,
    /// The number at the client.
    pub sequence: u64,
}

/// See the [module](self). Clones are the same journal.
#[derive(Clone, Debug, Default)]
pub struct Journal(Arc<Mutex<Pages>>);

#[derive(Debug, Default)]
struct Pages {
    received: Vec<Received>,
    said: Vec<Said>,
    /// From here on what was said shortly before may not have been heard.
    breaks: BTreeSet<u64>,
    readies: BTreeMap<(u32, u32), u32>,
    /// What each life says that it is.
    versions: BTreeMap<u32, String>,
    strange: Vec<String>,
}

impl Journal {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session begins, and is the one that is told of from now on.
    pub fn begins(&self, life: u32, shard: u32) -> Place {
        let mut pages = self.pages();
        let session = pages.readies.entry((life, shard)).or_default();
        *session += 1;
        Place {
            life,
            shard,
            session: *session,
        }
    }

    /// Sessions that began in a life, on all its shards.
    #[must_use]
    pub fn readies(&self, life: u32) -> u32 {
        let pages = self.pages();
        let of = pages.readies.iter().filter(|((of, _), _)| *of == life);
        of.map(|(_, count)| count).sum()
    }

    /// A dispatch came.
    pub fn received(&self, received: Received) {
        self.pages().received.push(received);
    }

    /// A client has said so.
    pub fn said(&self, place: Place, sequence: u64) {
        let at_us = now_us();
        self.pages().said.push(Said {
            place,
            at_us,
            sequence,
        });
    }

    /// Something ended that may have had words on their way: a client, a connection, a
    /// process.
    pub fn breaks(&self) {
        self.breaks_at(now_us());
    }

    /// The same, at another time.
    pub fn breaks_at(&self, at_us: u64) {
        self.pages().breaks.insert(at_us);
    }

    /// Something came that Discord would not send.
    pub fn strange(&self, what: String) {
        let mut pages = self.pages();
        if pages.strange.len() < 100 {
            pages.strange.push(what);
        }
    }

    /// All of that.
    #[must_use]
    pub fn all_strange(&self) -> Vec<String> {
        self.pages().strange.clone()
    }

    /// Whether a life has received this dispatch of Discord's session, or one behind it.
    #[must_use]
    pub fn has_reached(&self, life: u32, session: &str, number: u64) -> bool {
        let pages = self.pages();
        let mut latest = pages.received.iter().rev();
        latest.any(|it| it.place.life == life && &*it.stamp.0 == session && it.stamp.1 >= number)
    }

    /// A life says which version of what it is.
    pub fn is_version(&self, life: u32, version: &str) {
        self.pages().versions.insert(life, version.to_owned());
    }

    /// All of it, one line of JSON for each word, for a person who looks for a fault.
    #[must_use]
    pub fn lines(&self) -> String {
        let pages = self.pages();
        let place = |place: &Place| json!([place.life, place.shard, place.session]);
        let received = pages.received.iter().map(|it| {
            let stamp = format!("{}:{}", it.stamp.0, it.stamp.1);
            json!({"at_us": it.at_us, "place": place(&it.place), "s": it.sequence,
                "t": &*it.kind, "stamp": stamp, "greets": it.greets})
        });
        let said = pages
            .said
            .iter()
            .map(|it| json!({"at_us": it.at_us, "place": place(&it.place), "said": it.sequence}));
        let breaks = pages.breaks.iter();
        let breaks = breaks.map(|at_us| json!({"at_us": at_us, "breaks": true}));
        let mut lines: Vec<_> = received.chain(said).chain(breaks).collect();
        lines.sort_by_key(|line| line["at_us"].as_u64());
        let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        lines.join("\n")
    }

    /// What it said.
    #[must_use]
    pub fn version(&self, life: u32) -> Option<String> {
        self.pages().versions.get(&life).cloned()
    }

    /// Guilds that came as the state of a beginning, by the event that they were then.
    #[must_use]
    pub fn greetings(&self) -> BTreeSet<(Arc<str>, u64)> {
        let pages = self.pages();
        let greets = pages.received.iter().filter(|it| it.greets);
        greets.map(|it| it.stamp.clone()).collect()
    }

    /// Every event that was received, as the checker takes it. A repeat is marked if none of
    /// the places where it was received before has acknowledged it: not, or so shortly before
    /// a break that nobody may have heard it. Its lives stand in the place of epochs.
    #[must_use]
    pub fn handled(&self, late_us: u64) -> Vec<Handled> {
        let pages = self.pages();
        let mut before: BTreeMap<(Arc<str>, u64), Vec<&Received>> = BTreeMap::new();
        let mut handled = Vec::with_capacity(pages.received.len());
        let events = pages.received.iter().filter(|it| !it.greets);
        let mut in_time: Vec<&Received> = events.collect();
        in_time.sort_by_key(|it| it.at_us);
        for (n, it) in in_time.into_iter().enumerate() {
            let earlier = before.entry(it.stamp.clone()).or_default();
            let is_excused = !earlier.is_empty()
                && earlier
                    .iter()
                    .all(|before| !pages.is_acknowledged(before, it.at_us, late_us));
            earlier.push(it);
            handled.push(Handled {
                pid: it.place.life,
                shard: it.place.shard,
                epoch: u64::from(it.place.life),
                session: Arc::clone(&it.stamp.0),
                seq: it.stamp.1,
                kind: Arc::clone(&it.kind),
                n: n as u64,
                handed_us: it.at_us,
                finished_us: it.at_us,
                mark: is_excused.then(|| "unacknowledged".into()),
            });
        }
        handled
    }
}

impl Pages {
    /// Whether it was said to be received, and heard before `until`.
    fn is_acknowledged(&self, it: &Received, until: u64, late_us: u64) -> bool {
        let of = |said: &&Said| {
            said.place == it.place && said.sequence >= it.sequence && said.at_us < until
        };
        let is_heard = |said: &Said| {
            let end = said.at_us.saturating_add(late_us).min(until);
            self.breaks.range(said.at_us..=end).next().is_none()
        };
        self.said.iter().filter(of).any(is_heard)
    }
}

/// What of the ledger a client has to receive: not the beginning of Discord's own sessions.
/// A client has READY and the guilds as its gateway tells them. Nor a guild that came back,
/// where a client's [beginning](Journal::greetings) had it: the client cannot tell the two
/// apart.
#[must_use]
pub fn for_clients(sent: &[Sent], greetings: &BTreeSet<(Arc<str>, u64)>) -> Vec<Sent> {
    let mut named = BTreeSet::new();
    let mut is_event = |dispatch: &Sent| {
        let guild = (Arc::clone(&dispatch.session), Arc::clone(&dispatch.guild));
        let is_state = &*dispatch.kind == "GUILD_CREATE"
            && (named.insert(guild) || greetings.contains(&dispatch.key()));
        &*dispatch.kind != "READY" && !is_state
    };
    let events = sent.iter().filter(|dispatch| is_event(dispatch));
    events.cloned().collect()
}

/// What was received of that.
#[must_use]
pub fn of_those(handled: Vec<Handled>, sent: &[Sent], all: &[Sent]) -> Vec<Handled> {
    let wanted: BTreeSet<_> = sent.iter().map(Sent::key).collect();
    let known: BTreeSet<_> = all.iter().map(Sent::key).collect();
    let is_part_of_it = |event: &Handled| {
        let key = event.key();
        // What was never sent is to be found out.
        wanted.contains(&key) || !known.contains(&key)
    };
    handled.into_iter().filter(is_part_of_it).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::Exactness;

    const HERE: Place = Place {
        life: 1,
        shard: 0,
        session: 1,
    };

    fn sent(upto: u64) -> Vec<Sent> {
        (1..=upto)
            .map(|seq| Sent {
                shard: 0,
                session: "s".into(),
                seq,
                kind: "MESSAGE_CREATE".into(),
                created_us: seq,
                guild: "1".into(),
            })
            .collect()
    }

    fn came(journal: &Journal, life: u32, at_us: u64, seq: u64) {
        journal.received(Received {
            place: Place { life, ..HERE },
            at_us,
            sequence: seq + 10,
            kind: "MESSAGE_CREATE".into(),
            stamp: ("s".into(), seq),
            greets: false,
        });
    }

    fn says(journal: &Journal, at_us: u64, seq: u64) {
        journal.pages().said.push(Said {
            place: HERE,
            at_us,
            sequence: seq + 10,
        });
    }

    fn judged(journal: &Journal) -> Exactness {
        Exactness::of(&sent(3), &journal.handled(100))
    }

    #[test]
    fn a_client_that_received_each_event_once_in_order_is_exact() {
        let journal = Journal::default();
        (1..=3).for_each(|seq| came(&journal, 1, seq * 10, seq));
        assert!(judged(&journal).is_exact());
    }

    #[test]
    fn a_repeat_is_excused_only_where_nobody_had_acknowledged_it() {
        let repeated = |act: &dyn Fn(&Journal)| {
            let journal = Journal::default();
            (1..=2).for_each(|seq| came(&journal, 1, seq * 10, seq));
            act(&journal);
            (2..=3).for_each(|seq| came(&journal, 2, 1000 + seq, seq));
            let verdict = judged(&journal);
            assert_eq!((verdict.lost, verdict.out_of_order), (0, 0));
            (verdict.duplicated, verdict.marked)
        };
        assert_eq!(repeated(&|_| {}), (0, 1));
        assert_eq!(repeated(&|journal| says(journal, 30, 1)), (0, 1));
        assert_eq!(repeated(&|journal| says(journal, 30, 2)), (1, 0));
        // It was on its way when the client was killed.
        let cut = |journal: &Journal| {
            says(journal, 30, 2);
            journal.breaks_at(90);
        };
        assert_eq!(repeated(&cut), (0, 1));
        let long_ago = |journal: &Journal| {
            says(journal, 30, 2);
            journal.breaks_at(200);
        };
        assert_eq!(repeated(&long_ago), (1, 0));
    }

    #[test]
    fn what_the_older_of_two_clients_gets_behind_the_newer_one_is_out_of_order() {
        let journal = Journal::default();
        came(&journal, 1, 10, 1);
        came(&journal, 2, 20, 2);
        came(&journal, 1, 30, 3);
        assert_eq!(judged(&journal).out_of_order, 1);
    }
}
