//! The file of an outbox: messages come in, and their outcomes are read.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::{
    Budgets, By, Error, Fate, Message, Outcome, Record, Refusal, UnixMs, budget,
    leases::ANSWER_WITHIN,
    ms,
    outcome::{end, record},
    schema::KIND,
};
use crate::channels::Manager;

/// So many messages wait or are being sent at most.
pub const MOST: u32 = 10_000;

/// So many of one channel: no more can be said there within one window of the budget.
pub const MOST_IN_A_CHANNEL: u32 = 100;

/// Who may be spoken to.
#[derive(Clone, Copy)]
pub enum Restriction<'a> {
    /// Every channel.
    Nobody,
    /// Channels whose broadcaster let the bot in, as this manager says.
    ToAuthorised(&'a dyn Manager),
}

/// What became of a message that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It waits.
    Taken,
    /// One of this id was put before, and this one is not said. The outcome of the first
    /// one is, or will be, among the outcomes.
    Known,
    /// It is not taken, and nothing is kept of it.
    Refused(Refusal),
}

/// How many messages there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// That wait.
    pub waiting: u32,
    /// That are being sent.
    pub leased: u32,
    /// Outcomes that were not read.
    pub outcomes: u32,
}

/// See the [module](super). One process owns the file; a second one does no harm.
#[derive(Debug)]
pub struct Outbox {
    connection: Connection,
    budgets: Budgets,
    /// The latest time that it was told.
    latest: Option<UnixMs>,
}

impl Outbox {
    /// Opens the outbox in this file, or makes it, with mode 0600.
    ///
    /// # Errors
    /// There is no such place, or the file is something else, newer or damaged.
    pub fn open(path: &Path, budgets: Budgets) -> Result<Self, Error> {
        Ok(Self {
            connection: KIND.open(path)?,
            budgets,
            latest: None,
        })
    }

    /// A message is to be said. Of the [last 20,000](super::KEPT) that were put, none is
    /// taken twice.
    ///
    /// # Errors
    /// The file could not be read or written, or the manager's: the message was not taken.
    pub fn put(
        &mut self,
        message: &Message,
        restriction: Restriction<'_>,
        now: UnixMs,
    ) -> Result<Put, Error> {
        if let Err(refusal) = message.check() {
            return Ok(Put::Refused(refusal));
        }
        if let Restriction::ToAuthorised(manager) = restriction
            && !manager.is_authorised(&message.channel)?
            && !mutant!("unauthorised-spoken-to")
        {
            return Ok(Put::Refused(Refusal::Unauthorised));
        }
        self.change(now, |change, _| put(change, message, now))
    }

    /// What ended, the oldest first: at most `most` of those behind `after` (0: of all).
    ///
    /// # Errors
    /// The file could not be read.
    pub fn outcomes(&self, after: i64, most: u32) -> Result<Vec<Record>, Error> {
        let rows = || -> rusqlite::Result<Vec<Option<Record>>> {
            let mut statement = self.connection.prepare_cached(
                "SELECT number, id, account, channel, at, outcome FROM outcomes
                 WHERE number > ?1 ORDER BY number LIMIT ?2",
            )?;
            statement.query_map((after, most), record)?.collect()
        };
        let rows = rows().map_err(KIND.failed())?;
        rows.into_iter().collect::<Option<_>>().ok_or(ODD)
    }

    /// What is known of a message, by its id; `None`: it was not put, or so long ago that
    /// nothing is kept of it.
    ///
    /// # Errors
    /// The file could not be read.
    pub fn fate(&self, id: &str) -> Result<Option<Fate>, Error> {
        let read = || -> rusqlite::Result<Option<Option<Fate>>> {
            let mut known = self
                .connection
                .prepare_cached("SELECT state FROM messages WHERE id = ?1")?;
            let state = known
                .query_row([id], |row| row.get::<_, i64>(0))
                .optional()?;
            let mut outcomes = self.connection.prepare_cached(
                "SELECT number, id, account, channel, at, outcome FROM outcomes
                 WHERE id = ?1 ORDER BY number DESC LIMIT 1",
            )?;
            Ok(match state {
                None => None,
                Some(ENDED) => {
                    let found = outcomes.query_row([id], record).optional()?;
                    Some(match found {
                        None => Some(Fate::Forgotten),
                        Some(read) => read.map(|record| Fate::Ended(record.outcome)),
                    })
                }
                Some(_) => Some(Some(Fate::Open)),
            })
        };
        let read = read().map_err(KIND.failed())?;
        read.map(|fate| fate.ok_or(ODD)).transpose()
    }

