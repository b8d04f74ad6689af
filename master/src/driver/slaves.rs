//! Slaves that come, leave and die: whose connection is whose, and whose process is
//! watched.

use std::time::Duration;

use baton_core::event::{Death, EndedBy, Input, Time};
use baton_protocol::SlaveId;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::{Driver, Joining, Notice};
use crate::{
    link::LinkId,
    process::{UNHEARD, Watch, lived},
};

/// A dead slave's connection is read to its end for at most this long: its last
/// words, tickets perhaps, count. Its end is there at once, unless another
/// process holds the socket.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(1);

/// A process whose death the driver is told.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) watch: Watch,
    /// Tells it; ends with this.
    _task: AbortOnDropHandle<()>,
}

impl Driver {
    pub(super) fn joined(&mut self, now: Time, joining: Joining) {
        if !self.may_enter(&joining.hello, &joining.link) {
            return;
        }
        let slave = joining.hello.slave;
        let link = &joining.link;
        // Its slave gave this one up before it dialled the newer one: what it
        // reports here is of the past, and taken for the present would free shards
        // that it serves by now.
        if self
            .newest
            .get(&slave)
            .is_some_and(|newest| *newest > link.id())
        {
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
        self.newest
            .retain(|slave, _| self.links.contains_key(slave) || self.watches.contains_key(slave));
        self.newest.insert(slave, link.id());
        // Closed before the new one is known: two connections never speak for
        // one slave.
        if self.links.contains_key(&slave) {
            info!(slave = %format_args!("{slave:.8}"), "an older connection of this slave is closed");
            self.left(now, slave);
        }
        let known = self.watches.get(&slave);
        match watch {
            Some(watch)
                if known.is_none_or(|known| watch.may_kill() && !known.watch.may_kill()) =>
            {
                self.watch(slave, watch);
            }
            None if known.is_none() => {
                self.look_for(slave, hello.process.clone());
            }
            Some(_) | None => {}
        }
        let mut hello = hello;
        self.know_by_launch(now, &mut hello);
        self.links.insert(slave, link);
        self.core.handle(now, Input::Joined { hello, report });
    }

    pub(super) fn left(&mut self, now: Time, slave: SlaveId) {
        if let Some(link) = self.links.remove(&slave) {
            link.cut();
        }
        self.core.handle(now, Input::Left { slave });
    }

    /// The process of a slave could not be seen, and can be now; `None`: it is dead.
    pub(super) fn seen(&mut self, now: Time, slave: SlaveId, watch: Option<Watch>) {
        self.looking.remove(&slave);
        let Some(hello) = self.core.hello(slave) else {
            return;
        };
        match watch {
            // Else it was given up, or is watched already.
            Some(watch) if !self.watches.contains_key(&slave) => self.watch(slave, watch),
            None if !self.watches.contains_key(&slave) => {
                warn!(slave = %format_args!("{slave:.8}"), pid = hello.process.pid, "slave is dead");
                self.tell_death(slave);
                self.left(now, slave);
                self.core.handle(now, Input::Died { slave });
            }
            Some(_) | None => {}
        }
    }

    /// What a slave said before its death was heard before.
    pub(super) fn died(&mut self, now: Time, slave: SlaveId) {
        // It names the process that is dead.
        self.seconds.remove(&slave);
        if self.watches.remove(&slave).is_some() {
            self.tell_death(slave);
            self.core.handle(now, Input::Died { slave });
        }
        self.tell_killed(slave);
    }

    /// The death of a slave that this master did not launch: its launcher knows
    /// how it ended. Of one that it did launch, `Exited` tells, before this or after.
    pub(super) fn tell_death(&mut self, slave: SlaveId) {
        let group = self.groups.remove(&slave);
        if self.told.remove(&slave) && !cfg!(mutant = "death-told-twice") {
            return;
        }
        if self.launches.of_slave(slave).next().is_some() {
            return;
        }
        let Some(hello) = self.core.hello(slave) else {
            return;
        };
        let ending = match self.doomed.remove(&slave) {
            Some(why) => EndedBy::Killed(why),
            None => EndedBy::Unknown,
        };
        let mut death = Death {
            slave: Some(slave),
            slot: hello.slot.clone(),
            build: Some(hello.build.clone()),
            pid: hello.process.pid,
            ending,
            lived: lived(&hello.process),
            last_lines: vec![UNHEARD.to_owned()],
        };
        let leader = group.unwrap_or(death.pid);
        let output = self.launcher.output_of(&death.slot, leader);
        let notices = self.notices.clone();
        tokio::spawn(async move {
            if let Some(output) = output {
                death.last_lines = output.read().await;
            }
            // Fails only when the driver has ended.
            let _ = notices.send(Notice::Ended(Box::new(death))).await;
        });
    }

    /// Dead slaves whose connection does not end.
    pub(super) fn bury(&mut self, now: Time) {
        let over = Instant::now();
        while let Some(slave) = self
            .dying
            .iter()
            .find_map(|(slave, until)| (*until <= over).then_some(*slave))
        {
            self.dying.remove(&slave);
            self.left(now, slave);
            self.died(now, slave);
        }
    }

    pub(super) fn is_current(&self, slave: SlaveId, link: LinkId) -> bool {
        self.links
            .get(&slave)
            .is_some_and(|current| current.id() == link)
    }

    pub(super) fn watch(&mut self, slave: SlaveId, watch: Watch) {
        let notices = self.notices.clone();
        let watched = watch.clone();
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            tokio::select! {
                dead = watched.dead() => {
                    if dead.is_ok() {
                        // Fails only when the driver has ended.
                        let _ = notices.send(Notice::Died { slave }).await;
                    }
                }
                () = notices.closed() => {}
            }
        }));
        self.looking.remove(&slave);
        self.watches.insert(slave, Watched { watch, _task: task });
        self.observe(|observer| observer.watched(slave));
    }
}
