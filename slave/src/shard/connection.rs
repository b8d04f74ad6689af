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

use baton_protocol::{Sequence, ShardId, message::Step};
use tokio::time::{Duration, Instant};

use super::{
    Said, Shard,
    backoff::{Redial, Wait},
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
    /// When what is waited for was asked for, or when something came last.
    asked: Instant,
    /// When the stage is given up.
    deadline: Option<Instant>,
    /// When it is said next that it is waited for.
    tell_at: Option<Instant>,
    /// Since when the window is full.
    full_since: Option<(Instant, Full)>,
    /// When a replay is given up, however far it is.
    replay_until: Instant,
    replayed: u64,
    /// Since when RESUMED is waited for.
    resumes_since: Instant,
    /// Behind what it resumes.
    from: Sequence,
    told: Instant,
    /// Whether it was dialled ahead.
    ahead: bool,
    /// Whether it resumed before its ticket was made.
    overtook: bool,
    /// While it serves and is polled.
    listening: Option<Listening>,
}

impl Life {
    fn new(limit: Duration) -> Self {
        let now = Instant::now();
        Self {
            stage: Stage::Dialling,
            asked: now,
            deadline: Some(now + limit),
            tell_at: Some(now + TELL_WAITING),
            full_since: None,
            replay_until: now,
            replayed: 0,
            resumes_since: now,
            from: Sequence(0),
            told: now,
            ahead: false,
            overtook: false,
            listening: None,
        }
    }

    /// What passed when its deadline did.
    fn passed(&self) -> Option<Wait> {
        match self.stage {
            Stage::Dialling => Some(Wait::Hello),
            Stage::Replaying if Instant::now() >= self.replay_until => Some(Wait::Resumed),
            Stage::Replaying => Some(Wait::Progress),
            Stage::Waiting => Some(Wait::Ready),
            Stage::Serving => None,
        }
    }

    /// It was dialled ahead, and nothing came on it since.
    const fn is_untried(&self) -> bool {
        self.ahead && self.replayed == 0
    }

    fn serves(&mut self) {
        self.stage = Stage::Serving;
        self.deadline = None;
        self.tell_at = None;
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

/// The master is told so often that an answer is waited for, on a connection that is
/// open: limits that have grown are longer than its own.
const TELL_WAITING: Duration = Duration::from_secs(1);

impl Shard {
    pub(super) async fn connection(&mut self, redial: &mut Redial) -> Ended {
        let timings = &self.context.config.timings;
        let mut life = Life::new(redial.limit(Wait::Hello, timings));
        let ended = self.live(&mut life, redial).await;
        redial.reached_hello(life.stage != Stage::Dialling);
        if matches!(ended, Ended::Lost(_)) && life.stage == Stage::Replaying {
            if self.window.received() > life.from {
                redial.advanced();
            } else {
                redial.refused();
            }
        }
        ended
    }

    async fn live(&mut self, life: &mut Life, redial: &mut Redial) -> Ended {
        let timings = self.context.config.timings.clone();
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
                None => life.deadline.into_iter().chain(life.tell_at).min(),
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
                Input::Gateway(incoming) => {
                    self.named = self.named.max(gateway.named());
                    if let Some(listening) = &mut life.listening {
                        listening.hears(|| gateway.round_trip());
                    }
                    if let Some(ended) = self.incoming(incoming, life, redial) {
                        return ended;
                    }
                }
                Input::Permit => {
                    if self.permits.grant() {
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
                Input::Turn(Turn::SealLate { epoch, drain, .. })
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
                Input::Finished | Input::Read(_) => {}
            }
        }
    }

    /// Says where the connection is, if that is any progress: dialling again and again
    /// is none.
    fn waits(&self, step: Step, redial: &Redial) {
        if self.session.is_none() || !redial.gets_nowhere(&self.context.config.timings) {
            self.progress(step, 0);
        }
    }

    /// Whether a heartbeat named more than where the next owner would begin, and that
    /// one would begin further on if the state was copied once more.
    fn is_overtaken(&mut self, begins: Sequence, named: Sequence) -> bool {
        self.named = self.named.max(named);
        self.finish_all_reported();
        self.named > begins && self.window.handled() > begins && !cfg!(mutant = "overtaken-sealed")
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
        let now = Instant::now();
        match life.stage {
            Stage::Dialling => redial.came(Wait::Hello, now - life.asked, timings),
            Stage::Replaying => {
                redial.came(Wait::Progress, now - life.asked, timings);
                life.asked = now;
                let progress = now + redial.limit(Wait::Progress, timings);
                life.deadline = Some(progress.min(life.replay_until));
            }
            Stage::Waiting | Stage::Serving => {}
        }
        match incoming {
            Incoming::Hello if self.session.is_some() => {
                self.helloed(life, redial);
                if cfg!(mutant = "resumed-at-hello") {
                    self.resumed(life, redial);
                }
            }
            Incoming::Hello => {
                life.stage = Stage::Waiting;
                life.deadline = None;
                life.tell_at = None;
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
                    self.resume_accepted(None);
                    // What is in the ticket may have come behind a RESUMED that was early.
                    if !life.overtook
                        && !cfg!(mutant = "ticket-never-disproved")
                        && self.window.disprove(sequence)
                    {
                        tracing::error!(
                            shard = %self.id, epoch = %self.epoch, %sequence,
                            "the ticket said more than Discord ever sent: it is not believed; events before may be missing"
                        );
                    }
                    self.swallow(sequence);
                    self.resumed(life, redial);
                }
                _ => self.dispatch(sequence, &kind, json, life),
            },
            Incoming::Ended(end) => return Some(self.ended(end)),
        }
        None
    }

    /// The next poll sends RESUME.
    fn helloed(&mut self, life: &mut Life, redial: &Redial) {
        let timings = &self.context.config.timings;
        let now = Instant::now();
        life.stage = Stage::Replaying;
        life.from = self.window.received();
        (life.asked, life.resumes_since) = (now, now);
        life.deadline = Some(now + redial.limit(Wait::Progress, timings));
        life.replay_until = now + redial.limit(Wait::Resumed, timings);
        life.tell_at = Some(now + TELL_WAITING);
        self.waits(Step::Hello, redial);
    }

    fn dispatch(&mut self, sequence: Sequence, kind: &str, json: String, life: &mut Life) {
        if life.stage == Stage::Replaying {
            self.resume_accepted(Some(sequence));
            self.replaying(life);
        }
        self.deliver(sequence, kind, json);
    }

    fn replaying(&self, life: &mut Life) {
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
        let timings = &self.context.config.timings;
        redial.came(Wait::Ready, life.asked.elapsed(), timings);
        life.serves();
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
        let timings = &self.context.config.timings;
        redial.came(Wait::Resumed, life.resumes_since.elapsed(), timings);
        life.serves();
        redial.serving();
        self.after_death = false;
        self.give_up_unreplayed();
        self.trials.replayed();
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

/// Whether a connection that was dialled ahead, and on which nothing came, was simply
/// dead. Op 9 is Discord's word, and has its pause.
fn is_stale(ended: &Ended) -> bool {
    match ended {
        Ended::Lost(End::InvalidSession { .. }) => cfg!(mutant = "op-9-answered-at-once"),
        Ended::Lost(_) => true,
        Ended::Turn(_)
        | Ended::Stale
        | Ended::SessionLost(_)
        | Ended::Fatal { .. }
        | Ended::Crowded => false,
    }
}
