//! Commands of workers: a stream for each shard, of which an entry is removed when its command
//! is settled. So what is in it is what is to be done, and whoever owns the shard begins at its
//! first entry. An owner of an older epoch is told that there is another one.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use baton_slave::Epoch;
use bytes::Bytes;
use redis::{ErrorKind, RedisError, Script, ServerErrorKind, aio::MultiplexedConnection};
use tokio::{sync::Notify, time::sleep};

use super::{Redis, connect};
use crate::commands::{
    Keep, Letter, Place, Queue, Queues, Settlement, Taken, Wishes, WorkQueue, letter::is_place,
    shards_for,
};

/// Commands that are fetched at once.
const BATCH: usize = 16;
/// A look for new commands lasts so long: those of a shard that comes meanwhile wait as long.
const LOOKS: usize = 100;
/// How often what does not work is tried again.
const AGAIN: Duration = Duration::from_millis(500);
/// Dead letters, and answers at one place, at most: the oldest make room.
const DEAD: usize = 10_000;
const ANSWERS: usize = 1_000;
/// Answers that nobody reads are gone after so many seconds.
const ANSWERED: usize = 3_600;

/// Names and values of an entry.
type Fields = Vec<(String, Vec<u8>)>;
/// Entries, with their ids.
pub(super) type Entries = Vec<(String, Fields)>;

/// Queues that were empty, behind which entry, and what rings when there is another one.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<BTreeMap<Place, (String, Arc<Notify>)>>);

/// Scripts of commands.
pub(super) struct Scripts {
    take: Script,
    sort: Script,
}

/// The queue of a shard.
pub(crate) struct Stream {
    redis: Arc<Redis>,
    place: Place,
    epoch: Epoch,
    /// The last entry that was fetched.
    last: String,
    fetched: VecDeque<Taken<InHand>>,
    rings: Arc<Notify>,
}

/// A command.
pub(crate) struct InHand {
    redis: Arc<Redis>,
    key: String,
    id: String,
    fields: Fields,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            take: Script::new(include_str!("take.lua")),
            sort: Script::new(include_str!("sort.lua")),
        }
    }
}

impl Waiting {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<Place, (String, Arc<Notify>)>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn ring_all(&self) {
        for (_, rings) in self.with(std::mem::take).into_values() {
            rings.notify_one();
        }
    }
}

impl Redis {
    /// The connection, and its number.
    pub(super) fn connection(&self) -> Result<(MultiplexedConnection, u64), String> {
        self.link.get().ok_or_else(|| "not connected".to_owned())
    }

    /// What an error says; a connection that does not work is made anew.
    pub(super) fn fails(&self, error: &RedisError, number: u64) -> String {
        let kind = error.kind();
        let is_replica = kind == ErrorKind::Server(ServerErrorKind::ReadOnly);
        if is_replica || !matches!(kind, ErrorKind::Server(_)) {
            self.link.lose(number);
        }
        error.to_string()
    }

    fn commands_of(&self, last: &str) -> String {
        format!("{}:commands:{last}", self.config.name)
    }

    /// A connection on which nothing but long looks is under way.
    async fn looks(&self) -> Result<MultiplexedConnection, RedisError> {
        connect(&self.client, self.config.timings).await
    }

    /// Rings where there is something new, for ever.
    pub(super) async fn look_for_commands(self: Arc<Self>) {
        loop {
            if let Ok(mut connection) = self.looks().await {
                while self.look_once(&mut connection).await.is_ok() {}
            }
            // They ask for themselves whether there is something.
            self.waiting.ring_all();
            sleep(AGAIN).await;
        }
    }

    async fn look_once(&self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let asked: Vec<_> = self.waiting.with(|waiting| {
            let all = waiting.iter();
            all.map(|(place, (last, _))| (*place, last.clone()))
                .collect()
        });
        if asked.is_empty() {
            sleep(Duration::from_millis(LOOKS as u64)).await;
            return Ok(());
        }
        let mut look = redis::cmd("XREAD");
        look.arg("COUNT").arg(1).arg("BLOCK").arg(LOOKS);
        look.arg("STREAMS");
        let key = |place: &Place| self.key("commands", *place);
        for (place, _) in &asked {
            look.arg(key(place));
        }
        for (_, last) in &asked {
            look.arg(last);
        }
        let found: Option<Vec<(String, Entries)>> = look.query_async(connection).await?;
        for (found, _) in found.unwrap_or_default() {
            let place = asked.iter().find(|(place, _)| key(place) == found);
            let rings = place.and_then(|(place, _)| self.waiting.with(|all| all.remove(place)));
            if let Some((_, rings)) = rings {
                rings.notify_one();
            }
        }
        Ok(())
    }
}

impl Queues for Redis {
    type Queue = Stream;

    async fn claim(&self, queue: WorkQueue) -> Result<Epoch, String> {
        let (mut connection, number) = self.connection()?;
        let mut next = redis::cmd("INCR");
        next.arg(self.key("owner", Place::Work(queue)));
        let claimed: Result<u64, RedisError> = next.query_async(&mut connection).await;
        let claimed = claimed.map_err(|error| self.fails(&error, number));
        claimed.map(Epoch)
    }

    async fn open(self: &Arc<Self>, place: Place, epoch: Epoch) -> Result<Stream, String> {
        let mut stream = Stream {
            redis: Arc::clone(self),
            place,
            epoch,
            last: "0-0".to_owned(),
            fetched: VecDeque::new(),
            rings: Arc::new(Notify::new()),
        };
        stream.fetch().await?;
        Ok(stream)
    }

    async fn sort(self: Arc<Self>, shards: u32) {
        loop {
            if let Err(error) = self.sort_all(shards).await {
                tracing::debug!(error, "commands for any shard wait");
            }
            sleep(AGAIN).await;
        }
    }
}

