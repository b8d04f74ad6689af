//! Where a master stands among those that share a store: it leads, or it stands by.
//!
//! What dials a master that stands by is refused with the name of the one that leads, and
//! dials the next address of its list. Who dialled is counted: a leader that reaches fewer
//! slaves than a standby master does yields (`lead`).

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use baton_protocol::{
    ProcessIdentity, SlaveId,
    message::{Refused, RefusedReason},
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::{clock::millis, notice::Notice};

/// A slave dials a master that refuses it about once a second: one that did not for so long is
/// not reached.
const REACHED: Duration = Duration::from_secs(6);

/// A leader that may not lead any more lets slaves look elsewhere for so long.
const UNSURE: Duration = Duration::from_secs(3);

/// Slaves that are counted.
const MOST: usize = 1024;

/// A master, as others name it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Named {
    /// This run of it; empty: it stepped down.
    pub id: String,
    /// Its host.
    pub host: String,
    /// Where slaves dial it.
    pub listen: String,
    /// Its process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessIdentity>,
    /// How many slaves it reaches.
    pub reaches: usize,
    /// Where it stepped down: which host is to lead now; empty: whichever is first.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub yields_to: String,
}

/// What is known of the store and of the other masters.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Standing {
    /// Whether this one leads.
    pub leads: bool,
    /// This master's own name among them.
    pub host: String,
    /// Where the store is.
    pub store: String,
    /// How long the store does not answer, in milliseconds; absent: it answers.
    pub store_away_ms: Option<u64>,
    /// Why this one cannot lead, if that is so.
    pub trouble: Option<String>,
    /// Who leads; absent: nobody, or it is not known.
    pub leader: Option<Named>,
    /// Who else would lead.
    pub standbys: Vec<Named>,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Post {
    held: Mutex<Held>,
    /// The driver's, once there is one.
    notices: OnceLock<mpsc::Sender<Notice>>,
}

#[derive(Debug)]
struct Held {
    standing: Standing,
    away: Option<Instant>,
    heard: BTreeMap<SlaveId, Instant>,
    /// It was asked to step down.
    steps_down: bool,
    /// When it let its slaves go last.
    let_go: Option<Instant>,
}

impl Post {
    /// Of a master that stands by.
    #[must_use]
    pub fn new(host: &str, store: &str) -> Self {
        let standing = Standing {
            host: host.to_owned(),
            store: store.to_owned(),
            ..Standing::default()
        };
        Self {
            held: Mutex::new(Held {
                standing,
                away: None,
                heard: BTreeMap::new(),
                steps_down: false,
                let_go: None,
            }),
            notices: OnceLock::new(),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it stands now.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let held = self.held();
        let away = held.away.map(|since| millis(since.elapsed()));
        Standing {
            store_away_ms: away,
            ..held.standing.clone()
        }
    }

    /// How long the store does not answer.
    #[must_use]
    pub fn away(&self) -> Option<Duration> {
        self.held().away.map(|since| since.elapsed())
    }

    /// Changes what is known.
    pub(crate) fn note(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.held().standing);
    }

    /// Since when the store does not answer.
    pub(crate) fn store_away(&self, since: Option<Instant>) {
        self.held().away = since;
    }

    /// A slave dialled.
    pub(crate) fn heard(&self, slave: SlaveId) {
        let mut held = self.held();
        let now = Instant::now();
        held.heard.retain(|_, at| now.duration_since(*at) < REACHED);
        if held.heard.len() < MOST {
            held.heard.insert(slave, now);
        }
    }

    /// How many of these slaves dialled lately.
    #[must_use]
    pub fn reaches(&self, is_known: impl Fn(SlaveId) -> bool) -> usize {
        let held = self.held();
        let lately = held.heard.iter();
        let lately = lately.filter(|(slave, at)| at.elapsed() < REACHED && is_known(**slave));
        lately.count()
    }

    /// Why a slave is refused here; `None`: this master leads.
    #[must_use]
    pub fn refusal(&self) -> Option<Refused> {
        let held = self.held();
        if held.standing.leads {
            let lately = held.let_go.filter(|at| at.elapsed() < UNSURE)?;
            let left = UNSURE.saturating_sub(lately.elapsed());
            return Some(Refused {
                reason: RefusedReason::NotLeading,
                detail: format!(
                    "the master on {} leads, but the store does not answer it: another one may \
                     lead by now. This one takes slaves again in {left:.1?}",
                    held.standing.host
                ),
            });
        }
        Some(Refused {
            reason: RefusedReason::NotLeading,
            detail: not_leading(&held.standing),
        })
    }

