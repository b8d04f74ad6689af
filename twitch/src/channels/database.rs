//! A manager that asks the broadcasters, and keeps their answers in one SQLite file.

use std::{collections::BTreeMap, path::Path, time::Duration};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::{
    Channel, Error, Reconnect, Unix, Wanted,
    file::Kind,
    manager::{Change, Grant, MOST, Manager, Revision, Want},
    rows::{AUTHORISED, Asks, COLUMNS, channel, room, settle_name, want_one},
};
use crate::{Login, UserId};

const KIND: Kind = Kind {
    name: "list of channels",
    application: 0x4254_6368,
    schemas: &["CREATE TABLE channels (
            login TEXT PRIMARY KEY,
            user_id TEXT UNIQUE,
            wanted INTEGER NOT NULL,
            reconnect INTEGER NOT NULL,
            authorised_at INTEGER,
            revoked_at INTEGER,
            acknowledged_at INTEGER NOT NULL,
            account TEXT,
            added_at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX channels_by_life ON channels (acknowledged_at);"],
};

/// Who may be joined is who said so, by an authorisation that was not revoked.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
    most: usize,
}

impl Database {
    /// Opens the list in this file, or makes it, with mode 0600. It blocks: other writers
    /// are waited for, and an old file is read once through.
    ///
    /// # Errors
    /// There is no such place, or the file is something else, newer or damaged.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self::over(KIND.open(path)?))
    }

    /// A list that ends with its process.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn in_memory() -> Result<Self, Error> {
        Ok(Self::over(KIND.in_memory()?))
    }

    const fn over(connection: Connection) -> Self {
        Self {
            connection,
            most: MOST,
        }
    }

    #[cfg(test)]
    pub(super) const fn with_room_for(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    fn change<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let behavior = TransactionBehavior::Immediate;
        let done = self.connection.transaction_with_behavior(behavior);
        let done = done.and_then(|change| {
            let done = work(&change)?;
            change.commit()?;
            Ok(done)
        });
        done.map_err(KIND.failed())
    }

    pub(super) fn want_asking(
        &mut self,
        asks: Asks,
        channels: &[Wanted],
        now: Unix,
    ) -> Result<BTreeMap<Login, Want>, Error> {
        let most = self.most;
        self.change(|change| {
            let mut wants = BTreeMap::new();
            let mut room = room(change, most)?;
            for wanted in channels {
                let want = want_one(change, asks, wanted, now, &mut room)?;
                // Of a channel that is named twice, the first answer says more.
                wants.entry(wanted.login.clone()).or_insert(want);
            }
            Ok(wants)
        })
    }

    pub(super) fn goal_asking(&self, asks: Asks) -> Result<Vec<Wanted>, Error> {
        let query = format!(
            "SELECT {COLUMNS} FROM channels WHERE wanted AND {} ORDER BY login",
            asks.condition()
        );
        let channels = self.channels(&query, ())?;
        let wanted = channels.into_iter().map(|channel| Wanted {
            login: channel.login,
            id: channel.id,
            account: channel.account,
        });
        Ok(wanted.collect())
    }

    fn channels(&self, query: &str, with: impl rusqlite::Params) -> Result<Vec<Channel>, Error> {
        let rows = || -> rusqlite::Result<Vec<Option<Channel>>> {
            let mut statement = self.connection.prepare_cached(query)?;
            statement.query_map(with, channel)?.collect()
        };
        let rows = rows().map_err(KIND.failed())?;
        let odd = Error::Odd {
            kind: KIND.name,
            what: "a login",
        };
        rows.into_iter().collect::<Option<_>>().ok_or(odd)
    }
}

impl Manager for Database {
    fn manages(&self) -> bool {
        true
    }

