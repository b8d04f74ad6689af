//! The workers of `docs/workers.md`, as they stand there.

use std::{
    collections::BTreeSet,
    fs,
    ops::RangeInclusive,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use baton_brokers::{
    Kind, Nats, Process, Redis, or_pass_over, parts,
    worker::{address, block},
};
use baton_sink::{Address, Sink, SinkConfig};
use serde_json::Value;

use crate::common::{Came, Finished, event, judge, until};

/// In what a worker is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Language {
    Node,
    Python,
}

/// Its program, and where it writes what it handled.
pub(crate) struct Worker {
    program: &'static str,
    script: PathBuf,
    said: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Worker {
    pub(crate) fn new(
        which: (Language, &str),
        dir: &Path,
        library: &Path,
        environment: Vec<(&'static str, String)>,
    ) -> Self {
        Self::of("workers.md", which, dir, library, environment)
    }

    /// One of this document.
    pub(crate) fn of(
        document: &str,
        (language, word): (Language, &str),
        dir: &Path,
        library: &Path,
        mut environment: Vec<(&'static str, String)>,
    ) -> Self {
        let (program, name, written_in) = match language {
            Language::Node => ("node", "worker.mjs", "js"),
            Language::Python => ("python3", "worker.py", "python"),
        };
        // Each of its own: a broker may be there for more than one of them.
        let dir = dir.join(format!("worker in {language:?}"));
        fs::create_dir(&dir).unwrap();
        let script = dir.join(name);
        fs::write(&script, block(document, written_in, word).unwrap()).unwrap();
        match language {
            // It looks for libraries beside the script.
            Language::Node => symlink(library, dir.join("node_modules")).unwrap(),
            Language::Python => {
                environment.push(("PYTHONPATH", library.display().to_string()));
            }
        }
        Self {
            program,
            script,
            said: dir.join("handled"),
            environment,
        }
    }

    pub(crate) fn start(&self) -> Process {
        let mut command = Command::new(self.program);
        command.arg(&self.script);
        command.envs(self.environment.iter().cloned());
        Process::start(&mut command, &self.said).unwrap()
    }

    /// What it wrote.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap_or_default()
    }

    /// What it has handled.
    fn came(&self) -> Vec<Came> {
        let text = self.said();
        // The last one may be on its way, and one that is killed may write no end of its line.
        let lines = text.split_inclusive('\n');
        let lines = lines.filter(|line| line.ends_with('\n'));
        let said =
            lines.flat_map(|line| serde_json::Deserializer::from_str(line).into_iter::<Value>());
        let said = said.map(|said| said.unwrap_or_else(|_| panic!("{text}")));
        said.map(|said| Came::read(|name| Some(said[name].as_str()?.to_owned())))
            .collect()
    }
}

#[tokio::test]
async fn a_worker_in_python_gets_everything_from_nats_in_order_although_it_is_killed() {
    let (Some(nats), Some(library)) = (
        or_pass_over(Nats::start()),
        or_pass_over(parts::python("nats")),
    ) else {
        return;
    };
    let environment = [("NATS_URL", nats.url()), ("GIVEN_UP_AFTER", "5".to_owned())];
    let which = (Language::Python, "import nats");
    let worker = Worker::new(which, nats.dir(), &library, environment.into());
    // One of each partition at most comes again.
    is_killed_and_gets_everything(&worker, &nats.url(), 16).await;
}

#[tokio::test]
async fn a_worker_in_python_gets_everything_from_redis_in_order_although_it_is_killed() {
    let (Some(redis), Some(library)) = (
        or_pass_over(Redis::start()),
        or_pass_over(parts::python("redis")),
    ) else {
        return;
    };
    let environment = vec![address(Kind::Redis, &redis.url())];
    let which = (Language::Python, "import redis");
    let worker = Worker::new(which, redis.dir(), &library, environment);
    // What it read and did not handle was not handled, and is marked all the same.
    is_killed_and_gets_everything(&worker, &redis.url(), 1).await;
}

#[tokio::test]
async fn a_worker_in_node_gets_everything_from_nats_in_order_although_it_is_killed() {
    let (Some(nats), Some(library)) = (
        or_pass_over(Nats::start()),
        or_pass_over(parts::node("@nats-io/jetstream")),
    ) else {
        return;
    };
    let environment = [("NATS_URL", nats.url()), ("GIVEN_UP_AFTER", "5".to_owned())];
    let which = (Language::Node, "@nats-io/jetstream");
    let worker = Worker::new(which, nats.dir(), &library, environment.into());
    is_killed_and_gets_everything(&worker, &nats.url(), 16).await;
}

#[tokio::test]
async fn a_worker_in_node_gets_everything_from_redis_in_order_although_it_is_killed() {
    let (Some(redis), Some(library)) = (
        or_pass_over(Redis::start()),
        or_pass_over(parts::node("ioredis")),
    ) else {
        return;
    };
    let environment = vec![address(Kind::Redis, &redis.url())];
    let which = (Language::Node, "ioredis");
    let worker = Worker::new(which, redis.dir(), &library, environment);
    is_killed_and_gets_everything(&worker, &redis.url(), 1).await;
}

/// `again`: so many events may have been handled and not acknowledged at the kill.
pub(crate) async fn is_killed_and_gets_everything(worker: &Worker, url: &str, again: usize) {
    let config = SinkConfig::new(Address::parse(url).unwrap());
    let sink = Arc::new(Sink::start(config).await.unwrap());
    let finished = Finished::default();
    let publish = |sequences: RangeInclusive<u64>| {
        for sequence in sequences {
            sink.publish(event(0, sequence), finished.when_dropped(sequence));
        }
    };
    publish(1..=300);
    let process = worker.start();
    until("it handles events", || worker.came().len() >= 150).await;
    drop(process);
    publish(301..=600);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let _process = worker.start();
    let handled = || -> BTreeSet<u64> {
        let came = worker.came();
        came.iter().map(|one| one.sequence).collect()
    };
    until("it has handled them all", || handled().len() == 600).await;
    let twice = judge(&worker.came(), 0, 600);
    assert!(twice <= again, "{twice}");
}
