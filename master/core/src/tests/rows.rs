//! A journal in memory: what the next master finds.

use super::{Entry, Recovered, Row};
use crate::event::{JournalState, RecoveredTicket};

/// Writes a row. `false`: a newer ticket is there.
pub(super) fn write(rows: &mut Recovered, entry: Entry) -> bool {
    match entry {
        Entry::Pinned(pinned) => rows.pinned = Some(pinned),
        Entry::Owner {
            shard,
            epoch,
            owner,
            hold,
            basis,
        } => {
            let row = Row {
                epoch,
                owner,
                hold,
                basis,
            };
            let before = rows.shards.insert(shard, row).unwrap_or_default();
            assert!(epoch >= before.epoch, "the epoch of {shard} went back");
        }
        Entry::Work { epoch, owner } => rows.work = Some((epoch, owner)),
        Entry::Slave(hello) => {
            rows.slaves.insert(hello.slave, *hello);
        }
        Entry::Leased { slave, lease } if lease.is_zero() => drop(rows.leases.remove(&slave)),
        Entry::Leased { slave, lease } => drop(rows.leases.insert(slave, lease)),
        Entry::Gone(slave) => {
            rows.slaves.remove(&slave);
            rows.leases.remove(&slave);
            rows.fenced.remove(&slave);
        }
        Entry::Fenced(slave) => {
            rows.slaves.remove(&slave);
            rows.leases.remove(&slave);
            rows.fenced.insert(slave);
        }
        Entry::Ticket {
            epoch,
            after,
            ticket,
        } => {
            let shard = ticket.shard;
            if rows
                .tickets
                .get(&shard)
                .is_some_and(|row| epoch < row.epoch)
            {
                return false;
            }
            let row = RecoveredTicket {
                epoch,
                after,
                ticket: *ticket,
                age: std::time::Duration::ZERO,
            };
            rows.tickets.insert(shard, row);
        }
        Entry::Deploy(last) => {
            rows.deploys.insert(last.slot.clone(), last.clone());
            if last.deploy >= rows.last_deploy.deploy {
                rows.last_deploy = last;
            }
        }
        Entry::GivenUp(deploy) => {
            rows.given_up.insert(deploy);
        }
        Entry::Whole => rows.journal = JournalState::Intact,
        Entry::Arrangement(arrangement) => rows.arrangement = arrangement,
        Entry::LateSealRefused(refused) => rows.late_seal_refused = refused,
        Entry::Identifies(identifies) => rows.identifies = Some(identifies),
        Entry::Seen | Entry::Command { .. } => {}
    }
    true
}
