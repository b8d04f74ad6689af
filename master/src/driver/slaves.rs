//! Slaves that come, leave and die: whose connection is whose, and whose process is
//! watched.

use baton_core::event::{EndedBy, Evidence, Input, News, Time};
use baton_protocol::SlaveId;
use tracing::{info, warn};

use super::Driver;
use crate::{
    notice::Joining,
    process::{Child, Watch},
    supervise::Exit,
};

impl Driver {
    pub(super) fn joined(&mut self, now: Time, joining: Joining) {
        let owns_nothing = joining.report.shards.is_empty();
        if !self.may_enter(&joining.hello, owns_nothing, &joining.link) {
            return;
        }
        let slave = joining.hello.slave;
        let link = &joining.link;
        // Its slave gave this one up before it dialled the newer one: what it
        // reports here is of the past, and taken for the present would free shards
        // that it serves by now.
        if self.connections.is_given_up(slave, link.id()) {
            info!(slave = %format_args!("{slave:.8}"), "a report came late, on a connection that was given up");
            link.cut();
            return;
        }
        if let Some(joining) = self.asks_the_first(joining) {
            self.enters(now, joining);
        }
    }

    /// This connection speaks for its slave from now on.
    pub(super) fn enters(&mut self, now: Time, joining: Joining) {
        let Joining {
            link,
            hello,
            report,
            watch,
        } = joining;
        let slave = hello.slave;
        // Closed before the new one is known: two connections never speak for
        // one slave.
        if self.connections.get(slave).is_some() {
            info!(slave = %format_args!("{slave:.8}"), "an older connection of this slave is closed");
            self.left(now, slave);
        }
        let core = &self.core;
        let is_known = |slave| core.hello(slave).is_some();
        if self.supervisor.meet(&hello, watch, is_known) {
            self.observe(|observer| observer.watched(slave));
        }
        let mut hello = hello;
        let inputs = self.supervisor.recognise(&mut hello);
        self.hear(now, inputs);
        let supervisor = &self.supervisor;
        self.connections
            .enter(slave, link, |slave| supervisor.is_watched(slave));
        self.core.handle(now, Input::Joined { hello, report });
    }

    pub(super) fn left(&mut self, now: Time, slave: SlaveId) {
        if let Some(link) = self.connections.leave(slave) {
            link.cut();
        }
        self.core.handle(now, Input::Left { slave });
    }

    /// The process of a slave could not be seen, and can be now; `None`: it is dead.
    pub(super) fn seen(&mut self, now: Time, slave: SlaveId, watch: Option<Watch>) {
        self.supervisor.was_looked_for(slave);
        let Some(hello) = self.core.hello(slave) else {
            return;
        };
        match watch {
            // Else it was given up, or is watched already.
            Some(watch) if !self.supervisor.is_watched(slave) => self.watch(slave, watch),
            None if !self.supervisor.is_watched(slave) => {
                warn!(slave = %format_args!("{slave:.8}"), pid = hello.process.pid, "slave is dead");
                self.supervisor.tell_death(slave, Some(hello));
                self.left(now, slave);
                self.core.handle(
                    now,
                    Input::Died {
                        slave,
                        evidence: Evidence::Process,
                    },
                );
            }
            Some(_) | None => {}
        }
    }

    /// The process of a slave is dead. What it said last is heard first.
    pub(super) fn dies(&mut self, now: Time, slave: SlaveId) {
        if self.connections.get(slave).is_some() && !mutant!("last-words-unheard") {
            self.supervisor.hear_out(slave);
        } else {
            self.died(now, slave);
        }
    }

    /// What a slave said before its death was heard before.
    pub(super) fn died(&mut self, now: Time, slave: SlaveId) {
        // It names the process that is dead.
        self.connections.take_second(slave);
        if self.supervisor.is_dead(slave) {
            self.supervisor.tell_death(slave, self.core.hello(slave));
            self.core.handle(
                now,
                Input::Died {
                    slave,
                    evidence: Evidence::Process,
                },
            );
        }
        self.answers.killed(slave);
    }

    /// Dead slaves whose connection does not end.
    pub(super) fn bury(&mut self, now: Time) {
        while let Some(slave) = self.supervisor.overdue() {
            self.left(now, slave);
            self.died(now, slave);
        }
    }

    /// A process was launched, or could not be.
    pub(super) fn started(&mut self, now: Time, slot: &str, started: Result<(u32, Child), String>) {
        let input = self.supervisor.started(slot, started);
        let is_there = matches!(input, Some(Input::Launched { .. }));
        self.hear(now, input);
        if is_there {
            self.know_early(now);
        }
        let next = self.supervisor.launch_next(slot);
        self.hear(now, next);
    }

    /// Slaves that were quick may have joined before it was known what was launched.
    pub(super) fn know_early(&mut self, now: Time) {
        for slave in self.connections.slaves() {
            let Some(mut hello) = self.core.hello(slave).cloned() else {
                continue;
            };
            let inputs = self.supervisor.recognise(&mut hello);
            self.hear(now, inputs);
        }
    }

    /// A launched process of this host ended.
    pub(super) fn exited(&mut self, now: Time, pid: u32, ending: EndedBy, last_lines: Vec<String>) {
        let Some(exit) = self.supervisor.exited(pid, ending, last_lines) else {
            return;
        };
        let slot = self.tell_exit(now, exit);
        let next = self.supervisor.launch_next(&slot);
        self.hear(now, next);
    }

    /// Tells how a launched process ended; gives its slot.
    pub(super) fn tell_exit(&mut self, now: Time, exit: Exit) -> String {
        let Exit {
            slot,
            death,
            failed,
        } = exit;
        if let Some(death) = death {
            self.tell(News::SlaveEnded(death));
        }
        self.hear(now, failed);
        slot
    }

    /// What came of processes, for the core.
    pub(super) fn hear(&mut self, now: Time, inputs: impl IntoIterator<Item = Input>) {
        for input in inputs {
            self.core.handle(now, input);
        }
    }

    pub(super) fn watch(&mut self, slave: SlaveId, watch: Watch) {
        self.supervisor.watch(slave, watch);
        self.observe(|observer| observer.watched(slave));
    }
}
