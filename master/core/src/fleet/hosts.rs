//! Other hosts: whether their agents answer, and what the silence of a slave there is taken
//! for.
//!
//! ```text
//! it says nothing for its time ──▶ doubted ──its host was heard since, it was not──▶ hangs: killed
//!                                     └──its host is not heard, either──▶ unseen: waited for
//! ```
//!
//! A host that is cut off is not dead, and no slave of it hangs because nothing of it is heard.
//! On the master's own host every process is seen: there, silence is hanging.

use std::time::Duration;

use baton_protocol::SlaveId;

use crate::{
    event::{AgentIs, Time},
    fleet::Fleet,
    out::Out,
    settings::Settings,
};

/// How the agent of a host is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    /// Since when it is heard as often as it is asked.
    since: Time,
    /// When it was heard last.
    heard: Time,
}

/// What it is taken for that a slave did not do its part in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The slave hangs.
    Hangs,
    /// The host may be cut off: that is seen after the same time once more.
    Doubted,
    /// Nothing is heard of its host: whether the slave hangs is not known.
    Unseen,
}

impl Fleet {
    /// The agent of a host came, said something, or is away: what is to be started there waits
    /// meanwhile.
    pub(crate) fn agent_is(&mut self, host: &str, is: AgentIs, settings: &Settings, out: &mut Out) {
        match is {
            AgentIs::Away => {
                self.sights.remove(host);
            }
            AgentIs::Here => {
                let now = out.now;
                let fresh = Sight {
                    since: now,
                    heard: now,
                };
                let sight = self.sights.entry(host.to_owned()).or_insert(fresh);
                if now.since(sight.heard) > settings.answers {
                    *sight = fresh;
                }
                sight.heard = now;
            }
        }
        let away = is == AgentIs::Away;
        for at in self.slots.ids() {
            let slot = &mut self.slots[at];
            if slot.host.as_deref() == Some(host) && slot.agent_away != away {
                slot.agent_away = away;
                out.touch(at);
            }
        }
    }

    /// At which host a slave is; `None`: at the master's own, or at none that is known by
    /// its name.
    pub(crate) fn host_of(&self, id: SlaveId) -> Option<String> {
        let slave = self.slaves.get(&id)?;
        let said = Some(&slave.hello.host).filter(|host| !host.is_empty());
        said.or(self.slots[slave.slot].host.as_ref()).cloned()
    }

    /// On which other host than the master's own this slave is, as far as one is known by a
    /// name; `None`: on none.
    pub(crate) fn elsewhere(&self, id: SlaveId, own_host: &str) -> Option<String> {
        let certified = || {
            let name = self.slaves.get(&id)?.hello.process.host_name.as_ref()?;
            Some(name.as_str().to_owned())
        };
        let host = self.host_of(id).or_else(certified);
        host.filter(|host| host != own_host)
    }

    /// The host whose agent says how this slave does; `None`: the master itself sees it.
    fn seen_from(&self, id: SlaveId, settings: &Settings) -> Option<String> {
        let host = self.elsewhere(id, &settings.host);
        host.filter(|_| !mutant!("every-host-is-seen"))
    }

    /// How the agent of a host is heard, if it is heard now.
    fn sight_of(&self, host: &str, settings: &Settings, now: Time) -> Option<Sight> {
        let sight = self.sights.get(host).copied();
        sight.filter(|sight| now.since(sight.heard) <= settings.answers)
    }

    /// Whether the host of a slave is heard: what the slave does not do meanwhile is its own
    /// fault.
    pub(crate) fn is_in_sight(&self, id: SlaveId, settings: &Settings, now: Time) -> bool {
        let host = self.seen_from(id, settings);
        host.is_none_or(|host| self.sight_of(&host, settings, now).is_some())
    }

    /// A slave did not do its part for `limit`, and its connection is open. If its host is
    /// doubted, this is to be asked again after `limit`: nothing that was cut off in between
    /// counts against it.
    pub(crate) fn silence(
        &mut self,
        id: SlaveId,
        limit: Duration,
        settings: &Settings,
        now: Time,
    ) -> Silence {
        let Some(host) = self.seen_from(id, settings) else {
            return Silence::Hangs;
        };
        let sight = self.sight_of(&host, settings, now);
        let Some(slave) = self.slaves.get_mut(&id) else {
            return Silence::Unseen;
        };
        let doubted = slave.doubted.take();
        let doubted = doubted.filter(|at| now.since(*at) <= limit.saturating_mul(2));
        let doubted = doubted.unwrap_or(now);
        match sight {
            Some(sight) if sight.since > doubted => Silence::Unseen,
            Some(sight) if sight.heard > doubted => Silence::Hangs,
            Some(_) => {
                slave.doubted = Some(doubted);
                Silence::Doubted
            }
            None => Silence::Unseen,
        }
    }
}