    /// Who hears what concerns the fleet, from now on.
    pub(crate) fn attach(&self, notices: mpsc::Sender<Notice>) {
        // There is one driver in the life of a process.
        let _ = self.notices.set(notices);
    }

    /// See [`attach`](Self::attach).
    pub(crate) fn notices(&self) -> Option<&mpsc::Sender<Notice>> {
        self.notices.get()
    }

    /// The operator wants another one to lead.
    ///
    /// # Errors
    /// There is no other one, and it is not `forced`.
    pub fn step_down(&self, forced: bool) -> Result<(), String> {
        let mut held = self.held();
        if held.standing.standbys.is_empty() && !forced {
            return Err(
                "no standby master is there: nobody would lead until this one is started again; \
                 --force steps down all the same"
                    .to_owned(),
            );
        }
        held.steps_down = true;
        Ok(())
    }

    /// Slaves are refused for a moment, so that they look for another master.
    pub(crate) fn let_go(&self) {
        self.held().let_go = Some(Instant::now());
    }

    /// Whether it was asked to step down.
    #[must_use]
    pub fn steps_down(&self) -> bool {
        self.held().steps_down
    }
}

/// That a master does not lead, for a person.
#[must_use]
pub fn not_leading(standing: &Standing) -> String {
    let host = &standing.host;
    match (&standing.leader, &standing.trouble, standing.store_away_ms) {
        (Some(leader), _, _) => format!(
            "the master on {host} does not lead: the one on {} does ({})",
            leader.host, leader.listen
        ),
        (None, Some(trouble), _) => {
            format!("the master on {host} does not lead, and cannot: {trouble}")
        }
        (None, None, Some(_)) => format!(
            "the master on {host} does not lead: the store at {} does not answer it",
            standing.store
        ),
        (None, None, None) => {
            format!("the master on {host} does not lead yet, and nobody else does")
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_standby_master_refuses_with_the_name_of_the_leader_and_a_leader_does_not() {
        let post = Post::new("b", "nats://store:4222");
        let detail = |post: &Post| post.refusal().unwrap().detail;
        assert!(detail(&post).contains("nobody else does"));
        post.store_away(Some(Instant::now()));
        post.note(|standing| standing.store_away_ms = Some(1));
        assert!(detail(&post).contains("nats://store:4222 does not answer"));
        post.note(|standing| {
            standing.leader = Some(Named {
                host: "a".to_owned(),
                listen: "10.0.0.1:7447".to_owned(),
                ..Named::default()
            });
        });
        assert!(detail(&post).contains("the one on a does (10.0.0.1:7447)"));
        assert!(post.refusal().unwrap().reason.may_pass());
        post.note(|standing| standing.leads = true);
        assert_eq!(post.refusal(), None);
    }

    #[test]
    fn only_slaves_of_the_fleet_that_dialled_lately_are_reached() {
        let post = Post::new("b", "");
        for slave in 0..2000 {
            post.heard(SlaveId(slave));
        }
        assert_eq!(post.reaches(|_| true), MOST);
        assert_eq!(post.reaches(|slave| slave.0 < 3), 3);
    }

    #[test]
    fn a_leader_that_may_lead_no_more_refuses_slaves_for_a_moment() {
        let post = Post::new("a", "");
        post.note(|standing| standing.leads = true);
        assert_eq!(post.refusal(), None);
        post.let_go();
        let refused = post.refusal().unwrap();
        assert_eq!(refused.reason, RefusedReason::NotLeading);
        assert!(refused.detail.contains("another one may lead"));
        post.held().let_go = Instant::now().checked_sub(UNSURE);
        assert_eq!(post.refusal(), None);
    }

    #[test]
    fn nobody_steps_down_for_nobody_unless_forced() {
        let post = Post::new("a", "");
        let refused = post.step_down(false).unwrap_err();
        assert!(refused.contains("--force") && !post.steps_down());
        post.note(|standing| standing.standbys.push(Named::default()));
        post.step_down(false).unwrap();
        assert!(post.steps_down());
        let alone = Post::new("a", "");
        alone.step_down(true).unwrap();
        assert!(alone.steps_down());
    }
}
