//! Claims that cannot be true. An epoch is used up once, for one slave, and that is
//! on the disk before the slave hears of it: a slave that reports another one was given
//! it by no master. Such a claim changes nothing; it is reported, and its slave must
//! forget the shard.
//!
//! ```text
//! epoch 0                                   no slave gets it
//! above every epoch that is used up         a lie, unless a master before this one may have
//!                                           used it and the journal may not know (rows lost)
//! the last one that was used up             true of the slave for whom it was
//! below                                     over: `report.rs` knows what it is good for, and
//!                                           nothing of a slave that was dead by all that is known
//! ```

use std::{borrow::Cow, collections::BTreeSet, time::Duration};

use baton_protocol::{
    Epoch, ShardId, SlaveId, Ticket, ToSlave,
    message::{Held, Report, Unit},
};

use crate::{
    event::{JournalState, News},
    fleet::{Fleet, Presence},
    out::Out,
    work::{WorkUnit, send_stop},
};

/// No master before this one can have used more, also where rows of its journal are
/// lost: half of what there is, so that no claim leaves too little.
const MOST_USED: Epoch = Epoch(Epoch::LAST.get() / 2);

/// What is known of a slave whose report came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// It joined this master before: it has what this one gave it.
    Joined,
    /// The master before knew it, and may have given it more than its journal says.
    Journaled,
    /// It comes for the first time.
    New,
}

/// What a report said that cannot be true.
#[derive(Debug, Default)]
pub(crate) struct Lies {
    shards: Vec<Unit>,
    work: Option<Epoch>,
    /// What a forgotten slave has of epochs that are over: no lie,
    /// and worth nothing.
    pub(crate) void: Vec<Unit>,
}

impl Lies {
    pub(crate) const fn is_empty(&self) -> bool {
        self.shards.is_empty() && self.void.is_empty() && self.work.is_none()
    }
}

impl Fleet {
    /// The report of a slave without what cannot be true of it, and that. Of one
    /// that was fenced nothing is believed anyway.
    pub(crate) fn without_lies(
        &self,
        id: SlaveId,
        mut report: Report,
        work: &WorkUnit,
    ) -> (Report, Lies) {
        let mut lies = Lies::default();
        if self.fenced.contains(&id) || mutant!("epoch-unasked") {
            return (report, lies);
        }
        let known = self.known(id);
        let mut named = BTreeSet::new();
        report.shards.retain(|held| {
            let (shard, epoch) = (held.ticket.shard, held.epoch);
            let unit = Unit { shard, epoch };
            if !named.insert(shard) || !self.is_possible(id, known, shard, epoch) {
                lies.shards.push(unit);
                return false;
            }
            let is_void = known == Known::New && self.journal == JournalState::Intact;
            if is_void {
                lies.void.push(unit);
            }
            !is_void
        });
        if report.work != Epoch(0) && !self.may_do_work(id, known, report.work, work) {
            lies.work = Some(std::mem::take(&mut report.work));
        }
        (report, lies)
    }

    /// Tells what a slave said that cannot be true, and has it let go of that.
    pub(crate) fn refute(&self, id: SlaveId, lies: &Lies, work: &WorkUnit, out: &mut Out) {
        if let Some(first) = lies.shards.first() {
            let used = self.shards.get(first.shard).map(|shard| shard.epoch);
            let what = match used {
                Some(used) => format!(
                    "shard {} at epoch {}, which no master gave it (epochs up to {used} are used up)",
                    first.shard, first.epoch
                ),
                None => format!("shard {}, which this fleet does not have", first.shard),
            };
            let count = lies.shards.len();
            let detail = format!("it reports {what}; {count} shards in all");
            out.tell(News::Disbelieved { slave: id, detail });
        }
        if let Some(epoch) = lies.work {
            let (used, _) = work.used_up();
            let detail = format!(
                "it reports the once-per-bot work at epoch {epoch}, which no master gave it (epochs \
                 up to {used} are used up)"
            );
            out.tell(News::Disbelieved { slave: id, detail });
        }
        if !self.is_joined(id) {
            return;
        }
        for lie in lies.shards.iter().chain(&lies.void) {
            if let Some(shard) = self.shards.get(lie.shard) {
                // It lets go for a higher epoch only.
                let epoch = shard.epoch.max(lie.epoch.next());
                let shard = lie.shard;
                out.send(id, ToSlave::Forget(Unit { shard, epoch }));
            }
        }
        if let Some(epoch) = lies.work {
            send_stop(id, epoch, out);
        }
    }

