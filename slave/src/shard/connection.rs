//! One gateway connection, from its dial to its end.
//!
//! ```text
//! Dialling ──HELLO──▶ Replaying ──RESUMED──▶ Serving
//!     └──────HELLO──▶ Waiting ──permit, READY──▶ Serving
//! ```
//!
//! One that was dialled ahead (`ahead.rs`) begins at Replaying.
//!
//! Each step has a deadline of its own. Dispatches are handed out from the first
//! one of a replay on: RESUMED is never waited for.

use baton_protocol::{Sequence, ShardId, message::Step};
use tokio::time::{Duration, Instant};

use super::{
    Said, Shard,
    backoff::Redial,
    gateway::{End, Gateway, Incoming},
    inputs::{Input, Turn},
    session::Session,
};
use crate::{
    bot::State,
    fullness::Full,
    hearing::{Hearing, Listening},
};

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
    /// The replay does not reach back to where the state stands, and the bot
    /// wants a new session then; the connection is closed with 4000.
    StateLost,
    /// Handlers were too slow for too long; the connection is closed with 4000.
    Crowded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Dialling,
    Replaying,
    Waiting,
    Serving,
}

/// What one connection knows of itself.
struct Life {
    stage: Stage,
    /// When the stage is given up.
    deadline: Option<Instant>,
    /// Since when the window is full.
    full_since: Option<(Instant, Full)>,
    /// When a replay is given up, however far it is.
    replay_until: Instant,
    replayed: u64,
    /// RESUMEDs that earlier connections may have missed. Each has a sequence and is
    /// never replayed.
    unheard: u64,
    told: Instant,
    /// Whether it was dialled ahead.
    ahead: bool,
    /// While it serves and is polled.
    listening: Option<Listening>,
}

impl Life {
    /// It was dialled ahead, and nothing came on it since.
    const fn is_untried(&self) -> bool {
        self.ahead && self.replayed == 0
    }

    /// While nothing is read, silence says nothing of Discord.
    fn listens(&mut self, polled: bool, hearing: &Hearing, shard: ShardId) {
        if !polled || self.stage != Stage::Serving {
            self.listening = None;
        } else if self.listening.is_none() {
            self.listening = Some(hearing.listen(shard));
        }
    }
}

/// Progress of a replay is told at most so often.
const TELL_EVERY: Duration = Duration::from_millis(250);

impl Shard {
    pub(super) async fn connection(&mut self, redial: &mut Redial) -> Ended {
        let timings = self.context.config.timings.clone();
        let mut life = Life {
            stage: Stage::Dialling,
            deadline: Some(Instant::now() + timings.hello),
            full_since: None,
            replay_until: Instant::now(),
            replayed: 0,
            unheard: 0,
            told: Instant::now(),
            ahead: false,
            listening: None,
        };
        let mut gateway = if let Some(gateway) = self.take_ahead() {
            life.ahead = true;
            self.helloed(&mut life);
            gateway
        } else {
            self.context.counters.dials.add();
            self.progress(Step::Dialling, 0);
            self.dial(redial)
        };
        loop {
            let full = self.window.running() >= self.context.config.window;
            if !full && life.full_since.is_some() && life.deadline.is_some() {
                // While nothing was read, nothing could come.
                life.deadline = Some(Instant::now() + timings.hello);
            }
            life.listens(!full, &self.context.hearing, self.id);
            let before = life.full_since.take();
            life.full_since = full
                .then(|| before.unwrap_or_else(|| (Instant::now(), self.context.fullness.begin())));
            let due = match &life.full_since {
                Some((since, _)) => Some(*since + timings.crowded),
                None => life.deadline,
            };
            let polled = if full { None } else { Some(&mut gateway) };
            match self.input(polled, true, due).await {
                Input::Gateway(Incoming::Ended(end)) => {
                    let ended = self.ended(end);
                    let is_stale = life.is_untried() && matches!(ended, Ended::Lost(_));
                    return if is_stale { Ended::Stale } else { ended };
                }
                Input::Gateway(incoming) => {
                    if let Some(listening) = &mut life.listening {
                        listening.hears(|| gateway.round_trip());
                    }
                    if let Some(ended) = self.incoming(incoming, &mut life, redial) {
                        if matches!(ended, Ended::StateLost) {
                            gateway.close().await;
                        }
                        return ended;
                    }
                }
                Input::Permit => {
                    if self.permits.grant() {
                        life.deadline = Some(Instant::now() + timings.ready);
                    }
                }
                Input::Turn(Turn::SealLate { epoch, drain })
                    if epoch == self.epoch && life.stage == Stage::Serving =>
                {
                    self.late = Some(drain);
                    self.say(Said::SealsLate);
                }
                Input::Turn(turn) => {
                    if self.ends_connection(&turn) {
                        gateway.close().await;
                        return Ended::Turn(turn);
                    }
                }
                Input::Due if full => {
                    gateway.close().await;
                    return Ended::Crowded;
                }
                Input::Due if life.is_untried() => {
                    gateway.close().await;
                    return Ended::Stale;
                }
                Input::Due => {
                    gateway.close().await;
                    if life.replayed > 0 && Instant::now() >= life.replay_until {
                        redial.advanced();
                    }
                    return Ended::Lost(End::Closed {
                        code: 1006,
                        reason: format!("nothing came while {:?}", life.stage),
                    });
                }
                Input::Finished | Input::Read(_) => {}
            }
        }
    }

