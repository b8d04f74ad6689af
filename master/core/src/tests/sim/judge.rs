//! The promises, checked at the moment at which they could be broken.

mod well;

use std::collections::BTreeSet;

use baton_protocol::message::Unit;

use super::{
    discord::session_of,
    permits::Permits,
    slave::{Conn, Row},
    *,
};

/// What was seen of the whole run.
#[derive(Clone, Debug, Default)]
pub(super) struct Judge {
    /// Every slave that was ordered to serve a shard at an epoch.
    started: BTreeMap<(ShardId, Epoch), SlaveId>,
    /// Whether a journal was ever lost.
    pub(super) torn: bool,
    /// What was sealed at which epoch.
    pub(super) sealed: BTreeSet<(ShardId, Epoch)>,
    /// What was to be sealed at which epoch, obeyed or not.
    asked: BTreeSet<(ShardId, Epoch)>,
    /// Copies that were begun again because their owner had not sealed.
    pub(super) copied_anew: u32,
    /// Sessions that were resumed beside their owner, and shards that were sealed
    /// because of that.
    pub(super) overtaken: u32,
    pub(super) sealed_late: u32,
    /// Events that are settled as far as the master knows, and nobody else.
    settled_at_master: Vec<(usize, u64)>,
    /// The last order to resume each shard, obeyed or not.
    given: BTreeMap<ShardId, (Epoch, SlaveId)>,
    pub(super) permits: Permits,
    worked: BTreeMap<Epoch, SlaveId>,
    /// The highest epoch at which an event of a shard was handed out.
    handing: BTreeMap<ShardId, Epoch>,
    /// When the master heard of each seal, and what was in doubt then.
    seals: BTreeMap<(ShardId, Epoch), Real>,
    /// Slaves that the master launched.
    pub(super) launches: BTreeMap<SlaveId, LaunchId>,
    pub(super) launched: u32,
    /// Actions that were carried out.
    pub(super) actions: u32,
    pub(super) identifies: u32,
    /// Leases that were over, and slaves that were taken for dead because of that.
    pub(super) lapsed: u32,
    pub(super) dead_by_lease: u32,
    pub(super) marked: u32,
    pub(super) handed: u32,
    /// Deploys that ended, by outcome.
    pub(super) outcomes: BTreeMap<&'static str, u32>,
    /// Whether trouble is still made.
    pub(super) troubled: bool,
}

impl World {
    /// A journal that was lost takes the knowledge along of who went on from what:
    /// then too much is marked rather than too little.
    fn is_marked_sparingly(&self) -> bool {
        !self.judge.torn
    }

    pub(super) fn is_fair(&self) -> bool {
        self.wire == Wire::Tcp
    }

    // ---- what slaves do ------------------------------------------------------

    /// P3: one owner. A slave acts from now on.
    pub(super) fn judge_start(&mut self, id: SlaveId, unit: Unit) {
        let by = self.judge.started.insert((unit.shard, unit.epoch), id);
        assert!(
            by.is_none_or(|by| by == id),
            "P3: {unit:?} for {by:?} and {id:?}"
        );
        for (&other, slave) in &self.slaves {
            let acts = slave.rows.get(&unit.shard).is_some_and(Row::acts);
            let acts = acts && !slave.is_over(self.now);
            assert!(
                other == id || !acts,
                "P3: {unit:?} is started by {id:?}, and {other:?} acts on it"
            );
        }
    }

    pub(super) fn judge_work(&mut self, id: SlaveId, epoch: Epoch) {
        let by = self.judge.worked.insert(epoch, id);
        assert!(
            by.is_none_or(|by| by == id),
            "work at {epoch} by {by:?} and {id:?}"
        );
        for (&other, slave) in &self.slaves {
            assert!(
                other == id || slave.work == Epoch(0) || slave.is_over(self.now),
                "the work runs at {id:?} and {other:?}"
            );
        }
    }

