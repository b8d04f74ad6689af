//! The scheduler: what comes next, and what goes wrong meanwhile.

mod healing;

use super::{
    discord::Beside,
    links::{Cut, LinkId, Up},
    slave::Flaw,
    *,
};
use crate::event::Arranging;

/// Silence of a slave that is noticed.
const HANG: Duration = Duration::from_secs(3);

/// Everything is well again within this time.
const PATIENCE: Duration = Duration::from_secs(300);

/// It stays well for this long.
const QUIET: Duration = Duration::from_secs(3);

/// How often each kind of trouble comes in this world, in 1,000 steps. Most are
/// off in any one world, so that what is on comes often and together.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    rates: Vec<(Kind, usize)>,
    /// The longest single step of time.
    stride: Real,
    max_slaves: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Reset,
    Cut,
    Mend,
    Stop,
    Wake,
    Kill,
    Terminate,
    Silence,
    CrashMaster,
    CrashMasterSoon,
    TearJournal,
    PowerCut,
    StopMaster,
    WakeMaster,
    DiskFull,
    DiskFree,
    Candidate,
    Standby,
    Deploy,
    Abort,
    Arrange,
    Restart,
    Leave,
    Fence,
    CloseShard,
    EndSession,
    Outage,
    OutageOver,
    Drop,
    Double,
    Swap,
    AgentAway,
    AgentBack,
}

use Kind::{
    Abort, AgentAway, AgentBack, Arrange, Candidate, CloseShard, CrashMaster, CrashMasterSoon,
    Deploy, DiskFree, DiskFull, Double, Drop as DropMessage, EndSession, Fence, Kill, Leave, Mend,
    Outage, OutageOver, PowerCut, Reset, Restart, Silence, Standby, Stop, StopMaster, Swap,
    TearJournal, Terminate, Wake, WakeMaster,
};

/// What may go wrong, how often at most, and whether it needs no luck: what ends
/// a trouble is never off.
const KINDS: [(Kind, usize, bool); 33] = [
    (Reset, 20, false),
    (Kind::Cut, 10, false),
    (Mend, 20, true),
    (Stop, 10, false),
    (Wake, 20, true),
    (Kill, 12, false),
    (Terminate, 6, false),
    (Silence, 20, true),
    (CrashMaster, 8, false),
    (CrashMasterSoon, 12, false),
    (TearJournal, 3, false),
    (PowerCut, 3, false),
    (StopMaster, 6, false),
    (WakeMaster, 20, true),
    (DiskFull, 8, false),
    (DiskFree, 16, true),
    (Candidate, 20, false),
    (Standby, 10, false),
    (Deploy, 12, false),
    (Abort, 6, false),
    (Arrange, 10, false),
    (Restart, 10, false),
    (Leave, 4, false),
    (Fence, 10, false),
    (CloseShard, 20, false),
    (EndSession, 4, false),
    (Outage, 4, false),
    (OutageOver, 16, true),
    (DropMessage, 20, false),
    (Double, 20, false),
    (Swap, 20, false),
    (AgentAway, 20, false),
    (AgentBack, 20, true),
];

