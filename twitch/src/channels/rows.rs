//! Single rows of the list: read, named and wished for.

use rusqlite::{OptionalExtension, Row, Transaction};

use super::{Channel, Reconnect, Unix, Want, Wanted};
use crate::{Login, UserId};

/// What [`channel`] reads, in its order.
pub(super) const COLUMNS: &str = "login, user_id, wanted, reconnect, authorised_at, revoked_at, \
                       acknowledged_at, account, added_at";
/// For a `WHERE`: its broadcaster lets the bot in.
pub(super) const AUTHORISED: &str = "authorised_at IS NOT NULL AND revoked_at IS NULL";

/// Whose word counts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asks {
    /// The broadcaster's and the owner's.
    Broadcaster,
    /// The owner's alone.
    Nobody,
}

impl Asks {
    /// For a `WHERE`.
    pub(super) const fn condition(self) -> &'static str {
        match self {
            Self::Broadcaster => AUTHORISED,
            Self::Nobody => "TRUE",
        }
    }
}

/// How many channels the list may still get.
pub(super) fn room(change: &Transaction<'_>, most: usize) -> rusqlite::Result<usize> {
    let mut rows = change.prepare_cached("SELECT count(*) FROM channels")?;
    let rows: u32 = rows.query_row([], |row| row.get(0))?;
    Ok(most.saturating_sub(rows as usize))
}

/// One of [`Manager::want`](super::Manager::want).
pub(super) fn want_one(
    change: &Transaction<'_>,
    asks: Asks,
    wanted: &Wanted,
    now: Unix,
    room: &mut usize,
) -> rusqlite::Result<Want> {
    let login = wanted.login.as_str();
    // First: an authorisation of whoever had the login before is none of this one's.
    if let Some(id) = &wanted.id {
        settle_name(change, &wanted.login, id)?;
    }
    let known: Option<(bool, bool)> = change
        .prepare_cached(&format!(
            "SELECT wanted, {} FROM channels WHERE login = ?1",
            asks.condition()
        ))?
        .query_row([login], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match (known, asks) {
        (None, Asks::Broadcaster) | (Some((_, false)), _) => return Ok(Want::Unauthorised),
        (None, Asks::Nobody) if *room == 0 => return Ok(Want::Full),
        (None, Asks::Nobody) => *room -= 1,
        (Some((_, true)), _) => {}
    }
    change
        .prepare_cached(
            "INSERT INTO channels (login, user_id, wanted, reconnect, acknowledged_at, account,
                 added_at)
             VALUES (?1, ?2, TRUE, FALSE, ?3, ?4, ?3)
             ON CONFLICT (login) DO UPDATE SET
                 user_id = coalesce(excluded.user_id, user_id),
                 wanted = TRUE,
                 acknowledged_at = max(acknowledged_at, excluded.acknowledged_at),
                 account = coalesce(excluded.account, account)",
        )?
        .execute((
            login,
            wanted.id.as_ref().map(UserId::as_str),
            now.0,
            wanted.account.as_ref().map(Login::as_str),
        ))?;
    Ok(match known {
        Some((true, _)) => Want::Already,
        Some((false, _)) | None => Want::New,
    })
}

/// This user has this login now: see [`Manager::named`](super::Manager::named). How many rows changed.
pub(super) fn settle_name(
    change: &Transaction<'_>,
    login: &Login,
    id: &UserId,
) -> rusqlite::Result<usize> {
    let both = (login.as_str(), id.as_str());
    // What another user with this login was allowed is nothing of this one's.
    let others = change
        .prepare_cached("DELETE FROM channels WHERE login = ?1 AND user_id <> ?2")?
        .execute(both)?;
    let has_old_login = change
        .prepare_cached("SELECT 1 FROM channels WHERE user_id = ?2 AND login <> ?1")?
        .exists(both)?;
    if has_old_login {
        // What is known of the user counts, not what somebody wrote about the new login
        // before anybody knew whose it is.
        change
            .prepare_cached("DELETE FROM channels WHERE login = ?1")?
            .execute([login.as_str()])?;
    }
    let own = change
        .prepare_cached(
            "UPDATE channels SET login = ?1, user_id = ?2
             WHERE (user_id = ?2 AND login <> ?1) OR (login = ?1 AND user_id IS NULL)",
        )?
        .execute(both)?;
    Ok(others + own)
}

/// `None`: a login in it is none.
pub(super) fn channel(row: &Row<'_>) -> rusqlite::Result<Option<Channel>> {
    let time = |column: usize| -> rusqlite::Result<Option<Unix>> {
        Ok(row.get::<_, Option<i64>>(column)?.map(Unix))
    };
    let account: Option<String> = row.get(7)?;
    let account = account.map(|account| account.parse::<Login>()).transpose();
    let login = row.get::<_, String>(0)?.parse();
    let (Ok(login), Ok(account)) = (login, account) else {
        return Ok(None);
    };
    Ok(Some(Channel {
        login,
        id: row.get::<_, Option<String>>(1)?.map(|id| UserId(id.into())),
        wanted: row.get(2)?,
        reconnect: if row.get(3)? {
            Reconnect::Yes
        } else {
            Reconnect::No
        },
        authorised_at: time(4)?,
        revoked_at: time(5)?,
        acknowledged_at: Unix(row.get(6)?),
        account,
        added_at: Unix(row.get(8)?),
    }))
}
