//! Entries as rows, and back.

use std::collections::BTreeMap;

use baton_protocol::{
    Epoch, SessionParameters, ShardId, SlaveId, Ticket,
    message::{Hello, ResumeAfter, Role},
};
use rusqlite::{Connection, Row, Transaction, params};

use baton_core::event::{Basis, Entry, Hold};

use super::{age::Clocks, error::StoreError};
use crate::clock::unix_ms;

/// Every statement names its columns: a newer master may have added others.
pub(super) fn write(
    change: &Transaction<'_>,
    entry: &Entry,
    configured: &BTreeMap<String, Vec<String>>,
) -> Result<(), StoreError> {
    match entry {
        Entry::Pinned(pinned) => write_pinned(change, pinned)?,
        Entry::Owner {
            shard,
            epoch,
            owner,
            hold,
            basis,
        } => write_owner(change, *shard, (*epoch, *owner), *hold, *basis)?,
        Entry::Work { epoch, owner } => {
            change
                .prepare_cached(
                    "INSERT OR REPLACE INTO work (one, epoch, owner) VALUES (1, ?1, ?2)",
                )?
                .execute(params![signed(epoch.get())?, owner.to_string()])?;
        }
        Entry::Slave(hello) => write_slave(change, hello)?,
        Entry::Gone(slave) => {
            delete_slave(change, *slave)?;
            change.execute("DELETE FROM meta WHERE key = ?1", [fenced(*slave)])?;
        }
        Entry::Fenced(slave) => {
            delete_slave(change, *slave)?;
            set_meta(change, &fenced(*slave), &unix_ms().to_string())?;
            keep_the_last(change, "fenced", 256)?;
        }
        Entry::Ticket {
            epoch,
            after,
            ticket,
        } => write_ticket(change, *epoch, *after, ticket)?,
        Entry::Deploy(deploy) => set_meta(change, "last_deploy", &deploy.to_string())?,
        Entry::GivenUp(deploy) => {
            set_meta(change, &format!("given up {deploy}"), &deploy.to_string())?;
            keep_the_last(change, "given up", 64)?;
        }
        Entry::Seen => {
            let clocks = Clocks::now();
            set_meta(change, "seen_ms", &clocks.unix.to_string())?;
            set_meta(change, "booted_ms", &clocks.to_text())?;
        }
        Entry::Whole => {
            change.execute("DELETE FROM meta WHERE key = 'lost'", [])?;
        }
        // A master that does not know it leaves it.
        Entry::LateSealRefused(refused) => {
            set_meta(
                change,
                "late_seal_refused",
                if *refused { "1" } else { "0" },
            )?;
        }
        Entry::Command { slot, command } => {
            let configured = configured.get(slot).map_or(&[][..], Vec::as_slice);
            change
                .prepare_cached(
                    "INSERT OR REPLACE INTO commands (slot, command, configured)
                     VALUES (?1, ?2, ?3)",
                )?
                .execute(params![slot, json(command), json(configured)])?;
            fill(change, slot, command)?;
        }
    }
    Ok(())
}

fn write_pinned(change: &Transaction<'_>, pinned: &SessionParameters) -> Result<(), StoreError> {
    change
        .prepare_cached(
            "INSERT OR REPLACE INTO pinned (one, intents, shard_count, api_version,
                 encoding, compression, large_threshold)
             VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            bits(pinned.intents),
            pinned.shard_count,
            pinned.api_version,
            pinned.encoding,
            pinned.compression,
            pinned.large_threshold
        ])?;
    Ok(())
}

/// A lower epoch is never written over a higher one.
fn write_owner(
    change: &Transaction<'_>,
    shard: ShardId,
    (epoch, owner): (Epoch, SlaveId),
    hold: Hold,
    basis: Basis,
) -> Result<(), StoreError> {
    let hold = match hold {
        Hold::Reserved => "reserved",
        Hold::Owned => "owned",
    };
    change
        .prepare_cached(
            "INSERT INTO shards (shard, epoch, owner, hold, basis)
             VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (shard) DO UPDATE
             SET epoch = excluded.epoch, owner = excluded.owner, hold = excluded.hold,
                 basis = excluded.basis
             WHERE excluded.epoch >= shards.epoch",
        )?
        .execute(params![
            shard.get(),
            signed(epoch.get())?,
            owner.to_string(),
            hold,
            basis_text(basis)
        ])?;
    Ok(())
}

/// Nor is that of a lower epoch over that of a higher one.
fn write_ticket(
    change: &Transaction<'_>,
    epoch: Epoch,
    after: ResumeAfter,
    ticket: &Ticket,
) -> Result<(), StoreError> {
    let after = match after {
        ResumeAfter::Seal => "seal",
        ResumeAfter::Death => "death",
    };
    let text = serde_json::to_string(ticket).map_err(|error| StoreError::Row {
        table: "tickets",
        value: error.to_string(),
    })?;
    change
        .prepare_cached(
            "INSERT INTO tickets (shard, epoch, after, handled, written_ms, ticket)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (shard) DO UPDATE
             SET epoch = excluded.epoch, after = excluded.after, handled = excluded.handled,
                 written_ms = excluded.written_ms, ticket = excluded.ticket
             WHERE excluded.epoch >= tickets.epoch",
        )?
        .execute(params![
            ticket.shard.get(),
            signed(epoch.get())?,
            after,
            bits(ticket.handled.get()),
            bits(unix_ms()),
            text
        ])?;
    Ok(())
}

