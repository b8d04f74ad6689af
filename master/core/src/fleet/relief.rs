//! A slave whose process has more memory than it may have asks for a successor.
//!
//! ```text
//! Pong{memory above} ──▶ a standby is built ─▶ a deploy to it
//!                    └─▶ none is ────────────▶ a deploy: a process is launched
//! ```
//!
//! It is the deploy that an operator would begin, without another command: the shards move as
//! in any deploy, a successor that is no good sends them back, and where none comes up the slave
//! goes on. A slave that begins with too much asks at once again, so a slot has one such deploy
//! in a while and no more.

use std::time::Duration;

use baton_protocol::{SlaveId, text};

use crate::{
    deploy::Succession,
    event::Time,
    fleet::{Slot, Standing},
};

/// A slot has one in this time.
const PAUSE: Duration = Duration::from_secs(600);

impl Succession<'_> {
    /// A slave said how much memory it has.
    pub(crate) fn relieves(&mut self, id: SlaveId) {
        let Some(slave) = self.fleet.slaves.get(&id) else {
            return;
        };
        let (slot, memory) = (slave.slot, slave.memory.filter(|memory| memory.is_above));
        let place = &self.fleet.slots[slot];
        let Some(memory) = memory.filter(|_| {
            place.owner == Some(id)
                && !place.is_relieved(self.out.now)
                && !self.fleet.held
                && self.may_move().is_ok()
                && self.deploys.iter().next().is_none()
        }) else {
            return;
        };
        let heir = self.standby_for(slot, id);
        let order = self.usual_order(slot);
        let refused = match heir {
            Some(_) => None,
            None => self.deploy_slot(&order).err(),
        };
        let name = place.name.clone();
        self.fleet.slots[slot].relieved = Some(self.out.now);
        let (resident, limit) = (text::size(memory.resident), text::size(memory.limit));
        let next = match &refused {
            None => "Its shards move to a successor, as in a deploy".to_owned(),
            Some(why) => format!("It serves on, for no successor can be had: {why}"),
        };
        self.out.alarm(format!(
            "slave {id:.8} of slot {name:?} has {resident} of memory and may have {limit}. {next}. \
             If this comes again every {pause}, find out what grows, or raise its --memory-limit",
            pause = text::span(PAUSE),
        ));
        match (heir, refused) {
            (Some(heir), _) => {
                self.fleet.stand(heir, Standing::Active);
                self.deploy_candidate(slot, id, heir);
            }
            (None, None) => self.deploy_launched(slot, order),
            (None, Some(_)) => {}
        }
    }
}

impl Slot {
    fn is_relieved(&self, now: Time) -> bool {
        let was = self.relieved.is_some_and(|at| now.since(at) < PAUSE);
        was && !mutant!("relieved-at-each-pong")
    }
}
