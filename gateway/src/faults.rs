//! Faults by name: what can go wrong, when it does, and for whom.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{sync::Notify, time::Instant};

use crate::error::Error;

/// Faults that can wait at a time.
const MAX_ARMED: usize = 10_000;

macro_rules! faults {
    ($($(#[doc = $help:literal])+ $variant:ident = $name:literal at $when:ident,)*) => {
        /// The faults the gateway can carry out.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum FaultName {
            $($(#[doc = $help])+ #[serde(rename = $name)] $variant,)*
        }

        impl FaultName {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in requests.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// One sentence about it.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => concat!($($help),+),)* }
            }

            /// When it happens unless the request says otherwise.
            pub const fn usual(self) -> When {
                match self { $(Self::$variant => When::$when,)* }
            }
        }
    };
}

faults! {
    /// Op 7, reconnect; the connection goes on being served.
    Op7 = "op7" at Now,
    /// Op 7 in place of HELLO.
    Op7BeforeHello = "op7_before_hello" at Connect,
    /// Op 9 `d:true`; the session stays resumable.
    Op9True = "op9_true" at Now,
    /// Op 9 `d:false`; the session ends.
    Op9False = "op9_false" at Now,
    /// A close frame with `code`; 4004, 4007, 4009 to 4014 end the session.
    Close = "close" at Now,
    /// A close frame with `code` in answer to a RESUME.
    CloseOnResume = "close_on_resume" at Resume,
    /// TCP RST.
    Reset = "reset" at Now,
    /// Half open: no more bytes either way, and no FIN, ever.
    Drop = "drop" at Now,
    /// The websocket opens and HELLO does not come.
    NoHello = "no_hello" at Connect,
    /// The replay comes; RESUMED has its sequence, and is lost on its way.
    NoResumed = "no_resumed" at Resume,
    /// No more heartbeat ACKs on the connection, for `duration_ms` (0 = for ever).
    NoAck = "no_ack" at Now,
    /// For `duration_ms`, TCP is accepted and closed at once.
    AcceptAndClose = "accept_and_close" at Now,
    /// For `duration_ms`, nothing listens on the port.
    RefuseConnect = "refuse_connect" at Now,
    /// A binary message that is not of the compressed stream.
    BadZstd = "bad_zstd" at Now,
    /// A payload that ends in the middle.
    BadJson = "bad_json" at Now,
    /// A payload with op 99.
    UnknownOp = "unknown_op" at Now,
    /// A payload of 16 MiB.
    HugeFrame = "huge_frame" at Now,
    /// `events` dispatches at once.
    Flood = "flood" at Now,
    /// The sessions of the shard can no longer be resumed.
    ExpireSession = "expire_session" at Now,
    /// The replay buffers of the shard are emptied of what was sent.
    Trim = "trim" at Now,
    /// The connection neither reads nor sends for `duration_ms`.
    Stall = "stall" at Now,
    /// For `duration_ms`, the resume URL gives RSTs; the plain URL works.
    ResumeUrlDead = "resume_url_dead" at Now,
    /// The events of a replay come one by one, `duration_ms` apart.
    SlowReplay = "slow_replay" at Resume,
}

/// The moment at which a fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// At once, on the connections there are.
    Now,
    /// When the next websocket opens. With `shard`, only on its resume URL: the
    /// shard of other connections is not known yet.
    Connect,
    /// In answer to the next IDENTIFY.
    Identify,
    /// In answer to the next RESUME.
    Resume,
}

/// A fault to carry out. The text form is that of `POST /faults`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Which one.
    pub name: FaultName,
    /// For which shard; `None` for all.
    #[serde(default)]
    pub shard: Option<u32>,
    /// When; `None` for the usual moment of its name.
    #[serde(default)]
    pub when: Option<When>,
    /// Occasions to let pass before the first; not for [`When::Now`].
    #[serde(default)]
    pub after: u32,
    /// How many times; not for [`When::Now`].
    #[serde(default = "one")]
    pub count: u32,
    /// How much later than its moment it happens, in milliseconds.
    #[serde(default)]
    pub delay_ms: u64,
    /// The close code, 1000 or 4000 to 4999.
    #[serde(default = "unknown_error")]
    pub code: u16,
    /// Events of a flood, up to 1,000,000.
    #[serde(default = "thousand_events")]
    pub events: u32,
    /// How long, in milliseconds, for the faults that last.
    #[serde(default = "second")]
    pub duration_ms: u64,
}

