//! Two connections that say that they are one slave, where nothing but their word says
//! which of them is right: TCP names no process, and whoever knows the secret can copy
//! an id and the name of a process.
//!
//! A slave that dials again has let go of its connection before. So the first one is
//! asked a question that only this master knows:
//!
//! ```text
//! second joins ──▶ asked ──the first answers──────────────▶ the second is refused: taken
//!                    └─────it ends, or says nothing for 2 s ─▶ the second is the slave
//! ```
//!
//! Meanwhile the first one counts, and what the second says waits.

use std::time::Duration;

use baton_core::{
    Time,
    event::{Input, News},
};
use baton_protocol::{
    SlaveId, ToMaster, ToSlave,
    message::{Ping, Refused, RefusedReason},
};
use tokio::time::sleep;
use tracing::info;

use super::{Driver, connections::Second};
use crate::{
    link::LinkId,
    notice::{Joining, Notice},
};

/// A connection that lives answers within this time.
const ANSWER: Duration = Duration::from_secs(2);

/// The number of the question. The peers count theirs from 1, the core's stand above.
const QUESTION: u64 = u64::MAX - 2;

impl Driver {
    /// Whether this one waits until the first connection of its slave was asked; else it
    /// is given back, to join.
    pub(super) fn asks_the_first(&mut self, joining: Joining) -> Option<Joining> {
        let (slave, link) = (joining.hello.slave, joining.link.id());
        let Some(first) = self.connections.get(slave) else {
            return Some(joining);
        };
        if super::entry::proves(&joining.link, &joining.hello.process)
            || mutant!("second-link-taken")
        {
            return Some(joining);
        }
        if self.connections.newer_waits(slave, link) {
            joining.link.cut();
            return None;
        }
        let question = ToSlave::Ping(Ping {
            number: QUESTION,
            heard: 0,
        });
        if first.send(question).is_err() {
            // It takes nothing any more.
            return Some(joining);
        }
        self.connections.wait(joining);
        let notices = self.notices.clone();
        tokio::spawn(async move {
            sleep(ANSWER).await;
            // Fails only when the driver has ended.
            let _ = notices.send(Notice::Unanswered { slave, link }).await;
        });
        None
    }

    /// The first connection said something: perhaps that it lives.
    pub(super) fn first_said(&mut self, slave: SlaveId, message: &ToMaster) {
        if !matches!(message, ToMaster::Pong(pong) if pong.number == QUESTION) {
            return;
        }
        let Some(second) = self.connections.take_second(slave) else {
            return;
        };
        let detail = format!(
            "slave {slave:.8} is connected, and answers there: no other connection speaks for it"
        );
        self.tell(News::Disbelieved {
            slave,
            detail: detail.clone(),
        });
        let refused = Refused {
            reason: RefusedReason::Taken,
            detail,
        };
        // An outbox that is full has other troubles.
        let _ = second.joining.link.send(ToSlave::Refused(refused));
    }

    /// The first connection ended: whoever waits is the slave.
    pub(super) fn first_ended(&mut self, now: Time, slave: SlaveId) {
        if let Some(second) = self.connections.take_second(slave) {
            self.second_joins(now, second);
        }
    }

    /// The time is over.
    pub(super) fn unanswered(&mut self, now: Time, slave: SlaveId, link: LinkId) {
        if let Some(second) = self.connections.take_second_if(slave, link) {
            info!(slave = %format_args!("{slave:.8}"), "its older connection answers nothing");
            self.second_joins(now, second);
        }
    }

    fn second_joins(&mut self, now: Time, second: Second) {
        let slave = second.joining.hello.slave;
        self.enters(now, second.joining);
        for message in second.said {
            self.core.handle(now, Input::Said { slave, message });
        }
    }
}
