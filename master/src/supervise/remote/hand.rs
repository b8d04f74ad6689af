//! What the supervisor asks of every hand, done by an agent.

use std::collections::btree_map::Entry;

use baton_core::event::{Death, EndedBy, Input};
use baton_protocol::{
    ProcessIdentity, SlaveId,
    message::{
        Hello,
        agent::{OfSlave, Sight, ToAgent, Watch as Look},
    },
};
use tracing::{error, warn};

use super::{
    super::{
        hand::Hand,
        launches::{Joined, LaunchOrder, failed},
    },
    Order, Remote, Seen, Step,
};
use crate::{
    notice::Notice,
    process::{Launcher, UNHEARD, Watch},
};

impl Hand for Remote {
    fn launch(&mut self, launcher: &Launcher, slot: String, order: LaunchOrder) -> Option<Input> {
        if self.is_launching(&slot) {
            self.end_unjoined(&slot);
            if self.is_launching(&slot) {
                self.waiting.insert(slot, order);
                return None;
            }
        }
        let launch = order.launch;
        match launcher.order(
            &slot,
            order.role,
            order.command.as_deref(),
            order.deploy,
            launch,
        ) {
            Ok(order) => {
                let order = Box::new(order);
                let step = match self.link {
                    Some(_) => Step::Told,
                    None => Step::Unsent,
                };
                self.say(ToAgent::Launch(order.clone()));
                let order = Order {
                    slot,
                    order: Some(order),
                    step,
                    joined: None,
                    given_up: false,
                };
                self.launches.insert(launch, order);
                None
            }
            Err(reason) => Some(failed(&slot, launch, &reason)),
        }
    }

    fn give_up(&mut self, slot: &str) {
        self.waiting.remove(slot);
        self.end_unjoined(slot);
    }

    /// It says of which launch it is: a command that hides that hides the master's address
    /// too.
    fn recognise(&mut self, hello: &mut Hello) -> Vec<Input> {
        if hello.launch.is_said() {
            let order = self.launches.entry(hello.launch).or_insert_with(|| Order {
                slot: hello.slot.clone(),
                order: None,
                step: Step::There,
                joined: None,
                given_up: false,
            });
            order.joined.get_or_insert_with(|| Joined {
                slave: hello.slave,
                build: hello.build.clone(),
                pid: hello.process.pid,
            });
        }
        Vec::new()
    }

    fn refused(&self, slave: SlaveId, detail: &str) -> Vec<Input> {
        let of_slave = |order: &&Order| order.joined.as_ref().is_some_and(|it| it.slave == slave);
        let launches = self.launches.iter();
        launches
            .filter(|(_, order)| of_slave(order))
            .map(|(&launch, _)| Input::LaunchFailed {
                launch,
                reason: format!("was refused: {detail}"),
            })
            .collect()
    }

    fn is_watched(&self, slave: SlaveId) -> bool {
        let seen = self.watched.get(&slave);
        seen.is_some_and(|seen| seen.sight == Some(Sight::Watched))
    }

    fn may_kill(&self, slave: SlaveId) -> Option<bool> {
        let seen = self.watched.get(&slave)?;
        (seen.sight == Some(Sight::Watched)).then_some(seen.may_kill)
    }

    /// What the master sees itself is no matter: the agent is asked.
    fn meet(
        &mut self,
        slave: SlaveId,
        process: &ProcessIdentity,
        _watch: Option<Watch>,
        is_known: &dyn Fn(SlaveId) -> bool,
    ) -> bool {
        self.watched
            .retain(|known, _| *known == slave || is_known(*known));
        if let Entry::Vacant(new) = self.watched.entry(slave) {
            new.insert(Seen {
                process: process.clone(),
                sight: None,
                may_kill: false,
            });
            let process = process.clone();
            self.say(ToAgent::Watch(Look { slave, process }));
        }
        false
    }

    fn kill(&mut self, slave: SlaveId, why: &'static str) {
        let slave_name = format!("{slave:.8}");
        if self.may_kill(slave) != Some(true) {
            error!(
                slave = slave_name,
                host = self.host,
                why,
                "this slave is to be killed, and the agent of its host is away or may not; kill it by \
                 hand"
            );
            return;
        }
        warn!(slave = slave_name, host = self.host, why, "slave killed");
        self.doomed.entry(slave).or_insert(why);
        self.say(ToAgent::Kill(OfSlave { slave }));
    }

    fn is_dead(&mut self, slave: SlaveId) -> bool {
        self.watched.remove(&slave).is_some()
    }

    /// Of one that was launched, its `Ended` tells, before this or after.
    fn tell_death(&mut self, _launcher: &Launcher, slave: SlaveId, hello: Option<&Hello>) {
        let was_told = self.told.remove(&slave);
        let Some(hello) = hello.filter(|_| !was_told) else {
            return;
        };
        if hello.launch.is_said() && self.launches.contains_key(&hello.launch) {
            return;
        }
        let ending = match self.doomed.remove(&slave) {
            Some(why) => EndedBy::Killed(why),
            None => EndedBy::Unknown,
        };
        let death = Death {
            slave: Some(slave),
            slot: hello.slot.clone(),
            build: Some(hello.build.clone()),
            pid: hello.process.pid,
            host: Some(self.host.clone()),
            ending,
            lived: None,
            last_lines: vec![UNHEARD.to_owned()],
        };
        let notices = self.notices.clone();
        tokio::spawn(async move {
            // Fails only when the driver has ended.
            let _ = notices.send(Notice::Ended(Box::new(death))).await;
        });
    }

    fn forget(&mut self, slave: SlaveId) {
        if self.watched.remove(&slave).is_some() {
            self.say(ToAgent::Unwatch(OfSlave { slave }));
        }
        self.doomed.remove(&slave);
        self.told.remove(&slave);
    }
}
