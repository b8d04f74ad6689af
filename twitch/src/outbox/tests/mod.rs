mod crashes;
mod leasing;
mod putting;
mod twitch;

use std::{fs, path::PathBuf, time::Duration};

use super::*;
use crate::Login;

/// An outbox in a folder of its own.
struct Place {
    folder: tempfile::TempDir,
    outbox: Outbox,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("outbox.sqlite");
        let outbox = Outbox::open(&path, Budgets::default()).expect("it is new");
        Self { folder, outbox }
    }

    /// What another process finds if this one is killed now: the files as they are, without
    /// anything that the end of a process would do to them.
    fn killed(&self) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for end in ["outbox.sqlite", "outbox.sqlite-wal"] {
            let from = self.folder.path().join(end);
            if from.exists() {
                fs::copy(from, folder.path().join(end)).expect("it is copied");
            }
        }
        let path: PathBuf = folder.path().join("outbox.sqlite");
        let outbox = Outbox::open(&path, Budgets::default()).expect("it is whole");
        Self { folder, outbox }
    }

    fn put(&mut self, id: &str, channel: &str, now: i64) -> Put {
        let put = self
            .outbox
            .put(&message(id, channel), Restriction::Nobody, at(now));
        put.expect("written")
    }

    fn lease(&mut self, now: i64) -> Leased {
        self.lease_as(Standing::Plain, now)
    }

    fn lease_as(&mut self, standing: Standing, now: i64) -> Leased {
        let leased = self.outbox.lease("slave", |_, _| Some(standing), at(now));
        leased.expect("written")
    }

    /// The next message; there has to be one.
    fn next(&mut self, now: i64) -> Lease {
        match self.lease(now) {
            Leased::Message(lease) => *lease,
            Leased::Nothing(wake) => panic!("nothing to send, until {wake:?}"),
        }
    }

    fn sent(&mut self, lease: &Lease, now: i64) -> Done {
        let sent = Said::Sent { message_id: None };
        self.outbox
            .done(lease.lease, sent, at(now))
            .expect("written")
    }

    /// Puts, leases and sends so many messages at once.
    fn say(&mut self, name: &str, count: usize, standing: Standing, now: i64) {
        for n in 0..count {
            self.put(&format!("{name}{n}"), &format!("of_{name}{n}"), now);
            let Leased::Message(lease) = self.lease_as(standing, now) else {
                panic!("{name}{n} has no budget");
            };
            self.sent(&lease, now);
        }
    }

    /// All outcomes: ids with how they ended.
    fn outcomes(&self) -> Vec<(String, Outcome)> {
        let records = self.outbox.outcomes(0, u32::MAX).expect("read");
        records
            .into_iter()
            .map(|record| (record.id, record.outcome))
            .collect()
    }
}

fn at(ms: i64) -> UnixMs {
    UnixMs(ms)
}

fn login(text: &str) -> Login {
    text.parse().expect("a login")
}

fn message(id: &str, channel: &str) -> Message {
    Message {
        id: id.to_owned(),
        account: login("bot"),
        channel: login(channel),
        text: format!("this is {id}"),
        reply_to: None,
        ttl: Some(Duration::from_secs(600)),
        by: By::default(),
    }
}

const fn sent() -> Outcome {
    Outcome::Sent { message_id: None }
}

fn ended(id: &str, outcome: Outcome) -> (String, Outcome) {
    (id.to_owned(), outcome)
}
