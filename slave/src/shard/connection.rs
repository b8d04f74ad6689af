//! One gateway connection, from its dial to its end.
//!
//! ```text
//! Dialling ──HELLO──▶ Replaying ──RESUMED──▶ Serving
//!     └──────HELLO──▶ Waiting ──permit, READY──▶ Serving
//! ```
//!
//! One that was dialled ahead (`ahead.rs`) begins at Replaying.
//!
//! Each step has a deadline of its own, which grows where it passes (`backoff.rs`).
//! Dispatches are handed out from the first one of a replay on: RESUMED is never
//! waited for.

mod incoming;
mod life;

use baton_protocol::{Sequence, message::Step};
use tokio::time::Instant;

pub(super) use self::life::TELL_WAITING;
use self::life::{Life, Stage};
use super::{
    Shard,
    backoff::{Redial, Wait},
    gateway::{End, Gateway, Incoming},
    order::{Said, Turn},
    phase::Input,
};
use crate::telemetry::Why;

/// Why there is no connection any more.
#[derive(Debug)]
pub(super) enum Ended {
    /// An order; the connection is closed with 4000.
    Turn(Turn),
    /// It broke: the session can be resumed.
    Lost(End),
    /// It was dialled ahead, and dead before anything came.
    Stale,
    /// The session is over.
    SessionLost(String),
    /// Discord will never take this shard like that.
    Fatal { code: u16, reason: String },
    /// Nothing was taken for too long; the connection is closed with 4000.
    Full(Why),
    /// Another process owns the state of the shard.
    Fenced(String),
    /// The state is damaged, or was taken away.
    StateGone(String),
}

impl Shard {
    pub(super) async fn connection(&mut self, redial: &mut Redial) -> Ended {
        let timings = &self.context.config.timings;
        let mut life = Life::new(redial.limit(Wait::Hello, timings));
        let ended = self.live(&mut life, redial).await;
        self.outbox.takes_back();
        self.handle.set_connected(false);
        redial.reached_hello(life.stage != Stage::Dialling);
        if matches!(ended, Ended::Lost(_)) && life.stage == Stage::Replaying {
            if self.events.window().received() > life.from {
                redial.advanced();
            } else {
                redial.refused();
            }
        }
        ended
    }

    async fn live(&mut self, life: &mut Life, redial: &mut Redial) -> Ended {
        let timings = self.context.config.timings.clone();
        if !self.staying.is_compacting() {
            self.staying.waits_no_more();
        }
        let overtook = self.ahead.overtakes();
        let mut gateway = if let Some(gateway) = self.take_ahead() {
            life.ahead = true;
            life.overtook = overtook;
            self.helloed(life, redial);
            gateway
        } else {
            self.context.counters.dials.add();
            if !redial.is_unreached() {
                self.waits(Step::Dialling, redial);
            }
            self.dial(redial)
        };
        loop {
            if life.stage == Stage::Serving && self.handle.takes_new_luggage() {
                self.say(Said::Session(Box::new(self.ticket())));
            }
            let why = self.takes_nothing();
            // Who takes nothing resumes its session all the same, so that Discord keeps it. A
            // new one would be closed with its connection, and its IDENTIFY lost.
            let resumes = life.stage == Stage::Dialling && self.current.is_some();
            let full = why.is_some() && !resumes;
            // What was refused is tried again once nothing else holds it up.
            let waits = self.staying.waits_until();
            let waits = waits.filter(|_| why == Some(Why::Store));
            if why.is_none() && life.full_since.is_some() && life.deadline.is_some() {
                // While nothing was read, nothing could come.
                life.deadline = Some(Instant::now() + timings.hello);
            }
            life.listens(!full, &self.context.hearing, self.id);
            life.is_full(why, &self.context.fullness);
            let due = match &life.full_since {
                Some((since, _)) if full => {
                    let crowded = *since + timings.crowded;
                    Some(waits.map_or(crowded, |again| crowded.min(again)))
                }
                Some(_) | None => life.deadline.into_iter().chain(life.tell_at).min(),
            };
            let polled = if full { None } else { Some(&mut gateway) };
            match self.input(polled, true, due).await {
                Input::Gateway(Incoming::Ended(end)) => {
                    let ended = self.ended(end);
                    return if life.is_untried() && is_stale(&ended) {
                        Ended::Stale
                    } else {
                        ended
                    };
                }
                Input::Gateway(_) if self.context.lease.is_shut() => {
                    gateway.close().await;
                    return Ended::Turn(self.seals_itself());
                }
                Input::Gateway(incoming) => {
                    self.current.named(gateway.named());
                    if let Some(listening) = &mut life.listening {
                        listening.hears(|| gateway.round_trip());
                    }
                    let is_hello = matches!(incoming, Incoming::Hello);
                    if let Some(ended) = self.take_in(incoming, &mut gateway, life, redial).await {
                        return ended;
                    }
                    if is_hello && self.takes_nothing().is_some() {
                        // RESUME goes out; what it brings is not taken in.
                        gateway.push().await;
                    }
                }
                Input::Due
                    if waits.is_some_and(|again| again <= Instant::now())
                        && !life.is_crowded(timings.crowded) =>
                {
                    self.staying.waits_no_more();
                    if let Some(incoming) = gateway.take_back()
                        && let Some(ended) =
                            self.take_in(incoming, &mut gateway, life, redial).await
                    {
                        return ended;
                    }
                }
                Input::Permit => {
                    if self.permits.grant() {
                        // Discord counts from its arrival, the master from this word.
                        gateway.push().await;
                        self.progress(Step::Hello, 0);
                        life.asked = Instant::now();
                        life.deadline = Some(life.asked + redial.limit(Wait::Ready, &timings));
                        life.tell_at = Some(life.asked + TELL_WAITING);
                    }
                }
                Input::Turn(
                    Turn::Seal {
                        epoch,
                        begins: Some(begins),
                        ..
                    }
                    | Turn::SealLate {
                        epoch,
                        begins: Some(begins),
                        ..
                    },
                ) if epoch == self.epoch
                    && life.stage == Stage::Serving
                    && self.is_overtaken(begins, gateway.named()) =>
                {
                    self.say(Said::CopyOvertaken);
                }
                // A connection that goes on heartbeats: where that is soon, it seals at once.
                Input::Turn(Turn::SealLate { epoch, drain, .. })
                    if epoch == self.epoch
                        && life.stage == Stage::Serving
                        && !heartbeats_soon(&gateway) =>
                {
                    self.plans.seal_late(drain);
                    self.say(Said::SealsLate);
                }
                Input::Turn(turn) => {
                    if turn.concerns(self.epoch) {
                        gateway.close().await;
                        return Ended::Turn(turn);
                    }
                }
                Input::Due if full => {
                    gateway.close().await;
                    return Ended::Full(why.unwrap_or(Why::Window));
                }
                Input::Due
                    if life
                        .deadline
                        .is_none_or(|deadline| deadline > Instant::now()) =>
                {
                    self.still_waits(life, redial, gateway.is_open());
                }
                Input::Due if life.is_untried() => {
                    gateway.close().await;
                    return Ended::Stale;
                }
                Input::Due => {
                    gateway.close().await;
                    if let Some(passed) = life.passed() {
                        redial.passed(passed);
                    }
                    return Ended::Lost(End::Closed {
                        code: 1006,
                        reason: format!("nothing came while {:?}", life.stage),
                    });
                }
                Input::Finished | Input::Read(_) | Input::Claimed(_) => {}
            }
        }
    }

