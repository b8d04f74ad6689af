//! The master's process: the core, what the driver does around it, and the
//! journal that the next one finds.

use std::collections::BTreeSet;

use super::{links::Sent, *};
use crate::event::JournalState;

/// The core's clock stands still.
pub(super) const NOW: Time = Time(Duration::from_secs(1000));

/// Processes that are launched at most; then the space ends.
const MOST_SLAVES: u128 = C.0 + 2;

#[derive(Clone, Debug)]
pub(super) struct Master {
    pub(super) core: Core,
    /// Whose death it would hear of.
    pub(super) watched: BTreeSet<SlaveId>,
    /// Launched and not joined.
    pub(super) launched: Vec<(SlaveId, LaunchId)>,
}

/// What a process that dies leaves behind. Only the thread that writes tickets
/// may be late.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal {
    pub(super) rows: Recovered,
    pub(super) unsaved: Option<Entry>,
    /// The highest epoch that is on the disk for certain.
    pub(super) synced: Epoch,
    pub(super) work_synced: Epoch,
    pub(super) identity: u64,
}

impl Journal {
    pub(super) const fn has_unsaved(&self) -> bool {
        self.unsaved.is_some()
    }

    pub(super) fn write_tickets(&mut self) {
        if let Some(entry) = self.unsaved.take() {
            rows::write(&mut self.rows, entry);
            self.identify();
        }
    }

    /// Nothing is left but what the file beside it has. No epoch of before is used again.
    pub(super) fn forget(&mut self) {
        let rows = std::mem::take(&mut self.rows);
        let shard = rows.shards.get(&SHARD).map_or(Epoch(0), |row| row.epoch);
        let work = rows.work.map_or(Epoch(0), |(epoch, _)| epoch);
        *self = Self {
            rows: Recovered {
                slaves: rows.slaves,
                pinned: rows.pinned,
                floor: rows.floor.max(shard).max(work).next(),
                journal: JournalState::Lost,
                ..Recovered::default()
            },
            ..Self::default()
        };
    }

    fn save(&mut self, entries: Vec<Entry>, durability: Durability) {
        self.take_in(entries, durability);
        self.identify();
    }

    fn take_in(&mut self, entries: Vec<Entry>, durability: Durability) {
        let is_ticket = |entry: &Entry| matches!(entry, Entry::Ticket { .. });
        if durability.is_only_taken(&entries) {
            self.unsaved = entries.into_iter().last();
            return;
        }
        if entries.iter().any(is_ticket) {
            self.unsaved = None;
        }
        for entry in entries {
            rows::write(&mut self.rows, entry);
        }
        if durability == Durability::Now {
            let row = self.rows.shards.get(&SHARD);
            self.synced = row.map_or(Epoch(0), |row| row.epoch);
            self.work_synced = self.rows.work.map_or(Epoch(0), |(epoch, _)| epoch);
        }
    }
}

impl World {
    /// The next master starts, with what the journal has.
    pub(super) fn start_master(&mut self) {
        let mut recovered = self.journal.rows.clone();
        recovered
            .slaves
            .retain(|id, _| self.slaves.contains_key(id));
        self.journal.rows.slaves = recovered.slaves.clone();
        // What was launched before took a number of a slave.
        recovered.launches = LaunchId(self.next_slave << 64);
        // What the last one had not written is lost.
        self.journal.unsaved = None;
        self.journal.identify();
        self.dead.clear();
        let watched = recovered.slaves.keys().copied().collect();
        let mut settings = settings(1);
        settings.late_seal = self.late;
        settings.resume_window = Duration::MAX;
        if self.moves {
            settings.slots.push(SlotSettings {
                name: "west".to_owned(),
                shards: Some(Members::new()),
                launches: true,
                ..SlotSettings::default()
            });
        }
        self.master = Some(Master {
            core: Core::new(settings, recovered, NOW),
            watched,
            launched: Vec::new(),
        });
        self.carry_out();
    }

    pub(super) fn kill_master(&mut self) {
        self.note(|| "    the master dies".to_owned());
        self.master = None;
        self.dies_in = None;
        for link in &mut self.links {
            link.master_open = false;
            link.cut = true;
            link.joined = false;
            link.up.clear();
        }
        self.sweep();
    }