impl World {
    /// A world of its own for each seed.
    pub(super) fn of_seed(seed: u64) -> (Self, Trouble) {
        let mut dice = Dice(seed);
        let shards = 1 + u32::try_from(dice.below(4)).unwrap();
        let mut settings = Self::brisk(shards);
        settings.canary = u32::try_from(dice.below(3)).unwrap();
        settings.width = 1 + u32::try_from(dice.below(3)).unwrap();
        if dice.one_in(3) {
            settings.standbys = 1 + u32::try_from(dice.below(2)).unwrap();
        }
        settings.permits_at_once = 1 + u32::try_from(dice.below(4)).unwrap();
        if shards > 1 && dice.one_in(4) {
            let slot = |name: &str, first, last| SlotSettings {
                name: name.to_owned(),
                shards: Some(Members::range(first, last)),
                launches: true,
                ..SlotSettings::default()
            };
            settings.slots = vec![slot("main", 0, 0), slot("rest", 1, shards - 1)];
        }
        if dice.one_in(4) {
            for slot in &mut settings.slots {
                slot.host = Some(agents::HOST.to_owned());
            }
        }
        if dice.one_in(4) {
            let lease = SECOND * (1 + u32::try_from(dice.below(2)).unwrap());
            for slot in &mut settings.slots {
                slot.lease = Some(lease);
            }
        }
        let mut world = Self::new(seed, settings);
        world.wire = if dice.one_in(4) {
            Wire::Hostile
        } else {
            Wire::Tcp
        };
        world.stateful = !dice.one_in(3);
        world.settings.late_seal = dice.one_in(2);
        world.discord.beside = match dice.below(4) {
            0 => Beside::Refused,
            1 => Beside::Both,
            _ => Beside::TakesOver,
        };
        if dice.one_in(8) {
            world.outbox = 2 + dice.below(6);
        }
        world.judge.troubled = true;
        let hostile = world.wire == Wire::Hostile;
        let rates = KINDS
            .into_iter()
            .filter(|(kind, ..)| hostile || !matches!(kind, DropMessage | Double | Swap))
            .filter(|(.., always)| *always || dice.one_in(3))
            .map(|(kind, rate, _)| (kind, rate))
            .collect();
        let trouble = Trouble {
            rates,
            stride: dice
                .pick(&[10 * MILLI, 50 * MILLI, 250 * MILLI, SECOND])
                .unwrap(),
            max_slaves: 2 + dice.below(3),
        };
        world.dice = dice;
        (world, trouble)
    }

    pub(super) fn some_flaw(&mut self) -> Flaw {
        match self.dice.below(16) {
            0 => Flaw::NeverReady,
            1 => Flaw::FailsResume(if self.dice.one_in(2) { 4014 } else { 0 }),
            2 => Flaw::Stalls,
            3 => Flaw::DiesOfEvents,
            4 => Flaw::Intents,
            5 => Flaw::SlowHandlers,
            6 => Flaw::FailsDial,
            7 => Flaw::DialsForEver,
            _ => Flaw::None,
        }
    }

    /// One step of everything.
    pub(super) fn step(&mut self, trouble: &Trouble) {
        if self.master.is_none() && self.dice.one_in(12) {
            self.start_master();
        }
        match self.dice.below(100) {
            0..28 => {
                if let Some(link) = self.some_link() {
                    self.hear(link);
                }
            }
            28..50 => {
                if let Some(link) = self.some_link()
                    && self.is_in_the_mood(self.links[&link].slave)
                {
                    self.obey(link);
                }
            }
            50..80 => {
                if let Some(id) = self.some_slave()
                    && self.is_in_the_mood(id)
                {
                    self.live(id);
                }
            }
            80..86 => self.something_happens(),
            86..94 => {
                let most = usize::try_from(trouble.stride.as_micros()).unwrap();
                let span = Duration::from_micros(self.dice.below(most) as u64 + 1);
                self.pass(span);
            }
            94 => self.disk.write_tickets(self.now),
            95 => {
                if let Some(dead) = self.dice.pick(&self.dead) {
                    self.hear_of_death(dead);
                }
            }
            _ => self.carry_out(),
        }
        for &(kind, rate) in &trouble.rates {
            if self.dice.below(1000) < rate {
                self.make(kind, trouble.max_slaves);
            }
        }
    }

    fn some_link(&mut self) -> Option<LinkId> {
        let links: Vec<_> = self.links.keys().copied().collect();
        self.dice.pick(&links)
    }

    fn some_slave(&mut self) -> Option<SlaveId> {
        let slaves: Vec<_> = self.slaves.keys().copied().collect();
        self.dice.pick(&slaves)
    }

    fn is_in_the_mood(&mut self, id: SlaveId) -> bool {
        let pace = self.slaves.get(&id).map_or(1, |slave| slave.pace);
        self.dice.one_in(pace)
    }

    fn something_happens(&mut self) {
        let shard = self.dice.below(self.settings.shard_count as usize);
        let shard = ShardId(u32::try_from(shard).unwrap());
        self.discord.dispatch(shard);
    }

