//! Worlds whose slaves are at another host: its agent comes and goes. While it is away no
//! death is known, nobody is killed, and nothing is to be started.

use super::*;

/// The one host of such a world.
pub(super) const HOST: &str = "east";

impl World {
    fn is_elsewhere(&self) -> bool {
        self.settings.slots.iter().any(|slot| slot.host.is_some())
    }

    /// Whether nothing is seen of the processes of slaves.
    pub(super) fn is_blind(&self) -> bool {
        self.is_elsewhere() && self.agent == AgentIs::Away
    }

    /// The agent goes away, or comes back.
    pub(super) fn agent_is(&mut self, is: AgentIs) {
        if self.is_elsewhere() && self.agent != is {
            self.note(|| format!("the agent is {is:?}"));
            self.agent = is;
            let host = HOST.to_owned();
            self.input(Input::Agent { host, is });
        }
    }

    /// An agent that is there dials the next master.
    pub(super) fn agent_dials(&mut self) {
        if let Some(here) = self.agent_answers() {
            self.input(here);
        }
    }

    /// What the master hears of an agent that is there and is asked.
    pub(super) fn agent_answers(&self) -> Option<Input> {
        let (host, is) = (HOST.to_owned(), AgentIs::Here);
        (self.is_elsewhere() && self.agent == is).then_some(Input::Agent { host, is })
    }

    /// Who is dead without the next master's knowledge: only the agent can say so.
    pub(super) fn dead_of(&self, slaves: &BTreeMap<SlaveId, Hello>) -> Vec<SlaveId> {
        let dead = slaves.keys().filter(|id| !self.slaves.contains_key(id));
        dead.copied().collect()
    }

    /// Whether the next master takes a slave of its journal for one that may live.
    pub(super) fn may_live(&self, id: SlaveId) -> bool {
        self.slaves.contains_key(&id) || self.is_elsewhere()
    }
}