const fn one() -> u32 {
    1
}
const fn unknown_error() -> u16 {
    4000
}
const fn thousand_events() -> u32 {
    1000
}
const fn second() -> u64 {
    1000
}

impl Fault {
    /// The fault with this name at its usual moment, once, for all shards.
    pub const fn new(name: FaultName) -> Self {
        Self {
            name,
            shard: None,
            when: None,
            after: 0,
            count: 1,
            delay_ms: 0,
            code: 4000,
            events: 1000,
            duration_ms: 1000,
        }
    }

    /// The same for one shard only.
    #[must_use]
    pub const fn on_shard(mut self, shard: u32) -> Self {
        self.shard = Some(shard);
        self
    }

    /// The same at another moment.
    #[must_use]
    pub const fn at(mut self, when: When) -> Self {
        self.when = Some(when);
        self
    }

    /// The same with this close code.
    #[must_use]
    pub const fn with_code(mut self, code: u16) -> Self {
        self.code = code;
        self
    }

    /// The same, this many times.
    #[must_use]
    pub const fn times(mut self, count: u32) -> Self {
        self.count = count;
        self
    }

    /// The same, lasting this long; below a millisecond is lost.
    #[must_use]
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// When it happens.
    pub fn moment(&self) -> When {
        self.when.unwrap_or(self.name.usual())
    }

    pub(crate) const fn duration(&self) -> Duration {
        Duration::from_millis(self.duration_ms)
    }

    /// Checks the limits written at the fields.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        if self.code != 1000 && self.code != 1001 && !(4000..5000).contains(&self.code) {
            return Err(Error::invalid(format!(
                "code is {}: give 1000, 1001 or 4000 to 4999",
                self.code
            )));
        }
        if self.events > 1_000_000 {
            return Err(Error::invalid("events is above 1000000: give at most that"));
        }
        let day = 86_400_000;
        if self.duration_ms > day || self.delay_ms > day {
            return Err(Error::invalid("duration_ms and delay_ms are at most a day"));
        }
        let only_at_resume = matches!(
            self.name,
            FaultName::NoResumed | FaultName::SlowReplay | FaultName::CloseOnResume
        );
        if only_at_resume && self.moment() != When::Resume {
            return Err(Error::invalid(format!(
                "{} is only for `resume`",
                self.name.name()
            )));
        }
        let only_at_connect = matches!(self.name, FaultName::Op7BeforeHello | FaultName::NoHello);
        if only_at_connect && self.moment() != When::Connect {
            return Err(Error::invalid(format!(
                "{} is only for `connect`",
                self.name.name()
            )));
        }
        let lasting = matches!(
            self.name,
            FaultName::AcceptAndClose | FaultName::RefuseConnect | FaultName::ResumeUrlDead
        );
        if lasting && self.moment() != When::Now {
            return Err(Error::invalid(format!(
                "{} is only for `now`",
                self.name.name()
            )));
        }
        Ok(())
    }
}

/// What the listener does with an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtAccept {
    Serve,
    Close,
}

/// Faults that wait for their moment, and faults that last.
#[derive(Debug, Default)]
pub(crate) struct Book {
    state: Mutex<State>,
    refusing: Notify,
}

#[derive(Debug, Default)]
struct State {
    armed: Vec<Fault>,
    closing_until: Option<Instant>,
    refusing_until: Option<Instant>,
    resume_url_dead: Option<(Instant, Option<u32>)>,
}

impl Book {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a fault wait for its moment.
    pub(crate) fn arm(&self, fault: Fault) -> Result<(), Error> {
        let mut state = self.lock();
        if state.armed.len() >= MAX_ARMED {
            return Err(Error::invalid(
                "too many faults are waiting: clear them first",
            ));
        }
        state.armed.push(fault);
        Ok(())
    }