    /// Time goes on, at most to the core's next deadline.
    pub(super) fn pass(&mut self, span: Real) {
        let runs = self.master.as_ref().is_some_and(|master| !master.stopped);
        let end = self.now + span;
        self.now = match self.deadline().filter(|_| runs) {
            Some(at) => end.min(at.max(self.now + MILLI)),
            None => end,
        };
        self.round();
    }

    fn make(&mut self, kind: Kind, max_slaves: usize) {
        let slave = self.some_slave();
        let link = self.some_link();
        match (kind, slave) {
            (Reset, _) => {
                if let Some(link) = link.and_then(|link| self.links.get_mut(&link)) {
                    link.reset(&mut self.dice);
                }
            }
            (Kind::Cut, _) => {
                let how = self.dice.pick(&[Cut::Up, Cut::Down, Cut::Both]).unwrap();
                if let Some(link) = link.and_then(|link| self.links.get_mut(&link))
                    && link.cut == Cut::None
                {
                    link.cut = how;
                    link.cut_since = self.now;
                }
            }
            (Mend, _) => {
                if let Some(link) = link.and_then(|link| self.links.get_mut(&link)) {
                    link.cut = Cut::None;
                }
            }
            (Stop, Some(id)) => {
                let slave = self.slaves.get_mut(&id).unwrap();
                slave.stopped.get_or_insert(self.now);
                self.note(|| format!("{id:?} is stopped"));
            }
            (Wake, Some(id)) => self.slaves.get_mut(&id).unwrap().stopped = None,
            (Kill, Some(id)) => self.die(id),
            (Terminate, Some(id)) => self.leave(id, false),
            (Silence, Some(id)) => self.silence(id),
            (CrashMaster, _) => self.crash_master(),
            (CrashMasterSoon, _) => self.crash_in = Some(self.dice.below(12) as u32),
            (TearJournal, _) => self.tear_journal(),
            (PowerCut, _) => {
                self.note(|| "the power is cut".to_owned());
                self.crash_master();
                for id in self.slaves.keys().copied().collect::<Vec<_>>() {
                    self.die(id);
                }
            }
            (StopMaster, _) => self.stop_master(true),
            (WakeMaster, _) => self.stop_master(false),
            (AgentAway, _) => self.agent_is(AgentIs::Away),
            (AgentBack, _) => self.agent_is(AgentIs::Here),
            (DiskFull, _) => self.disk.full = true,
            (DiskFree, _) => self.disk.full = false,
            (Candidate | Standby, _) => {
                if self.slaves.len() < max_slaves {
                    let flaw = self.some_flaw();
                    let role = if kind == Candidate {
                        Role::Candidate
                    } else {
                        Role::Standby
                    };
                    let id = self.launch_by_hand(role, flaw);
                    self.slaves.get_mut(&id).unwrap().pace = 1 + self.dice.below(4) as u64;
                }
            }
            (Deploy, _) => {
                let slot = self.dice.below(self.settings.slots.len());
                self.ask_deploy(slot);
            }
            (Abort, _) => self.input(Input::Abort {
                request: RequestId(2),
                slot: None,
            }),
            (Arrange, _) => self.arrange_something(),
            (Restart, _) => {
                let shard = self.dice.below(self.settings.shard_count as usize);
                self.input(Input::Restart {
                    request: RequestId(5),
                    shard: ShardId(u32::try_from(shard).unwrap()),
                });
            }
            (Leave, _) => self.input(Input::Leave),
            (Fence, _) => self.fence_somebody(slave),
            (CloseShard, _) => {
                let session = self.dice.below(self.discord.sessions.len());
                if let Some(session) = self.discord.sessions.get(session)
                    && let Some(by) = session.connected
                {
                    let session = self.discord.newest[&session.shard];
                    self.discord.close(session, by, self.now);
                }
            }
            (EndSession, _) => {
                let sessions: Vec<_> = self.discord.newest.values().copied().collect();
                if let Some(session) = self.dice.pick(&sessions) {
                    self.note(|| format!("Discord ends session {session}"));
                    self.discord.end(session);
                }
            }
            (Outage, _) => self.discord.is_down = true,
            (OutageOver, _) => self.discord.is_down = false,
            (DropMessage | Double | Swap, _) => self.jumble(kind, link),
            (Stop | Wake | Kill | Terminate | Silence, None) => {}
        }
    }

