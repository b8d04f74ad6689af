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
    const fn of(&self, standing: Standing) -> u32 {
        match standing {
            Standing::Plain => self.plain,
            Standing::Moderator => self.moderator,
        }
    }

    /// When one more message may be said; `None`: when one that is being sent has ended.
    /// `spent` is as [`spent`] says.
    pub(super) fn next(
        &self,
        spent: &[Option<UnixMs>],
        standing: Standing,
        now: UnixMs,
    ) -> Option<UnixMs> {
        let limit = self.of(standing) as usize;
        match spent.len().checked_sub(limit) {
            None => Some(now),
            // The first that has to go out of the window before there is room.
            Some(over) => spent
                .get(over)
                .copied()
                .flatten()
                .map(|at| at.plus(self.per)),
        }
    }
}

/// What an account said within the window, from the earliest to the latest; at the end,
/// without a time, what it is saying.
pub(super) fn spent(
    change: &Transaction<'_>,
    account: &str,
    budgets: &Budgets,
    now: UnixMs,
) -> rusqlite::Result<Vec<Option<UnixMs>>> {
    let mut rows = change.prepare_cached(
        "SELECT CASE WHEN is_open THEN NULL ELSE at END AS since FROM spent
         WHERE account = ?1 AND (is_open OR at > ?2)
         ORDER BY since NULLS LAST",
    )?;
    let rows = rows.query_map((account, now.minus(budgets.per).0), |row| {
        Ok(row.get::<_, Option<i64>>(0)?.map(UnixMs))
    })?;
    rows.collect()
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
