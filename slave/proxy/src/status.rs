//! What a proxy says about itself.

use std::{
    collections::BTreeMap,
    fmt,
    ops::AddAssign,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use baton_protocol::{
    ShardId,
    message::{self, Absent, Behind, Clients, Library, Refusals, Waiting},
};
use serde::Serialize;
use tokio::time::Instant;

use crate::config::{Limits, Timings};

/// What a proxy says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Where it listens, or is to.
    pub address: String,
    /// Whether it does.
    pub listening: bool,
    /// Whether its socket was passed on to it ([`Proxy::start_on`](crate::Proxy::start_on)).
    pub passed: bool,
    /// Open connections, those that did not identify too.
    pub connections: usize,
    /// How much is kept for clients, and for how long.
    pub kept: Kept,
    /// Bytes of events that are not acknowledged, of all shards.
    pub open_bytes: usize,
    /// Bytes of all rings: of those, and of history.
    pub ring_bytes: usize,
    /// Connections that were closed, by code.
    pub closed: BTreeMap<u16, u64>,
    /// Connections and requests that were refused, ascending by code.
    pub refused: Vec<Refusals>,
    /// What happened since the proxy began, at shards that have left too.
    pub totals: Totals,
    /// Its shards, ascending.
    pub shards: Vec<ShardStatus>,
}

/// How much is kept for clients, and for how long. What is beyond it is given up, which is
/// logged and counted: see [`Totals::lost`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Bytes of events of one shard that are not acknowledged.
    pub ring_bytes: usize,
    /// The same, of all shards. Half of it is divided equally among the bot's shards.
    pub rings_bytes: usize,
    /// Bytes of acknowledged events of one shard. There are fewer where the others need room.
    pub history_bytes: usize,
    /// For how long without room nothing is given up, in milliseconds.
    pub full_ms: u64,
    /// For how long without a client, in milliseconds.
    pub away_ms: u64,
}

/// What was given up: events that no client received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct GivenUp {
    /// Why.
    pub reason: Reason,
    /// How many events.
    pub events: u64,
    /// Bytes of them.
    pub bytes: usize,
    /// How long ago, in milliseconds.
    pub ago_ms: u64,
}

/// Why events are given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// There was no room for what follows them, and no client acknowledged any.
    Full,
    /// No client came for them.
    Away,
    /// They came behind later events of their shard.
    Late,
}

/// What happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Events that came.
    pub events: u64,
    /// Sessions that clients began.
    pub sessions: u64,
    /// Of those, the ones that began while another client was connected.
    pub takeovers: u64,
    /// RESUMEs that went through.
    pub resumes: u64,
    /// RESUMEs that were refused.
    pub resumes_refused: u64,
    /// Events that RESUMEs replayed.
    pub replayed: u64,
    /// Events that no client received because they could not be kept longer.
    pub lost: u64,
    /// Events that passed by because no client came for too long.
    pub unattended: u64,
}

/// One shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ShardStatus {
    /// Which.
    pub shard: u32,
    /// Whether a client can begin.
    pub ready: bool,
    /// Those with a session, the primary first.
    pub clients: Vec<ClientStatus>,
    /// Events that are not acknowledged.
    pub open: u64,
    /// Bytes of them.
    pub open_bytes: usize,
    /// Bytes of the ring: of those, and of history.
    pub bytes: usize,
    /// How long ago the oldest event came that is not acknowledged, in milliseconds; none:
    /// all are.
    pub oldest_ms: Option<u64>,
    /// For how long there has been no room and nothing was acknowledged, in milliseconds:
    /// nothing is taken from Discord meanwhile. None: there is room.
    pub full_ms: Option<u64>,
    /// For how long no client has been here, in milliseconds, where one is expected.
    pub away_ms: Option<u64>,
    /// No client came for too long: events pass by until one does.
    pub passes_by: bool,
    /// In how many milliseconds what is not acknowledged is given up, unless a client comes or
    /// acknowledges; none: it is not.
    pub gives_up_ms: Option<u64>,
    /// What was given up last.
    pub given_up: Option<GivenUp>,
    /// What happened since it came.
    #[serde(flatten)]
    pub totals: Totals,
}

/// One client's session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClientStatus {
    /// What it says it is.
    pub library: String,
    /// The name of a mirror.
    pub mirror: Option<String>,
    /// Whether it has a connection.
    pub connected: bool,
    /// Whether it says what it has handled.
    pub says_handled: bool,
    /// Whether READY and the guilds are behind it.
    pub greeted: bool,
    /// Events that it was not sent yet.
    pub unsent: u64,
    /// Events that it was sent and did not say it has received.
    pub unacknowledged: u64,
}

/// As it is said to a person.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "there was no room, and no client acknowledged any",
            Self::Away => "no client came",
            Self::Late => "it came behind later ones",
        })
    }
}