    /// The operator says of a dead slave that it is dead, or of a living one, which
    /// must be refused where it can be known.
    fn fence_somebody(&mut self, living: Option<SlaveId>) {
        let slave = if self.dice.one_in(2) {
            self.dice.pick(&self.dead)
        } else {
            living.filter(|&id| self.is_watched_and_connected(id))
        };
        if let Some(slave) = slave {
            let request = RequestId(3);
            self.note(|| format!("{slave:?} is said to be dead"));
            self.input(Input::Fence { request, slave });
        }
    }

    /// Either end notices that nothing comes from the other.
    fn silence(&mut self, id: SlaveId) {
        if self.is_silent(id, HANG) {
            self.input(Input::Silent { slave: id });
            if let Some(answers) = self.agent_answers() {
                self.input(answers);
                self.input(Input::Silent { slave: id });
            }
        }
        let link = self.slaves.get(&id).and_then(|slave| slave.link);
        if let Some(link) = link.and_then(|link| self.links.get(&link))
            && matches!(link.cut, Cut::Down | Cut::Both)
            && self.now - link.cut_since >= HANG
            && !self.slaves[&id].is_stopped()
        {
            self.hang_up(id);
        }
    }

    fn stop_master(&mut self, stopped: bool) {
        if let Some(master) = &mut self.master {
            let woken = master.stopped && !stopped;
            master.stopped = stopped;
            if woken {
                self.note(|| "the master wakes".to_owned());
                self.round();
            }
        }
    }

    fn arrange_something(&mut self) {
        let slots = self.settings.slots.len();
        if slots < 2 {
            return;
        }
        let shards = self.settings.shard_count as usize;
        let [one, other] = [0; 2].map(|_| u32::try_from(self.dice.below(shards)).unwrap());
        let order = match self.dice.below(10) {
            0 => Arranging::Rebalance,
            1 => Arranging::Hold,
            2 => Arranging::Release,
            3 => Arranging::Stay,
            _ => Arranging::Move {
                shards: Members::range(one.min(other), one.max(other)),
                to: self.settings.slots[self.dice.below(slots)].name.clone(),
            },
        };
        self.arrange(order);
    }

    fn arrange(&mut self, order: Arranging) {
        self.note(|| format!("an operator orders {order:?}"));
        self.input(Input::Arrange {
            request: RequestId(6),
            order,
        });
    }

    fn ask_deploy(&mut self, slot: usize) {
        let slot = self.settings.slots[slot].name.clone();
        let order = DeployOrder {
            expect: None,
            slot,
            command: Some(vec!["v2".to_owned()]),
            canary: self.settings.canary,
            width: self.settings.width,
            soak: self.settings.soak,
            late_seal: self.settings.late_seal,
            beside: match self.settings.slots.len() {
                0 | 1 => crate::event::Beside::Nothing,
                _ if self.dice.one_in(3) => crate::event::Beside::Nothing,
                _ => crate::event::Beside::Others,
            },
        };
        self.input(Input::Deploy {
            request: RequestId(1),
            order,
        });
    }

    /// What no TCP connection does.
    fn jumble(&mut self, kind: Kind, link: Option<LinkId>) {
        let Some(link) = link.and_then(|link| self.links.get_mut(&link)) else {
            return;
        };
        // The first message of a connection and its end stay where they are.
        let mut said: Vec<usize> = (0..link.up.len())
            .filter(|&at| matches!(link.up[at], Up::Said(_)))
            .collect();
        let orders = link.down.len().saturating_sub(usize::from(link.broken));
        let upwards = self.dice.one_in(2);
        if !upwards {
            said = (0..orders).collect();
        }
        let (Some(one), Some(other)) = (self.dice.pick(&said), self.dice.pick(&said)) else {
            return;
        };
        match (kind, upwards) {
            (DropMessage, true) => drop(link.up.remove(one)),
            (DropMessage, false) => drop(link.down.remove(one)),
            (Double, true) => link.up.insert(one, link.up[one].clone()),
            (Double, false) => link.down.insert(one, link.down[one].clone()),
            (_, true) => link.up.swap(one, other),
            (_, false) => link.down.swap(one, other),
        }
    }
}
