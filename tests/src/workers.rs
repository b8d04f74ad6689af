//! A broker, and a worker behind it: the one of the guide as a process, and what it handled,
//! when.
//!
//! What it has handled is compared with the simulated Discord's ledger by the one checker, as
//! the records of a slave are. A worker that is killed between handling and acknowledging gets
//! an event again, and so does one whose broker forgot that: such deliveries are told apart
//! from an event that a broker has twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use baton_brokers::{Kind, Server, worker};
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    task::{JoinHandle, block_in_place, spawn_blocking},
};

use crate::{
    demo::now_us,
    error::{Error, Result},
    process::clean,
    records::{Handled, Sent},
};

/// A broker in a folder of its own.
///
/// # Errors
/// It is not installed, or does not start.
pub async fn server(kind: Kind) -> Result<Server> {
    let started = spawn_blocking(move || Server::start(kind)).await;
    let started = started.map_err(|error| Error::answer("broker", error))?;
    started.map_err(|error| Error::answer("broker", error))
}

/// Has a broker do something that takes time.
pub(crate) fn operate(
    act: impl FnOnce() -> std::result::Result<(), baton_brokers::Error>,
) -> Result<()> {
    block_in_place(act).map_err(|error| Error::answer("broker", error))
}

/// One event that a worker handled: its envelope, as far as it matters here.
#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "baton-shard")]
    shard: String,
    #[serde(rename = "baton-session")]
    session: Arc<str>,
    #[serde(rename = "baton-sequence")]
    sequence: String,
    #[serde(rename = "baton-type")]
    kind: Arc<str>,
    #[serde(rename = "baton-mark", default)]
    mark: Option<String>,
    /// Where it lies in the broker, if that says so.
    position: Option<Arc<str>>,
}

/// The same, and when it came.
#[derive(Clone, Debug)]
struct Came {
    /// Counts the processes of the worker.
    life: u32,
    at_us: u64,
    shard: u32,
    session: Arc<str>,
    seq: u64,
    kind: Arc<str>,
    is_marked: bool,
    position: Option<Arc<str>>,
}

/// The worker, in all of its lives. Dropped, it is killed.
#[derive(Debug)]
pub struct Worker {
    script: PathBuf,
    log: PathBuf,
    environment: Vec<(&'static str, String)>,
    lives: u32,
    process: Option<(Child, JoinHandle<()>)>,
    came: Arc<Mutex<Vec<Came>>>,
}

/// What a worker handled.
#[derive(Clone, Debug, Default)]
pub struct Work {
    /// Every event, as the checker takes it. The lives of the worker stand in the place of
    /// epochs. A mark of an event that came for the first time is left out: a worker does not
    /// know better, and its order counts.
    pub handled: Vec<Handled>,
    /// When an event was delivered again that the broker has once: the life before had it in
    /// hand as it was killed, or the broker did not write down that it was acknowledged. They
    /// are not among the others.
    pub redelivered: Vec<u64>,
}

impl Worker {
    /// Writes its program and its log into this folder, for a bot of so many shards. It does
    /// not run yet.
    ///
    /// # Errors
    /// Its library is not installed, or the folder cannot be written.
    pub fn new(server: &Server, shards: u32, folder: &Path) -> Result<Self> {
        let python = worker::of(server, shards).map_err(|error| Error::answer("broker", error))?;
        let script = folder.join("worker.py");
        let written = std::fs::write(&script, python.text);
        written.map_err(Error::io(format!("write {}", script.display())))?;
        Ok(Self {
            script,
            log: folder.join("worker.log"),
            environment: python.environment,
            lives: 0,
            process: None,
            came: Arc::default(),
        })
    }

    /// Starts it, for the first time or again.
    ///
    /// # Errors
    /// There is no Python.
    pub fn start(&mut self) -> Result<()> {
        self.lives += 1;
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&self.log);
        let log = log.map_err(Error::io(format!("open {}", self.log.display())))?;
        let mut command = Command::new("python3");
        clean(&mut command);
        command
            .arg(&self.script)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(log))
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(Error::io("start python3"))?;
        let output = child.stdout.take();
        let output = output.ok_or_else(|| Error::answer("worker", "it has no output"))?;
        let reads = tokio::spawn(read(output, self.lives, Arc::clone(&self.came)));
        self.process = Some((child, reads));
        Ok(())
    }

    /// `kill -9`. What it wrote before is read to the end.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub async fn kill(&mut self) -> Result<()> {
        let Some((mut child, reads)) = self.process.take() else {
            return Ok(());
        };
        child.kill().await.map_err(Error::io("kill a worker"))?;
        let _ = reads.await;
        Ok(())
    }

    /// Whether it ended by itself.
    pub fn is_over(&mut self) -> bool {
        let process = self.process.as_mut();
        process.is_some_and(|(child, _)| child.try_wait().is_ok_and(|code| code.is_some()))
    }

    /// Its errors.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// What it handled so far.
    #[must_use]
    pub fn work(&self) -> Work {
        work(&self.came())
    }

    fn came(&self) -> MutexGuard<'_, Vec<Came>> {
        self.came.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    /// What was sent and is not handled yet.
    pub fn lacks<'a>(&self, sent: &'a [Sent]) -> impl Iterator<Item = &'a Sent> + use<'a> {
        let handled: BTreeSet<_> = self.handled.iter().map(Handled::key).collect();
        sent.iter().filter(move |it| !handled.contains(&it.key()))
    }
}