    /// Takes the faults whose moment has come.
    pub(crate) fn take(&self, when: When, shard: Option<u32>) -> Vec<Fault> {
        let mut due = Vec::new();
        self.lock().armed.retain_mut(|fault| {
            let mine = fault.shard.is_none() || fault.shard == shard;
            if fault.moment() != when || !mine {
                return true;
            }
            if fault.after > 0 {
                fault.after -= 1;
                return true;
            }
            due.push(fault.clone());
            fault.count = fault.count.saturating_sub(1);
            fault.count > 0
        });
        due
    }

    /// The faults that still wait.
    pub(crate) fn armed(&self) -> Vec<Fault> {
        self.lock().armed.clone()
    }

    /// Ends everything that waits or lasts.
    pub(crate) fn clear(&self) {
        *self.lock() = State::default();
    }

    pub(crate) fn close_at_accept(&self, duration: Duration) {
        self.lock().closing_until = Some(Instant::now() + duration);
    }

    pub(crate) fn refuse_connect(&self, duration: Duration) {
        self.lock().refusing_until = Some(Instant::now() + duration);
        self.refusing.notify_one();
    }

    pub(crate) fn kill_resume_url(&self, duration: Duration, shard: Option<u32>) {
        self.lock().resume_url_dead = Some((Instant::now() + duration, shard));
    }

    pub(crate) fn at_accept(&self) -> AtAccept {
        match self.lock().closing_until {
            Some(until) if Instant::now() < until => AtAccept::Close,
            Some(_) | None => AtAccept::Serve,
        }
    }

    /// Completes when the listener is to stop listening.
    pub(crate) async fn until_refusing(&self) {
        while self.refusing_for().is_zero() {
            self.refusing.notified().await;
        }
    }

    /// For how long the listener is not to listen.
    pub(crate) fn refusing_for(&self) -> Duration {
        self.lock().refusing_until.map_or(Duration::ZERO, |until| {
            until.saturating_duration_since(Instant::now())
        })
    }

    /// `resume_shard` is the shard in the URL, `None` for the plain URL.
    pub(crate) fn resume_url_is_dead(&self, resume_shard: Option<u32>) -> bool {
        let Some(shard) = resume_shard else {
            return false;
        };
        self.lock().resume_url_dead.is_some_and(|(until, dead)| {
            Instant::now() < until && dead.is_none_or(|dead| dead == shard)
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Book, Fault, FaultName, When};

    #[test]
    fn a_fault_waits_for_its_moment_and_its_shard_and_lets_occasions_pass() {
        let book = Book::default();
        let mut fault = Fault::new(FaultName::NoResumed).on_shard(3).times(2);
        fault.after = 1;
        book.arm(fault).unwrap();
        assert!(book.take(When::Connect, Some(3)).is_empty());
        assert!(book.take(When::Resume, Some(4)).is_empty());
        assert!(book.take(When::Resume, Some(3)).is_empty(), "let one pass");
        assert_eq!(book.take(When::Resume, Some(3)).len(), 1);
        assert_eq!(book.take(When::Resume, Some(3)).len(), 1);
        assert!(book.armed().is_empty());
    }

    #[test]
    fn a_request_needs_only_a_name() {
        let fault: Fault = serde_json::from_str(r#"{"name":"op9_false"}"#).unwrap();
        assert_eq!(fault, Fault::new(FaultName::Op9False));
        assert!(serde_json::from_str::<Fault>(r#"{"name":"op9_false","cuont":2}"#).is_err());
    }

    #[test]
    fn a_fault_at_a_moment_that_makes_no_sense_is_refused() {
        assert!(
            Fault::new(FaultName::NoHello)
                .at(When::Now)
                .validate()
                .is_err()
        );
        assert!(
            Fault::new(FaultName::Close)
                .with_code(3)
                .validate()
                .is_err()
        );
        assert!(
            Fault::new(FaultName::Op7)
                .at(When::Resume)
                .validate()
                .is_ok()
        );
    }
}