    /// P2 and P3 for one event.
    pub(super) fn judge_handed(
        &mut self,
        id: SlaveId,
        shard: ShardId,
        epoch: Epoch,
        session: usize,
        sequence: u64,
        marked: bool,
    ) {
        let highest = self.judge.handing.entry(shard).or_default();
        assert!(
            epoch >= *highest,
            "P3: {id:?} hands {shard} out at {epoch}, {highest} was there"
        );
        *highest = epoch;
        let (fair, sparing) = (self.is_fair(), self.is_marked_sparingly());
        let crashed = self.discord.sessions[session].crashed;
        let seen = self.discord.seen(session, sequence);
        if fair {
            assert!(
                marked || !seen.handed,
                "P2: {id:?} handles event {sequence} of {shard} again, unmarked"
            );
            assert!(
                !marked || !sparing || crashed || seen.unsettled,
                "P2: {id:?} marks event {sequence} of {shard} needlessly"
            );
        }
        seen.handed = true;
        self.judge.handed += 1;
        self.judge.marked += u32::from(marked);
    }

    /// A process ends, and with it what only it knew.
    pub(super) fn judge_end(&mut self, id: SlaveId, shard: ShardId, row: &Row) {
        let Some(session) = row.session else {
            return;
        };
        if let Some(ticket) = row.seal.as_ref().filter(|_| row.heard.1) {
            let known = ticket
                .in_doubt
                .iter()
                .map(|sequence| (session, sequence.get()));
            self.judge.settled_at_master.extend(known);
        }
        let sealed = row.seal.iter().flat_map(|ticket| ticket.in_doubt.iter());
        let sealed = sealed.filter(|_| !row.heard.1).collect::<Vec<_>>();
        for sequence in row.window.in_doubt().iter().chain(sealed) {
            if sequence.get() <= self.discord.last(session) {
                self.discord.seen(session, sequence.get()).unsettled = true;
            }
        }
        let superseded = self
            .judge
            .started
            .range((shard, row.epoch.next())..=(shard, Epoch(u64::MAX)))
            .next()
            .is_some();
        let all_heard = row.holding == Some(Holding::Sealed) && row.heard == (true, true);
        if !superseded && !all_heard && row.holding.is_some() {
            self.note(|| format!("{id:?} takes what it knew of shard {shard} with it"));
            self.discord.sessions[session].crashed = true;
        }
    }

    /// It is unknown whether it obeyed the orders that were on their way to it.
    pub(super) fn judge_orders_lost(&mut self, id: SlaveId) {
        for (&shard, row) in &self.disk.synced.rows.shards {
            // A master that was killed before the order went out left this.
            if (row.owner, row.hold) == (id, Hold::Reserved)
                && let Some(&session) = self.discord.newest.get(&shard)
            {
                self.discord.sessions[session].crashed = true;
            }
        }
        let given = self.judge.given.clone();
        for (shard, (epoch, to)) in given {
            let obeyed = self.row(id, shard).is_some_and(|row| row.epoch >= epoch);
            if to == id && !obeyed {
                let session = self.discord.newest.get(&shard).copied();
                self.may_repeat(session);
            }
        }
    }

    pub(super) fn may_repeat(&mut self, session: Option<usize>) {
        if let Some(session) = session {
            self.discord.sessions[session].crashed = true;
        }
    }

    // ---- what the master knows and says --------------------------------------

    /// What the master has heard is never lost again.
    pub(super) fn judge_input(&mut self, input: &Input) {
        match input {
            Input::Said { slave, message } => self.judge_said(*slave, message),
            Input::Joined { hello, report } => {
                for held in &report.shards {
                    self.heard_ticket(&held.ticket);
                    if held.holding == Holding::Sealed {
                        self.heard_seal(hello.slave, held.ticket.shard, held.epoch, true);
                    }
                }
            }
            _ => {}
        }
    }

    fn judge_said(&mut self, id: SlaveId, message: &ToMaster) {
        match message {
            ToMaster::Checkpoint(checkpoint) => {
                for entry in &checkpoint.shards {
                    let row = self.slaves.get(&id).and_then(|s| s.rows.get(&entry.shard));
                    let current = row.is_none_or(|row| row.epoch == entry.epoch);
                    if let Some(ticket) = entry.session.as_ref().filter(|_| current) {
                        self.heard_ticket(ticket);
                    }
                }
            }
            ToMaster::Sealed(sealed) => {
                self.heard_ticket(&sealed.ticket);
                self.heard_seal(id, sealed.ticket.shard, sealed.epoch, true);
            }
            ToMaster::Settled(settled) => {
                self.heard_seal(id, settled.shard, settled.epoch, false);
            }
            _ => {}
        }
    }

