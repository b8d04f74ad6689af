//! The bot of this process: knows its guilds, writes down what is finished.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use baton_slave::{
    Ack, Bot, Builder, Event, Mark, ShardHandle, StateStatus, cache::Cache, store::Guilds,
    twilight_model::id::Id,
};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{chosen::Chosen, sink::Sink};

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Relay {
    known: Known,
    sink: Sink,
    habits: Habits,
    handed: AtomicU64,
}

/// What it knows of guilds.
#[derive(Clone, Debug)]
pub(crate) enum Known {
    Cache(Arc<Cache>),
    Store(Guilds),
}

/// How much that is.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Counts {
    guilds: usize,
    users: usize,
    members: usize,
}

impl Known {
    /// Has a slave keep it.
    pub(crate) fn given_to(&self, builder: Builder) -> Builder {
        match self {
            Self::Cache(cache) => builder.state(Arc::clone(cache)),
            Self::Store(store) => builder.store(store.clone()),
        }
    }

    /// The GUILD_CREATE of a guild; `None`: it is not known.
    pub(crate) fn guild_create(&self, guild: u64) -> Option<Vec<u8>> {
        match self {
            Self::Cache(cache) => cache.guild_create(guild),
            Self::Store(store) => {
                let guild = store.guild_create(Id::new_checked(guild)?)?;
                Some(guild.into_bytes())
            }
        }
    }

    /// How much it knows. It takes time in proportion to the guilds of a store, and is for a
    /// thread that may block.
    pub(crate) fn counts(&self) -> Counts {
        match self {
            Self::Cache(cache) => {
                let stats = cache.inner().stats();
                Counts {
                    guilds: stats.guilds(),
                    users: stats.users(),
                    members: stats.members(),
                }
            }
            Self::Store(store) => {
                let mut counts = Counts::default();
                for shard in store.shards() {
                    let view = store.shard(shard).and_then(|store| store.view().ok());
                    let Some(view) = view else {
                        continue;
                    };
                    let available = view.guilds().filter(|guild| guild.available);
                    for guild in available {
                        counts.guilds += 1;
                        counts.members += usize::try_from(guild.members).unwrap_or(0);
                    }
                    counts.users += view.user_count();
                }
                counts
            }
        }
    }
}

/// What it does with events.
#[derive(Debug)]
pub(crate) struct Habits {
    /// How long each of them takes.
    pub(crate) handler: Duration,
    /// Whether payloads are written too.
    pub(crate) body: bool,
    /// The process dies of this one.
    pub(crate) dies_of: Option<Chosen>,
    /// This one is never finished: its [`Ack`] is leaked.
    pub(crate) keeps: Option<Chosen>,
}

impl Habits {
    /// Whether it kills, and does not come as one that does.
    fn kills(&self, event: &Event) -> bool {
        let dies_of = self.dies_of.as_ref();
        dies_of.is_some_and(|chosen| chosen.is(event) && !event.is_deadly())
    }

    fn keeps(&self, event: &Event) -> bool {
        self.keeps.as_ref().is_some_and(|chosen| chosen.is(event))
    }
}

/// What is written down of a finished event. The times are microseconds of the
/// host's monotonic clock, which every process of the host shares.
#[derive(Serialize)]
pub(crate) struct Finished<'e> {
    shard: u32,
    epoch: u64,
    session: &'e str,
    seq: u64,
    #[serde(rename = "type")]
    kind: &'e str,
    /// Counts what this process handed out, in that order.
    n: u64,
    handed_us: u64,
    finished_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    mark: Option<&'static str>,
    /// The payload's `d`, where it is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    d: Option<&'e RawValue>,
}

#[derive(Serialize)]
struct StateLine<'s> {
    shard: u32,
    epoch: u64,
    session: &'s str,
    what: &'static str,
    state: &'static str,
}

impl Relay {
    pub(crate) fn new(known: Known, sink: Sink, habits: Habits) -> Self {
        Self {
            known,
            sink,
            habits,
            handed: AtomicU64::new(0),
        }
    }

