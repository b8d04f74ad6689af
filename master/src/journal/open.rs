//! How a master begins with a journal: what it knows, what it lost, and the term.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use baton_core::event::{Durability, Entry, JournalState, Key, Recovered};
use baton_protocol::{Epoch, Term};
use tracing::{error, warn};

use super::{
    age::Clocks,
    handle::Journal,
    ledger::{Draft, Ledger},
    roster::{Home, Known, Roster},
    rows::{BOOT, Boot, Lost, Rows, SHARD_COUNT, ShardCount, TermRow, encode},
    writer::{Deposed, Writer, deposed},
};
use crate::{
    clock::unix_ms,
    error::Error,
    store::{ApplyError, Batch, Revision, Sqlite, Store, StoreError, TERM, set_aside},
    test_hooks::crash,
};

/// Name of the file in the data directory.
pub const FILE: &str = "journal.sqlite3";

/// After a loss epochs begin above what any earlier master can have used: the
/// term, and room for as many epochs in each.
const EPOCHS_OF_A_TERM: u64 = 1 << 28;

/// A journal, and what it gave back.
#[derive(Debug)]
pub struct Opened {
    /// The journal.
    pub journal: Journal,
    /// Everything that it knew. Its slaves are not yet checked for life.
    pub recovered: Recovered,
    /// This start of the master; on the disk already.
    pub term: Term,
    /// The boot that the master before ran on, if there was one.
    pub boot: Option<String>,
    /// The count that was pinned at the first start.
    pub shard_count: Option<u32>,
    /// When the last deploy of each slot was written down, in milliseconds since 1970; zero:
    /// not known.
    pub deploys_ms: BTreeMap<String, u64>,
    /// Commands that deploys brought into slots, where the configured one is
    /// still the same as then.
    pub commands: BTreeMap<String, Vec<String>>,
    /// The command that each slot had before the present one, if it had another.
    pub before: BTreeMap<String, Vec<String>>,
}

impl Journal {
    /// Opens or makes the journal in `data_dir` and begins a term. Blocks: call
    /// it before anything is served.
    ///
    /// `configured` is the configured command of each slot that has one.
    ///
    /// A journal that is damaged, or of a newer master that does not let this one
    /// use it, is set aside, and a new one takes its place. The
    /// fleet and the slaves that may be alive are then known from `home`, the
    /// term is above every earlier one, and the journal is [`JournalState::Lost`]; so
    /// it is whenever the journal knows less than `home` does.
    ///
    /// # Errors
    /// [`Error::Configuration`]: the file is of another fleet. [`Error::Journal`]: the
    /// disk refused. [`Error::Deposed`]: another master took the term at the same moment.
    pub fn open(
        data_dir: &Path,
        configured: BTreeMap<String, Vec<String>>,
        home: &Home,
    ) -> Result<Opened, Error> {
        let path = data_dir.join(FILE);
        open(&path, configured, home).map_err(|error| unusable(path, error))
    }

    /// Begins a term at a journal that masters of other hosts have, too: `place` is where.
    /// Blocks.
    ///
    /// Nothing is set aside there: what makes no sense to this master may to another.
    ///
    /// # Errors
    /// [`Error::Configuration`]: it is of another fleet or secret. [`Error::Away`]: it does not
    /// answer now. [`Error::Journal`]: it cannot be read. [`Error::Deposed`]: another master took the term at the same moment.
    pub(crate) fn open_shared(
        mut store: Box<dyn Store>,
        place: &str,
        configured: BTreeMap<String, Vec<String>>,
        home: &Home,
    ) -> Result<Opened, Error> {
        let rows = store.read().and_then(|snapshot| {
            let rows = Rows::read(&snapshot)?;
            rows.recovered()?;
            Ok(rows)
        });
        let opened = rows.and_then(|rows| begin(store, rows, false, configured, home));
        opened.map_err(|error| unusable(place.into(), error))
    }
}

/// Opens the file, or makes one; a bad one is set aside, and another takes its place.
fn open(
    path: &Path,
    configured: BTreeMap<String, Vec<String>>,
    home: &Home,
) -> Result<Opened, StoreError> {
    let (store, rows, aside) = match readable(path) {
        Err(error) if error.is_damage() => {
            let aside = set_aside(path)?;
            error!(%error, journal = %path.display(), aside = %aside.display(),
                "the journal is no good and set aside; what slaves report takes its place");
            let (store, rows) = readable(path)?;
            (store, rows, true)
        }
        read => {
            let (store, rows) = read?;
            (store, rows, false)
        }
    };
    begin(Box::new(store), rows, aside, configured, home)
}

/// Opens a journal and reads all of it once, so that what is damaged shows.
fn readable(path: &Path) -> Result<(Sqlite, Rows), StoreError> {
    let mut store = Sqlite::open(path)?;
    let rows = Rows::read(&store.read()?)?;
    rows.recovered()?;
    Ok((store, rows))
}