impl Redis {
    async fn sort_all(self: &Arc<Self>, shards: u32) -> Result<(), String> {
        let text = |error: RedisError| error.to_string();
        let mut looks = self.looks().await.map_err(text)?;
        let any = self.commands_of("any");
        loop {
            let mut look = redis::cmd("XREAD");
            look.arg("COUNT").arg(BATCH).arg("BLOCK").arg(10 * LOOKS);
            look.arg("STREAMS").arg(&any).arg("0-0");
            let found: Option<Vec<(String, Entries)>> =
                look.query_async(&mut looks).await.map_err(text)?;
            let found = found.unwrap_or_default();
            for (id, fields) in found.into_iter().flat_map(|(_, entries)| entries) {
                let payload = fields.iter().find(|(name, _)| name == "payload");
                let payload = payload.map_or(&[][..], |(_, payload)| payload);
                match shards_for(payload, shards) {
                    Ok(all) => {
                        // Only the first one is moved, by whoever is first.
                        let mut call = self.scripts.sort.key(&any);
                        for shard in all {
                            call.key(self.key("commands", Place::Shard(shard)));
                        }
                        call.arg(&id);
                        let moved: Result<u64, _> = call.invoke_async(&mut looks).await;
                        moved.map_err(text)?;
                    }
                    Err(reason) => {
                        let letter = InHand {
                            redis: Arc::clone(self),
                            key: any.clone(),
                            id,
                            fields,
                        };
                        letter.settle(Settlement::of_no_shard(reason)).await?;
                    }
                }
            }
        }
    }
}

impl Stream {
    /// What is there behind the last one. `false`: nothing.
    async fn fetch(&mut self) -> Result<bool, String> {
        let (mut connection, number) = self.redis.connection()?;
        let key = self.redis.key("commands", self.place);
        let mut call = self.redis.scripts.take.key(&key);
        call.key(self.redis.key("owner", self.place));
        call.arg(self.epoch.get()).arg(&self.last).arg(BATCH);
        let answer: Result<(String, u64, Entries), RedisError> =
            call.invoke_async(&mut connection).await;
        let (said, now, entries) = answer.map_err(|error| self.redis.fails(&error, number))?;
        if said == "fenced" {
            return Err("a newer owner takes from this queue".to_owned());
        }
        for (id, fields) in entries {
            self.last.clone_from(&id);
            let letter = InHand {
                redis: Arc::clone(&self.redis),
                key: key.clone(),
                id,
                fields,
            };
            self.fetched.push_back(letter.taken(now));
        }
        Ok(!self.fetched.is_empty())
    }
}

impl Queue for Stream {
    type Letter = InHand;

    const KEPT: Option<Duration> = None;

    async fn next(&mut self) -> Result<Taken<InHand>, String> {
        loop {
            if let Some(taken) = self.fetched.pop_front() {
                return Ok(taken);
            }
            if !self.fetch().await? {
                let waits = (self.last.clone(), Arc::clone(&self.rings));
                let waiting = &self.redis.waiting;
                waiting.with(|waiting| waiting.insert(self.place, waits));
                self.rings.notified().await;
            }
        }
    }

    /// They are in the stream.
    async fn leave(self, _: Vec<InHand>) {}
}

impl InHand {
    /// `now`: the broker's time in milliseconds.
    fn taken(self, now: u64) -> Taken<Self> {
        let text = |name: &str| {
            let field = self.fields.iter().find(|(field, _)| field == name);
            field.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        let came = self.id.split_once('-').map_or("", |(ms, _)| ms);
        let came = text("baton-sent").unwrap_or_else(|| came.to_owned());
        let came = came.parse::<u64>().unwrap_or(now);
        let payload = self.fields.iter().find(|(field, _)| field == "payload");
        let payload = payload.map(|(_, payload)| Bytes::copy_from_slice(payload));
        Taken {
            id: Some(format!("{}/{}", self.key, self.id)),
            is_named: true,
            // It is not said.
            is_again: true,
            age: Duration::from_millis(now.saturating_sub(came)),
            payload: payload.unwrap_or_default(),
            wishes: Wishes::read(text),
            letter: self,
        }
    }
}

impl Letter for InHand {
    async fn settle(self, how: Settlement) -> Result<Keep, String> {
        let name = &self.redis.config.name;
        let mut all = redis::pipe();
        all.atomic();
        if let Some(reason) = &how.refused {
            let dead = all.cmd("XADD").arg(format!("{name}:dead"));
            dead.arg("MAXLEN").arg("~").arg(DEAD).arg("*");
            for (field, value) in &self.fields {
                dead.arg(field).arg(value);
            }
            dead.arg("baton-from").arg(&self.key);
            dead.arg("baton-reason").arg(reason).ignore();
        }
        all.cmd("XDEL").arg(&self.key).arg(&self.id).ignore();
        let answer = self
            .fields
            .iter()
            .find(|(field, _)| field == "baton-answer");
        let answer = answer.map(|(_, place)| String::from_utf8_lossy(place).into_owned());
        if let Some(place) = answer.filter(|place| is_place(place, name, ':', &[])) {
            let answers = all.cmd("XADD").arg(&place);
            answers.arg("MAXLEN").arg("~").arg(ANSWERS).arg("*");
            answers.arg("answer").arg(how.answer()).ignore();
            all.cmd("EXPIRE").arg(&place).arg(ANSWERED).ignore();
        }
        let (mut connection, number) = self.redis.connection()?;
        let done: Result<(), RedisError> = all.query_async(&mut connection).await;
        done.map(|()| Keep::Nothing)
            .map_err(|error| self.redis.fails(&error, number))
    }

    async fn keep(&self) {}

    async fn give_back(self) {}
}