    /// Why nothing is taken from Discord just now, if so.
    fn takes_nothing(&self) -> Option<Why> {
        let window = self.events.window();
        let waits_for_word =
            self.context.config.in_order && window.holds() && !mutant!("ahead-of-doubt");
        if window.running() >= self.context.config.window || waits_for_word {
            Some(Why::Window)
        } else if self.handle.is_held() && !mutant!("hold-unheeded") {
            Some(Why::Bot)
        } else {
            self.staying.waits_until().map(|_| Why::Store)
        }
    }

    /// Takes in what came, if there is room for what it changes. `Some`: the connection is
    /// over.
    async fn take_in(
        &mut self,
        incoming: Incoming,
        gateway: &mut Gateway,
        life: &mut Life,
        redial: &mut Redial,
    ) -> Option<Ended> {
        match self.keep(incoming, gateway).await {
            Ok(incoming) => self.incoming(incoming, life, redial),
            // It is tried again.
            Err(None) => None,
            Err(ended) => ended,
        }
    }

    /// Says where the connection is, if that is any progress: dialling again and again
    /// is none.
    pub(super) fn waits(&self, step: Step, redial: &Redial) {
        if !self.current.is_some() || !redial.gets_nowhere(&self.context.config.timings) {
            self.progress(step, 0);
        }
    }

    /// Whether a heartbeat named more than where the next owner would begin, and that
    /// one would begin further on if the state was copied once more.
    fn is_overtaken(&mut self, begins: Sequence, named: Sequence) -> bool {
        let named = self.current.named(named);
        self.finish_all_reported();
        named > begins && self.events.window().handled() > begins && !mutant!("overtaken-sealed")
    }

    fn still_waits(&self, life: &mut Life, redial: &Redial, open: bool) {
        life.tell_at = None;
        let step = match life.stage {
            Stage::Dialling if open => Step::Dialling,
            Stage::Dialling => {
                life.tell_at = Some(Instant::now() + TELL_WAITING);
                return;
            }
            Stage::Replaying => Step::Hello,
            Stage::Waiting if life.deadline.is_some() => Step::Hello,
            Stage::Waiting | Stage::Serving => return,
        };
        life.tell_at = Some(Instant::now() + TELL_WAITING);
        self.waits(step, redial);
    }

    fn dial(&self, redial: &Redial) -> Gateway {
        let count = self.context.shard_count();
        // Everything received is in this process, finished or not: a reconnect
        // resumes behind it, so that a server which trims its replay by our
        // heartbeats has what is asked for.
        let received = self.events.window().received();
        let session = self.current.session().map(|session| (session, received));
        self.context
            .connector
            .dial(self.id, count, &self.permits, session, redial.url())
    }
}

/// Whether a heartbeat of this connection is due before the next owner can have resumed.
fn heartbeats_soon(gateway: &Gateway) -> bool {
    let heartbeat = gateway.heartbeat();
    heartbeat.is_some_and(|heartbeat| heartbeat.is_near(Instant::now()))
        && !mutant!("late-seal-heartbeats")
}

/// Whether a connection that was dialled ahead, and on which nothing came, was simply
/// dead. Op 9 is Discord's word, and has its pause.
fn is_stale(ended: &Ended) -> bool {
    match ended {
        Ended::Lost(End::InvalidSession { .. }) => mutant!("op-9-answered-at-once"),
        Ended::Lost(_) => true,
        Ended::Turn(_)
        | Ended::Stale
        | Ended::SessionLost(_)
        | Ended::Fatal { .. }
        | Ended::Full(_)
        | Ended::Fenced(_)
        | Ended::StateGone(_) => false,
    }
}
