//! Everything in a bucket, at one moment.
//!
//! The messages are asked for one after the other by their sequence, in several lanes at
//! once, and at last what came behind them. A key that is written meanwhile has its message
//! behind all that were there: so when nothing is behind the last one, everything that was
//! there then has been seen, and the newest message of each key counts.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::try_join_all;
use tokio::time::Instant;

use super::{
    bucket::{Bucket, Found, State},
    client::Trouble,
};

/// Lanes that ask at the same time.
const LANES: u64 = 16;

/// All of it is read within this time.
const WITHIN: Duration = Duration::from_secs(30);

/// More than this is no journal.
const MOST_KEYS: usize = 1 << 18;

/// What is in a bucket.
#[derive(Debug)]
pub(super) struct Everything {
    /// The newest message of each key.
    pub(super) found: BTreeMap<String, Found>,
    /// The last sequence of the stream then.
    pub(super) last: u64,
    /// The stream before it was read.
    pub(super) state: State,
}

pub(super) async fn everything(bucket: &Bucket) -> Result<Everything, Trouble> {
    let until = Instant::now() + WITHIN;
    let state = bucket.state().await?;
    let mut found = BTreeMap::new();
    if state.last >= state.first && state.last > 0 {
        let width = (state.last - state.first) / LANES + 1;
        let lanes = (0..LANES).map(|lane| state.first.saturating_add(lane * width));
        let lanes = lanes.take_while(|first| *first <= state.last);
        let lanes = lanes.map(|first| {
            let last = first.saturating_add(width - 1).min(state.last);
            lane(bucket, first, last, until)
        });
        for part in try_join_all(lanes).await? {
            keep(&mut found, part);
        }
    }
    let behind = lane(bucket, state.last + 1, u64::MAX, until).await?;
    let last = behind.last().map_or(state.last, |last| last.sequence);
    keep(&mut found, behind);
    Ok(Everything { found, last, state })
}

/// The newest message of a key counts.
fn keep(found: &mut BTreeMap<String, Found>, part: Vec<Found>) {
    for message in part {
        let newer = found.get(&message.key);
        if newer.is_none_or(|known| known.sequence < message.sequence) {
            found.insert(message.key.clone(), message);
        }
    }
}

/// The messages from one sequence to another.
async fn lane(
    bucket: &Bucket,
    first: u64,
    last: u64,
    until: Instant,
) -> Result<Vec<Found>, Trouble> {
    let mut messages = Vec::new();
    let mut from = first;
    while let Some(message) = bucket.next(from, "").await? {
        if message.sequence > last {
            break;
        }
        from = message.sequence + 1;
        messages.push(message);
        if messages.len() > MOST_KEYS {
            return Err(Trouble::Garbage(format!("over {MOST_KEYS} keys")));
        }
        if Instant::now() > until {
            let within = humantime::format_duration(WITHIN);
            return Err(Trouble::Away(format!("it could not be read in {within}")));
        }
        if from > last {
            break;
        }
    }
    Ok(messages)
}
