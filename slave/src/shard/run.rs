//! One shard's life, read downwards.
//!
//! ```text
//!          Start, Resume           Seal                    Resume (higher epoch)
//!  Idle ────────────────▶ Serving ──────▶ Sealed ─────────────────────────────┐
//!   │                      │  ▲ fatal       │ Forget                          │
//!   │ Forget               │  └─ close ─▶ Failed ──▶ ...                      │
//!   ▼                      ▼                ▼                                 │
//!  Gone ◀───────────── Leave, or another slave's epoch        Serving ◀───────┘
//! ```
//!
//! Between Serving and Sealed lies Settling, if the bot asks for a moment to come to rest.
//! Between an order and Serving lies Claiming, if there is state that stays where it is;
//! between a Resume and Serving lies Recalling, if no slave copied the state and a snapshot
//! of it may be there.
//!
//! Orders of the agent move it, and a fatal close. Idle holds at most a copy of
//! the state; Sealed neither handles nor reconnects until it hears the outcome.

use baton_protocol::{
    Epoch, Sequence, Ticket,
    message::{IdentifyCause, ResumeAfter, Step},
};
use tokio::time::{Duration, Instant};
use tracing::{Instrument as _, span::EnteredSpan};

use super::{
    Shard,
    backoff::Redial,
    connection::Ended,
    gateway::End,
    order::{Care, Said, Turn},
    phase::{Input, Phase, Then},
    session::Session,
    span,
};
use crate::bot::StateStatus;

/// Under a legacy master nothing fences a slave that it forgot: two of them take a
/// session from each other for as long as both may, and handle its events twice. The
/// one from which it was taken so often stops; the other one is left in peace.
const MOST_TAKEN: u32 = 5;

impl Shard {
    /// Lives until the shard is of no concern to this process any more.
    pub(crate) async fn run(&mut self) {
        let mut phase = Phase::Idle;
        while !matches!(phase, Phase::Gone) {
            let span = self.span.clone();
            phase = self.next_phase(phase).instrument(span).await;
        }
        let _in = self.span.enter();
        let lost = self.outbox.drain();
        if lost > 0 {
            (0..lost).for_each(|_| self.context.counters.commands_lost.add());
            tracing::warn!(lost, "commands waited for a shard that moved away");
        }
    }

    async fn next_phase(&mut self, phase: Phase) -> Phase {
        match phase {
            Phase::Idle => self.idle().await,
            Phase::Claiming(then) => self.claiming(then).await,
            Phase::Recalling => self.recall().await,
            Phase::Serving => self.serve().await,
            Phase::Settling(mut settles, drain) => {
                settles.end().await;
                self.gives_ticket(&settles, drain)
            }
            Phase::Sealed(seal) => self.sealed(seal).await,
            Phase::Failed => self.failed().await,
            Phase::Gone => Phase::Gone,
        }
    }

    /// Owns nothing; state may come in.
    async fn idle(&mut self) -> Phase {
        loop {
            match self.input(None, false, None).await {
                Input::Turn(Turn::Start { epoch }) => return self.start(epoch),
                Input::Turn(Turn::Resume {
                    epoch,
                    after,
                    ticket,
                    care,
                }) => return self.resume(epoch, after, &ticket, care),
                Input::Turn(Turn::Forget { .. } | Turn::Leave) => return self.forget(),
                Input::Turn(Turn::Seal { .. } | Turn::SealLate { .. })
                | Input::Permit
                | Input::Gateway(_)
                | Input::Finished
                | Input::Read(_)
                | Input::Claimed(_)
                | Input::Due => {}
            }
        }
    }

    /// Owns the shard: connection after connection, for ever.
    async fn serve(&mut self) -> Phase {
        self.plan_snapshots();
        let mut redial = Redial::new();
        let mut pause = Duration::ZERO;
        loop {
            if let Some(phase) = self.wait(pause, &mut redial).await {
                return phase;
            }
            if let Some(phase) = self.has_room_for_a_session(&redial).await {
                return phase;
            }
            let timings = self.context.config.timings.clone();
            let ended = self.connection(&mut redial).await;
            if let (Some(drain), false) = (self.plans.takes_late(), matches!(ended, Ended::Turn(_)))
                && !mutant!("late-reconnects")
            {
                tracing::info!(?ended, "the connection of a late seal ended");
                return self.seal(drain);
            }
            match ended {
                Ended::Turn(turn) => {
                    if let Some(phase) = self.turn(turn) {
                        return phase;
                    }
                    pause = Duration::ZERO;
                }
                Ended::Lost(end) => {
                    let resumable = self.current.is_some();
                    pause = redial.ended(&end, resumable, &timings);
                    tracing::info!(why = %end, ?pause, "connection lost");
                    if let End::Refused(refusal) = &end
                        && !redial.gets_nowhere(&timings)
                    {
                        self.refused(refusal.to_string());
                    }
                    if matches!(end, End::InvalidSession { .. }) {
                        self.plans.rest_until(Instant::now() + pause);
                        pause = Duration::ZERO;
                    }
                    if self.context.config.is_legacy() && redial.taken() >= MOST_TAKEN {
                        return self.another_serves_it();
                    }
                    match redial.session_is_over(&timings).filter(|_| resumable) {
                        Some(why) => {
                            self.session_lost(&format!("{why}, the last one: {end}"));
                            redial.session_ended();
                        }
                        // Said when it was lost; a failed dial is none.
                        None if redial.is_unreached() => {}
                        None => self.progress(Step::Reconnecting, 0),
                    }
                }
                Ended::SessionLost(why) => {
                    self.session_lost(&why);
                    pause = redial.ended(&End::Reconnect, false, &timings);
                    redial.session_ended();
                }
                Ended::Stale => pause = Duration::ZERO,
                Ended::Fatal { code, reason } => {
                    tracing::error!(code, reason, "Discord refuses this shard");
                    self.say(Said::Failed {
                        close_code: code,
                        detail: format!("Discord closed with {code}: {reason}"),
                    });
                    return Phase::Failed;
                }
                Ended::Full(why) => {
                    self.progress(Step::Reconnecting, 0);
                    if let Some(phase) = self.drain(why).await {
                        return phase;
                    }
                    pause = Duration::ZERO;
                }
                Ended::Fenced(why) => return self.is_fenced(&why),
                Ended::StateGone(why) => {
                    tracing::error!(why, "the state of this shard is gone");
                    self.progress(Step::Reconnecting, 0);
                    // What travels is as it was.
                    let travels = match self.keeping.is_lost() {
                        true => StateStatus::Lost,
                        false => StateStatus::Complete,
                    };
                    let then = match self.current.is_some() {
                        true => Then::GoOn(travels),
                        false => Then::Begin,
                    };
                    return self.claims(then);
                }
            }
        }
    }

