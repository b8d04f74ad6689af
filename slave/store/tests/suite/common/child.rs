//! Processes of their own: the program of these tests, started once more.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::Duration,
};

use baton_protocol::Epoch;
use baton_store::{Error, Store};

use super::{SHARD, apply, options, owner, stream::Stream};

const ASKED: &str = "BATON_STORE_CHILD";

/// A process that owns the shard and writes the events of a stream into it.
pub struct Process {
    pub child: Child,
    said: Receiver<String>,
}

/// What a child is asked.
#[derive(Clone)]
pub struct Ask<'d> {
    pub dir: &'d Path,
    pub epoch: u64,
    pub seed: u64,
    /// Events of one change.
    pub batch: u64,
    /// Bytes that each guild has more.
    pub padding: u64,
    /// A program that runs it: `sh -c '...; exec "$@"' sh`, for example.
    pub through: &'d [&'d str],
}

impl Process {
    pub fn start(ask: &Ask<'_>) -> Self {
        let own = std::env::current_exe().unwrap();
        let mut words: Vec<PathBuf> = ask.through.iter().map(PathBuf::from).collect();
        words.push(own);
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .args(["--exact", "common::child::writes", "--nocapture"])
            .env(ASKED, ask.dir)
            .env("EPOCH", ask.epoch.to_string())
            .env("SEED", ask.seed.to_string())
            .env("BATCH", ask.batch.to_string())
            .env("PADDING", ask.padding.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (says, said) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if let Some((_, said)) = line.split_once("@ ") {
                    let _ = says.send(said.to_owned());
                }
            }
        });
        Self { child, said }
    }

    /// The next thing that it says.
    pub fn says(&self) -> String {
        match self.said.recv_timeout(Duration::from_secs(60)) {
            Ok(said) => said,
            Err(RecvTimeoutError::Timeout) => panic!("the child says nothing"),
            Err(RecvTimeoutError::Disconnected) => panic!("the child ended"),
        }
    }

    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(status.unwrap().success());
    }

    /// Stops it, and waits until it stands.
    pub fn stop(&self) {
        self.signal("STOP");
        let stat = format!("/proc/{}/stat", self.child.id());
        super::until("the process is stopped", || {
            let stat = std::fs::read_to_string(&stat).unwrap();
            stat.rsplit(')')
                .next()?
                .trim_start()
                .starts_with('T')
                .then_some(())
        });
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the child does. As a test of this program it does nothing.
#[test]
fn writes() {
    let Ok(dir) = std::env::var(ASKED) else {
        return;
    };
    let number = |name: &str| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let (epoch, batch) = (number("EPOCH"), number("BATCH"));
    let mut stream = Stream::new(number("SEED")).padded(number("PADDING") as usize);
    let store = Store::open(Path::new(&dir), SHARD, options());
    let claimed = store.and_then(|store| store.claim(Epoch(epoch), owner(epoch)));
    let (mut writer, takeover) = match claimed {
        Ok(claimed) => claimed,
        Err(error) => return println!("@ not claimed: {error}"),
    };
    let at = takeover.stand.sequence.get();
    println!("@ claimed at {at} {:?}", takeover.found);
    for _ in 0..at {
        stream.next();
    }
    loop {
        let first = writer.stand().sequence.get() + 1;
        let events: Vec<_> = (0..batch)
            .map(|_| {
                let (_, kind, d) = stream.next();
                (kind, d)
            })
            .collect();
        if let Err(error) = apply(&mut writer, first, &events) {
            let kind = match &error {
                Error::Fenced { .. } => "fenced",
                Error::Full(_) => "full",
                _ => "failed",
            };
            return println!("@ {kind} at {}: {error}", writer.stand().sequence);
        }
    }
}
