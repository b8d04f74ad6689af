//! A look at a journal without touching it, also while a master writes: for
//! `journal show` and `journal verify`. Nothing here is a secret: session ids stay
//! where they are.

use std::{collections::BTreeMap, fs, io, path::Path};

use baton_core::event::{Hold, JournalState, Recovered};
use baton_protocol::{ShardId, SlaveId, message::ResumeAfter};

pub use super::contents::{CommandRow, Contents, Findings, ShardRow, SlaveRow, TicketRow, WorkRow};
use super::{
    error::StoreError,
    rows::{basis_text, list, unsigned},
    rules, schema,
    store::Store,
};
use crate::{clock::unix_ms, error::Error};

/// Reads a journal.
///
/// # Errors
/// [`Error::Failed`]: there is none, it is no journal, or a row makes no sense.
pub fn look(file: &Path) -> Result<Contents, Error> {
    let store = open(file)?;
    contents(file, &store).map_err(|error| unreadable(file, &error))
}

/// Judges a journal; `roll` is the fleet's file in the runtime directory.
///
/// # Errors
/// [`Error::Failed`]: there is none, or it is no database.
pub fn verify(file: &Path, roll: &Path) -> Result<Findings, Error> {
    let store = open(file)?;
    let mut findings = Findings::default();
    match store.integrity() {
        Ok(broken) => findings.problems.extend(broken),
        Err(error) => return Err(unreadable(file, &error)),
    }
    match schema::usable(store.connection()) {
        Ok(None) => {}
        Ok(Some(note)) => findings.notes.push(note),
        Err(error) => {
            // Its rows may mean something else.
            findings.problems.push(error.to_string());
            return Ok(findings);
        }
    }
    let read = store
        .recover()
        .and_then(|recovered| Ok((recovered, contents(file, &store)?)));
    match read {
        Ok((recovered, contents)) => {
            rules::judge(&recovered, &contents, &mut findings);
            rules::against_roll(&contents, roll, &mut findings);
        }
        Err(error) => findings.problems.push(error.to_string()),
    }
    Ok(findings)
}

fn open(file: &Path) -> Result<Store, Error> {
    let found = fs::metadata(file);
    if let Err(error) = &found
        && error.kind() == io::ErrorKind::PermissionDenied
    {
        return Err(Error::Failed(format!(
            "journal {}: this user may not look there: run this as the master's user",
            file.display()
        )));
    }
    if !found.is_ok_and(|found| found.is_file()) {
        return Err(Error::Failed(format!(
            "there is no journal {}: no master ran with this data_dir; name another with --data-dir \
             or --config",
            file.display()
        )));
    }
    Store::read_only(file).map_err(|error| unreadable(file, &error))
}

fn unreadable(file: &Path, error: &StoreError) -> Error {
    let advice = if error.is_damage() {
        "; the next master sets it aside and asks the slaves what they hold"
    } else {
        ""
    };
    Error::Failed(format!("journal {}: {error}{advice}", file.display()))
}

fn contents(file: &Path, store: &Store) -> Result<Contents, StoreError> {
    let recovered = store.recover()?;
    let term = store.before()?.term;
    let now = unix_ms();
    let slaves = recovered.slaves.values();
    Ok(Contents {
        file: file.to_owned(),
        schema: schema::found(store.connection())?,
        oldest_reader: schema::oldest_reader(store.connection())?,
        fleet: term.map(|term| term.fleet.to_string()),
        term: term.map_or(0, |term| term.counter),
        last_deploy: recovered.last_deploy.get(),
        seen_ms_ago: store.seen()?.map(|seen| now.saturating_sub(seen)),
        whole: recovered.journal == JournalState::Intact,
        shard_count: store.shard_count()?,
        work: recovered.work.map(|(epoch, owner)| WorkRow {
            epoch: epoch.get(),
            owner: owner.to_string(),
        }),
        slaves: slaves
            .map(|hello| SlaveRow {
                slave: hello.slave.to_string(),
                slot: hello.slot.clone(),
                build: hello.build.clone(),
                version: hello.version.0,
                pid: hello.process.pid,
            })
            .collect(),
        fenced: recovered.fenced.iter().map(SlaveId::to_string).collect(),
        commands: store.command_rows()?,
        shards: shards(&recovered, &store.written()?, now),
        pinned: recovered.pinned,
    })
}

fn shards(recovered: &Recovered, written: &BTreeMap<ShardId, u64>, now: u64) -> Vec<ShardRow> {
    let mut shards: BTreeMap<ShardId, ShardRow> = BTreeMap::new();
    for (id, row) in &recovered.shards {
        let shown = ShardRow {
            shard: id.get(),
            epoch: row.epoch.get(),
            owner: Some(row.owner.to_string()),
            hold: Some(match row.hold {
                Hold::Owned => "owned",
                Hold::Reserved => "reserved",
            }),
            basis: Some(basis_text(row.basis)),
            ticket: None,
        };
        shards.insert(*id, shown);
    }
    for (id, kept) in &recovered.tickets {
        let shown = shards.entry(*id).or_default();
        shown.shard = id.get();
        shown.ticket = Some(TicketRow {
            epoch: kept.epoch.get(),
            after: match kept.after {
                ResumeAfter::Seal => "seal",
                ResumeAfter::Death => "death",
            },
            handled: kept.ticket.handled.get(),
            age_ms: now.saturating_sub(written.get(id).copied().unwrap_or(now)),
        });
    }
    shards.into_values().collect()
}

impl Store {
    /// What SQLite finds wrong with its pages and indexes, and with types of columns.
    fn integrity(&self) -> Result<Vec<String>, StoreError> {
        let mut statement = self.connection().prepare("PRAGMA integrity_check")?;
        let said = statement.query_map([], |row| row.get::<_, String>(0))?;
        let mut broken = Vec::new();
        for line in said {
            let line = line?;
            if line != "ok" {
                broken.push(line);
            }
        }
        Ok(broken)
    }

    /// Every row of table `commands`, as it is.
    fn command_rows(&self) -> Result<Vec<CommandRow>, StoreError> {
        let mut statement = self
            .connection()
            .prepare("SELECT slot, command, configured FROM commands ORDER BY slot")?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(CommandRow {
                slot: row.get(0)?,
                command: list(&row.get::<_, String>(1)?)?,
                configured: list(&row.get::<_, String>(2)?)?,
            });
        }
        Ok(found)
    }

    /// When a master ran last, in milliseconds since 1970.
    fn seen(&self) -> Result<Option<u64>, StoreError> {
        self.meta_number("seen_ms")
    }

    /// When each ticket was written, in milliseconds since 1970.
    fn written(&self) -> Result<BTreeMap<ShardId, u64>, StoreError> {
        let mut statement = self
            .connection()
            .prepare("SELECT shard, written_ms FROM tickets")?;
        let mut rows = statement.query([])?;
        let mut written = BTreeMap::new();
        while let Some(row) = rows.next()? {
            written.insert(ShardId(row.get(0)?), unsigned(row.get(1)?));
        }
        Ok(written)
    }
}