fn work(came: &[Came]) -> Work {
    let mut work = Work::default();
    let mut before: BTreeMap<(&str, u64), Vec<&Came>> = BTreeMap::new();
    for (n, one) in came.iter().enumerate() {
        let earlier = before.entry((&one.session, one.seq)).or_default();
        let is_first = earlier.is_empty();
        let is_known = match &one.position {
            Some(_) => earlier.iter().any(|it| it.position == one.position),
            // Of a broker that does not say where an event lies, the next life of a worker
            // that was killed is believed.
            None => !is_first && one.is_marked && earlier.iter().all(|it| it.life < one.life),
        };
        earlier.push(one);
        if is_known {
            work.redelivered.push(one.at_us);
            continue;
        }
        work.handled.push(Handled {
            pid: one.life,
            shard: one.shard,
            epoch: u64::from(one.life),
            session: Arc::clone(&one.session),
            seq: one.seq,
            kind: Arc::clone(&one.kind),
            n: n as u64,
            handed_us: one.at_us,
            finished_us: one.at_us,
            mark: (one.is_marked && !is_first).then(|| "may-repeat".into()),
        });
    }
    work
}

/// Reads what a worker says, until it ends.
async fn read(output: impl AsyncRead + Unpin, life: u32, came: Arc<Mutex<Vec<Came>>>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let at_us = now_us();
        // Its threads write beside each other: a line may have two, and the next one none.
        let said = serde_json::Deserializer::from_str(&line).into_iter::<Envelope>();
        for one in said.filter_map(std::result::Result::ok) {
            let (Ok(shard), Ok(seq)) = (one.shard.parse(), one.sequence.parse()) else {
                continue;
            };
            let mut came = came.lock().unwrap_or_else(PoisonError::into_inner);
            came.push(Came {
                life,
                at_us,
                shard,
                session: one.session,
                seq,
                kind: one.kind,
                is_marked: one.mark.is_some(),
                position: one.position,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::{Exactness, Order};

    fn sent(upto: u64) -> Vec<Sent> {
        let sent = (1..=upto).map(|seq| Sent {
            shard: 0,
            session: "s".into(),
            seq,
            kind: "MESSAGE_CREATE".into(),
            created_us: seq,
            guild: (seq % 2 + 1).to_string().into(),
        });
        sent.collect()
    }

    fn judged(came: &[(u32, u64, bool)], upto: u64) -> (Exactness, usize) {
        let came: Vec<_> = (1..)
            .zip(came)
            .map(|(at_us, (life, seq, is_marked))| Came {
                life: *life,
                at_us,
                shard: 0,
                session: "s".into(),
                seq: *seq,
                kind: "MESSAGE_CREATE".into(),
                is_marked: *is_marked,
                position: None,
            })
            .collect();
        let work = work(&came);
        let exact = Exactness::in_order_of(Order::Guilds, &sent(upto), &work.handled);
        (exact, work.redelivered.len())
    }

    #[test]
    fn guilds_may_overtake_each_other_and_no_event_its_own_guild() {
        let (exact, _) = judged(&[(1, 2, false), (1, 1, false), (1, 3, false)], 3);
        assert!(exact.is_exact(), "{exact:?}");
        let (exact, _) = judged(&[(1, 3, false), (1, 2, false), (1, 1, false)], 3);
        assert_eq!(exact.out_of_order, 1);
        // A mark excuses no disorder of what comes for the first time.
        let (exact, _) = judged(&[(1, 3, false), (1, 2, false), (1, 1, true)], 3);
        assert_eq!((exact.out_of_order, exact.marked), (1, 0));
    }

    #[test]
    fn what_a_killed_worker_had_in_hand_is_told_apart_from_what_a_broker_has_twice() {
        let (exact, again) = judged(&[(1, 1, false), (1, 2, false), (2, 2, true)], 2);
        assert!(exact.is_exact());
        assert_eq!(again, 1);
        // In one life nobody died, and a repeat without a mark is one.
        let (exact, again) = judged(&[(1, 1, false), (1, 2, false), (1, 2, true)], 2);
        assert_eq!((exact.marked, exact.duplicated, again), (1, 0, 0));
        let (exact, again) = judged(&[(1, 1, false), (1, 2, false), (2, 2, false)], 2);
        assert_eq!((exact.marked, exact.duplicated, again), (0, 1, 0));
        // And a second time is one too many.
        let twice = [(1, 1, false), (1, 2, false), (2, 2, true), (2, 2, true)];
        let (exact, again) = judged(&twice, 2);
        assert_eq!((exact.marked, again), (1, 1));
    }

    #[test]
    fn what_lies_in_a_broker_once_is_no_repeat_of_it_however_often_it_is_delivered() {
        let came = |position: &str, at_us| Came {
            life: 1,
            at_us,
            shard: 0,
            session: "s".into(),
            seq: 1,
            kind: "MESSAGE_CREATE".into(),
            is_marked: false,
            position: Some(position.into()),
        };
        let judged = |second: &str| {
            let work = work(&[came("7", 1), came(second, 2)]);
            let exact = Exactness::in_order_of(Order::Guilds, &sent(1), &work.handled);
            (exact.duplicated, work.redelivered.len())
        };
        assert_eq!(judged("7"), (0, 1));
        assert_eq!(judged("8"), (1, 0));
    }
}
