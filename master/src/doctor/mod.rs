//! What is wrong with a fleet, or will be: looked at whenever an operator asks for the
//! status, and as a whole by `baton-master doctor`.
//!
//! Each check says what it saw, also when it is well, and what to do when it is not.
//! What heals itself is healed by the core (`core/src/shard/restart.rs`) and told as an alarm.

mod certificate;
mod clients;
mod doors;
mod fleet;
mod host;
mod hosts;
mod sink;
mod store;

use serde::Serialize;

pub use self::{certificate::certificate, doors::Doors, host::Host};
use baton_core::view::View;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works; something was used up, or will be.
    Warning,
    /// Events are late or lost, or would be at the next death.
    Error,
}

/// What one check saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which check: `shards`, `link`, `lag`, `handlers`, `store`, `clients`, `sink`, `builds`,
    /// `clock`, `files`, `disk`, `permissions`, `identify`, `journal`, `runtime_dir`, `doors`,
    /// `log`, `listen`, `hosts`, `certificate`.
    pub check: &'static str,
    /// How bad it is.
    pub level: Level,
    /// The shard that it is about; absent: it is about more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<u32>,
    /// The slave that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slave: Option<String>,
    /// What was seen, for a person.
    pub detail: String,
    /// What to do; absent where nothing is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Finding {
    pub(crate) fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self {
            check,
            level: Level::Ok,
            shard: None,
            slave: None,
            detail: detail.into(),
            next: None,
        }
    }

    pub(crate) fn warning(check: &'static str, detail: impl Into<String>, next: &str) -> Self {
        Self {
            level: Level::Warning,
            next: Some(next.to_owned()),
            ..Self::ok(check, detail)
        }
    }

    pub(crate) fn error(check: &'static str, detail: impl Into<String>, next: &str) -> Self {
        Self {
            level: Level::Error,
            ..Self::warning(check, detail, next)
        }
    }

    fn of_shard(self, shard: u32) -> Self {
        Self {
            shard: Some(shard),
            ..self
        }
    }

    fn of_slave(self, slave: &str) -> Self {
        Self {
            slave: Some(slave.to_owned()),
            ..self
        }
    }
}

/// Every check's findings, at least one each.
#[must_use]
pub fn examine(view: &View, host: &Host, doors: &Doors) -> Vec<Finding> {
    let mut findings = fleet::examine(view, host.unix_ms);
    findings.extend(clients::clients(view));
    findings.extend(sink::sinks(view));
    findings.extend(hosts::hosts(view, env!("CARGO_PKG_VERSION")));
    findings.extend(host.examine(view));
    findings.extend(doors.examine());
    findings
}

/// Findings that need a look, the worst first.
#[must_use]
pub fn troubles(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.retain(|finding| finding.level > Level::Ok);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    findings
}
