//! What comes over a connection, step by step: HELLO, a replay or READY, RESUMED,
//! dispatches, its end.

use baton_protocol::{
    Sequence,
    message::{IdentifyCause, Step},
};
use tokio::time::{Duration, Instant};

use super::{
    Ended,
    life::{Life, Stage, TELL_WAITING},
};
use crate::{
    bot::StateStatus,
    shard::{
        Said, Shard,
        backoff::{Redial, Wait},
        gateway::{End, Incoming},
    },
};

/// Progress of a replay is reported at most so often.
const TELL_EVERY: Duration = Duration::from_millis(250);

impl Shard {
    pub(super) fn incoming(
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
            Incoming::Hello if self.current.is_some() => {
                self.helloed(life, redial);
                if mutant!("resumed-at-hello") {
                    self.resumed(life, redial);
                }
            }
            Incoming::Hello => {
                life.stage = Stage::Waiting;
                life.deadline = None;
                life.tell_at = None;
                self.progress(Step::Waiting, 0);
                self.say(Said::Identify(self.current.cause()));
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
                        && !mutant!("ticket-never-disproved")
                        && self.events.disprove(sequence)
                    {
                        tracing::error!(
                            %sequence,
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
    pub(super) fn helloed(&mut self, life: &mut Life, redial: &Redial) {
        let timings = &self.context.config.timings;
        let now = Instant::now();
        life.stage = Stage::Replaying;
        life.from = self.events.window().received();
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
    /// this one is already there and costs no IDENTIFY.
    fn ready(
        &mut self,
        sequence: Sequence,
        kind: &str,
        json: String,
        life: &mut Life,
        redial: &mut Redial,
    ) -> Option<Ended> {
        let Some(session) = self.of_ready(&json) else {
            return Some(Ended::Lost(End::Garbled(
                "a READY without session, resume URL, user or application".to_owned(),
            )));
        };
        if self.current.is_some() {
            self.context.counters.sessions_lost.add();
            tracing::error!("READY where RESUMED was due: events are lost");
            self.progress(Step::SessionLost, 0);
        }
        self.without_session(IdentifyCause::SessionLost);
        self.with_state(|state, shard| state.drop_shard(shard));
        self.handle.serves(self.epoch, &session, "");
        self.current.begins(session);
        self.tell_state(StateStatus::Complete);
        self.say(Said::Session(Box::new(self.ticket())));
        self.deliver(sequence, kind, json);
        let timings = &self.context.config.timings;
        redial.came(Wait::Ready, life.asked.elapsed(), timings);
        life.serves();
        redial.serving();
        // READY answers no order to resume.
        self.plans.serves();
        tracing::info!("READY");
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
        self.current.is_replayed();
        self.give_up_unreplayed();
        self.trials.replayed();
        tracing::info!(replayed = life.replayed, "RESUMED");
        self.say(Said::Session(Box::new(self.ticket())));
        let resumed = self.plans.serves();
        self.say(Said::Serving {
            resumed,
            replayed: life.replayed,
        });
    }

    /// What the end of a connection means for the session.
    pub(super) fn ended(&self, end: End) -> Ended {
        let has_session = self.current.is_some();
        match end {
            End::InvalidSession { resumable: false } if has_session => {
                Ended::SessionLost("op 9, d: false".to_owned())
            }
            End::Closed { code, reason } => match code {
                4004 | 4010..=4014 => Ended::Fatal { code, reason },
                4007 | 4009 if has_session => Ended::SessionLost(format!("close {code}: {reason}")),
                _ => Ended::Lost(End::Closed { code, reason }),
            },
            End::InvalidSession { .. }
            | End::Reconnect
            | End::Dial(_)
            | End::Refused(_)
            | End::Garbled(_) => Ended::Lost(end),
        }
    }
}
