//! The way to a master: it is dialled, again and again, and what is said goes over it.

use baton_protocol::message::{Refused, agent::FromAgent};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

use super::{
    Agent,
    link::{Link, LinkError},
    turns,
};

/// After a refusal the next dial waits as after so many failures.
const SEVERAL: u32 = 5;

/// The way to a master.
pub(super) enum Way {
    /// Until the next dial.
    Wait(Instant),
    Dial(AbortOnDropHandle<Result<Link, LinkError>>),
    Linked(Link),
}

impl Agent {
    /// Says something, if a master listens. It hears everything that counts on the next link.
    pub(super) fn say(&mut self, message: FromAgent) {
        if let Way::Linked(link) = &self.link
            && !link.say(message)
        {
            warn!("the master does not read: link closed");
            self.redial();
        }
    }

    pub(super) fn dial(&mut self) {
        let address = self.masters[self.next % self.masters.len()].clone();
        let (hello, report) = (self.hello.clone(), self.processes.report());
        let (secret, tls_dir) = (self.secret.clone(), self.tls_dir.clone());
        let limit = turns::answer(self.masters.len());
        let dial =
            async move { Link::dial(&address, tls_dir, hello, report, &secret, limit).await };
        self.link = Way::Dial(AbortOnDropHandle::new(tokio::spawn(dial)));
    }

    pub(super) fn linked(&mut self, link: Link) {
        info!(term = %link.term, "a master accepted this agent");
        self.hello.term = link.term;
        self.heard = Instant::now();
        self.failures = 0;
        self.link = Way::Linked(link);
        for message in self.processes.untold() {
            self.say(message);
        }
    }

    pub(super) fn not_linked(&mut self, error: &LinkError) {
        let master = format!("{:?}", self.masters[self.next % self.masters.len()]);
        // Said once, and then as often as it costs nothing.
        if self.failures.is_power_of_two() || self.failures == 0 {
            warn!(master, failures = self.failures, "the master {error}");
        }
        self.next_master();
    }

    /// The master does not take this agent, and says why. It is not dialled at once again.
    pub(super) fn refused(&mut self, refused: &Refused) {
        error!(detail = refused.detail, "the master refuses this agent");
        self.failures = self.failures.max(SEVERAL);
        self.next_master();
    }

    /// It is the next one's turn.
    pub(super) fn next_master(&mut self) {
        self.next = (self.next + 1) % self.masters.len();
        self.redial();
    }

    /// A master is dialled: at once, if not all of them had their turn, else after a pause that
    /// grows with each round.
    pub(super) fn redial(&mut self) {
        let pause = turns::pause(self.failures, self.masters.len());
        self.failures = self.failures.saturating_add(1);
        self.link = Way::Wait(Instant::now() + pause);
    }
}
