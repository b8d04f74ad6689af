//! How the fleet is: for a person, for a monitor, for a load balancer.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use baton_core::{event::Evidence, view::View};
use serde::Serialize;
use serde_json::json;

use super::{Admin, Facts, Failure};
use crate::{
    clock::{millis, unix_ms},
    counters::Counts,
    doctor::{Doors, Finding, Host, examine, troubles},
    history::{Died, LastDeploy, Underway},
    post::Standing,
};

/// So many deaths are in the status; the history has more.
const DEATHS: usize = 10;

/// A door that was full is reported for so long.
const LATELY: Duration = Duration::from_secs(600);

/// A log that takes nothing for so long is not read.
const UNREAD: Duration = Duration::from_secs(5);

impl Admin {
    async fn host(&self, view: &View) -> Result<Host, Failure> {
        // The numbers of another host's processes are others' here.
        let here = view.slaves.iter().filter(|slave| slave.host.is_none());
        let connected = here.filter(|slave| slave.connected);
        let pids: Vec<u32> = connected.map(|slave| slave.pid).collect();
        let (runtime_dir, data_dir) = (self.facts.runtime_dir.clone(), self.facts.data_dir.clone());
        let look = move || Host::look(&runtime_dir, &data_dir, &pids);
        self.disks.ask(look).await.ok_or_else(|| {
            let reason = "the host's disk did not answer in time";
            Failure(StatusCode::GATEWAY_TIMEOUT, reason.to_owned())
        })
    }

    fn look_at_doors(&self) -> Doors {
        let crowded = self.doors.iter();
        let crowded = crowded.filter(|(_, places)| places.was_full(LATELY));
        let log = baton_log::stderr();
        Doors {
            crowded: crowded.map(|(key, _)| *key).collect(),
            log_stuck: log.is_stuck(UNREAD),
            log_dropped: log.dropped(),
            certificate: self.peers.secure.held(),
        }
    }

    fn examine(&self, view: &View, host: &Host) -> Vec<Finding> {
        let mut findings = examine(view, host, &self.look_at_doors());
        let missing = view.slaves.iter().any(|slave| !slave.connected);
        findings.extend(self.kept.findings(missing));
        findings
    }
}

#[derive(Serialize)]
struct Status {
    #[serde(flatten)]
    view: View,
    /// The deploy that ended last, under this master.
    last_deploy: Option<LastDeploy>,
    /// The deploy that runs, with what it brings and how far it is.
    underway: Option<Underway>,
    /// Slaves that ended and were not to, the newest last.
    deaths: Vec<Died>,
    /// How many processes of them ended in the last hour, by slot. Of a deploy that went back because
    /// its new slave died, the deploy tells.
    died_last_hour: BTreeMap<String, usize>,
    /// Findings that need a look, the worst first.
    doctor: Vec<Finding>,
    /// Where this master stands among those that share its store; absent: it shares none.
    #[serde(skip_serializing_if = "Option::is_none")]
    leadership: Option<Standing>,
    master: MasterStatus,
}

#[derive(Serialize)]
struct MasterStatus {
    #[serde(flatten)]
    facts: Facts,
    uptime_ms: u64,
    /// The host's wall clock, in milliseconds since 1970: ages are counted by it, not
    /// by the reader's clock.
    now_unix_ms: u64,
    links: Counts,
    /// Lines of its log that were not read in time.
    log_lines_dropped: u64,
}

pub(super) async fn status(State(admin): State<Arc<Admin>>) -> Result<Response, Failure> {
    let view = admin.view().await?;
    let host = admin.host(&view).await?;
    let master = MasterStatus {
        facts: admin.facts.clone(),
        uptime_ms: millis(admin.started.elapsed()),
        now_unix_ms: host.unix_ms,
        links: admin.peers.counters.read(),
        log_lines_dropped: baton_log::stderr().dropped(),
    };
    let mut deaths = admin.history.deaths();
    let mut died_last_hour = BTreeMap::new();
    let hour_ago = unix_ms().saturating_sub(3_600_000);
    let counts = |death: &&Died| {
        death.at_unix_ms >= hour_ago
            && death.candidate_of.is_none()
            && death.evidence == Evidence::Process
    };
    for death in deaths.iter().filter(counts) {
        *died_last_hour.entry(death.slot.clone()).or_default() += 1;
    }
    let status = Status {
        doctor: troubles(admin.examine(&view, &host)),
        view,
        last_deploy: admin.history.last(),
        underway: admin.history.running(),
        deaths: deaths.split_off(deaths.len().saturating_sub(DEATHS)),
        died_last_hour,
        leadership: admin.peers.post.as_ref().map(|post| post.standing()),
        master,
    };
    Ok(Json(status).into_response())
}

pub(super) async fn doctor(State(admin): State<Arc<Admin>>) -> Result<Response, Failure> {
    let view = admin.view().await?;
    let findings = admin.examine(&view, &admin.host(&view).await?);
    Ok(Json(json!({ "findings": findings })).into_response())
}

pub(super) async fn health(State(admin): State<Arc<Admin>>) -> Result<&'static str, Failure> {
    admin.view().await.map(|_| "ok\n")
}
