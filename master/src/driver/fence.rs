//! The operator says that a slave is dead (`fence`): what can be known is looked
//! at first.

use baton_protocol::SlaveId;

use baton_core::event::{Input, Time};
use tokio::sync::oneshot;

use super::Driver;
use crate::notice::{Answer, Kill};

impl Driver {
    pub(super) fn fence(&mut self, now: Time, name: &str, kill: Kill, answer: Answer<SlaveId>) {
        let taken = self
            .slave_named(now, name)
            .and_then(|slave| self.may_be_dead(now, slave, kill));
        match taken {
            // The asker may be gone.
            Err(reason) => drop(answer.send(Err(reason))),
            Ok(slave) if self.supervisor.is_watched(slave) => {
                self.supervisor
                    .kill(slave, "an operator asked for it (fence --kill)");
                self.answers.kill(slave, answer);
            }
            Ok(slave) => {
                let request = self.answers.fence(answer);
                self.core.handle(now, Input::Fence { request, slave });
            }
        }
    }

    /// All slaves of a host are dead by the operator's word, each as by one word on it.
    /// Refused as a whole, if anything of that host answers.
    pub(super) fn fence_host(&mut self, now: Time, host: &str, answer: Answer<Vec<SlaveId>>) {
        let slaves = match self.host_may_be_gone(now, host) {
            Ok(slaves) => slaves,
            Err(reason) => {
                // The asker may be gone.
                let _ = answer.send(Err(reason));
                return;
            }
        };
        let mut fenced = Vec::new();
        for &slave in &slaves {
            let (one, answered) = oneshot::channel();
            let request = self.answers.fence(one);
            fenced.push(answered);
            self.core.handle(now, Input::Fence { request, slave });
        }
        tokio::spawn(async move {
            let mut refused = Ok(slaves);
            for answered in fenced {
                if let Ok(Err(reason)) = answered.await {
                    refused = Err(reason);
                }
            }
            let _ = answer.send(refused);
        });
    }

    fn host_may_be_gone(&self, now: Time, host: &str) -> Result<Vec<SlaveId>, String> {
        let Some(slaves) = self.supervisor.slaves_at(host) else {
            let known = self.supervisor.host_names().join(", ");
            return Err(format!(
                "no host {host:?} is known; known are: {}",
                if known.is_empty() { "none" } else { &known }
            ));
        };
        if self.supervisor.is_here(host) {
            return Err(format!(
                "the agent of host {host:?} is connected: the host is not gone. If a slave there is \
                 dead, its agent says so; to end one: baton-master fence --kill SLAVE"
            ));
        }
        if let Some(reason) = slaves
            .iter()
            .find_map(|&id| self.core.fence_refused(id, now))
        {
            return Err(format!("host {host:?} is not gone: {reason}"));
        }
        Ok(slaves)
    }

    /// Unless it is known to live and is to be spared.
    fn may_be_dead(&self, now: Time, slave: SlaveId, kill: Kill) -> Result<SlaveId, String> {
        if let Some(reason) = self.core.fence_refused(slave, now) {
            return Err(reason);
        }
        if kill == Kill::Never && self.supervisor.is_watched(slave) {
            return Err(format!(
                "the process of slave {slave:.8} is alive: it is only cut off, or hangs, and may \
                 serve its shards or go on with them. Wait until it answers, or have it killed: \
                 baton-master fence --kill {slave:.8}"
            ));
        }
        if kill == Kill::First {
            let why = match self.supervisor.may_kill(slave) {
                Some(true) => return Ok(slave),
                Some(false) => "is another user's",
                None => "cannot be seen from here",
            };
            return Err(format!(
                "the process of slave {slave:.8} {why}, so it cannot be killed from here. Kill it \
                 yourself, make sure that it is dead, then: baton-master fence {slave:.8}"
            ));
        }
        Ok(slave)
    }

    fn slave_named(&self, now: Time, name: &str) -> Result<SlaveId, String> {
        let known: Vec<SlaveId> = self
            .core
            .view(now)
            .slaves
            .iter()
            .filter_map(|slave| slave.slave.parse().ok())
            .collect();
        let name = name.to_ascii_lowercase();
        let mut fitting = known
            .iter()
            .filter(|slave| slave.to_string().starts_with(&name));
        let list = || {
            let known: Vec<_> = known.iter().map(|slave| format!("{slave:.8}")).collect();
            match known.is_empty() {
                true => "no slave is known".to_owned(),
                false => format!("known are: {}", known.join(", ")),
            }
        };
        match (fitting.next(), fitting.next()) {
            (Some(&slave), None) => Ok(slave),
            (None, _) => Err(format!(
                "no slave has an id that begins with {name:?}; {}",
                list()
            )),
            (Some(_), Some(_)) => Err(format!(
                "more than one slave has an id that begins with {name:?}; {}",
                list()
            )),
        }
    }
}