    fn dial(&self, redial: &Redial) -> Gateway {
        let count = self.context.shard_count();
        // Everything received is in this process, finished or not: a reconnect
        // resumes behind it, so that a server which trims its replay by our
        // heartbeats has what is asked for.
        let session = self
            .session
            .as_ref()
            .map(|session| (session, self.window.received()));
        self.context
            .connector
            .dial(self.id, count, &self.permits, session, redial.url())
    }

    /// Whether an order ends the connection; the same conditions as in
    /// [`Shard::turn`](super::run).
    fn ends_connection(&self, turn: &Turn) -> bool {
        match turn {
            Turn::Seal { epoch, .. } | Turn::SealLate { epoch, .. } => *epoch == self.epoch,
            Turn::Forget { epoch } | Turn::Start { epoch } | Turn::Resume { epoch, .. } => {
                *epoch > self.epoch
            }
            Turn::Leave => true,
        }
    }

    fn incoming(
        &mut self,
        incoming: Incoming,
        life: &mut Life,
        redial: &mut Redial,
    ) -> Option<Ended> {
        let timings = &self.context.config.timings;
        if life.stage == Stage::Replaying {
            let progress = Instant::now() + timings.progress;
            life.deadline = Some(progress.min(life.replay_until));
        }
        match incoming {
            Incoming::Hello if self.session.is_some() => {
                self.helloed(life);
                if cfg!(mutant = "resumed-at-hello") {
                    self.resumed(life, redial);
                }
            }
            Incoming::Hello => {
                life.stage = Stage::Waiting;
                life.deadline = None;
                self.progress(Step::Waiting, 0);
                self.say(Said::Identify(self.cause));
            }
            Incoming::Alive => {}
            Incoming::Dispatch {
                sequence,
                kind,
                json,
            } => match &*kind {
                "READY" => return self.ready(sequence, &kind, json, life, redial),
                "RESUMED" => {
                    if let Some(ended) = self.prove_by_resumed() {
                        return Some(ended);
                    }
                    self.swallow(sequence);
                    self.resumed(life, redial);
                }
                _ => return self.dispatch(sequence, &kind, json, life),
            },
            Incoming::Ended(end) => return Some(self.ended(end)),
        }
        None
    }