/// Of the words of one kind in table `meta`, those with the lowest values are forgotten:
/// the table stays small.
fn keep_the_last(change: &Transaction<'_>, kind: &str, most: u32) -> Result<(), StoreError> {
    change.execute(
        "DELETE FROM meta WHERE key LIKE ?1 AND key NOT IN
         (SELECT key FROM meta WHERE key LIKE ?1 ORDER BY CAST(value AS INTEGER) DESC LIMIT ?2)",
        params![format!("{kind} %"), most],
    )?;
    Ok(())
}

/// This is the command of the slot now; what it was is the one before.
pub(super) fn fill(
    connection: &Connection,
    slot: &str,
    command: &[String],
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO fillings (slot, command) VALUES (?1, ?2)
             ON CONFLICT (slot) DO UPDATE SET before = command, command = excluded.command
             WHERE command <> excluded.command",
        )?
        .execute(params![slot, json(command)])?;
    Ok(())
}

fn delete_slave(change: &Transaction<'_>, slave: SlaveId) -> Result<(), StoreError> {
    change
        .prepare_cached("DELETE FROM slaves WHERE slave = ?1")?
        .execute([slave.to_string()])?;
    Ok(())
}

/// Key in table `meta` of a slave that is dead by the operator's word.
fn fenced(slave: SlaveId) -> String {
    format!("fenced {slave}")
}

pub(super) fn basis_text(basis: Basis) -> String {
    match basis {
        Basis::Cold => "cold".to_owned(),
        Basis::Death => "death".to_owned(),
        Basis::Seal(epoch) => format!("seal {epoch}"),
    }
}

pub(super) fn basis(text: &str) -> Result<Basis, StoreError> {
    let seal = |epoch: &str| Some(Basis::Seal(Epoch(epoch.parse().ok()?)));
    match text {
        "cold" => Ok(Basis::Cold),
        "death" => Ok(Basis::Death),
        text => text
            .strip_prefix("seal ")
            .and_then(seal)
            .ok_or_else(|| StoreError::Row {
                table: "shards",
                value: text.to_owned(),
            }),
    }
}

fn write_slave(change: &Transaction<'_>, hello: &Hello) -> Result<(), StoreError> {
    let role = match hello.role {
        Role::Candidate => "candidate",
        Role::Standby => "standby",
        Role::Relaunch => "relaunch",
    };
    let (process, parameters) = (&hello.process, &hello.parameters);
    change
        .prepare_cached(
            "INSERT OR REPLACE INTO slaves (slave, slot, build, role, version, lowest, pid,
                 start_time, boot_id, pid_namespace, intents, shard_count, api_version, encoding,
                 compression, large_threshold)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        )?
        .execute(params![
            hello.slave.to_string(),
            hello.slot,
            hello.build,
            role,
            hello.version.0,
            hello.lowest.0,
            process.pid,
            bits(process.start_time),
            process.boot_id,
            bits(process.pid_namespace),
            bits(parameters.intents),
            parameters.shard_count,
            parameters.api_version,
            parameters.encoding,
            parameters.compression,
            parameters.large_threshold
        ])?;
    Ok(())
}

pub(super) fn set_meta(change: &Transaction<'_>, key: &str, value: &str) -> Result<(), StoreError> {
    change
        .prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?
        .execute([key, value])?;
    Ok(())
}

pub(super) fn read_parameters(row: &Row<'_>, at: usize) -> rusqlite::Result<SessionParameters> {
    Ok(SessionParameters {
        intents: unsigned(row.get(at)?),
        shard_count: row.get(at + 1)?,
        api_version: row.get(at + 2)?,
        encoding: row.get(at + 3)?,
        compression: row.get(at + 4)?,
        large_threshold: row.get(at + 5)?,
    })
}

pub(super) fn slave_id(table: &'static str, text: &str) -> Result<SlaveId, StoreError> {
    text.parse().map_err(|_| StoreError::Row {
        table,
        value: text.to_owned(),
    })
}

pub(super) fn role(text: &str) -> Role {
    match text {
        "candidate" => Role::Candidate,
        "standby" => Role::Standby,
        _ => Role::Relaunch,
    }
}

fn json(command: &[String]) -> String {
    serde_json::Value::from(command).to_string()
}

pub(super) fn list(text: &str) -> Result<Vec<String>, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Row {
        table: "commands",
        value: text.to_owned(),
    })
}

/// For numbers that are compared in SQL: what SQLite's integers cannot hold is
/// refused.
fn signed(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| StoreError::TooLarge(number))
}

/// For numbers that are only kept: all 64 bits survive.
const fn bits(number: u64) -> i64 {
    number.cast_signed()
}

pub(super) const fn unsigned(number: i64) -> u64 {
    number.cast_unsigned()
}