    /// The outcomes up to this number were read, and are not kept any longer. How many.
    ///
    /// # Errors
    /// The file could not be written; nothing changed.
    pub fn read(&mut self, up_to: i64) -> Result<usize, Error> {
        let sql = "DELETE FROM outcomes WHERE number <= ?1";
        self.connection.execute(sql, [up_to]).map_err(KIND.failed())
    }

    /// Ends what is over by now: messages that waited for too long, and leases without an
    /// answer. Each call does that first; this one is for a quiet time: each second, say.
    ///
    /// # Errors
    /// The file could not be written; nothing changed.
    pub fn sweep(&mut self, now: UnixMs) -> Result<(), Error> {
        self.change(now, |_, _| Ok(()))
    }

    /// How many messages there are.
    ///
    /// # Errors
    /// The file could not be read.
    pub fn waits(&self) -> Result<Waits, Error> {
        let sql = "SELECT (SELECT count(*) FROM messages WHERE state = 0),
                          (SELECT count(*) FROM messages WHERE state = 1),
                          (SELECT count(*) FROM outcomes)";
        let waits = self.connection.query_row(sql, [], |row| {
            Ok(Waits {
                waiting: row.get(0)?,
                leased: row.get(1)?,
                outcomes: row.get(2)?,
            })
        });
        waits.map_err(KIND.failed())
    }

    /// One transaction, which begins with what is over by now.
    pub(super) fn change<T>(
        &mut self,
        now: UnixMs,
        work: impl FnOnce(&Transaction<'_>, &Budgets) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let went_back = self.latest.is_none_or(|latest| now < latest);
        let behavior = TransactionBehavior::Immediate;
        let change = self.connection.transaction_with_behavior(behavior);
        let done = change.and_then(|change| {
            if went_back {
                set_back(&change, now)?;
            }
            sweep(&change, &self.budgets, now)?;
            let done = work(&change, &self.budgets)?;
            change.commit()?;
            Ok(done)
        });
        let done = done.map_err(KIND.failed())?;
        self.latest = Some(now);
        Ok(done)
    }
}

/// The state of a message that ended.
const ENDED: i64 = 2;

const ODD: Error = Error::Odd {
    kind: KIND.name,
    what: "a login or an outcome",
};

fn put(change: &Transaction<'_>, message: &Message, now: UnixMs) -> rusqlite::Result<Put> {
    let known = change
        .prepare_cached("SELECT 1 FROM messages WHERE id = ?1")?
        .exists([&message.id])?;
    if known {
        return Ok(Put::Known);
    }
    let (live, of_channel): (u32, u32) = change
        .prepare_cached(
            "SELECT count(*), count(*) FILTER (WHERE channel = ?1) FROM messages WHERE state < 2",
        )?
        .query_row([message.channel.as_str()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    if live >= MOST {
        return Ok(Put::Refused(Refusal::Full));
    }
    if of_channel >= MOST_IN_A_CHANNEL {
        return Ok(Put::Refused(Refusal::ChannelFull));
    }
    change
        .prepare_cached(
            "INSERT INTO messages (id, account, channel, text, reply_to, put_at, ttl, by_irc)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute((
            &message.id,
            message.account.as_str(),
            message.channel.as_str(),
            &message.text,
            &message.reply_to,
            now.0,
            ms(message.ttl()),
            message.by == By::Irc,
        ))?;
    Ok(Put::Taken)
}

/// The clock went back, or nothing is known of it: what is later than now is of now.
fn set_back(change: &Transaction<'_>, now: UnixMs) -> rusqlite::Result<()> {
    for sql in [
        "UPDATE spent SET at = ?1 WHERE at > ?1",
        "UPDATE messages SET put_at = ?1 WHERE put_at > ?1 AND state = 0",
        "UPDATE messages SET leased_at = ?1 WHERE leased_at > ?1 AND state = 1",
    ] {
        change.execute(sql, [now.0])?;
    }
    Ok(())
}

fn sweep(change: &Transaction<'_>, budgets: &Budgets, now: UnixMs) -> rusqlite::Result<()> {
    let waited = "SELECT number FROM messages WHERE state = 0 AND put_at + ttl <= ?1";
    end(
        change,
        &numbers(change, waited, now)?,
        &Outcome::Expired,
        now,
    )?;
    let unanswered = "SELECT number FROM messages WHERE state = 1 AND leased_at <= ?1";
    let since = now.minus(ANSWER_WITHIN);
    end(
        change,
        &numbers(change, unanswered, since)?,
        &Outcome::Unknown,
        now,
    )?;
    budget::forget(change, budgets, now)
}

fn numbers(change: &Transaction<'_>, sql: &str, time: UnixMs) -> rusqlite::Result<Vec<i64>> {
    let mut rows = change.prepare_cached(sql)?;
    rows.query_map([time.0], |row| row.get(0))?.collect()
}
