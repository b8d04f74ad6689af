//! When a fleet has nothing left to do.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::{
    super::{hunt, patience::Patience},
    Scene, Who,
};
use crate::{
    demo::now_us,
    error::{Error, Result},
};

/// A supervisor starts a master that ended again after this time.
const SUPERVISE: Duration = Duration::from_millis(300);

impl Scene {
    /// Waits until one slave serves every shard, the standbys are built, no deploy
    /// is under way and no other slave lives, three times in a row. A master that ended is
    /// started again. A slave that was killed or is dead counts as nobody's owner: on a busy
    /// host it takes its time to die, and the master to hear of it, and until then the master
    /// rightly calls it the owner.
    ///
    /// # Errors
    /// Not within `limit`.
    pub async fn calm(&mut self, limit: Duration) -> Result<Value> {
        let mut patience = Patience::of(limit);
        let mut calm = 0;
        loop {
            if self.masters.is_some() {
                if self.supervised && self.start_ended_masters(SUPERVISE).await? {
                    calm = 0;
                }
                self.follow_the_leader().await?;
            } else if self.supervised && self.fleet.master.is_over() {
                sleep(SUPERVISE).await;
                self.restart_master().await?;
                calm = 0;
            }
            if let Some(agent) = &mut self.agent
                && agent.is_over()
            {
                sleep(SUPERVISE).await;
                agent.start_again(&self.fleet).await?;
                calm = 0;
            }
            let status = timeout(Duration::from_secs(2), self.fleet.status()).await;
            let status = status.ok().and_then(Result::ok).unwrap_or(Value::Null);
            let serves = is_calm(&status, self.setup.shards) && !self.names_dead(&status);
            let strangers = if serves {
                self.strangers(&status)
            } else {
                Vec::new()
            };
            calm = if serves && strangers.is_empty() {
                calm + 1
            } else {
                0
            };
            if calm == 3 {
                if let Some(strike) = self.strikes.last_mut() {
                    strike.calm_us.get_or_insert_with(now_us);
                }
                self.old = owner(&status).unwrap_or(0);
                self.note_outcome();
                return Ok(status);
            }
            if patience.is_over().await {
                self.note_outcome();
                return Err(Error::Late(format!(
                    "not calm after {limit:?}: {}, processes of nobody {strangers:?}",
                    short(&status)
                )));
            }
            sleep(Duration::from_millis(40)).await;
        }
    }

    /// Whether the owner or a standby is a process that was killed or is dead.
    fn names_dead(&self, status: &Value) -> bool {
        let mut named = wanted(status);
        named.any(|pid| self.killed.contains(&pid) || !hunt::is_alive(pid))
    }

    /// Living processes beside the owner and its standbys.
    fn strangers(&mut self, status: &Value) -> Vec<u32> {
        let known: Vec<_> = wanted(status).collect();
        let others = [
            self.fleet.master.pid(),
            self.other_master(),
            self.fleet.discord.process().pid(),
            self.pid(Who::Agent),
        ];
        hunt::of_folder(self.folder())
            .into_iter()
            .filter(|pid| !others.contains(&Some(*pid)))
            .filter(|pid| !known.contains(pid))
            .collect()
    }

    fn note_outcome(&mut self) {
        if self.outcome.is_none() {
            let ended = |event: &Value| {
                event["type"] == "deploy_ended" && event["deploy"].as_u64() == self.deploy
            };
            let all = self.news();
            self.outcome = all
                .into_iter()
                .find(|event| self.deploy.is_some() && ended(event));
        }
    }
}

/// One slave serves everything, and nothing is under way.
fn is_calm(status: &Value, shards: u32) -> bool {
    let all = status["shards"].as_array().map_or(&[][..], Vec::as_slice);
    let slot = &status["slots"][0];
    let owner = &slot["slave"];
    let ready = ["standbys", "standbys_built"];
    ready
        .iter()
        .all(|count| slot[*count] == slot["standbys_wanted"])
        && status["adopting"] == false
        && status["deploy"].is_null()
        && owner.is_string()
        && all.len() == shards as usize
        && all
            .iter()
            .all(|shard| shard["state"] == "serving" && shard["owner"] == *owner)
}

/// The processes that are to be there: the owner and its standbys.
fn wanted(status: &Value) -> impl Iterator<Item = u32> {
    let owner = [owner(status)].into_iter();
    owner.chain(standbys(status)).flatten()
}

/// The process that fills the slot.
fn owner(status: &Value) -> Option<u32> {
    let owner = &status["slots"][0]["slave"];
    let mut slaves = status["slaves"].as_array()?.iter();
    let owner = slaves.find(|slave| slave["slave"] == *owner)?;
    u32::try_from(owner["pid"].as_u64()?).ok()
}

/// The processes that stand by.
fn standbys(status: &Value) -> impl Iterator<Item = Option<u32>> {
    let slaves = status["slaves"].as_array().into_iter().flatten();
    slaves
        .filter(|slave| slave["role"] == "standby")
        .map(|slave| u32::try_from(slave["pid"].as_u64()?).ok())
}

/// What matters of a status, for a person.
fn short(status: &Value) -> String {
    let list = |name: &str, fields: &[&str]| {
        let items = status[name].as_array().into_iter().flatten();
        let shown: Vec<String> = items
            .map(|item| {
                let fields: Vec<String> = fields.iter().map(|f| item[*f].to_string()).collect();
                fields.join(" ")
            })
            .collect();
        shown.join(", ")
    };
    format!(
        "adopting {}, deploy {}, shards [{}], slaves [{}]",
        status["adopting"],
        status["deploy"],
        list("shards", &["shard", "epoch", "state"]),
        list("slaves", &["build", "pid", "role", "connected", "shards"])
    )
}
