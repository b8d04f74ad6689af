//! Whether the bot finished everything that Discord sent.

use std::collections::BTreeMap;

use baton_discord::{Discord, EventKind, Fingerprint};

use crate::error::{Error, Result};

/// What the master knows of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) shard: u32,
    /// Every event of its session up to this one is finished.
    pub(crate) handled: u64,
}

/// What Discord sent, read as far as it has been judged.
#[derive(Debug)]
pub(crate) struct Ledger {
    shards: u32,
    read: usize,
    sent: BTreeMap<u32, Sent>,
}

/// What Discord sent to one shard.
#[derive(Debug)]
struct Sent {
    /// Its sessions, the first first.
    sessions: Vec<Fingerprint>,
    /// The last event of the last session that a bot is handed.
    last: u64,
}

impl Ledger {
    pub(crate) const fn new(shards: u32) -> Self {
        Self {
            shards,
            read: 0,
            sent: BTreeMap::new(),
        }
    }

    /// Compares what was sent with what is finished.
    pub(crate) fn judge(&mut self, discord: &Discord, served: &[Served]) -> Result<()> {
        let (_, dropped) = discord.ledger_counts();
        if dropped > 0 {
            return Err(Error::Lost(format!(
                "the ledger of the simulated Discord was full and dropped {dropped} events, so \
                 nothing can be said: send fewer, or raise `ledger_limit`"
            )));
        }
        let new = discord.ledger(self.read, usize::MAX);
        self.read += new.len();
        for entry in new {
            let sent = self.sent.entry(entry.shard).or_insert(Sent {
                sessions: Vec::new(),
                last: 0,
            });
            if !sent.sessions.contains(&entry.session) {
                sent.sessions.push(entry.session);
            }
            // RESUMED belongs to a connection, and no bot is handed it.
            if sent.sessions.last() == Some(&entry.session) && entry.kind != EventKind::Resumed {
                sent.last = entry.seq;
            }
        }
        let faults: Vec<String> = (0..self.shards)
            .filter_map(|shard| self.fault(shard, served))
            .collect();
        if faults.is_empty() {
            Ok(())
        } else {
            Err(Error::Lost(faults.join("\n")))
        }
    }

    /// Whether waiting cannot change it: a session that is gone does not come back. The other
    /// shards are at their end, so that none is blamed for what it is about to finish.
    pub(crate) fn is_final(&self, served: &[Served]) -> bool {
        let is_lost = |shard: &u32| {
            let sent = self.sent.get(shard);
            sent.is_some_and(|sent| sent.sessions.len() > 1)
        };
        let mut others = (0..self.shards).filter(|shard| !is_lost(shard));
        (0..self.shards).any(|shard| is_lost(&shard))
            && others.all(|shard| self.fault(shard, served).is_none())
    }

    fn fault(&self, shard: u32, served: &[Served]) -> Option<String> {
        let Some(sent) = self.sent.get(&shard) else {
            return Some(format!("shard {shard}: Discord never sent it anything"));
        };
        let lost = match sent.sessions.len() {
            0 | 1 => None,
            2 => Some("once".to_owned()),
            more => Some(format!("{} times", more - 1)),
        };
        if let Some(times) = lost {
            return Some(format!(
                "shard {shard}: its session was lost {times}, and what Discord had for it then"
            ));
        }
        let handled = served.iter().find(|served| served.shard == shard);
        match handled.map(|served| served.handled) {
            Some(handled) if handled >= sent.last => None,
            Some(handled) => Some(format!(
                "shard {shard}: Discord sent events up to {}, the bot finished them up to {handled}",
                sent.last
            )),
            None => Some(format!("shard {shard}: the master does not know it")),
        }
    }
}