    fn heard_ticket(&mut self, ticket: &Ticket) {
        if let Some(session) = session_of(ticket) {
            self.discord.sessions[session].known = true;
        }
    }

    fn heard_seal(&mut self, id: SlaveId, shard: ShardId, epoch: Epoch, ticket: bool) {
        let now = self.now;
        self.judge.seals.entry((shard, epoch)).or_insert(now);
        if let Some(row) = self.row(id, shard)
            && row.epoch == epoch
        {
            row.heard.0 |= ticket;
            row.heard.1 |= !ticket;
        }
    }

    /// What only the master knew is gone with it.
    pub(super) fn judge_master_gone(&mut self) {
        for slave in self.slaves.values_mut() {
            for row in slave.rows.values_mut() {
                row.heard = (false, false);
            }
        }
        // How far a shard came that failed, the next master cannot know.
        let held = |session: usize| {
            let mut rows = self.slaves.values().flat_map(|slave| slave.rows.values());
            rows.any(|row| {
                row.session == Some(session) && !matches!(row.holding, Some(Holding::Failed) | None)
            })
        };
        let orphans: Vec<_> = (0..self.discord.sessions.len())
            .filter(|&session| !held(session))
            .collect();
        for session in orphans {
            self.discord.sessions[session].crashed = true;
        }
        for session in &mut self.discord.sessions {
            session.known = false;
        }
        self.judge.seals.clear();
        for (session, sequence) in std::mem::take(&mut self.judge.settled_at_master) {
            self.discord.seen(session, sequence).unsettled = true;
        }
    }

    /// Rows that were not synced are lost: how old a ticket is, and who went on
    /// from it, is not known as well as before.
    pub(super) fn judge_tail_lost(&mut self) {
        for session in &mut self.discord.sessions {
            session.crashed = true;
            session.excused = true;
        }
    }

    /// What the next master finds.
    pub(super) fn judge_recovered(&mut self, recovered: &Recovered) {
        for found in recovered.tickets.values() {
            self.heard_ticket(&found.ticket);
        }
        for (shard, row) in &recovered.shards {
            if row.hold == Hold::Reserved && !self.slaves.contains_key(&row.owner) {
                // It may have gone on, before it died: nobody can say that the master before
                // gave it nothing.
                let session = self.discord.newest.get(shard).copied();
                self.may_repeat(session);
            }
        }
    }

    /// What was reserved is on the disk before any process relies on it; a ticket
    /// never goes back behind what is known.
    pub(super) fn judge_order(&mut self, id: SlaveId, message: &ToSlave) {
        match message {
            ToSlave::Seal(seal) => {
                let (shard, epoch) = (seal.shard, seal.epoch);
                // It sealed already: it is asked for the same words again.
                let again = self.judge.sealed.contains(&(shard, epoch));
                assert!(
                    again || self.disk.epoch(shard) > epoch,
                    "the epoch after {shard}@{epoch} is not reserved"
                );
                self.judge.asked.insert((shard, epoch));
            }
            ToSlave::SealLate(late) => {
                assert!(
                    self.disk.epoch(late.shard) > late.epoch,
                    "the epoch after {}@{} is not reserved",
                    late.shard,
                    late.epoch
                );
                self.judge.asked.insert((late.shard, late.epoch));
            }
            ToSlave::CopyState(unit) => {
                let anew = self.judge.asked.contains(&(unit.shard, unit.epoch));
                self.judge.copied_anew += u32::from(anew);
            }
            ToSlave::Resume(resume) => {
                let (shard, epoch) = (resume.shard(), resume.epoch);
                assert!(
                    self.disk.epoch(shard) >= epoch,
                    "{shard}@{epoch} is not reserved"
                );
                if !self.slaves.contains_key(&id) {
                    // Dead, and the master has not heard it.
                    let session = self.discord.newest.get(&shard).copied();
                    self.may_repeat(session);
                }
                let given = self.judge.given.entry(shard).or_insert((epoch, id));
                *given = (epoch, id).max(*given);
            }
            ToSlave::FullStart(start) => {
                for unit in &start.shards {
                    let reserved = self.disk.epoch(unit.shard);
                    assert!(reserved >= unit.epoch, "{unit:?} is not reserved");
                }
            }
            ToSlave::StartWork(work) => {
                let saved = self
                    .disk
                    .synced
                    .rows
                    .work
                    .map_or(Epoch(0), |(epoch, _)| epoch);
                assert!(saved >= work.epoch, "the work is not reserved");
            }
            ToSlave::Settled(settled) => self.judge_settled(id, settled),
            _ => {}
        }
    }

