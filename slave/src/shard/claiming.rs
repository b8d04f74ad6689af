//! What a shard does with state that stays where it is: see `staying`.
//!
//! A claim comes before a connection, because the first event needs it. What it finds says
//! where the replay begins, as a copy does; what it does not find is lost.

use baton_protocol::{
    Sequence,
    message::{IdentifyCause, Step},
};
use tokio::time::{Duration, Instant};

use super::{
    Shard,
    backoff::Redial,
    connection::Ended,
    gateway::{Gateway, Incoming, Most},
    order::Said,
    phase::{Input, Phase, Then},
    plans::Rest,
    session::Session,
    staying::QUICK,
};
use crate::{
    config::OnLostState,
    state::stays::{Claim, GoesOn, Of, Refusal},
    telemetry::Why,
};

/// A claim that was refused for now is made again so often.
const AGAIN: Duration = Duration::from_secs(1);

/// The master hears so often that a claim goes on, and for so long at the most.
const TELL_EVERY: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);

/// What is applied in one change.
const BATCH: Most = Most {
    events: 64,
    bytes: QUICK,
};

impl Shard {
    /// The shard is this process' from now on.
    pub(super) fn claims(&mut self, then: Then) -> Phase {
        if self.context.stays.is_none() {
            return self.claimed(then);
        }
        Phase::Claiming(then)
    }

    /// What comes behind a claim, or without one.
    fn claimed(&mut self, then: Then) -> Phase {
        match then {
            Then::Begin => Phase::Serving,
            Then::GoOn(travels) => {
                self.tell_state(travels);
                Phase::Serving
            }
            Then::Recall => self.recall_or_lose(),
        }
    }

    /// Nothing is dialled and nothing handed out before the state is this process' own.
    pub(super) async fn claiming(&mut self, then: Then) -> Phase {
        self.ask_for_claim();
        let until = Instant::now() + PATIENCE;
        let mut again = None;
        loop {
            let due = again.unwrap_or_else(|| Instant::now() + TELL_EVERY);
            match self.input(None, false, Some(due)).await {
                Input::Claimed(Ok(taken)) => {
                    let whole = self.staying.takes(taken);
                    return self.has_claimed(then, whole);
                }
                Input::Claimed(Err(refusal)) => match refusal {
                    Refusal::Fenced(why) => return self.is_fenced(&why),
                    Refusal::NoRoom(why) | Refusal::Busy(why) => {
                        self.no_room(&why);
                        again = Some(Instant::now() + AGAIN);
                    }
                    Refusal::Gone(why) | Refusal::Unusable(why) => {
                        tracing::error!(why, "the state cannot be kept: the shard goes on without");
                        // A new session would not bring it either.
                        self.staying.is_without();
                        return self.claimed(then);
                    }
                },
                Input::Due if again.take().is_some() => self.ask_for_claim(),
                // It is copied, from an owner that is stopped.
                Input::Due if Instant::now() < until => self.progress(Step::Dialling, 0),
                Input::Due => {}
                Input::Turn(turn) => {
                    if let Some(phase) = self.turn(turn) {
                        return phase;
                    }
                }
                Input::Permit | Input::Gateway(_) | Input::Finished | Input::Read(_) => {}
            }
        }
    }

    fn ask_for_claim(&mut self) {
        debug_assert!(
            self.context.stays.is_some(),
            "only state that stays is claimed"
        );
        let Some(place) = self.context.stays.clone() else {
            return;
        };
        let window = self.events.window();
        let session = self.current.session().map(|session| GoesOn {
            tag: session.tag.clone(),
            from: window.received(),
            reach: session.reach(),
        });
        let received = self.current.tag();
        let received = received.is_some_and(|tag| self.staying.has_received(&tag, self.epoch));
        let claim = Claim {
            of: self.of(),
            received,
            epoch: (!self.context.config.is_legacy()).then_some(self.epoch),
            session,
        };
        self.staying.claim(claim, place, self.span.clone());
    }

    /// Whose state it is.
    pub(super) fn of(&self) -> Of {
        Of {
            shard: self.id,
            shard_count: self.context.shard_count(),
            fleet: self.context.fleet(),
        }
    }

    fn has_claimed(&mut self, then: Then, whole: Result<Sequence, String>) -> Phase {
        match whole {
            Ok(stands) => {
                if self.current.is_some() {
                    tracing::info!(%stands, "its state is here");
                    self.events.replay_from(stands);
                }
                self.claimed(then)
            }
            Err(why) => {
                tracing::error!(why, "the state of this shard is lost");
                if self.context.config.on_lost_state == OnLostState::Identify {
                    self.without_session(IdentifyCause::StateLost);
                    return Phase::Serving;
                }
                self.claimed(then)
            }
        }
    }

    /// Another process owns the shard. This one was not told, or is not told yet.
    pub(super) fn is_fenced(&mut self, why: &str) -> Phase {
        tracing::error!(why, "another process owns this shard: stopped");
        self.staying.let_go();
        self.say(Said::Failed {
            close_code: 0,
            detail: format!("another process owns its state: {why}"),
        });
        Phase::Failed
    }

