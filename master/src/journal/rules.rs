//! What is true of every journal that a master wrote, row against row.

use std::path::Path;

use baton_protocol::{
    Epoch, ShardId,
    discord::{self, SessionParameters},
};

use super::{
    contents::{Contents, Findings},
    roster::Roster,
};
use baton_core::event::{Basis, JournalState, Recovered, RecoveredTicket, Row};

/// Judges the rows of a journal.
pub(super) fn judge(recovered: &Recovered, contents: &Contents, findings: &mut Findings) {
    let mut broken = |problem: String| findings.problems.push(problem);
    if contents.fleet.is_none() {
        broken("it names no fleet: no master began a term with it".to_owned());
    }
    let pinned = recovered.pinned.as_ref();
    let pinned = pinned.map(|pinned| SessionParameters::open(pinned).shard_count);
    let pinned = pinned.filter(|count| *count != 0);
    if let (Some(pinned), Some(count)) = (pinned, contents.shard_count)
        && pinned != count
    {
        broken(format!(
            "the fleet has {count} shards, and its sessions were identified with {pinned}"
        ));
    }
    for (shard, row) in &recovered.shards {
        row_rules(*shard, row, contents.shard_count, &mut broken);
    }
    for (shard, kept) in &recovered.tickets {
        let row = recovered.shards.get(shard);
        ticket_rules(*shard, kept, row, recovered.journal, &mut broken);
        let session = discord::Session::open(&kept.ticket.session);
        let identified = session.parameters.shard_count;
        if let Some(count) = contents.shard_count
            && identified != 0
            && identified != count
        {
            broken(format!(
                "the session of shard {shard} is one of {identified} shards, the fleet has {count}"
            ));
        }
    }
    if let Some((epoch, _)) = recovered.work
        && !is_given(epoch)
    {
        broken(format!(
            "the once-per-bot work has an owner at {}",
            not_given(epoch)
        ));
    }
    for slave in &recovered.fenced {
        if recovered.slaves.contains_key(slave) {
            broken(format!(
                "slave {slave:.8} is fenced and named as one that may live"
            ));
        }
    }
    if recovered.journal == JournalState::Lost {
        findings.notes.push(format!(
            "it took the place of one that was lost, and not every shard has a row again: epochs up \
             to {} may have been used",
            recovered.floor
        ));
    }
}

fn is_given(epoch: Epoch) -> bool {
    (Epoch(1)..=Epoch::LAST).contains(&epoch)
}

fn not_given(epoch: Epoch) -> String {
    format!(
        "epoch {epoch}, which no master gives: the next master forgets it and asks the slaves what \
         they hold"
    )
}

fn row_rules(shard: ShardId, row: &Row, count: Option<u32>, broken: &mut impl FnMut(String)) {
    if count.is_some_and(|count| shard.get() >= count) {
        broken(format!(
            "shard {shard} has a row, and the fleet has no such shard"
        ));
    }
    if !is_given(row.epoch) {
        broken(format!(
            "shard {shard} has an owner at {}",
            not_given(row.epoch)
        ));
    }
    if let Basis::Seal(seal) = row.basis
        && seal >= row.epoch
    {
        broken(format!(
            "shard {shard}: its owner at epoch {} goes on from a seal at epoch {seal}, which is not \
             before it",
            row.epoch
        ));
    }
}

fn ticket_rules(
    shard: ShardId,
    kept: &RecoveredTicket,
    row: Option<&Row>,
    journal: JournalState,
    broken: &mut impl FnMut(String),
) {
    let ticket = &kept.ticket;
    if !is_given(kept.epoch) {
        broken(format!(
            "the ticket of shard {shard} is of {}",
            not_given(kept.epoch)
        ));
    }
    if ticket.shard != shard {
        broken(format!(
            "the ticket of shard {shard} is of shard {}",
            ticket.shard
        ));
    }
    if !ticket.has_session() {
        broken(format!("the ticket of shard {shard} names no session"));
    }
    if ticket
        .finished_above
        .iter()
        .next()
        .is_some_and(|first| first <= ticket.handled)
    {
        broken(format!(
            "the ticket of shard {shard} calls events finished above {} that are not",
            ticket.handled
        ));
    }
    // While rows of a lost journal are brought back, tickets come first.
    match (row, journal) {
        (Some(row), JournalState::Intact) if kept.epoch > row.epoch => broken(format!(
            "shard {shard}: its ticket is of epoch {}, and only epochs up to {} are used up",
            kept.epoch, row.epoch
        )),
        (None, JournalState::Intact) => {
            broken(format!(
                "shard {shard} has a ticket and no owner at any epoch"
            ));
        }
        (Some(_) | None, JournalState::Intact | JournalState::Lost) => {}
    }
}

/// Judges it against the fleet's file in the runtime directory, which never knows
/// less.
pub(super) fn against_roster(contents: &Contents, file: &Path, findings: &mut Findings) {
    let name = file.display();
    let known = match Roster::read(file) {
        Ok(Some(known)) => known,
        Ok(None) => {
            findings.notes.push(format!(
                "{name} is not there or makes no sense: what it should know was not compared"
            ));
            return;
        }
        Err(error) => {
            findings
                .notes
                .push(format!("{name} was not compared: {error}"));
            return;
        }
    };
    let mut broken = |problem: String| findings.problems.push(problem);
    if contents
        .fleet
        .as_ref()
        .is_some_and(|fleet| *fleet != known.term.fleet.to_string())
    {
        broken(format!("it is of another fleet than {name}"));
        return;
    }
    if known.term.counter > contents.term {
        broken(format!(
            "{name} knows start {} of the master, the journal only {}: its newest rows are missing, \
             the next master asks the slaves what they hold",
            known.term.counter, contents.term
        ));
    }
    for slave in known.slaves.keys() {
        let name = slave.to_string();
        if !contents.slaves.iter().any(|row| row.slave == name) {
            broken(format!(
                "slave {slave:.8} may be alive and the journal does not name it: the next master \
                 asks the slaves what they hold"
            ));
        }
    }
}