    /// Discord said no for good: owned, not served.
    async fn failed(&mut self) -> Phase {
        loop {
            if let Input::Turn(turn) = self.input(None, false, None).await
                && let Some(phase) = self.turn(turn)
            {
                return phase;
            }
        }
    }

    fn another_serves_it(&self) -> Phase {
        let detail = format!(
            "its session was taken away {MOST_TAKEN} times in a row: another process serves it too, \
             and events were handled twice. This one stops; end one of the two processes"
        );
        tracing::error!(detail);
        self.say(Said::Failed {
            close_code: 0,
            detail,
        });
        Phase::Failed
    }

    /// An order to an owner whose connection is closed. `None`: it stays one.
    pub(super) fn turn(&mut self, turn: Turn) -> Option<Phase> {
        if !turn.concerns(self.epoch) {
            return None;
        }
        Some(match turn {
            Turn::Seal { drain, .. } | Turn::SealLate { drain, .. } => self.seal(drain),
            Turn::Forget { epoch } => {
                tracing::error!(newer = %epoch, "another process owns this shard: stopped");
                self.leaves()
            }
            Turn::Leave => self.leaves(),
            Turn::Start { epoch } => self.start(epoch),
            Turn::Resume {
                epoch,
                after,
                ticket,
                care,
            } => self.resume(epoch, after, &ticket, care),
        })
    }

    /// At another epoch from now on: what is said belongs to it.
    fn owns(&mut self, epoch: Epoch) -> EnteredSpan {
        debug_assert!(epoch >= self.epoch, "{epoch} behind {}", self.epoch);
        self.epoch = epoch;
        self.span = span(self.id, epoch);
        self.span.clone().entered()
    }

    /// Owns it from now on, without a session: READY will bring everything.
    pub(super) fn start(&mut self, epoch: Epoch) -> Phase {
        let _in = self.owns(epoch);
        self.without_session(IdentifyCause::Cold);
        tracing::info!("starts without a session");
        self.claims(Then::Begin)
    }

    /// Owns it from now on, with a session: its former owner's or, taken back,
    /// its own.
    pub(super) fn resume(
        &mut self,
        epoch: Epoch,
        after: ResumeAfter,
        ticket: &Ticket,
        care: Care,
    ) -> Phase {
        let session = self.current.session();
        let taken_back =
            session.is_some_and(|session| session.is_of(ticket) && self.epoch > Epoch(0));
        let _in = self.owns(epoch);
        let Some(session) = Session::of_ticket(ticket) else {
            return self.start(epoch);
        };
        self.handle.serves(epoch, &session, &ticket.luggage);
        let tag = session.tag.clone();
        let after_death = after == ResumeAfter::Death || mutant!("marked-after-seal");
        self.current.goes_on(session, taken_back, after_death);
        self.plans.resumes();
        let own = taken_back.then(|| self.events.window().received());
        let state_at = if self.context.keeps_state() {
            self.keeping.resume(&tag, epoch, own)
        } else {
            // Nothing has to be brought up to date: only what is not finished is replayed.
            self.keeping.resume_without();
            None
        };
        let replay_from = state_at.unwrap_or(Sequence(u64::MAX));
        self.events.resume(&tag, ticket, replay_from, taken_back);
        self.handle.resumes_behind(self.events.window().handled());
        self.trials.begin(care);
        self.snapshot.stop();
        self.recall.stop();
        self.touch();
        tracing::info!(
            ?after, from = %self.events.window().received(),
            handled = %self.events.window().handled(), "resumes"
        );
        let is_missing = state_at.is_none() && self.context.keeps_state();
        self.claims(match is_missing {
            true => Then::Recall,
            false => Then::GoOn(StateStatus::Complete),
        })
    }

    /// Discord ended the session: a span of events is lost, said loudly.
    fn session_lost(&mut self, why: &str) {
        debug_assert!(self.current.is_some(), "there was one");
        self.context.counters.sessions_lost.add();
        tracing::error!(
            why, received = %self.events.window().received(),
            "Discord ended the session: events since then are lost, a new session is needed"
        );
        self.progress(Step::SessionLost, 0);
        self.without_session(IdentifyCause::SessionLost);
    }

    pub(super) fn without_session(&mut self, cause: IdentifyCause) {
        self.current.is_over(cause);
        self.events.forget_session();
        self.trials.stop();
        self.keeping.forget_session();
        self.snapshot.stop();
        self.recall.stop();
    }
}