impl Kept {
    pub(crate) fn of(limits: &Limits, timings: &Timings) -> Self {
        Self {
            ring_bytes: limits.ring,
            rings_bytes: limits.rings,
            history_bytes: limits.history,
            full_ms: millis(timings.hold),
            away_ms: millis(timings.keep),
        }
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, more: Self) {
        self.events += more.events;
        self.sessions += more.sessions;
        self.takeovers += more.takeovers;
        self.resumes += more.resumes;
        self.resumes_refused += more.resumes_refused;
        self.replayed += more.replayed;
        self.lost += more.lost;
        self.unattended += more.unattended;
    }
}

impl Status {
    /// The same for a master: what of it may need a look is named, all else counted.
    pub(crate) fn report(&self) -> Clients {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let shards = &self.shards;
        let mut libraries: BTreeMap<&str, u64> = BTreeMap::new();
        let connected = shards.iter().flat_map(|shard| &shard.clients);
        for client in connected.filter(|client| client.connected) {
            *libraries.entry(&client.library).or_default() += 1;
        }
        let libraries = libraries.into_iter().map(|(name, clients)| Library {
            name: name.to_owned(),
            clients,
        });
        let keep_ms = self.kept.away_ms;
        // Where events pass by it is at least so long.
        let away = |shard: &ShardStatus| shard.away_ms.or(shard.passes_by.then_some(keep_ms));
        let unattended = shards.iter().filter(|shard| away(shard).is_some());
        let absent = shards.iter().filter_map(|shard| {
            Some(Absent {
                shard: ShardId(shard.shard),
                away_ms: away(shard)?,
                waiting: shard.open,
            })
        });
        let behind = shards.iter().flat_map(|shard| {
            let of_shard = shard.clients.iter();
            of_shard.map(|client| Behind {
                shard: ShardId(shard.shard),
                library: client.library.clone(),
                mirror: client.mirror.clone().unwrap_or_default(),
                connected: client.connected,
                unsent: client.unsent,
                // A mirror is not asked.
                unacknowledged: match client.mirror {
                    Some(_) => 0,
                    None => client.unacknowledged,
                },
            })
        });
        let before = |behind: &Behind| behind.unsent + behind.unacknowledged;
        let behind = behind.filter(|behind| before(behind) > 0);
        let waiting = shards.iter().filter_map(|shard| {
            Some(Waiting {
                shard: ShardId(shard.shard),
                events: shard.open,
                bytes: number(shard.open_bytes),
                oldest_ms: shard.oldest_ms?,
                full_ms: shard.full_ms,
                gives_up_ms: shard.gives_up_ms,
            })
        });
        // What is not given up comes behind what is.
        let soonest = |waiting: &Waiting| {
            let soon = u64::MAX - waiting.gives_up_ms.unwrap_or(u64::MAX);
            (soon, waiting.oldest_ms)
        };
        let given_up = shards.iter().filter_map(|shard| {
            let given_up = shard.given_up?;
            Some(message::GivenUp {
                shard: ShardId(shard.shard),
                reason: given_up.reason.to_string(),
                events: given_up.events,
                bytes: number(given_up.bytes),
                ago_ms: given_up.ago_ms,
            })
        });
        let fullest = shards.iter().max_by_key(|shard| shard.open_bytes);
        let fullest = fullest.map_or((0, 0), |shard| (shard.shard, shard.open_bytes));
        let unattended = number(unattended.count());
        Clients {
            address: self.address.clone(),
            listening: self.listening,
            passed: self.passed,
            connections: number(self.connections),
            libraries: most(libraries, |library| library.clients),
            attended: number(shards.len()) - unattended,
            unattended,
            absent: most(absent, |absent| absent.away_ms),
            behind: most(behind, before),
            kept_bytes: number(self.open_bytes),
            kept_limit: number(self.kept.rings_bytes),
            fullest_shard: ShardId(fullest.0),
            fullest_bytes: number(fullest.1),
            shard_limit: number(self.kept.ring_bytes),
            keep_ms,
            waiting: most(waiting, soonest),
            given_up: most(given_up, |given_up| u64::MAX - given_up.ago_ms),
            events: self.totals.events,
            sessions: self.totals.sessions,
            takeovers: self.totals.takeovers,
            resumes: self.totals.resumes,
            resumes_refused: self.totals.resumes_refused,
            replayed: self.totals.replayed,
            lost: self.totals.lost,
            passed_by: self.totals.unattended,
            refused: most(self.refused.iter().cloned(), |refused| refused.count),
        }
    }
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Those with most of something, the one with most first.
fn most<T, Of: Ord>(all: impl Iterator<Item = T>, of: impl Fn(&T) -> Of) -> Vec<T> {
    let mut all: Vec<T> = all.collect();
    all.sort_by_key(|one| std::cmp::Reverse(of(one)));
    all.truncate(Clients::MAX_NAMED);
    all
}

/// What was closed and refused, by code.
#[derive(Debug, Default)]
pub(crate) struct Ends(Mutex<BTreeMap<u16, Ended>>);

#[derive(Debug)]
struct Ended {
    count: u64,
    /// What the last one was told, and when.
    reason: String,
    at: Instant,
}

/// The end of a connection that nobody is refused by: the client may come again at once.
const NO_REFUSAL: u16 = 4000;

impl Ends {
    /// One more was closed with this code, or got this status of HTTP.
    pub(crate) fn count(&self, code: u16, reason: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = all.entry(code).or_insert_with(|| Ended {
            count: 0,
            reason: String::new(),
            at: Instant::now(),
        });
        ended.count += 1;
        ended.at = Instant::now();
        ended.reason.clear();
        let shown = reason.chars().filter(|c| !c.is_control());
        for c in shown {
            if ended.reason.len() + c.len_utf8() > Clients::MAX_TEXT {
                break;
            }
            ended.reason.push(c);
        }
    }