    fn is_possible(&self, id: SlaveId, known: Known, shard: ShardId, epoch: Epoch) -> bool {
        let Some(shard) = self.shards.get(shard) else {
            return false;
        };
        if epoch == Epoch(0) {
            return false;
        }
        let lost = self.journal == JournalState::Lost;
        // Below the floor of a lost journal everything may have been used.
        let may_be_unknown = match known {
            Known::Joined => false,
            Known::Journaled => epoch <= MOST_USED,
            Known::New => lost && epoch <= shard.floor,
        };
        if epoch > shard.epoch {
            return may_be_unknown;
        }
        epoch < shard.epoch
            || (known != Known::New || lost) && shard.holder.is_none_or(|holder| holder == id)
    }

    /// The same of the once-per-bot work.
    fn may_do_work(&self, id: SlaveId, known: Known, epoch: Epoch, work: &WorkUnit) -> bool {
        let lost = self.journal == JournalState::Lost;
        let (used, holder) = work.used_up();
        if epoch > used {
            return match known {
                Known::Joined => false,
                Known::Journaled => epoch <= MOST_USED,
                Known::New => lost && epoch <= MOST_USED,
            };
        }
        epoch < used || (known != Known::New || lost) && holder.is_none_or(|holder| holder == id)
    }
}

impl Fleet {
    /// What a slave reports of a shard, with what was known in the place of what cannot
    /// be.
    pub(crate) fn believable<'a>(
        &mut self,
        slave: SlaveId,
        held: &'a Held,
        out: &mut Out,
    ) -> Cow<'a, Held> {
        let id = held.ticket.shard;
        let shard = &mut self.shards[id];
        // It may have been away for long.
        let Err(lie) = shard.may_say(out.now, &held.ticket, Duration::MAX) else {
            let known = shard.ticket.as_ref();
            if known.is_some_and(|kept| kept.ticket.session.is_same(&held.ticket.session)) {
                shard.received = shard.received.max(held.ticket.highest());
            }
            return Cow::Borrowed(held);
        };
        let known = shard.ticket.as_ref().map(|kept| kept.ticket.clone());
        self.disbelieve(slave, id, &lie, out);
        let ticket = known.unwrap_or_else(|| Ticket {
            shard: id,
            ..Ticket::default()
        });
        Cow::Owned(Held {
            ticket,
            untouched: false,
            ..held.clone()
        })
    }

    /// It goes on with what was known before; an operator hears of it once a slave.
    pub(crate) fn disbelieve(&mut self, slave: SlaveId, shard: ShardId, lie: &str, out: &mut Out) {
        let Some(known) = self.slaves.get_mut(&slave) else {
            return;
        };
        if std::mem::replace(&mut known.disbelieved, true) {
            return;
        }
        let detail = format!(
            "it says that shard {shard} {lie}; what it said before counts. Deploy a build that you \
             trust"
        );
        out.tell(News::Disbelieved { slave, detail });
    }
}

impl Fleet {
    fn known(&self, id: SlaveId) -> Known {
        match self.slaves.get(&id).map(|slave| slave.presence) {
            Some(Presence::Expected) => Known::Journaled,
            Some(Presence::Joined | Presence::Away) => Known::Joined,
            None => Known::New,
        }
    }
}