    /// What is called unfinished is: its sealer said so, is dead, or is late.
    fn judge_settled(&mut self, to: SlaveId, settled: &Settled) {
        let (fair, sparing) = (self.is_fair(), self.is_marked_sparingly());
        let patience = self.settings.drain + self.settings.seal;
        let at = self.judge.seals.get(&(settled.shard, settled.epoch));
        let late = at.is_none_or(|&at| self.now - at >= patience);
        let sealer = self.judge.started.get(&(settled.shard, settled.epoch));
        let Some(row) = sealer
            .and_then(|sealer| self.slaves.get(sealer))
            .and_then(|slave| slave.rows.get(&settled.shard))
        else {
            return;
        };
        // Who has the shard again knows what runs in it; the rest it held back.
        let told = self
            .slaves
            .get(&to)
            .and_then(|slave| slave.rows.get(&settled.shard));
        let known: BTreeSet<_> = told.map_or_else(BTreeSet::new, |told| {
            let sequences = settled.unfinished.iter().map(|sequence| sequence.get());
            let known = sequences.filter(|&sequence| told.window.knows(sequence));
            known.collect()
        });
        if let Some(session) = row.session {
            for sequence in settled.unfinished.iter() {
                if known.contains(&sequence.get()) {
                    continue;
                }
                let seen = self.discord.seen(session, sequence.get());
                assert!(
                    late || seen.unsettled || !sparing || !fair,
                    "P2: {settled:?} without the word of the sealer"
                );
                seen.unsettled = true;
            }
        }
    }

    pub(super) fn judge_news(&mut self, news: &News) {
        let fair = self.is_fair();
        let Some(master) = &mut self.master else {
            return;
        };
        match news {
            News::DeployAccepted { deploy, .. } => {
                assert!(master.open_deploys.insert(*deploy), "{deploy} twice");
            }
            News::DeployEnded {
                deploy, outcome, ..
            } => {
                assert!(master.open_deploys.remove(deploy), "{deploy} ended twice");
                let name = match outcome {
                    Outcome::Done => "done",
                    Outcome::Aborted { .. } => "aborted",
                    Outcome::RolledBack { .. } => "rolled back",
                    Outcome::Forced { .. } => "forced",
                    Outcome::HandedOn => "handed on",
                };
                *self.judge.outcomes.entry(name).or_default() += 1;
                let _ = fair;
                self.note(|| format!("    {deploy}: {outcome}"));
            }
            // The slaves of these worlds tell the truth.
            News::Disbelieved { slave, detail } => panic!("{slave} is not believed: {detail}"),
            News::Alarm { detail } => self.note(|| format!("    ALARM {detail}")),
            _ => {}
        }
    }
}

/// An input in short.
pub(super) fn input_name(input: &Input) -> String {
    match input {
        Input::Joined { hello, report } => {
            let held: Vec<_> = report
                .shards
                .iter()
                .map(|held| format!("{}@{} {:?}", held.ticket.shard, held.epoch, held.holding))
                .collect();
            let (id, role, work) = (hello.slave.0, hello.role, report.work);
            format!("{id:x} joined {role:?} work@{work} [{}]", held.join(", "))
        }
        Input::Said { slave, message } => format!("{:x} said {message:?}", slave.0),
        Input::Left { slave } => format!("{:x} left", slave.0),
        Input::Died { slave, .. } => format!("{:x} died", slave.0),
        _ => format!("{input:?}"),
    }
}