    pub(super) fn input(&mut self, input: Input) {
        if let Some(master) = &mut self.master {
            if let Some(story) = &mut self.story {
                story.push(format!("    core: {}", input_name(&input)));
            }
            master.core.handle(NOW, input);
            self.carry_out();
        }
    }

    pub(super) fn joined(&mut self, slave: SlaveId, hello: Box<Hello>, report: Report) {
        if let Some(master) = &mut self.master {
            master.watched.insert(slave);
            master.launched.retain(|launched| launched.0 != slave);
        }
        self.input(Input::Joined { hello, report });
    }

    /// The pidfd of a dead slave is readable, and what it had said was heard.
    pub(super) fn hear_of_death(&mut self, slave: SlaveId) {
        self.dead.retain(|dead| *dead != slave);
        let Some(master) = &mut self.master else {
            return;
        };
        let launched = master
            .launched
            .extract_if(.., |launched| launched.0 == slave);
        let launched = launched.map(|(_, launch)| launch).next();
        if master.watched.remove(&slave) {
            self.input(Input::Died {
                slave,
                evidence: Evidence::Process,
            });
        } else if let Some(launch) = launched {
            self.input(Input::LaunchFailed {
                launch,
                reason: "it ended before it joined".to_owned(),
            });
        }
    }

    /// Every action in its order. The process may end between two.
    fn carry_out(&mut self) {
        while let Some(master) = &mut self.master
            && let Some(action) = master.core.poll_action()
        {
            if matches!(action, Action::Tell(_)) {
                continue;
            }
            if self.dies_in == Some(0) {
                self.kill_master();
                return;
            }
            self.dies_in = self.dies_in.map(|left| left - 1);
            self.actions += 1;
            if let Some(name) = order_name(&action) {
                self.note(|| format!("        {name}"));
            }
            self.carry(action);
        }
    }

    fn carry(&mut self, action: Action) {
        match action {
            Action::Save(entries, durability) => self.journal.save(entries, durability),
            Action::Send(slave, message) => {
                self.judge_order(&message);
                self.send(slave, message);
            }
            Action::Refuse(slave, refused) => {
                self.send(slave, ToSlave::Refused(refused));
                let mut links = self.links.iter_mut();
                if let Some(link) = links.find(|link| link.slave == slave && link.joined) {
                    link.master_open = false;
                    link.joined = false;
                    link.up.clear();
                }
                self.sweep();
            }
            Action::Launch {
                slot, role, launch, ..
            } => self.launch(&slot, role, launch),
            Action::GiveUp { .. } => {
                let launched = self
                    .master
                    .iter_mut()
                    .map(|m| std::mem::take(&mut m.launched));
                for (slave, _) in launched.flatten().collect::<Vec<_>>() {
                    self.kill(slave);
                }
            }
            Action::Kill(slave, _) => {
                if let Some(slave) = self.slaves.get_mut(&slave) {
                    slave.doomed = true;
                    self.troubled = true;
                }
            }
            Action::HangUp(_) | Action::Keep(_) | Action::Tell(_) | Action::Exit => {}
        }
    }

    fn send(&mut self, slave: SlaveId, message: ToSlave) {
        let mut links = self.links.iter_mut();
        if let Some(link) = links.find(|link| link.slave == slave && link.joined)
            && link.slave_open
            && !link.cut
        {
            link.down.push_back(Sent::new(message));
        }
    }

    fn launch(&mut self, slot: &str, role: Role, launch: LaunchId) {
        let id = SlaveId(self.next_slave);
        self.next_slave += 1;
        let mut slave = Slave::new(id, role);
        slave.fills(slot);
        self.slaves.insert(id, slave);
        if let Some(master) = &mut self.master {
            master.launched.push((id, launch));
            let pid = u32::try_from(id.0).unwrap();
            master.core.handle(NOW, Input::Launched { launch, pid });
        }
    }

    /// Whether more processes were launched than the space has.
    pub(super) const fn is_at_its_end(&self) -> bool {
        self.next_slave > MOST_SLAVES
    }
}

fn input_name(input: &Input) -> String {
    match input {
        Input::Joined { hello, report } => {
            format!("{:x} joined {:?} {report:?}", hello.slave.0, hello.role)
        }
        Input::Said { slave, message } => format!("{:x} said {message:?}", slave.0),
        other => format!("{other:?}"),
    }
}