/// Takes the term at a store that holds these rows. `aside`: they are not what the master
/// before left.
pub(super) fn begin(
    mut store: Box<dyn Store>,
    mut rows: Rows,
    aside: bool,
    configured: BTreeMap<String, Vec<String>>,
    home: &Home,
) -> Result<Opened, StoreError> {
    let roster = Roster::read(&home.file)?;
    let before = rows.term;
    // What runs on another host may outlive a boot of this one.
    let boot = boot_of(&rows).filter(|_| !home.shared);
    let boot = boot.or_else(|| {
        let boot = roster.as_ref().map(|roster| roster.boot.clone());
        boot.filter(|boot| !boot.is_empty())
    });
    let impossible = rows.take_out_impossible();
    if !impossible.is_empty() {
        error!(
            rows = impossible.len(),
            "rows of the journal name epochs that no master gave; they are forgotten, and slaves are asked"
        );
    }
    let mut recovered = rows.recovered()?;
    let deploys = rows.deploys.iter();
    let deploys_ms = deploys.map(|(slot, row)| (slot.clone(), row.unix_ms));
    let deploys_ms = deploys_ms.collect();
    let mut shard_count = rows.shard_count;
    let known = before.map(|(term, _)| term);
    let went_back = roster
        .as_ref()
        .zip(store.newest())
        .is_some_and(|(roster, newest)| {
            // A later master has looked at what went back before its term.
            known.is_some_and(|known| known.counter == roster.term.counter)
                && newest.0 < roster.newest
                && !mutant!("went-back-unseen")
        });
    let lost = aside
        || went_back
        || !impossible.is_empty()
        || has_lost(known, &recovered, roster.as_ref(), home);
    let term = next_term(known, roster.as_ref(), home)?;
    let roster_is_none = roster.is_none();
    if lost {
        warn!(%term, "the journal does not know everything: slaves are asked what they hold");
        let roster = roster.unwrap_or_default();
        shard_count = shard_count.or(roster.shard_count);
        fill_up(&mut recovered, roster, term);
    }
    if home.shared && roster_is_none && term.fleet != home.fleet {
        return Err(StoreError::OtherSecret(format!("fleet {:.8}", term.fleet)));
    }
    let mut ledger = Ledger::new(&rows, configured);
    ledger.leads(term);
    let commands = ledger.brought();
    let clocks = Clocks::now();
    let mut draft = first_draft(&ledger, &recovered, shard_count, clocks.unix)?;
    ledger.fill(&mut draft, &commands)?;
    let mut put = |key: &str, value| draft.changes.insert(key.to_owned(), Some(value));
    let Term { fleet, counter } = term;
    put(TERM, encode(&TermRow { fleet, counter })?);
    // Else rows are there that were written by an earlier word on this boot.
    if clocks
        .began(rows.boot.as_deref().unwrap_or_default())
        .is_none()
    {
        let clocks = clocks.to_text();
        put(BOOT, encode(&Boot { clocks })?);
    }
    // They are of this term from now on, or nobody relies on them any more.
    for slave in rows.leases.keys() {
        let lease = recovered.leases.get(slave).copied().unwrap_or_default();
        let slave = *slave;
        let entry = Entry::Leased { slave, lease };
        let known = ledger.draft(&[entry], clocks.unix)?.changes;
        draft.changes.extend(known);
    }
    for key in impossible {
        draft.changes.entry(key.to_string()).or_insert(None);
    }
    let batch = Batch {
        term: before.map(|(_, revision)| revision),
        changes: std::mem::take(&mut draft.changes),
    };
    let revision = take_term(&mut *store, term, &batch)?;
    ledger.accept(draft);
    let before = ledger.before();
    let known = Known {
        term,
        shard_count,
        pinned: recovered.pinned.clone(),
        slaves: recovered.slaves.clone(),
        boot: clocks.boot,
        copied: false,
        newest: if home.shared { revision.0 } else { 0 },
    };
    let roster = Roster::begin(&home.file, known)?;
    let deposed = Deposed::default();
    let kept = Arc::clone(&deposed);
    let writer = Writer::new(store, (term, revision), ledger, roster, deposed);
    Ok(Opened {
        journal: Journal::start(writer, kept)?,
        recovered,
        term,
        boot,
        shard_count,
        deploys_ms,
        commands,
        before,
    })
}

/// After a loss: what the file beside the journal knows counts, too.
fn fill_up(recovered: &mut Recovered, roster: Known, term: Term) {
    for (slave, hello) in roster.slaves {
        // Of one that is fenced its last master had no time to take the name out.
        if !recovered.fenced.contains(&slave) {
            recovered.slaves.entry(slave).or_insert(hello);
        }
    }
    recovered.pinned = recovered.pinned.take().or(roster.pinned);
    recovered.journal = JournalState::Lost;
    recovered.floor = floor(term);
    // The word that a slave has none any more may be what was lost.
    recovered.leases.clear();
}