    fn no_room(&mut self, why: &str) {
        self.context.counters.refused.add();
        let stores = &self.context.stores;
        self.staying.is_held_up(|| stores.holds_up(self.id, why));
        if self.staying.tells() {
            tracing::error!(
                why,
                "the state of this shard cannot be changed: it takes no events until it can"
            );
        }
    }

    /// Brings the state up to what came, and to what came with it, before it is handed out.
    /// `Err`: it is not, and is put back. The connection is of no use any more, or `None`: it
    /// is tried again.
    pub(super) async fn keep(
        &mut self,
        incoming: Incoming,
        gateway: &mut Gateway,
    ) -> Result<Incoming, Option<Ended>> {
        let Some(place) = self.context.stays.clone() else {
            return Ok(incoming);
        };
        let Incoming::Dispatch {
            sequence,
            kind,
            json,
        } = &incoming
        else {
            return Ok(incoming);
        };
        let begins = (&**kind == "READY").then(|| self.of_ready(json));
        // What is no READY is said where it is read.
        if self.staying.is_compacting() {
            gateway.put_back(vec![incoming]);
            return Err(None);
        }
        if matches!(begins, Some(None)) || !self.staying.wants(*sequence, begins.is_some()) {
            return Ok(incoming);
        }
        let begins = begins.flatten().map(|session| session.tag);
        let left = Most {
            bytes: BATCH.bytes.saturating_sub(incoming.bytes()),
            ..BATCH
        };
        let mut batch = vec![incoming];
        if begins.is_none() {
            batch.extend(gateway.take_ready(left).await);
        }
        let how = (place.is_in_memory(), self.context.keeps_state());
        let (mut batch, done) = self.staying.apply(batch, begins.as_deref(), how).await;
        let refusal = match done {
            Ok(()) => {
                let first = batch.remove(0);
                gateway.put_back(batch);
                return Ok(first);
            }
            Err(refusal) => refusal,
        };
        if mutant!("refused-and-handed-out") {
            self.no_room(refusal.text());
            let first = batch.remove(0);
            gateway.put_back(batch);
            return Ok(first);
        }
        gateway.put_back(batch);
        match refusal {
            Refusal::NoRoom(why) => {
                self.no_room(&why);
                if self.staying.may_compact() && !self.keeping.copies_out() {
                    self.staying.compact(self.span.clone());
                }
                Err(None)
            }
            Refusal::Busy(why) => {
                self.no_room(&why);
                Err(None)
            }
            Refusal::Fenced(why) => Err(Some(Ended::Fenced(why))),
            Refusal::Gone(why) | Refusal::Unusable(why) => Err(Some(Ended::StateGone(why))),
        }
    }

    /// A READY that finds no room is of no use, and the next one costs an IDENTIFY: that is not
    /// asked for before there is room. `Some`: the phase ended.
    pub(super) async fn has_room_for_a_session(&mut self, redial: &Redial) -> Option<Phase> {
        let mut full = None;
        while !self.current.is_some() && !mutant!("identifies-without-room") {
            match self.staying.makes_room_for_a_session().await {
                Ok(()) => return None,
                Err(Refusal::NoRoom(why) | Refusal::Busy(why)) => {
                    full.get_or_insert_with(|| self.context.fullness.begin(Why::Store));
                    self.no_room(&why);
                }
                Err(Refusal::Fenced(why)) => return Some(self.is_fenced(&why)),
                Err(Refusal::Gone(why) | Refusal::Unusable(why)) => {
                    tracing::error!(why, "the state of this shard is gone");
                    return Some(self.claims(Then::Begin));
                }
            }
            // No connection was lost since.
            self.progress(Step::Dialling, 0);
            let rest = Rest {
                until: Instant::now() + AGAIN,
                by_discord: false,
            };
            if let Some(phase) = self.rest(rest, redial).await {
                return Some(phase);
            }
        }
        None
    }

    /// An operator may have asked for what stays to be compacted.
    pub(super) fn look_after_what_stays(&mut self, now: Instant) {
        if self.staying.is_compact_asked(now) && !self.keeping.copies_out() {
            tracing::info!("the state of this shard is compacted, as somebody asks");
            self.staying.compact(self.span.clone());
        }
    }

    /// It was compacted, or not.
    pub(super) fn compacted(done: Result<String, Refusal>) {
        match done {
            Ok(what) => tracing::info!(what, "the state of this shard was compacted"),
            Err(refusal) => tracing::warn!(
                why = refusal.text(),
                "the state of this shard was not compacted"
            ),
        }
    }

    /// The session that a READY begins.
    pub(super) fn of_ready(&self, json: &str) -> Option<Session> {
        let count = self.context.shard_count();
        Session::of_ready(json, self.context.config.parameters(count))
    }
}
