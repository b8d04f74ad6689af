//! Counts and last times, for all shards together and for each.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;

use crate::{clock::monotonic_us, id::MAX_SHARD_COUNT};

/// What was counted. Times are `CLOCK_MONOTONIC` in microseconds, 0 = never.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Websocket connections that were opened. A connection counts for a shard
    /// only once its client has named one.
    pub connects: u64,
    /// Requests for a websocket that got another answer, by HTTP status.
    pub upgrades_refused: BTreeMap<u16, u64>,
    /// IDENTIFYs answered with READY.
    pub identifies: u64,
    /// IDENTIFYs refused, by reason.
    pub identifies_refused: BTreeMap<String, u64>,
    /// RESUMEs answered with a replay.
    pub resumes: u64,
    /// RESUMEs that came over the plain URL instead of the resume URL.
    pub resumes_at_plain_url: u64,
    /// RESUMEs refused, by reason.
    pub resumes_refused: BTreeMap<String, u64>,
    /// Events sent again because of a RESUME.
    pub replayed: u64,
    /// Closes sent by the server, by code.
    pub closes_sent: BTreeMap<u16, u64>,
    /// Times the session start limit was exceeded; each ended every session and
    /// reset the token.
    pub token_resets: u64,
    /// Answers to `GET /gateway/bot`, by HTTP status.
    pub gateway_bot: BTreeMap<u16, u64>,
    /// When the last RESUME was received.
    pub last_resume_us: u64,
    /// When the last RESUMED was put behind its replay.
    pub last_resumed_us: u64,
    /// When the client last closed.
    pub last_client_close_us: u64,
    /// The code of that close; 0 = none given.
    pub last_client_close_code: u16,
}

/// The counts of all shards together and of each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Everything together.
    pub total: Counts,
    /// By the shard number a client named.
    pub shards: BTreeMap<u32, Counts>,
}

/// Something to count.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Count<'a> {
    Connect,
    Identify,
    IdentifyRefused(&'a str),
    Resume,
    ResumeReceived { plain_url: bool },
    ResumeRefused(&'a str),
    Resumed { replayed: u64 },
    CloseSent(u16),
    CloseReceived(u16),
    TokenReset,
    GatewayBot(u16),
    UpgradeRefused(u16),
}

impl Counts {
    fn add(&mut self, count: Count<'_>) {
        match count {
            Count::Connect => self.connects += 1,
            Count::Identify => self.identifies += 1,
            Count::IdentifyRefused(reason) => bump(&mut self.identifies_refused, reason),
            Count::Resume => self.resumes += 1,
            Count::ResumeReceived { plain_url } => {
                self.last_resume_us = monotonic_us();
                self.resumes_at_plain_url += u64::from(plain_url);
            }
            Count::ResumeRefused(reason) => bump(&mut self.resumes_refused, reason),
            Count::Resumed { replayed } => {
                self.last_resumed_us = monotonic_us();
                self.replayed += replayed;
            }
            Count::CloseSent(code) => *self.closes_sent.entry(code).or_default() += 1,
            Count::CloseReceived(code) => {
                self.last_client_close_us = monotonic_us();
                self.last_client_close_code = code;
            }
            Count::TokenReset => self.token_resets += 1,
            Count::GatewayBot(status) => *self.gateway_bot.entry(status).or_default() += 1,
            Count::UpgradeRefused(status) => {
                *self.upgrades_refused.entry(status).or_default() += 1;
            }
        }
    }
}

fn bump(counts: &mut BTreeMap<String, u64>, reason: &str) {
    match counts.get_mut(reason) {
        Some(count) => *count += 1,
        None => {
            counts.insert(reason.to_owned(), 1);
        }
    }
}

/// Counters that many connections share.
#[derive(Debug, Default)]
pub(crate) struct SharedCounters(Mutex<Counters>);

impl SharedCounters {
    fn lock(&self) -> MutexGuard<'_, Counters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts in total and, when it is known, for the shard.
    pub(crate) fn add(&self, shard: Option<u32>, count: Count<'_>) {
        let mut counters = self.lock();
        counters.total.add(count);
        if let Some(shard) = shard.filter(|shard| *shard < MAX_SHARD_COUNT) {
            counters.shards.entry(shard).or_default().add(count);
        }
    }

    /// Counts for the shard only, when the total was counted before the shard
    /// was known.
    pub(crate) fn add_to_shard(&self, shard: u32, count: Count<'_>) {
        if shard < MAX_SHARD_COUNT {
            self.lock().shards.entry(shard).or_default().add(count);
        }
    }

    pub(crate) fn snapshot(&self) -> Counters {
        self.lock().clone()
    }
}
