//! How a shard leaves: its bot comes to rest, its ticket is given, what runs may finish, and
//! what is not finished is said.

use baton_protocol::{Epoch, SequenceRanges};
use tokio::time::{Duration, Instant};

use super::{
    Shard,
    order::{Said, Turn},
    phase::{Input, Phase, Seal},
    session::Session,
};
use crate::bot::{Settles, Settling};

/// What runs when the lease is over may run so long.
const LAPSED: Duration = Duration::from_secs(10);

/// What is held back for the word of an earlier owner is waited for so long: this shard
/// is another's by now, and the word goes there. It may be on its way here.
const LAST_WORD: Duration = Duration::from_secs(1);

impl Shard {
    /// As if a master had ordered it: the lease of this process is over.
    pub(super) const fn seals_itself(&self) -> Turn {
        Turn::Seal {
            epoch: self.epoch,
            drain: LAPSED,
            begins: None,
        }
    }

    /// Nothing is handed out from here on. The connection is closed already.
    pub(super) fn seal(&mut self, drain: Duration) -> Phase {
        debug_assert!(self.epoch > Epoch(0), "only an owner has a ticket to give");
        self.finish_all_reported();
        self.trials_stop();
        self.snapshot.stop();
        self.recall.stop();
        let mut settles = self.tell_leaving();
        if settles.is_over() {
            return self.gives_ticket(&settles, drain);
        }
        Phase::Settling(settles, drain)
    }

    /// The bot has come to rest, or had its time.
    pub(super) fn gives_ticket(&mut self, settles: &Settles, drain: Duration) -> Phase {
        self.finish_all_reported();
        let may_repeat = match settles.gives_back() && self.is_within_reach() {
            true => self.events.put_back_all(),
            false => SequenceRanges::new(),
        };
        if let Some(luggage) = settles.along() {
            self.handle.brings(&luggage);
        }
        let mut ticket = self.ticket();
        ticket.may_repeat = may_repeat;
        ticket.given_back = self.events.window().unseen();
        // The next owner may claim it as soon as the ticket is known.
        if let Some(stands) = self.staying.seal() {
            ticket.state_at = ticket.state_at.max(stands);
        }
        self.keeping.freeze();
        self.say(Said::Sealed(Box::new(ticket.clone())));
        tracing::info!(
            handled = %ticket.handled,
            in_doubt = ticket.in_doubt.count(), "sealed"
        );
        Phase::Sealed(Box::new(Seal {
            ticket,
            drain_until: Instant::now() + drain,
            rests: None,
            settled: None,
        }))
    }

    /// Whether Discord surely replays everything that is not handled.
    fn is_within_reach(&self) -> bool {
        let window = self.events.window();
        let open = window
            .received()
            .get()
            .saturating_sub(window.handled().get());
        let reach = self.current.session().map_or(0, Session::reach);
        open <= reach || mutant!("given-back-out-of-reach")
    }

    /// Sealed: the ticket is given, running handlers may finish, then the word is
    /// settled; and then it waits for the outcome.
    pub(super) async fn sealed(&mut self, mut seal: Box<Seal>) -> Phase {
        loop {
            let now = Instant::now();
            if self.events.window().running() == 0 {
                seal.rests.get_or_insert(now);
            }
            let settles_at = match seal.rests {
                _ if mutant!("settled-at-once") => now,
                None => seal.drain_until,
                Some(_) if !self.events.window().holds() => now,
                Some(since) => seal.drain_until.min(since + LAST_WORD),
            };
            if seal.settled.is_none() && now >= settles_at {
                let unfinished = self.events.window().in_doubt();
                self.say_settled(&unfinished);
                seal.settled = Some(unfinished);
            }
            let due = seal.settled.is_none().then_some(settles_at);
            match self.input(None, false, due).await {
                Input::Turn(turn) if turn.concerns(self.epoch) => match turn {
                    Turn::Seal { .. } | Turn::SealLate { .. } => {
                        self.say(Said::Sealed(Box::new(seal.ticket.clone())));
                        if let Some(unfinished) = &seal.settled {
                            self.say_settled(unfinished);
                        }
                    }
                    Turn::Resume {
                        epoch,
                        after,
                        ticket,
                        care,
                    } => return self.resume(epoch, after, &ticket, care),
                    Turn::Start { epoch } => return self.start(epoch),
                    Turn::Forget { .. } | Turn::Leave => return self.forget(),
                },
                Input::Turn(_)
                | Input::Permit
                | Input::Gateway(_)
                | Input::Finished
                | Input::Read(_)
                | Input::Claimed(_)
                | Input::Due => {}
            }
        }
    }

    fn say_settled(&self, unfinished: &SequenceRanges) {
        self.say(Said::Settled {
            unfinished: unfinished.clone(),
            events: self.events.carried(unfinished),
        });
    }

    /// It is not sealed, so that no ticket waits for the bot.
    pub(super) fn leaves(&mut self) -> Phase {
        drop(self.tell_leaving());
        self.forget()
    }

    /// The bot is told that the shard leaves.
    fn tell_leaving(&self) -> Settles {
        let (settling, settles) = Settling::new();
        let bot = &self.context.bot;
        self.context
            .guarded(|| bot.shard_leaves(&self.handle, settling));
        settles
    }

    /// Owned by another slave, or by none: everything held of it is dropped.
    pub(super) fn forget(&mut self) -> Phase {
        self.keeping.stop_copy();
        self.snapshot.stop();
        self.recall.stop();
        self.with_state(|state, shard| state.drop_shard(shard));
        // The next owner has what stays. It is not this process' to change.
        self.staying.let_go();
        if let Some(place) = &self.context.stays {
            place.leave(self.id);
        }
        Phase::Gone
    }
}
