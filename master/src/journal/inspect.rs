//! A look at a journal without touching it, also while a master writes: for
//! `journal show` and `journal verify`. Nothing here is a secret: session ids stay
//! where they are.

use std::{collections::BTreeMap, fs, io, path::Path};

use baton_core::event::{Hold, JournalState, Recovered};
use baton_protocol::{
    DeployId, ShardId, SlaveId, discord::SessionParameters, message::ResumeAfter,
};

pub use super::contents::{
    CommandRow, Contents, DeployRow, Findings, ShardRow, SlaveRow, TicketRow, WorkRow,
};
use super::{
    rows::{Rows, TicketRow as Ticket, basis_text},
    rules,
};
use crate::{
    clock::unix_ms,
    error::Error,
    store::{Sqlite, Store, StoreError, schema},
};

/// Reads a journal.
///
/// # Errors
/// [`Error::Failed`]: there is none, it is no journal, or a row makes no sense.
pub fn inspect(file: &Path) -> Result<Contents, Error> {
    let mut store = open(file)?;
    rows(&mut store)
        .and_then(|rows| contents(file, &store, &rows, &rows.recovered()?))
        .map_err(|error| unreadable(file, &error))
}

/// Judges a journal; `roster` is the fleet's file in the runtime directory.
///
/// # Errors
/// [`Error::Failed`]: there is none, or it is no database.
pub fn verify(file: &Path, roster: &Path) -> Result<Findings, Error> {
    let mut store = open(file)?;
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
    let read = rows(&mut store).and_then(|rows| {
        let recovered = rows.recovered()?;
        let contents = contents(file, &store, &rows, &recovered)?;
        Ok((recovered, contents))
    });
    match read {
        Ok((recovered, contents)) => {
            rules::judge(&recovered, &contents, &mut findings);
            rules::against_roster(&contents, roster, &mut findings);
        }
        Err(error) => findings.problems.push(error.to_string()),
    }
    Ok(findings)
}

fn rows(store: &mut Sqlite) -> Result<Rows, StoreError> {
    Rows::read(&store.read()?)
}

fn open(file: &Path) -> Result<Sqlite, Error> {
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
    Sqlite::read_only(file).map_err(|error| unreadable(file, &error))
}

fn unreadable(file: &Path, error: &StoreError) -> Error {
    let advice = if error.is_damage() {
        "; the next master sets it aside and asks the slaves what they hold"
    } else {
        ""
    };
    Error::Failed(format!("journal {}: {error}{advice}", file.display()))
}

fn contents(
    file: &Path,
    store: &Sqlite,
    rows: &Rows,
    recovered: &Recovered,
) -> Result<Contents, StoreError> {
    let term = rows.term.map(|(term, _)| term);
    let now = unix_ms();
    let commands = rows.commands.iter();
    let slaves = recovered.slaves.values();
    Ok(Contents {
        file: file.to_owned(),
        schema: schema::found(store.connection())?,
        oldest_reader: schema::oldest_reader(store.connection())?,
        fleet: term.map(|term| term.fleet.to_string()),
        term: term.map_or(0, |term| term.counter),
        last_deploy: recovered.last_deploy.deploy.get(),
        seen_ms_ago: rows.seen_ms.map(|seen| now.saturating_sub(seen)),
        whole: recovered.journal == JournalState::Intact,
        shard_count: rows.shard_count,
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
        deploys: deploys(rows, now),
        commands: commands
            .filter_map(|(slot, row)| {
                Some(CommandRow {
                    slot: slot.clone(),
                    command: row.command.clone()?,
                    configured: row.configured.clone(),
                })
            })
            .collect(),
        shards: shards(recovered, &rows.tickets, now),
        pinned: recovered.pinned.as_ref().map(SessionParameters::open),
    })
}

fn deploys(rows: &Rows, now: u64) -> Vec<DeployRow> {
    let deploys = rows.deploys.iter().map(|(slot, row)| {
        let is_done = row.done.is_some_and(|done| done.deploy == row.last);
        let is_given_up = rows.given_up.contains(&DeployId(row.last));
        DeployRow {
            slot: slot.clone(),
            deploy: row.last,
            begun_ms_ago: (row.unix_ms != 0).then(|| now.saturating_sub(row.unix_ms)),
            ended: match (is_done, is_given_up) {
                (true, _) => Some("done"),
                (false, true) => Some("given up"),
                (false, false) => None,
            },
            done_ms_ago: row.done.map(|done| now.saturating_sub(done.unix_ms)),
        }
    });
    deploys.collect()
}

fn shards(recovered: &Recovered, tickets: &BTreeMap<ShardId, Ticket>, now: u64) -> Vec<ShardRow> {
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
            age_ms: tickets
                .get(id)
                .map_or(0, |ticket| now.saturating_sub(ticket.written_ms)),
        });
    }
    shards.into_values().collect()
}