    fn authorise(&mut self, grant: &Grant, now: Unix) -> Result<Change, Error> {
        let most = self.most;
        self.change(|change| {
            if let Some(id) = &grant.id {
                settle_name(change, &grant.login, id)?;
            }
            let was: Option<(bool, bool)> = change
                .prepare_cached(&format!(
                    "SELECT {AUTHORISED}, reconnect FROM channels WHERE login = ?1"
                ))?
                .query_row([grant.login.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            if was.is_none() && room(change, most)? == 0 {
                return Ok(Change::Full);
            }
            let comes = grant.reconnect == Reconnect::Yes;
            change
                .prepare_cached(
                    "INSERT INTO channels (login, user_id, wanted, reconnect, authorised_at,
                         acknowledged_at, added_at)
                     VALUES (?1, ?2, ?3, ?3, ?4, ?4, ?4)
                     ON CONFLICT (login) DO UPDATE SET
                         user_id = coalesce(excluded.user_id, user_id),
                         wanted = wanted OR excluded.wanted,
                         reconnect = excluded.reconnect,
                         authorised_at = excluded.authorised_at,
                         revoked_at = NULL,
                         acknowledged_at = max(acknowledged_at, excluded.acknowledged_at)",
                )?
                .execute((
                    grant.login.as_str(),
                    grant.id.as_ref().map(UserId::as_str),
                    comes,
                    now.0,
                ))?;
            Ok(match was {
                Some((true, reconnect)) if reconnect == comes => Change::Already,
                Some(_) | None => Change::Made,
            })
        })
    }

    fn revoke(&mut self, channel: &Login, now: Unix) -> Result<Change, Error> {
        self.change(|change| {
            let rows = change
                .prepare_cached(&format!(
                    "UPDATE channels SET revoked_at = ?2 WHERE login = ?1 AND {AUTHORISED}"
                ))?
                .execute((channel.as_str(), now.0))?;
            Ok(made(rows))
        })
    }

    fn is_authorised(&self, channel: &Login) -> Result<bool, Error> {
        let query = format!("SELECT 1 FROM channels WHERE login = ?1 AND {AUTHORISED}");
        let statement = self.connection.prepare_cached(&query);
        let found = statement.and_then(|mut statement| statement.exists([channel.as_str()]));
        found.map_err(KIND.failed())
    }

    fn want(&mut self, channels: &[Wanted], now: Unix) -> Result<BTreeMap<Login, Want>, Error> {
        self.want_asking(Asks::Broadcaster, channels, now)
    }

    fn unwant(&mut self, channels: &[Login]) -> Result<Vec<Login>, Error> {
        self.change(|change| {
            let mut were = Vec::new();
            for channel in channels {
                let login = [channel.as_str()];
                let was = change
                    .prepare_cached("SELECT 1 FROM channels WHERE login = ?1 AND wanted")?
                    .exists(login)?;
                change
                    .prepare_cached(
                        "UPDATE channels SET wanted = FALSE, reconnect = FALSE WHERE login = ?1",
                    )?
                    .execute(login)?;
                if was {
                    were.push(channel.clone());
                }
            }
            Ok(were)
        })
    }

    fn read_by(&mut self, channel: &Login, account: Option<&Login>) -> Result<bool, Error> {
        self.change(|change| {
            let rows = change
                .prepare_cached("UPDATE channels SET account = ?2 WHERE login = ?1")?
                .execute((channel.as_str(), account.map(Login::as_str)))?;
            Ok(rows > 0)
        })
    }

    fn acknowledge(&mut self, channel: &Login, now: Unix) -> Result<bool, Error> {
        self.change(|change| {
            let rows = change
                .prepare_cached(
                    "UPDATE channels SET acknowledged_at = max(acknowledged_at, ?2),
                         wanted = wanted OR reconnect
                     WHERE login = ?1",
                )?
                .execute((channel.as_str(), now.0))?;
            Ok(rows > 0)
        })
    }

    fn stale(&self, now: Unix, after: Duration) -> Result<Vec<Login>, Error> {
        let query = format!(
            "SELECT {COLUMNS} FROM channels WHERE wanted AND acknowledged_at < ?1 ORDER BY login"
        );
        let channels = self.channels(&query, [now.minus(after).0])?;
        Ok(channels.into_iter().map(|channel| channel.login).collect())
    }

    fn clean(&mut self, now: Unix, after: Duration) -> Result<Vec<Login>, Error> {
        // In one statement: who shows life meanwhile is not among them.
        let query = format!(
            "UPDATE channels SET wanted = FALSE WHERE wanted AND acknowledged_at < ?1
             RETURNING {COLUMNS}"
        );
        let channels = self.channels(&query, [now.minus(after).0])?;
        let mut logins: Vec<Login> = channels.into_iter().map(|channel| channel.login).collect();
        logins.sort();
        Ok(logins)
    }

    fn goal(&self) -> Result<Vec<Wanted>, Error> {
        self.goal_asking(Asks::Broadcaster)
    }

    fn get(&self, login: &Login) -> Result<Option<Channel>, Error> {
        let query = format!("SELECT {COLUMNS} FROM channels WHERE login = ?1");
        Ok(self.channels(&query, [login.as_str()])?.pop())
    }

    fn list(&self, after: Option<&Login>, most: usize) -> Result<Vec<Channel>, Error> {
        let query =
            format!("SELECT {COLUMNS} FROM channels WHERE login > ?1 ORDER BY login LIMIT ?2");
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.channels(&query, (after.map_or("", Login::as_str), most))
    }

    fn named(&mut self, channel: &Login, id: &UserId) -> Result<Change, Error> {
        self.change(|change| Ok(made(settle_name(change, channel, id)?)))
    }

    fn purge(&mut self, before: Unix) -> Result<usize, Error> {
        self.change(|change| {
            change.execute(
                &format!(
                    "DELETE FROM channels
                     WHERE NOT wanted AND NOT ({AUTHORISED}) AND acknowledged_at < ?1"
                ),
                [before.0],
            )
        })
    }

    fn revision(&self) -> Result<Revision, Error> {
        let others = "PRAGMA data_version";
        let others = self.connection.query_row(others, [], |row| row.get(0));
        Ok(Revision {
            own: self.connection.total_changes(),
            others: others.map_err(KIND.failed())?,
        })
    }
}

const fn made(rows: usize) -> Change {
    match rows {
        0 => Change::Already,
        _ => Change::Made,
    }
}
