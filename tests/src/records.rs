//! What the simulated Discord says it sent, and what slaves say they handled.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use serde::Deserialize;

use crate::error::{Error, Result};

/// One dispatch, as the simulated Discord's ledger has it.
#[derive(Clone, Debug, Deserialize)]
pub struct Sent {
    /// Its shard.
    pub shard: u32,
    /// Fingerprint of its session.
    pub session: Arc<str>,
    /// Its sequence.
    pub seq: u64,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Arc<str>,
    /// When it was made, in microseconds of the host's monotonic clock. A
    /// replay does not change it.
    pub created_us: u64,
    /// Its guild, `0` for none.
    #[serde(default = "none")]
    pub guild: Arc<str>,
}

fn none() -> Arc<str> {
    "0".into()
}

/// One event that a slave finished.
#[derive(Clone, Debug, Deserialize)]
pub struct Handled {
    /// Process id of the slave.
    #[serde(skip)]
    pub pid: u32,
    /// Its shard.
    pub shard: u32,
    /// The epoch of the owner.
    pub epoch: u64,
    /// Fingerprint of its session.
    pub session: Arc<str>,
    /// Its sequence.
    pub seq: u64,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Arc<str>,
    /// Counts what the process handed out, in order.
    pub n: u64,
    /// When its handler was called, as [`Sent::created_us`].
    pub handed_us: u64,
    /// When it was finished, as [`Sent::created_us`].
    pub finished_us: u64,
    /// `may_repeat`, if it was marked.
    #[serde(default)]
    pub mark: Option<Arc<str>>,
}

/// What a slave heard of the state of a shard, before its first event.
#[derive(Clone, Debug, Deserialize)]
pub struct StateTold {
    /// Process id of the slave.
    #[serde(skip)]
    pub pid: u32,
    /// The shard.
    pub shard: u32,
    /// The epoch of the owner.
    pub epoch: u64,
    /// `complete` or `lost`.
    pub state: Arc<str>,
}

/// Everything that the slaves of a run wrote down.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// What was finished.
    pub handled: Vec<Handled>,
    /// What was said of the state.
    pub states: Vec<StateTold>,
}

impl Sent {
    /// What names a dispatch.
    #[must_use]
    pub fn key(&self) -> (Arc<str>, u64) {
        (Arc::clone(&self.session), self.seq)
    }
}

impl Handled {
    /// What names a dispatch.
    #[must_use]
    pub fn key(&self) -> (Arc<str>, u64) {
        (Arc::clone(&self.session), self.seq)
    }
}

/// Reads the ledger: one JSON object a line. RESUMED is left out: it is part of
/// the connection, no bot handles it.
///
/// # Errors
/// A line is of another form.
pub fn parse_ledger(text: &[u8]) -> Result<Vec<Sent>> {
    let mut sent: Vec<Sent> = lines("ledger", text)?;
    sent.retain(|dispatch| &*dispatch.kind != "RESUMED");
    Ok(sent)
}

/// What is in the sink files of every slave of a run was finished.
///
/// # Errors
/// A file cannot be read or a line is of another form.
pub fn read_sinks(folder: &Path) -> Result<Vec<Handled>> {
    read_records(folder).map(|records| records.handled)
}

/// Reads the sink files of every slave of a run, `PID.jsonl` each.
///
/// # Errors
/// A file cannot be read or a line is of another form.
pub fn read_records(folder: &Path) -> Result<Records> {
    let mut records = Records::default();
    let files = fs::read_dir(folder).map_err(Error::io(format!("read {}", folder.display())))?;
    for file in files {
        let path = file.map_err(Error::io("read a sink"))?.path();
        let text = fs::read(&path).map_err(Error::io(format!("read {}", path.display())))?;
        let name = path.file_stem().and_then(|stem| stem.to_str());
        let pid = name.and_then(|name| name.parse().ok()).unwrap_or(0);
        for line in lines::<Line>(&path.display().to_string(), &text)? {
            match line {
                Line::Handled(handled) => records.handled.push(Handled { pid, ..handled }),
                Line::State(told) => records.states.push(StateTold { pid, ..told }),
            }
        }
    }
    Ok(records)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Handled(Handled),
    State(StateTold),
}

/// A line that is not whole is the last one of a process that was killed.
fn lines<T: for<'de> Deserialize<'de>>(what: &str, text: &[u8]) -> Result<Vec<T>> {
    text.split_inclusive(|byte| *byte == b'\n')
        .filter(|line| line.ends_with(b"\n") && line.len() > 1)
        .map(|line| {
            serde_json::from_slice(line).map_err(|error| {
                Error::answer(what, format!("{error}: {}", String::from_utf8_lossy(line)))
            })
        })
        .collect()
}

/// Dispatches by their name.
#[must_use]
pub fn by_key(sent: &[Sent]) -> BTreeMap<(Arc<str>, u64), &Sent> {
    sent.iter().map(|sent| (sent.key(), sent)).collect()
}
