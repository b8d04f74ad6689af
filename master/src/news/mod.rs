//! What happens, on its way from the driver to those who watch it.
//!
//! ```text
//!             ┌──▶ Log          one line each
//! driver ─────┼──▶ Metrics      counts and times
//!  Stamped    ├──▶ History      what the last deploys did
//!             └──▶ broadcast    the streams of `GET /v1/events`
//! ```
//!
//! The driver knows none of them: it has a list of [`Observer`]s. What each kind of news
//! means to them stands in one place (`meaning.rs`).

mod gaps;
mod log;
mod meaning;

use std::{fmt, sync::Arc, time::Duration};

use baton_core::event::{Durability, News};
use baton_protocol::{SlaveId, ToMaster, ToSlave};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::broadcast;

pub use self::{gaps::Gap, log::Log};
pub(crate) use self::{gaps::Gaps, meaning::Counted};
use crate::{clock::monotonic_us, config::build_of};

/// News that a slow follower of the stream may be behind; it hears how many it missed.
pub const STREAM: usize = 8192;

/// A piece of news, with what the driver knows of it beyond the core.
#[derive(Clone, Debug, PartialEq)]
pub struct Stamped {
    /// Microseconds of the host's monotonic clock, the same for every process.
    pub at_us: u64,
    /// What.
    pub news: News,
    /// The gap that it ends: a shard serves again.
    pub gap: Option<Gap>,
    /// What a deploy that was taken brings, where an operator asked for it or a master did.
    pub brought: Option<Brought>,
}

impl Stamped {
    /// Something that happened now.
    #[must_use]
    pub fn now(news: News) -> Self {
        Self::at(monotonic_us(), news)
    }

    /// Something that happened at this time.
    #[must_use]
    pub const fn at(at_us: u64, news: News) -> Self {
        Self {
            at_us,
            news,
            gap: None,
            brought: None,
        }
    }

    /// The object that a client reads: the news as the core writes them, and `at_us`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        // Nothing in it can fail: no map has other keys than texts.
        let mut object = serde_json::to_value(&self.news).unwrap_or_default();
        object["at_us"] = self.at_us.into();
        object
    }
}

/// What a deploy puts into its slot, and what was there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Brought {
    /// The command; absent: its slave was not started by the master.
    pub command: Option<Vec<String>>,
    /// The slot's command before; absent: none.
    pub before: Option<Vec<String>>,
}

impl Brought {
    /// The name that its deployer gave its build.
    pub(crate) fn build(&self) -> Option<String> {
        build_of(self.command.as_deref()?).map(str::to_owned)
    }
}

/// Sees what the driver does, in the order in which it does it. Called on the driver's
/// task: nothing may wait in it, and nothing that it does can stop the driver.
pub trait Observer: fmt::Debug + Send + Sync {
    /// Something happened. Whoever asked for it is answered after every observer has
    /// heard of it.
    fn happened(&self, stamped: &Arc<Stamped>);

    /// A joined slave said something that the core is about to hear.
    fn said(&self, slave: SlaveId, message: &ToMaster) {
        let _ = (slave, message);
    }

    /// A message goes to a joined slave.
    fn sent(&self, message: &ToSlave) {
        let _ = message;
    }

    /// A save ended, after so long, well or not.
    fn saved(&self, durability: Durability, took: Duration, well: bool) {
        let _ = (durability, took, well);
    }

    /// The death of this slave will be known here: its process runs on this host.
    fn watched(&self, slave: SlaveId) {
        let _ = slave;
    }
}

/// Those who follow the stream of news. A slow one misses some, and hears how many.
impl Observer for broadcast::Sender<Arc<Stamped>> {
    fn happened(&self, stamped: &Arc<Stamped>) {
        // Nobody may follow it.
        let _ = self.send(Arc::clone(stamped));
    }
}

