//! What a journal knows, read whole at the start of a master.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use baton_core::event::{Hold, JournalState, Recovered, RecoveredTicket, Row as OwnerRow};
use baton_protocol::{
    DeployId, Epoch, LaunchId, ProcessIdentity, ShardId, SlaveId, Ticket, Version,
    message::{Hello, ResumeAfter},
};
use rusqlite::OptionalExtension;

use super::Store;
use crate::journal::{
    age::Clocks,
    error::StoreError,
    rows::{basis, fill, list, read_parameters, role, slave_id, unsigned},
};

impl Store {
    /// Everything, as it was saved; whether a slave still lives is not judged
    /// here.
    pub(in crate::journal) fn recover(&self) -> Result<Recovered, StoreError> {
        let floor = self.meta_number("lost")?;
        Ok(Recovered {
            pinned: self
                .connection
                .query_row(
                    "SELECT intents, shard_count, api_version, encoding, compression, large_threshold FROM pinned",
                    [],
                    |row| read_parameters(row, 0),
                )
                .optional()?,
            shards: self.shards()?,
            work: self.work()?,
            slaves: self.slaves()?,
            fenced: self.fenced()?,
            last_deploy: DeployId(self.meta_number("last_deploy")?.unwrap_or(0)),
            launches: LaunchId::default(),
            given_up: self.given_up()?,
            tickets: self.tickets()?,
            late_seal_refused: self.meta_number("late_seal_refused")? == Some(1),
            journal: match floor {
                Some(_) => JournalState::Lost,
                None => JournalState::Intact,
            },
            floor: Epoch(floor.unwrap_or(0)),
        })
    }

    /// The commands that deploys brought and that no change of the configuration
    /// has overruled.
    pub(in crate::journal) fn commands(&self) -> Result<BTreeMap<String, Vec<String>>, StoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT slot, command, configured FROM commands")?;
        let mut rows = statement.query([])?;
        let mut commands = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let slot: String = row.get(0)?;
            let configured = list(&row.get::<_, String>(2)?)?;
            let now = self.configured.get(&slot).map_or(&[][..], Vec::as_slice);
            if configured == now {
                commands.insert(slot, list(&row.get::<_, String>(1)?)?);
            }
        }
        Ok(commands)
    }

    /// The command that each slot had before the present one. A configuration that
    /// changed counts from the start of a master on.
    pub(in crate::journal) fn commands_before(
        &self,
        commands: &BTreeMap<String, Vec<String>>,
    ) -> Result<BTreeMap<String, Vec<String>>, StoreError> {
        for (slot, configured) in &self.configured {
            fill(
                &self.connection,
                slot,
                commands.get(slot).unwrap_or(configured),
            )?;
        }
        let mut statement = self
            .connection
            .prepare("SELECT slot, before FROM fillings WHERE before <> '[]'")?;
        let mut rows = statement.query([])?;
        let mut before = BTreeMap::new();
        while let Some(row) = rows.next()? {
            before.insert(row.get(0)?, list(&row.get::<_, String>(1)?)?);
        }
        Ok(before)
    }

    fn shards(&self) -> Result<BTreeMap<ShardId, OwnerRow>, StoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT shard, epoch, owner, hold, basis FROM shards")?;
        let mut rows = statement.query([])?;
        let mut shards = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let hold: String = row.get(3)?;
            let hold = if hold == "owned" {
                Hold::Owned
            } else {
                Hold::Reserved
            };
            let found = OwnerRow {
                epoch: Epoch(unsigned(row.get(1)?)),
                owner: slave_id("shards", &row.get::<_, String>(2)?)?,
                hold,
                basis: basis(&row.get::<_, String>(4)?)?,
            };
            shards.insert(ShardId(row.get(0)?), found);
        }
        Ok(shards)
    }

    fn tickets(&self) -> Result<BTreeMap<ShardId, RecoveredTicket>, StoreError> {
        let booted = self.meta("booted_ms")?.unwrap_or_default();
        let now = Clocks::now().unset_since(&booted);
        let seen = self.meta_number("seen_ms")?.unwrap_or(0);
        let mut statement = self
            .connection
            .prepare("SELECT shard, epoch, after, written_ms, ticket FROM tickets")?;
        let mut rows = statement.query([])?;
        let mut tickets = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let shard = ShardId(row.get(0)?);
            let after: String = row.get(2)?;
            let text: String = row.get(4)?;
            let ticket: Ticket = serde_json::from_str(&text).map_err(|_| StoreError::Row {
                table: "tickets",
                // The text holds a session id.
                value: format!("shard {shard}"),
            })?;
            let recovered = RecoveredTicket {
                epoch: Epoch(unsigned(row.get(1)?)),
                after: if after == "seal" {
                    ResumeAfter::Seal
                } else {
                    ResumeAfter::Death
                },
                ticket,
                age: Duration::from_millis(now.saturating_sub(unsigned(row.get(3)?).max(seen))),
            };
            tickets.insert(shard, recovered);
        }
        Ok(tickets)
    }

    fn work(&self) -> Result<Option<(Epoch, SlaveId)>, StoreError> {
        let row: Option<(i64, String)> = self
            .connection
            .query_row("SELECT epoch, owner FROM work", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        row.map(|(epoch, owner)| Ok((Epoch(unsigned(epoch)), slave_id("work", &owner)?)))
            .transpose()
    }

    fn slaves(&self) -> Result<BTreeMap<SlaveId, Hello>, StoreError> {
        let mut statement = self.connection.prepare(
            "SELECT slave, slot, build, role, version, lowest, pid, start_time, boot_id, pid_namespace,
                    intents, shard_count, api_version, encoding, compression, large_threshold FROM slaves",
        )?;
        let mut rows = statement.query([])?;
        let mut slaves = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let slave = slave_id("slaves", &row.get::<_, String>(0)?)?;
            let mut hello = Hello {
                slave,
                slot: row.get(1)?,
                build: row.get(2)?,
                role: role(&row.get::<_, String>(3)?),
                version: Version(row.get(4)?),
                lowest: Version(row.get(5)?),
                process: ProcessIdentity {
                    pid: row.get(6)?,
                    start_time: unsigned(row.get(7)?),
                    boot_id: row.get(8)?,
                    pid_namespace: unsigned(row.get(9)?),
                },
                parameters: read_parameters(row, 10)?,
                ..Hello::default()
            };
            // An earlier build wrote texts down unchanged.
            hello.make_readable();
            slaves.insert(slave, hello);
        }
        Ok(slaves)
    }

    fn given_up(&self) -> Result<BTreeSet<DeployId>, StoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT value FROM meta WHERE key LIKE 'given up %'")?;
        let mut rows = statement.query([])?;
        let mut given_up = BTreeSet::new();
        while let Some(row) = rows.next()? {
            let value: String = row.get(0)?;
            // What is no number is of a master that knows more.
            given_up.extend(value.parse().ok().map(DeployId));
        }
        Ok(given_up)
    }

    fn fenced(&self) -> Result<BTreeSet<SlaveId>, StoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT substr(key, 8) FROM meta WHERE key LIKE 'fenced %'")?;
        let mut rows = statement.query([])?;
        let mut fenced = BTreeSet::new();
        while let Some(row) = rows.next()? {
            fenced.insert(slave_id("meta", &row.get::<_, String>(0)?)?);
        }
        Ok(fenced)
    }
}
