//! How much an account may say.

use std::time::Duration;

use rusqlite::Transaction;

use super::UnixMs;

/// What Twitch lets an account say, in all channels together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// Messages of an account in [`per`](Self::per), where it is nobody special.
    pub plain: u32,
    /// Where it is moderator or broadcaster. What it said elsewhere counts too.
    pub moderator: u32,
    /// The length of the window, which slides.
    pub per: Duration,
}

impl Default for Budgets {
    /// As Twitch documents it: 20 in 30 s, 100 as moderator.
    fn default() -> Self {
        Self {
            plain: 20,
            moderator: 100,
            per: Duration::from_secs(30),
        }
    }
}

/// What an account is in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody special, or it is not known.
    Plain,
    /// Moderator or broadcaster.
    Moderator,
}

impl Budgets {
    /// When one more message may be said; `None`: when one that is being sent has ended.
    pub(super) fn next(&self, spent: &Spent, standing: Standing, now: UnixMs) -> Option<UnixMs> {
        let limit = match standing {
            // One of these may arrive last of all that are being sent.
            Standing::Moderator if spent.plain_is_open && !mutant!("plain-overtaken") => self.plain,
            Standing::Moderator => self.moderator,
            Standing::Plain => self.plain,
        };
        match spent.since.len().checked_sub(limit as usize) {
            None => Some(now),
            // The first that has to go out of the window before there is room.
            Some(over) => spent
                .since
                .get(over)
                .copied()
                .flatten()
                .map(|at| at.plus(self.per)),
        }
    }
}

/// What an account said within the window.
pub(super) struct Spent {
    /// From the earliest to the latest; at the end, without a time, what is being sent.
    since: Vec<Option<UnixMs>>,
    /// Something is being sent where the account is nobody special.
    plain_is_open: bool,
}

pub(super) fn spent(
    change: &Transaction<'_>,
    account: &str,
    budgets: &Budgets,
    now: UnixMs,
) -> rusqlite::Result<Spent> {
    let mut spent = Spent {
        since: Vec::new(),
        plain_is_open: false,
    };
    let mut rows = change.prepare_cached(
        "SELECT CASE WHEN is_open THEN NULL ELSE at END AS since, is_open AND is_plain FROM spent
         WHERE account = ?1 AND (is_open OR at > ?2)
         ORDER BY since NULLS LAST",
    )?;
    let mut rows = rows.query((account, now.minus(budgets.per).0))?;
    while let Some(row) = rows.next()? {
        spent.since.push(row.get::<_, Option<i64>>(0)?.map(UnixMs));
        spent.plain_is_open |= row.get::<_, bool>(1)?;
    }
    Ok(spent)
}

/// Forgets what is out of the window.
pub(super) fn forget(
    change: &Transaction<'_>,
    budgets: &Budgets,
    now: UnixMs,
) -> rusqlite::Result<()> {
    change
        .prepare_cached("DELETE FROM spent WHERE NOT is_open AND at <= ?1")?
        .execute([now.minus(budgets.per).0])?;
    Ok(())
}
