//! What a shard does with the connection that is dialled ahead: see `ahead`.

use std::{sync::Arc, time::Duration};

use baton_protocol::{Epoch, Sequence, ShardId, Ticket};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    Shard,
    ahead::{Aim, Change, Step},
    backoff::invalid_session,
    context::Context,
    gateway::{Gateway, Incoming, Url},
    order::Said,
    session::Session,
};
use crate::permits::Permits;

impl Shard {
    /// An order to dial ahead.
    pub(super) fn dial_ahead(&mut self, epoch: Epoch, ticket: &Ticket) {
        let Some(session) = Session::of_ticket(ticket) else {
            return self.say_dialled(epoch, "the ticket has no session".to_owned());
        };
        let aim = Aim {
            epoch,
            session,
            from: ticket.resume_from(),
        };
        let step = self.ahead.dial(aim);
        self.ahead_steps(step);
    }

    pub(super) fn ahead_changed(&mut self, change: Change) {
        let step = self.ahead.changed(change, self.context.config.timings.hold);
        self.ahead_steps(step);
    }

    fn ahead_steps(&mut self, step: Step) {
        match step {
            Step::Nothing => {}
            Step::Dial(aim) => {
                self.context.counters.dials.add();
                let (context, permits) = (self.context.clone(), self.permits.clone());
                let mut task = JoinSet::new();
                task.spawn(to_hello(context, self.id, permits, aim.session, aim.from));
                self.ahead.dials(task);
            }
            Step::Dialled(epoch, Ok(())) => self.say_dialled(epoch, String::new()),
            Step::Dialled(epoch, Err(why)) => self.say_dialled(epoch, why),
            Step::Overtook(epoch) => self.say_overtaken(epoch, String::new()),
            Step::Lost { tell, pause } => {
                if pause {
                    let pause = invalid_session(&self.context.config.timings);
                    self.plans.rest_until(Instant::now() + pause);
                }
                if let Some((epoch, why)) = tell {
                    self.say_overtaken(epoch, why);
                }
            }
        }
    }

    /// An order to resume on the connection that is held.
    pub(super) fn overtake(&mut self, epoch: Epoch) {
        let hold = self.context.config.timings.hold;
        if !self.ahead.overtake(epoch, hold) {
            self.say_overtaken(epoch, "no connection is held".to_owned());
        }
    }

    /// A held connection that the shard can go on with.
    pub(super) fn take_ahead(&mut self) -> Option<Gateway> {
        self.ahead.take(
            self.current.session(),
            self.events.window().received(),
            self.current.follows_a_death(),
        )
    }

    fn say_overtaken(&self, copied: Epoch, failed: String) {
        if !failed.is_empty() {
            tracing::warn!(failed, "cannot resume beside the owner");
        }
        self.say(Said::Overtaken { copied, failed });
    }

    fn say_dialled(&self, copied: Epoch, failed: String) {
        if !failed.is_empty() {
            tracing::warn!(failed, "cannot dial ahead");
        }
        self.say(Said::Dialled { copied, failed });
    }
}

/// Dials up to HELLO: where READY said, and if that fails, the gateway's own
/// address.
async fn to_hello(
    context: Arc<Context>,
    shard: ShardId,
    permits: Permits,
    session: Session,
    from: Sequence,
) -> Result<Gateway, String> {
    let count = context.shard_count();
    let patience = context.config.timings.hello;
    let mut failed = String::new();
    for url in [Url::OfSession, Url::Default] {
        if let Some(paused) = context.connector.paused(Some(&session), url) {
            failed = paused.why;
            continue;
        }
        let session = Some((&session, from));
        let mut gateway = context.connector.dial(shard, count, &permits, session, url);
        failed = match timeout(patience, hello(&mut gateway)).await {
            Ok(Ok(())) => {
                if mutant!("ahead-not-held") {
                    // One more poll, which sends RESUME.
                    let _ = timeout(Duration::from_millis(50), gateway.next()).await;
                }
                return Ok(gateway);
            }
            Ok(Err(why)) => why,
            Err(_) => format!("no HELLO within {patience:?}"),
        };
    }
    Err(failed)
}

async fn hello(gateway: &mut Gateway) -> Result<(), String> {
    loop {
        match gateway.next().await {
            Incoming::Hello => return Ok(()),
            Incoming::Alive => {}
            Incoming::Dispatch { kind, .. } => return Err(format!("{kind} before HELLO")),
            Incoming::Ended(end) => return Err(end.to_string()),
        }
    }
}
