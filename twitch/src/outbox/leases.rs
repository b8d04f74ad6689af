//! Who sends a message, and what comes of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use rusqlite::{OptionalExtension, Transaction};
use serde::{Deserialize, Serialize};

use super::{
    Budgets, By, Error, Message, Outbox, Outcome, Said, Standing, UnixMs,
    budget::{self, Spent},
    outcome::end,
};
use crate::{BadLogin, Login};

/// Whoever leases a message begins to send it within this time, or gives it back.
pub const BEGIN_WITHIN: Duration = Duration::from_secs(10);

/// And says within this time what came of it. After that, nobody knows.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Where nothing can be said now, it is looked at again after this time.
const LOOKED_AT_AGAIN: Duration = Duration::from_secs(1);

/// Names a lease. None is used twice, so an answer that is late is never taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseId(pub i64);

/// A message to send, for one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// What the answer names.
    pub lease: LeaseId,
    /// What to say. Its TTL is what is left of it.
    pub message: Message,
    /// Whoever has not begun to send by then gives it back.
    pub begin_until: UnixMs,
}

/// What there is to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leased {
    /// This one.
    Message(Box<Lease>),
    /// Nothing now. It is worth asking again at this time, if there is one, and when a
    /// message was put or has ended.
    Nothing(Option<UnixMs>),
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It counts.
    Recorded,
    /// It came late, and is the second record of the message, after
    /// [`Outcome::Unknown`].
    Corrected,
    /// It does not count: the lease has ended otherwise, or there never was one.
    Ignored,
}

impl Outbox {
    /// The next message that may be sent now, for the process `who`: the oldest whose
    /// account has budget, and whose channel has nothing older that waits or is being
    /// sent. `standing` says what an account is in a channel; `None`: nothing can be said
    /// there now, and it is looked at again a second later.
    ///
    /// # Errors
    /// The file could not be read or written: nothing was leased.
    pub fn lease(
        &mut self,
        who: &str,
        standing: impl Fn(&Login, &Login) -> Option<Standing>,
        now: UnixMs,
    ) -> Result<Leased, Error> {
        self.change(now, |change, budgets| {
            let (number, standing) = match first(change, budgets, &standing, now)? {
                First::Message(number, standing) => (number, standing),
                First::Nothing(wake) => return Ok(Leased::Nothing(wake)),
            };
            let lease = take(change, number, who, standing, now)?;
            let message = message(change, number, now)?;
            let begin_until = now.plus(BEGIN_WITHIN.min(message.ttl()));
            Ok(Leased::Message(Box::new(Lease {
                lease,
                message,
                begin_until,
            })))
        })
    }

    /// What came of a lease.
    ///
    /// # Errors
    /// The file could not be written: the lease goes on.
    pub fn done(&mut self, lease: LeaseId, said: Said, now: UnixMs) -> Result<Done, Error> {
        self.change(now, |change, _| {
            let Some((number, state, is_unknown)) = of_lease(change, lease)? else {
                return Ok(Done::Ignored);
            };
            let outcome = said.outcome();
            let done = match state {
                LEASED => Done::Recorded,
                // The truth, once.
                ENDED if is_unknown && outcome != Outcome::Unknown => Done::Corrected,
                _ => return Ok(Done::Ignored),
            };
            end(change, &[number], &outcome, now)?;
            Ok(done)
        })
    }

    /// The process did not begin to send it: it waits again, at its old place. Nothing was
    /// spent.
    ///
    /// # Errors
    /// The file could not be written: the lease goes on.
    pub fn give_back(&mut self, lease: LeaseId, now: UnixMs) -> Result<Done, Error> {
        self.change(now, |change, _| {
            let Some((number, LEASED, _)) = of_lease(change, lease)? else {
                return Ok(Done::Ignored);
            };
            wait_again(change, number)?;
            change
                .prepare_cached("DELETE FROM spent WHERE lease = ?1")?
                .execute([lease.0])?;
            Ok(Done::Recorded)
        })
    }

    /// The process has died: nobody knows what came of its leases. How many it had.
    ///
    /// # Errors
    /// The file could not be written: its leases end when their time is over.
    pub fn died(&mut self, who: &str, now: UnixMs) -> Result<usize, Error> {
        self.change(now, |change, _| {
            let mut rows = change
                .prepare_cached("SELECT number FROM messages WHERE state = 1 AND leased_by = ?1")?;
            let numbers = rows.query_map([who], |row| row.get(0))?;
            let numbers: Vec<i64> = numbers.collect::<rusqlite::Result<_>>()?;
            if mutant!("unknown-sent-again") {
                for number in &numbers {
                    wait_again(change, *number)?;
                }
                return Ok(numbers.len());
            }
            end(change, &numbers, &Outcome::Unknown, now)?;
            Ok(numbers.len())
        })
    }
}