    /// The next poll sends RESUME.
    fn helloed(&mut self, life: &mut Life) {
        let timings = &self.context.config.timings;
        life.unheard = self.unheard;
        self.unheard += 1;
        life.stage = Stage::Replaying;
        life.deadline = Some(Instant::now() + timings.progress);
        life.replay_until = Instant::now() + timings.replay;
        self.progress(Step::Hello, 0);
    }

    fn dispatch(
        &mut self,
        sequence: Sequence,
        kind: &str,
        json: String,
        life: &mut Life,
    ) -> Option<Ended> {
        if life.stage == Stage::Replaying {
            if let Some(ended) = self.prove_by(sequence, life.replayed == 0) {
                return Some(ended);
            }
            self.replaying(sequence, life);
        }
        self.deliver(sequence, kind, json);
        None
    }

    fn replaying(&mut self, sequence: Sequence, life: &mut Life) {
        let due = self.window.received().get() + 1;
        if life.replayed == 0 && sequence.get() > due + life.unheard {
            self.context.counters.holes.add();
            tracing::warn!(shard = %self.id, due, came = %sequence, "the replay begins late: events may be missing");
        }
        life.replayed += 1;
        if life.replayed == 1 || life.told.elapsed() >= TELL_EVERY {
            life.told = Instant::now();
            self.progress(Step::Replaying, life.replayed);
        }
    }

    /// A new session. Where RESUMED was due it means that the old one is lost;
    /// this one is there all the same and costs no IDENTIFY.
    fn ready(
        &mut self,
        sequence: Sequence,
        kind: &str,
        json: String,
        life: &mut Life,
        redial: &mut Redial,
    ) -> Option<Ended> {
        let count = self.context.shard_count();
        let parameters = self.context.config.parameters(count);
        let Some(session) = Session::of_ready(&json, parameters) else {
            return Some(Ended::Lost(End::Garbled(
                "a READY without session, resume URL, user or application".to_owned(),
            )));
        };
        if self.session.is_some() {
            self.context.counters.sessions_lost.add();
            tracing::error!(shard = %self.id, epoch = %self.epoch, "READY where RESUMED was due: events are lost");
            self.progress(Step::SessionLost, 0);
        }
        self.without_session();
        if self.context.bot.keeps_state() {
            self.guarded(|bot, shard| bot.drop_shard_state(shard));
        }
        self.handle.serves(self.epoch, &session);
        self.session = Some(session);
        self.tell_state(State::Complete);
        self.say(Said::Session(Box::new(self.ticket())));
        self.deliver(sequence, kind, json);
        life.stage = Stage::Serving;
        life.deadline = None;
        redial.serving();
        self.ordered = false;
        tracing::info!(shard = %self.id, epoch = %self.epoch, "READY");
        self.say(Said::Serving {
            resumed: false,
            replayed: 0,
        });
        None
    }

    fn resumed(&mut self, life: &mut Life, redial: &mut Redial) {
        life.stage = Stage::Serving;
        life.deadline = None;
        redial.serving();
        self.after_death = false;
        self.unheard = 0;
        tracing::info!(shard = %self.id, epoch = %self.epoch, replayed = life.replayed, "RESUMED");
        self.say(Said::Session(Box::new(self.ticket())));
        let resumed = std::mem::take(&mut self.ordered);
        self.say(Said::Serving {
            resumed,
            replayed: life.replayed,
        });
    }

    /// What the end of a connection means for the session.
    fn ended(&self, end: End) -> Ended {
        let has_session = self.session.is_some();
        match end {
            End::InvalidSession { resumable: false } if has_session => {
                Ended::SessionLost("op 9, d: false".to_owned())
            }
            End::Closed { code, reason } => match code {
                4004 | 4010..=4014 => Ended::Fatal { code, reason },
                4007 | 4009 if has_session => Ended::SessionLost(format!("close {code}: {reason}")),
                _ => Ended::Lost(End::Closed { code, reason }),
            },
            End::InvalidSession { .. } | End::Reconnect | End::Dial(_) | End::Garbled(_) => {
                Ended::Lost(end)
            }
        }
    }
}
