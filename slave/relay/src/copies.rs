//! Ends that get each event at most once, beside what finishes it: they never hold an event
//! up, and what finds no room is dropped and counted.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use baton_sink::{Address, Dispatch, Zmq};
use baton_slave::{Ack, Bot, Error, Event, Settling, ShardHandle, ShardId, StateStatus};
use serde_json::{Value, json};

use crate::{
    relay::record,
    sink::{self, Sink, Target},
};

/// Where copies go.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// Standard output, or a file.
    Lines(Target),
    /// Subscribers of ZeroMQ.
    Zmq(Address),
}

impl Place {
    /// Reads `stdout`, `file:PATH` or `zmq://HOST:PORT`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("zmq://") {
            let address = Address::parse(text).map_err(|error| format!("copy: {error}"))?;
            return Ok(Self::Zmq(address));
        }
        match Target::parse(text) {
            Ok(target @ (Target::Stdout | Target::File(_))) => Ok(Self::Lines(target)),
            Ok(Target::None) | Err(_) => Err(
                "copy: give stdout, file:PATH, or zmq://HOST:PORT; a broker is a --sink".to_owned(),
            ),
        }
    }
}

/// What an envelope says of this fleet and this process.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// What topics begin with.
    pub(crate) name: String,
    /// This process.
    pub(crate) gateway: String,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Copies(Vec<End>);

#[derive(Debug)]
struct End {
    /// As it was given.
    name: String,
    to: To,
}

#[derive(Debug)]
enum To {
    Lines {
        sink: Sink,
        copied: AtomicU64,
        dropped: AtomicU64,
    },
    Zmq(Zmq),
}

impl Copies {
    /// Opens every end.
    pub(crate) fn open(places: Vec<Place>, names: &Names) -> Result<Self, Error> {
        let opened = places.into_iter().map(|place| -> Result<End, Error> {
            Ok(match place {
                Place::Lines(target) => End {
                    name: match &target {
                        Target::File(path) => format!("file:{}", path.display()),
                        Target::Stdout | Target::None => "stdout".to_owned(),
                    },
                    to: To::Lines {
                        sink: sink::open(&target)?,
                        copied: AtomicU64::new(0),
                        dropped: AtomicU64::new(0),
                    },
                },
                Place::Zmq(address) => {
                    let started = Zmq::start(&address, &names.name, &names.gateway);
                    let started = started.map_err(|error| Error::Config(format!("copy: {error}")));
                    End {
                        name: address.to_string(),
                        to: To::Zmq(started?),
                    }
                }
            })
        });
        opened.collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&self, event: &Event, shard: &ShardHandle, n: u64, body: bool) {
        for copy in &self.0 {
            match &copy.to {
                To::Lines {
                    sink,
                    copied,
                    dropped,
                } => {
                    let taken = record(event, n, body, |line| sink.offer(line));
                    let count = if taken { copied } else { dropped };
                    count.fetch_add(1, Ordering::Relaxed);
                }
                To::Zmq(zmq) => zmq.publish(&Dispatch::of(event, shard)),
            }
        }
    }

    /// Waits until every line is written, at most 5 s each.
    pub(crate) async fn finish(&self) {
        for copy in &self.0 {
            if let To::Lines { sink, .. } = &copy.to {
                sink.finish().await;
            }
        }
    }

    fn has_shards(&self, any: bool) {
        for copy in &self.0 {
            if let To::Zmq(zmq) = &copy.to {
                zmq.is_wanted(any);
            }
        }
    }

    /// What each got, and what it did not get.
    pub(crate) fn status(&self) -> Value {
        let ends = self.0.iter().map(|copy| {
            let (copied, dropped) = match &copy.to {
                To::Lines {
                    sink,
                    copied,
                    dropped,
                } => {
                    let (taken, lost) = (copied.load(Ordering::Relaxed), sink.lost());
                    let dropped = dropped.load(Ordering::Relaxed);
                    (taken.saturating_sub(lost), dropped + lost)
                }
                To::Zmq(zmq) => (zmq.sent(), zmq.dropped()),
            };
            json!({"to": copy.name, "copied": copied, "dropped": dropped})
        });
        Value::Array(ends.collect())
    }
}

/// A bot whose events are copied.
pub(crate) struct Copying {
    bot: Arc<dyn Bot>,
    copies: Arc<Copies>,
    body: bool,
    handed: AtomicU64,
    here: Mutex<BTreeSet<ShardId>>,
}

impl Copying {
    pub(crate) fn new(bot: Arc<dyn Bot>, copies: Arc<Copies>, body: bool) -> Self {
        Self {
            bot,
            copies,
            body,
            handed: AtomicU64::new(0),
            here: Mutex::default(),
        }
    }

    fn shards(&self, change: impl FnOnce(&mut BTreeSet<ShardId>)) {
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut here);
        self.copies.has_shards(!here.is_empty());
    }
}

impl Bot for Copying {
    fn handle(&self, event: Event, ack: Ack, shard: &ShardHandle) {
        if !self.copies.is_none() {
            let n = self.handed.fetch_add(1, Ordering::Relaxed);
            self.copies.take(&event, shard, n, self.body);
        }
        self.bot.handle(event, ack, shard);
    }

    fn state_changed(&self, shard: &ShardHandle, status: StateStatus) {
        self.shards(|here| {
            here.insert(shard.shard());
        });
        self.bot.state_changed(shard, status);
    }

    fn shard_leaves(&self, shard: &ShardHandle, settling: Settling) {
        self.shards(|here| {
            here.remove(&shard.shard());
        });
        self.bot.shard_leaves(shard, settling);
    }
}

#[cfg(test)]
mod tests {
    use baton_slave::Sequence;

    use super::*;

    #[tokio::test]
    async fn each_end_gets_each_event_once_and_is_counted() {
        let dir = tempfile::tempdir().expect("a folder");
        let paths = ["a", "b"].map(|name| dir.path().join(name));
        let places = paths
            .iter()
            .map(|path| Place::Lines(Target::File(path.clone())));
        let names = Names {
            name: "baton".to_owned(),
            gateway: "one".to_owned(),
        };
        let copies = Copies::open(places.collect(), &names).expect("two files");
        let (shard, _commands) = ShardHandle::for_test();
        for sequence in 1..=3 {
            let json =
                format!(r#"{{"t":"READY","s":{sequence},"op":0,"d":{{"session_id":"s3cr3t"}}}}"#);
            let event = Event::for_test(ShardId(0), Sequence(sequence), "READY", &json);
            copies.take(&event, &shard, sequence, true);
        }
        copies.finish().await;
        for path in &paths {
            let text = std::fs::read_to_string(path).expect("the file");
            assert_eq!(text.lines().count(), 3);
            assert!(!text.contains("s3cr3t"), "{text}");
        }
        let status = copies.status();
        assert_eq!(
            (&status[0]["copied"], &status[1]["dropped"]),
            (&json!(3), &json!(0))
        );
    }
}