const LEASED: u8 = 1;
const ENDED: u8 = 2;

fn of_lease(change: &Transaction<'_>, lease: LeaseId) -> rusqlite::Result<Option<(i64, u8, bool)>> {
    change
        .prepare_cached("SELECT number, state, is_unknown FROM messages WHERE lease = ?1")?
        .query_row([lease.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()
}

/// The first message that may be sent now, by its number, else when one may be.
enum First {
    Message(i64, Standing),
    Nothing(Option<UnixMs>),
}

fn first(
    change: &Transaction<'_>,
    budgets: &Budgets,
    standing: &impl Fn(&Login, &Login) -> Option<Standing>,
    now: UnixMs,
) -> rusqlite::Result<First> {
    let mut busy = change.prepare_cached("SELECT channel FROM messages WHERE state = 1")?;
    let busy = busy.query_map([], |row| row.get(0))?;
    let mut busy: BTreeSet<String> = busy.collect::<rusqlite::Result<_>>()?;
    let mut spent: BTreeMap<String, Spent> = BTreeMap::new();
    let mut wake: Option<UnixMs> = None;
    let mut rows = change.prepare_cached(
        "SELECT number, account, channel FROM messages WHERE state = 0 ORDER BY number",
    )?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let (account, channel): (String, String) = (row.get(1)?, row.get(2)?);
        if busy.contains(&channel) {
            continue;
        }
        let spent = match spent.get(&account) {
            Some(spent) => spent,
            None => {
                let of_account = budget::spent(change, &account, budgets, now)?;
                spent.entry(account.clone()).or_insert(of_account)
            }
        };
        let logins = (account.parse(), channel.parse());
        // Where one is none, nobody could say it: it expires.
        if let (Ok(account), Ok(channel)) = logins {
            let standing = standing(&account, &channel);
            let at = match standing {
                Some(standing) => budgets.next(spent, standing, now),
                None => Some(now.plus(LOOKED_AT_AGAIN)),
            };
            match (at, standing) {
                (Some(at), Some(standing)) if at <= now => {
                    return Ok(First::Message(row.get(0)?, standing));
                }
                (Some(at), _) => wake = Some(wake.map_or(at, |wake| wake.min(at))),
                (None, _) => {}
            }
        }
        // What follows in this channel waits for this one.
        busy.insert(channel);
    }
    Ok(First::Nothing(wake))
}

fn take(
    change: &Transaction<'_>,
    number: i64,
    who: &str,
    standing: Standing,
    now: UnixMs,
) -> rusqlite::Result<LeaseId> {
    change
        .prepare_cached(
            "INSERT INTO spent (account, at, is_open, is_plain)
             SELECT account, ?2, TRUE, ?3 FROM messages WHERE number = ?1",
        )?
        .execute((number, now.0, standing == Standing::Plain))?;
    let lease = LeaseId(change.last_insert_rowid());
    change
        .prepare_cached(
            "UPDATE messages SET state = 1, lease = ?2, leased_by = ?3, leased_at = ?4
             WHERE number = ?1",
        )?
        .execute((number, lease.0, who, now.0))?;
    Ok(lease)
}

fn wait_again(change: &Transaction<'_>, number: i64) -> rusqlite::Result<()> {
    change
        .prepare_cached(
            "UPDATE messages SET state = 0, lease = NULL, leased_by = NULL, leased_at = NULL
             WHERE number = ?1",
        )?
        .execute([number])?;
    Ok(())
}

fn message(change: &Transaction<'_>, number: i64, now: UnixMs) -> rusqlite::Result<Message> {
    let login = |column: usize, text: String| {
        text.parse().map_err(|error: BadLogin| {
            let kind = rusqlite::types::Type::Text;
            rusqlite::Error::FromSqlConversionFailure(column, kind, error.into())
        })
    };
    change
        .prepare_cached(
            "SELECT id, account, channel, text, reply_to, put_at + ttl - ?2, by_irc FROM messages
             WHERE number = ?1",
        )?
        .query_row((number, now.0), |row| {
            let left: i64 = row.get(5)?;
            Ok(Message {
                id: row.get(0)?,
                account: login(1, row.get(1)?)?,
                channel: login(2, row.get(2)?)?,
                text: row.get(3)?,
                reply_to: row.get(4)?,
                ttl: Some(Duration::from_millis(left.max(0).unsigned_abs())),
                by: match row.get(6)? {
                    true => By::Irc,
                    false => By::Helix,
                },
            })
        })
}