    /// How many there were of each code.
    pub(crate) fn counts(&self) -> BTreeMap<u16, u64> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .map(|(code, ended)| (*code, ended.count))
            .collect()
    }

    /// Those that were refusals.
    pub(crate) fn refused(&self) -> Vec<Refusals> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = all.iter().filter(|(code, _)| **code != NO_REFUSAL);
        let refused = refused.map(|(code, ended)| Refusals {
            code: *code,
            count: ended.count,
            reason: ended.reason.clone(),
            ago_ms: millis(ended.at.elapsed()),
        });
        refused.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn client(library: &str, unsent: u64) -> ClientStatus {
        ClientStatus {
            library: library.to_owned(),
            connected: true,
            unsent,
            ..ClientStatus::default()
        }
    }

    #[test]
    fn a_master_hears_what_needs_a_look_and_how_much_of_the_rest_there_is() {
        let shards = (0..100).map(|shard| {
            let away = shard >= 40;
            ShardStatus {
                shard,
                clients: Vec::from_iter((!away).then(|| client("hikari", u64::from(shard)))),
                away_ms: away.then_some(u64::from(shard)),
                open_bytes: if shard == 7 { 900 } else { 1 },
                ..ShardStatus::default()
            }
        });
        let status = Status {
            shards: shards.collect(),
            ..Status::default()
        };
        let report = status.report();
        assert_eq!((report.attended, report.unattended), (40, 60));
        assert_eq!(report.libraries[0].clients, 40);
        assert_eq!(report.absent.len(), Clients::MAX_NAMED);
        assert_eq!(report.absent[0].shard, ShardId(99));
        assert_eq!(report.behind[0].shard, ShardId(39));
        assert!(report.behind.iter().all(|behind| behind.unsent > 0));
        assert_eq!(
            (report.fullest_shard, report.fullest_bytes),
            (ShardId(7), 900)
        );
    }

    #[test]
    fn a_master_hears_first_of_what_is_given_up_soonest_and_then_of_what_is_oldest() {
        let shards = (0..40).map(|shard| ShardStatus {
            shard,
            open: 1,
            oldest_ms: Some(u64::from(shard)),
            gives_up_ms: [(3, 900), (5, 700)]
                .into_iter()
                .find_map(|(of, ms)| (of == shard).then_some(ms)),
            given_up: (shard < 2).then_some(GivenUp {
                reason: Reason::Away,
                events: 7,
                bytes: 70,
                ago_ms: 100 - u64::from(shard),
            }),
            ..ShardStatus::default()
        });
        let status = Status {
            shards: shards.collect(),
            ..Status::default()
        };
        let report = status.report();
        let waiting: Vec<_> = report.waiting.iter().map(|it| it.shard.get()).collect();
        assert_eq!(waiting[..4], [5, 3, 39, 38]);
        assert_eq!(waiting.len(), Clients::MAX_NAMED);
        assert_eq!(report.waiting[1].gives_up_ms, Some(900));
        let given_up = &report.given_up;
        assert_eq!((given_up.len(), given_up[0].shard), (2, ShardId(1)));
        assert_eq!(given_up[0].reason, "no client came");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_told_with_the_last_reason_and_its_age() {
        let ends = Ends::default();
        ends.count(4000, "moved");
        ends.count(4014, "once");
        ends.count(4014, &"\u{7}\u{e4}".repeat(100));
        tokio::time::advance(Duration::from_secs(2)).await;
        let refused = ends.refused();
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_eq!((refused[0].code, refused[0].count), (4014, 2));
        assert_eq!(refused[0].reason, "\u{e4}".repeat(64));
        assert_eq!(refused[0].ago_ms, 2000);
        assert_eq!(ends.counts()[&4000], 1);
    }
}