#[cfg(test)]
mod tests {
    use baton_core::event::{Death, EndedBy, Evidence, Losses, MovePhase, Outcome, RequestId};
    use baton_protocol::{DeployId, Epoch, Sequence, ShardId};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_migration_is_an_object_of_plain_fields() {
        let news = News::Migration {
            deploy: Some(DeployId(3)),
            shard: ShardId(7),
            from: SlaveId(1),
            to: SlaveId(2),
            epoch: Epoch(9),
            phase: MovePhase::Sealing,
        };
        let expected = json!({
            "type": "migration", "at_us": 5, "deploy": 3, "shard": 7,
            "from": "00000000000000000000000000000001", "to": "00000000000000000000000000000002",
            "epoch": 9, "phase": "sealing",
        });
        assert_eq!(Stamped::at(5, news).to_json(), expected);
    }

    #[test]
    fn the_end_of_a_deploy_says_how_and_why() {
        let news = News::DeployEnded {
            deploy: DeployId(3),
            outcome: Outcome::RolledBack {
                shard: Some(ShardId(4)),
                reason: "close code 4004".to_owned(),
            },
            moved: 0,
            migrating: Duration::from_millis(1500),
            total: Duration::from_secs(2),
            losses: Losses {
                sessions: 0,
                events: 1,
            },
        };
        let expected = json!({
            "type": "deploy_ended", "at_us": 0, "deploy": 3, "outcome": "rolled_back",
            "reason": "close code 4004", "shard": 4,
            "text": "rolled back: shard 4: close code 4004, but 1 event was given up",
            "sessions_lost": 0, "events_given_up": 1, "moved": 0, "migrating_ms": 1500,
            "total_ms": 2000,
        });
        assert_eq!(Stamped::at(0, news).to_json(), expected);
    }

    #[test]
    fn what_is_not_known_is_null_and_times_are_milliseconds() {
        let given_up = News::EventGivenUp {
            shard: ShardId(1),
            sequence: Sequence(2),
            events: 1,
            kind: None,
            guild: None,
            slave: None,
            unfinished: Some(Duration::from_millis(40)),
        };
        let expected = json!({
            "type": "event_given_up", "at_us": 0, "shard": 1, "sequence": 2, "events": 1,
            "kind": null, "guild": null, "slave": null, "unfinished_ms": 40,
        });
        assert_eq!(Stamped::at(0, given_up).to_json(), expected);
        let accepted = News::DeployAccepted {
            request: Some(RequestId(8)),
            deploy: DeployId(3),
            slot: "main".to_owned(),
            from: None,
            command: Some(vec!["v2".to_owned()]),
            goes_on: false,
        };
        let expected = json!({
            "type": "deploy_accepted", "at_us": 0, "request": 8, "deploy": 3, "slot": "main",
            "from": null, "goes_on": false,
        });
        assert_eq!(Stamped::at(0, accepted).to_json(), expected);
    }

    #[test]
    fn who_is_gone_is_told_with_the_evidence_of_its_death() {
        for (dead, evidence) in [
            (None, json!(null)),
            (Some(Evidence::Process), json!("process")),
            (Some(Evidence::Lease), json!("lease")),
            (Some(Evidence::Operator), json!("operator")),
        ] {
            let gone = News::SlaveGone {
                slave: SlaveId(1),
                dead,
                held: 2,
                slot: "main".to_owned(),
                build: "v1".to_owned(),
                pid: 7,
                host: None,
            };
            let expected = json!({
                "type": "slave_gone", "at_us": 0, "slave": "00000000000000000000000000000001",
                "dead": dead.is_some(), "evidence": evidence, "held": 2, "slot": "main",
                "build": "v1", "pid": 7,
            });
            assert_eq!(Stamped::at(0, gone).to_json(), expected);
        }
    }

    #[test]
    fn a_death_is_told_flat_with_its_ending_in_words() {
        let death = Death {
            slave: Some(SlaveId(1)),
            slot: "main".to_owned(),
            build: None,
            pid: 7,
            host: None,
            ending: EndedBy::Code(1),
            lived: Some(Duration::from_secs(3)),
            last_lines: vec!["last".to_owned()],
        };
        let expected = json!({
            "type": "slave_ended", "at_us": 0, "slave": "00000000000000000000000000000001",
            "slot": "main", "build": null, "pid": 7, "ending": "exit code 1", "well": false,
            "lived_ms": 3000, "last_lines": ["last"],
        });
        let news = News::SlaveEnded(Box::new(death));
        assert_eq!(Stamped::at(0, news).to_json(), expected);
    }
}