/// What is written with the term: after a loss, everything that is known.
fn first_draft(
    ledger: &Ledger,
    recovered: &Recovered,
    shard_count: Option<u32>,
    now: u64,
) -> Result<Draft, StoreError> {
    if recovered.journal == JournalState::Intact {
        return Ok(Draft::default());
    }
    let slaves = recovered.slaves.values().cloned();
    let slaves = slaves.map(|hello| Entry::Slave(Box::new(hello)));
    let pinned = recovered.pinned.clone().map(Entry::Pinned);
    let entries: Vec<_> = slaves.chain(pinned).collect();
    let mut draft = ledger.draft(&entries, now)?;
    let mut put = |key: &str, value| draft.changes.insert(key.to_owned(), Some(value));
    let floor = recovered.floor.get();
    put(&Key::Lost.to_string(), encode(&Lost { floor })?);
    if let Some(shard_count) = shard_count {
        put(SHARD_COUNT, encode(&ShardCount { shard_count })?);
    }
    Ok(draft)
}

/// All that is to be there from the beginning of a term, on the disk when it returns.
fn take_term(store: &mut dyn Store, term: Term, batch: &Batch) -> Result<Revision, StoreError> {
    crash::before("term");
    match store.apply(batch, Durability::Now) {
        Ok(revision) => {
            crash::after("term");
            Ok(revision)
        }
        Err(ApplyError::Deposed) => Err(StoreError::Deposed(deposed(term))),
        Err(ApplyError::Refused(error)) => Err(error),
    }
}

/// No epoch up to this one is used after a loss.
fn floor(term: Term) -> Epoch {
    let floor = term.counter.saturating_mul(EPOCHS_OF_A_TERM);
    Epoch(floor.min(Epoch::LAST.get() / 4))
}

/// The boot on which a master ran last.
fn boot_of(rows: &Rows) -> Option<String> {
    let (boot, _) = rows.boot.as_deref()?.split_once(' ')?;
    Some(boot.to_owned())
}

/// Whether slaves may serve what this journal does not know.
fn has_lost(
    before: Option<Term>,
    recovered: &Recovered,
    roster: Option<&Known>,
    home: &Home,
) -> bool {
    let Some(known) = before else {
        return roster.is_some() || home.ran_before;
    };
    let behind = roster.is_some_and(|roster| {
        let mut slaves = roster.slaves.keys();
        // What a master of another host did since is not written here.
        let is_newest = !home.shared || (roster.term.counter == known.counter && !roster.copied);
        roster.term.counter > known.counter
            || is_newest
                && slaves.any(|slave| {
                    !recovered.slaves.contains_key(slave) && !recovered.fenced.contains(slave)
                })
    });
    behind || recovered.shards.is_empty() || recovered.journal == JournalState::Lost
}

/// Above every term that a slave of this fleet may have seen.
fn next_term(
    before: Option<Term>,
    roster: Option<&Known>,
    home: &Home,
) -> Result<Term, StoreError> {
    let (fleet, last) = match (before, roster.map(|roster| roster.term)) {
        (Some(known), Some(roster)) if known.fleet != roster.fleet => {
            return Err(StoreError::OtherFleet {
                journal: known.fleet,
                roster: roster.fleet,
                file: home.file.clone(),
            });
        }
        (Some(known), Some(roster)) => (known.fleet, known.counter.max(roster.counter)),
        (Some(known), None) | (None, Some(known)) => (known.fleet, known.counter),
        // Nothing counted them, and none is a second long.
        (None, None) if home.ran_before => (home.fleet, unix_ms() / 1000),
        (None, None) => (home.fleet, 0),
    };
    let counter = last.saturating_add(1);
    Ok(Term { fleet, counter })
}

/// Says what to do, by what is wrong.
fn unusable(path: PathBuf, error: StoreError) -> Error {
    let reason = match &error {
        // Nothing heals that by itself.
        StoreError::OtherFleet { .. } | StoreError::OtherSecret(_) | StoreError::Unlike { .. } => {
            return Error::Configuration(format!("journal {}: {error}", path.display()));
        }
        StoreError::Deposed(_) => return Error::Deposed(error.to_string()),
        StoreError::Io(_) => format!("{error}; choose another data_dir"),
        StoreError::Away(_) | StoreError::Changed => return Error::Away(error.to_string()),
        StoreError::Remote(_) => error.to_string(),
        // What is no good was set aside: this is the one that took its place.
        StoreError::Row { .. }
        | StoreError::Newer { .. }
        | StoreError::Damaged(_)
        | StoreError::TooLarge(_)
        | StoreError::Sqlite(_) => format!("{error}; free the disk or choose another data_dir"),
    };
    Error::Journal { path, reason }
}