    pub(crate) const fn known(&self) -> &Known {
        &self.known
    }

    pub(crate) const fn sink(&self) -> &Sink {
        &self.sink
    }
}

impl Bot for Relay {
    fn handle(&self, event: Event, ack: Ack, _shard: &ShardHandle) {
        if self.habits.kills(&event) {
            std::process::abort();
        }
        if self.habits.keeps(&event) {
            std::mem::forget(ack);
            return;
        }
        let n = self.handed.fetch_add(1, Ordering::Relaxed);
        let handed_us = now_us();
        let (sink, body) = (self.sink.clone(), self.habits.body);
        let handler = self.habits.handler;
        if handler.is_zero() {
            write(&sink, &event, n, handed_us, body, Some(ack));
            return;
        }
        tokio::spawn(async move {
            tokio::time::sleep(handler).await;
            write(&sink, &event, n, handed_us, body, Some(ack));
        });
    }

    fn state_changed(&self, shard: &ShardHandle, status: StateStatus) {
        let line = StateLine {
            shard: shard.shard().get(),
            epoch: shard.epoch().get(),
            session: &shard.session(),
            what: "state",
            state: match status {
                StateStatus::Complete => "complete",
                StateStatus::Lost => "lost",
            },
        };
        self.sink.write(&line, None);
    }
}

/// Writes down that an event is finished.
fn write(sink: &Sink, event: &Event, n: u64, handed_us: u64, body: bool, ack: Option<Ack>) {
    line(event, n, handed_us, body, |line| sink.write(line, ack));
}

/// The same of an event that is handed out now.
pub(crate) fn record<T>(
    event: &Event,
    n: u64,
    body: bool,
    write: impl FnOnce(&Finished<'_>) -> T,
) -> T {
    line(event, n, now_us(), body, write)
}

fn line<T>(
    event: &Event,
    n: u64,
    handed_us: u64,
    body: bool,
    write: impl FnOnce(&Finished<'_>) -> T,
) -> T {
    let json = body.then(|| event.json_without_secret());
    write(&Finished {
        shard: event.shard().get(),
        epoch: event.epoch().get(),
        session: event.session(),
        seq: event.sequence().get(),
        kind: event.kind(),
        n,
        handed_us,
        finished_us: now_us(),
        mark: match event.mark() {
            Mark::None => None,
            Mark::MayRepeat => Some("may_repeat"),
        },
        d: json.as_deref().and_then(data),
    })
}

fn data(json: &str) -> Option<&RawValue> {
    #[derive(serde::Deserialize)]
    struct Payload<'j> {
        #[serde(borrow)]
        d: &'j RawValue,
    }
    serde_json::from_str::<Payload<'_>>(json)
        .ok()
        .map(|payload| payload.d)
}

fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000 + now.tv_nsec.cast_unsigned() / 1000
}

#[cfg(test)]
mod tests {
    use baton_slave::{Sequence, ShardId};

    use super::*;
    use crate::sink::{Target, open};

    #[tokio::test]
    async fn a_payload_is_written_as_it_came_and_the_session_id_of_ready_is_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("events");
        let sink = open(&Target::File(path.clone())).expect("a file");
        let d = r#"{"session_id":"s3cr3t","odd":[1.50]}"#;
        for kind in ["READY", "MESSAGE_CREATE"] {
            let json = format!(r#"{{"t":"{kind}","s":2,"op":0,"d":{d}}}"#);
            let event = Event::for_test(ShardId(0), Sequence(2), kind, &json);
            write(&sink, &event, 0, 0, true, None);
        }
        sink.finish().await;
        let text = std::fs::read_to_string(path).expect("the file");
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].ends_with(r#""d":{"session_id":"","odd":[1.50]}}"#),
            "{text}"
        );
        assert!(lines[1].ends_with(&format!("\"d\":{d}}}")), "{text}");
    }
}
