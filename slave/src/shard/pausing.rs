//! What a shard waits for between two connections.

use baton_protocol::message::Step;
use tokio::time::{Duration, Instant};

use super::{
    Shard,
    backoff::{Redial, random},
    connection::TELL_WAITING,
    gateway::Paused,
    phase::{Input, Phase},
    plans::Rest,
};
use crate::telemetry::Why;

/// Dials of many shards to a host that asked to be left alone are spread over a quarter of
/// its pause, or of this.
const MOST_SPREAD: Duration = Duration::from_secs(40);

impl Shard {
    /// Waits between connections. `Some`: the phase ended.
    ///
    /// A pause that Discord asks for is no standstill: the master hears that it is kept to.
    pub(super) async fn wait(&mut self, pause: Duration, redial: &mut Redial) -> Option<Phase> {
        let mut rest = self.plans.rest_before_dial(Instant::now() + pause);
        loop {
            if let Some(phase) = self.rest(rest, redial).await {
                return Some(phase);
            }
            let paused = self.left_alone(redial)?;
            self.refused(paused.why);
            // Not all shards at once.
            let spread = (paused.until - Instant::now()).min(MOST_SPREAD) / 4;
            rest = Rest {
                until: paused.until + spread.mul_f64(random()),
                by_discord: true,
            };
        }
    }

    /// The host of the next dial asked to be left alone, and so did that of the other
    /// address, if there is one.
    fn left_alone(&self, redial: &mut Redial) -> Option<Paused> {
        if self.ahead.is_connected() || mutant!("refusals-ignored") {
            return None;
        }
        let (connector, session) = (&self.context.connector, self.current.session());
        let here = connector.paused(session, redial.url())?;
        let Some(there) = connector.paused(session, redial.url().other()) else {
            redial.goes_elsewhere();
            return None;
        };
        Some(if here.until <= there.until {
            here
        } else {
            redial.goes_elsewhere();
            there
        })
    }

    /// Waits so long. `Some`: the phase ended.
    pub(super) async fn rest(&mut self, rest: Rest, redial: &Redial) -> Option<Phase> {
        let Rest { until, by_discord } = rest;
        let mut tell_at = Instant::now() + TELL_WAITING;
        while Instant::now() < until {
            let due = if by_discord {
                until.min(tell_at)
            } else {
                until
            };
            if let Input::Turn(turn) = self.input(None, true, Some(due)).await
                && let Some(phase) = self.turn(turn)
            {
                return Some(phase);
            }
            if by_discord && Instant::now() >= tell_at && !mutant!("pause-untold") {
                tell_at = Instant::now() + TELL_WAITING;
                self.waits(Step::Dialling, redial);
            }
        }
        None
    }

    /// Discord keeps what comes meanwhile: the shard takes nothing, as before its connection
    /// was closed. Whether a store has room, only the next event shows.
    ///
    /// Discord forgets a session that nobody resumes: where it takes longer, the shard dials,
    /// resumes, and takes nothing again.
    pub(super) async fn drain(&mut self, why: Why) -> Option<Phase> {
        match why {
            Why::Window => {
                tracing::warn!("no room for more events until some are finished: reconnecting");
            }
            Why::Bot => tracing::warn!("the bot has no room for more events: reconnecting"),
            Why::Store => return None,
        }
        self.context.counters.crowded.add();
        let _full = (!mutant!("drain-unseen")).then(|| self.context.fullness.begin(why));
        let half = self.context.config.window / 2;
        let keep = self.context.config.timings.keep;
        let until = self.current.is_some().then(|| Instant::now() + keep);
        while self.events.window().running() > half || self.handle.is_held() {
            match self.input(None, true, until).await {
                Input::Turn(turn) => {
                    if let Some(phase) = self.turn(turn) {
                        return Some(phase);
                    }
                }
                Input::Due => return None,
                Input::Gateway(_)
                | Input::Permit
                | Input::Finished
                | Input::Read(_)
                | Input::Claimed(_) => {}
            }
        }
        None
    }
}
