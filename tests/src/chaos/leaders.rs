//! Two masters that share a store, each as on a host of its own, and what strikes the one that
//! leads, or the store.
//!
//! Slaves and agents dial both, and each master the store, through wires. What a wire holds
//! back goes on when it is healed: so a save of a master that was cut off arrives late, when
//! another one leads.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use baton_brokers::Nats;
use serde_json::{Value, json};
use tokio::{task::spawn_blocking, time::sleep};

use super::{
    hunt,
    patience::Patience,
    row::{LeaderHarm, SharedHarm},
    scene::{SECOND, Scene, Who},
    wire::{Harm, Way, Whose, Wire},
};
use crate::{
    error::{Error, Result},
    fleet::Leads,
    workers::operate,
};

/// With the usual lease of 15 s another master leads within this time.
pub(super) const TAKEN_OVER: Duration = Duration::from_secs(17);

/// The leader steps down for one that reaches more slaves within this time: slaves have to see
/// that the one before says nothing, and the leader looks three times.
const YIELDS: Duration = Duration::from_secs(40);

/// `step-down` is over within this time.
const STEPS_DOWN: Duration = Duration::from_secs(2);

/// A master that leads no more has ended, and slaves have found the one that does, within this
/// time.
const FOUND_OUT: Duration = Duration::from_secs(30);

/// Exit code of a master that leads no more.
const LEADS_NO_MORE: i32 = 5;

/// A store that was killed is away for so long.
const AWAY: Duration = Duration::from_secs(3);

/// The same, so long that it is an alarm.
const LONG_AWAY: Duration = Duration::from_secs(20);

/// So long after the store a slave dies.
const THEN: Duration = Duration::from_secs(1);

/// What two masters have beside what one has.
#[derive(Debug)]
pub(super) struct Masters {
    store: Nats,
    /// Between the masters and the store: of the one that leads, and of the other.
    to_store: [Wire; 2],
    /// Between the slaves and the one that does not lead.
    pub(super) to_other: Wire,
    /// Between the agent and the one that does not lead.
    pub(super) agent_to_other: Wire,
    /// Whose news are followed.
    heard: Option<u32>,
}

impl Masters {
    /// Starts the store.
    pub(super) async fn prepare() -> Result<Self> {
        let started = spawn_blocking(Nats::start).await;
        let started = started.map_err(|error| Error::answer("the store", error))?;
        let store = started.map_err(|error| Error::answer("the store", error))?;
        let to_store = [Wire::lay().await?, Wire::lay().await?];
        for wire in &to_store {
            wire.lead_to(([127, 0, 0, 1], store.port).into());
        }
        Ok(Self {
            store,
            to_store,
            to_other: Wire::lay().await?,
            agent_to_other: Wire::lay().await?,
            heard: None,
        })
    }

    /// The store, as the first and the second master dial it.
    pub(super) fn stores(&self) -> [String; 2] {
        [0, 1].map(|at| format!("nats://{}", self.to_store[at].address()))
    }

    /// Where the second master listens.
    pub(super) fn lead_to(&self, other: SocketAddr) {
        self.to_other.lead_to(other);
        self.agent_to_other.lead_to(other);
    }

    /// Ends every harm that is not over.
    pub(super) fn heal(&self) {
        self.store.process.go_on();
        for wire in self
            .to_store
            .iter()
            .chain([&self.to_other, &self.agent_to_other])
        {
            wire.heal();
        }
    }
}

impl Scene {
    /// The process of the master that does not lead.
    pub(super) fn other_master(&self) -> Option<u32> {
        self.fleet.other.as_ref()?.process.pid()
    }

    /// Starts again whichever master has ended, so long after it was seen; whether one had.
    pub(super) async fn start_ended_masters(&mut self, after: Duration) -> Result<bool> {
        let is_over = self.fleet.has_ended();
        if is_over {
            sleep(after).await;
            self.fleet.start_ended().await?;
        }
        Ok(is_over)
    }

    /// Looks who leads: wires and news are those of that one from now on.
    pub(super) async fn follow_the_leader(&mut self) -> Result<()> {
        match self.fleet.look_who_leads().await {
            Leads::Nobody => return Ok(()),
            Leads::TheSame => {}
            Leads::TheOther => self.turn_to_the_other(),
        }
        self.hear_the_leader().await
    }

    fn turn_to_the_other(&mut self) {
        self.fleet.turn_to_the_other();
        if let Some(masters) = &mut self.masters {
            masters.to_store.swap(0, 1);
            std::mem::swap(&mut self.to_master, &mut masters.to_other);
            if let Some(agent) = &mut self.agent {
                std::mem::swap(&mut agent.to_master, &mut masters.agent_to_other);
            }
        }
    }

    async fn hear_the_leader(&mut self) -> Result<()> {
        let leads = self.fleet.master.pid();
        let heard = self.masters.as_mut().map(|it| &mut it.heard);
        if let Some(heard) = heard.filter(|heard| **heard != leads) {
            *heard = leads;
            self.told.extend(self.fleet.news.all());
            self.fleet.hear_anew().await?;
        }
        Ok(())
    }

    /// Waits until the one that leads has heard that the other one stands by.
    pub(super) async fn other_stands_by(&self) -> Result<()> {
        let mut patience = Patience::of(FOUND_OUT);
        loop {
            let status = self.fleet.status().await?;
            if status["leadership"]["standbys"][0].is_object() {
                return Ok(());
            }
            if patience.is_over().await {
                return Err(Error::Late("no other master stands by".to_owned()));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the other master leads.
    async fn other_leads(&mut self, limit: Duration) -> Result<()> {
        let began = Instant::now();
        let mut patience = Patience::of(limit);
        while !self.fleet.other_leads().await {
            if patience.is_over().await {
                let text = format!("no other master leads after {limit:?}");
                return Err(Error::Late(text));
            }
            sleep(Duration::from_millis(20)).await;
        }
        self.took_over = Some(began.elapsed());
        self.turn_to_the_other();
        self.hear_the_leader().await
    }

    /// The one before has to end by itself, as one that leads no more.
    async fn the_one_before_ends(&mut self) -> Result<()> {
        let Some(other) = &mut self.fleet.other else {
            return Ok(());
        };
        let late = || format!("the master that leads no more still runs after {FOUND_OUT:?}");
        let ended = other.process.ended(super::patience::BOUNDED);
        match Patience::of(FOUND_OUT).wait(late, ended).await?? {
            LEADS_NO_MORE => Ok(()),
            code => Err(Error::Late(format!(
                "the master that leads no more ended with {code}"
            ))),
        }
    }

    /// Waits until the one that leads reaches every slave that it knows.
    async fn slaves_are_there(&self) -> Result<()> {
        let mut patience = Patience::of(FOUND_OUT);
        loop {
            let status = self.fleet.status().await.unwrap_or_default();
            let slaves = status["slaves"].as_array().map_or(&[][..], Vec::as_slice);
            if !slaves.is_empty() && slaves.iter().all(|slave| slave["connected"] == true) {
                return Ok(());
            }
            if patience.is_over().await {
                let text = format!("slaves stay with the master that leads no more: {slaves:?}");
                return Err(Error::Late(text));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Strikes the master that leads.
///
/// # Errors
/// No other one leads behind it, or it goes on.
pub(super) async fn strike(scene: &mut Scene, harm: LeaderHarm) -> Result<()> {
    match harm {
        LeaderHarm::Killed => {
            scene.kill_master().await?;
            scene.other_leads(TAKEN_OVER).await
        }
        LeaderHarm::KilledWithOld => {
            scene.kill(Who::Old);
            scene.kill_master().await?;
            scene.other_leads(TAKEN_OVER).await
        }
        LeaderHarm::KilledAndStarted => scene.kill_master().await,
        LeaderHarm::Paused | LeaderHarm::WokenWithOrders => {
            let old = scene.present(Who::Master).await?;
            scene.freeze(old);
            scene.other_leads(TAKEN_OVER).await?;
            if harm == LeaderHarm::WokenWithOrders {
                scene.slaves_are_there().await?;
                return woken_with_orders(scene).await;
            }
            scene.thaw();
            scene.the_one_before_ends().await
        }
        LeaderHarm::CutFromStore => {
            if let Some(masters) = &scene.masters {
                masters.to_store[0].harm(Whose::Everybody, Harm::Hold(Way::Both));
            }
            scene.other_leads(TAKEN_OVER).await?;
            scene.slaves_are_there().await?;
            scene.heal().await?;
            scene.the_one_before_ends().await
        }
        LeaderHarm::CutFromSlaves => {
            let silent = Harm::Hold(Way::Both);
            scene.to_master.harm(Whose::Everybody, silent);
            if let Some(agent) = &scene.agent {
                agent.to_master.harm(Whose::Everybody, silent);
            }
            scene.other_leads(YIELDS).await?;
            scene.slaves_are_there().await?;
            scene.heal().await?;
            scene.the_one_before_ends().await
        }
        LeaderHarm::SteppedDown => {
            scene.fleet.admin.post("/v1/step-down", &json!({})).await?;
            scene.other_leads(STEPS_DOWN).await?;
            scene.the_one_before_ends().await
        }
    }
}

/// The one that led before is ordered to deploy in the moment in which it wakes.
async fn woken_with_orders(scene: &mut Scene) -> Result<()> {
    let command = scene.fleet.slave_command(SECOND, &[])?;
    let body = json!({ "command": command });
    let Some(admin) = scene.fleet.other.as_ref().map(|it| it.admin.clone()) else {
        return Ok(());
    };
    // It is there before it wakes.
    let asking = tokio::spawn(async move { admin.ask::<Value>("/v1/deploy", &body).await });
    sleep(Duration::from_millis(200)).await;
    scene.thaw();
    if let Ok(Ok(taken)) = asking.await {
        let text = format!("a master that leads no more took an order: {taken}");
        return Err(Error::Late(text));
    }
    scene.the_one_before_ends().await
}

/// Strikes the store.
///
/// # Errors
/// It does not come back, or something began while it was away.
pub(super) async fn strike_store(scene: &mut Scene, harm: SharedHarm) -> Result<()> {
    match harm {
        SharedHarm::Killed => {
            kill(scene);
            sleep(AWAY).await;
            start_again(scene)
        }
        SharedHarm::KilledThenOld => {
            let before = hunt::of_folder(scene.folder());
            kill(scene);
            sleep(THEN).await;
            scene.kill(Who::Old);
            let is_told = |event: &Value| {
                let detail = event["detail"].as_str().unwrap_or_default();
                event["type"] == "alarm" && detail.starts_with("the store at")
            };
            scene
                .hears("the alarm of a store", LONG_AWAY, is_told)
                .await?;
            let after = hunt::of_folder(scene.folder());
            let launched = after.into_iter().find(|pid| !before.contains(pid));
            start_again(scene)?;
            match launched {
                None => Ok(()),
                Some(pid) => Err(Error::Late(format!(
                    "process {pid} was started while the store was away"
                ))),
            }
        }
        SharedHarm::Paused(span) => {
            if let Some(masters) = &scene.masters {
                masters.store.process.stop();
            }
            let until = Instant::now() + span;
            if !scene.deploys() {
                nothing_begins(scene).await?;
            }
            sleep(until.saturating_duration_since(Instant::now())).await;
            if let Some(masters) = &scene.masters {
                masters.store.process.go_on();
            }
            Ok(())
        }
        SharedHarm::Emptied => {
            kill(scene);
            if let Some(masters) = &scene.masters {
                operate(|| masters.store.forget())?;
            }
            start_again(scene)?;
            let late = || "the leader of a store that forgot it goes on".to_owned();
            let ended = scene.fleet.master.ended(super::patience::BOUNDED);
            match Patience::of(FOUND_OUT).wait(late, ended).await?? {
                LEADS_NO_MORE => Ok(()),
                code => Err(Error::Late(format!("the leader ended with {code}"))),
            }
        }
    }
}

fn kill(scene: &mut Scene) {
    if let Some(masters) = &mut scene.masters {
        masters.store.kill();
    }
}

fn start_again(scene: &mut Scene) -> Result<()> {
    match &mut scene.masters {
        Some(masters) => operate(|| masters.store.start_again()),
        None => Ok(()),
    }
}

/// A deploy is asked for before it is known that the store is away, and another one after
/// that: neither starts a process.
async fn nothing_begins(scene: &Scene) -> Result<()> {
    let before = hunt::of_folder(scene.folder());
    let command = scene.fleet.slave_command(SECOND, &[])?;
    let body = json!({ "command": command });
    // It may be taken, and ends before anything moved.
    let _ = scene.fleet.admin.ask::<Value>("/v1/deploy", &body).await;
    let mut patience = Patience::of(FOUND_OUT);
    while scene.fleet.status().await?["leadership"]["store_away_ms"].is_null() {
        if patience.is_over().await {
            let text = "nobody noticed that the store is away".to_owned();
            return Err(Error::Late(text));
        }
        sleep(Duration::from_millis(50)).await;
    }
    let again = scene.fleet.admin.ask::<Value>("/v1/deploy", &body).await;
    let after = hunt::of_folder(scene.folder());
    let launched = after.into_iter().find(|pid| !before.contains(pid));
    match (again, launched) {
        (Err(_), None) => Ok(()),
        (taken, launched) => Err(Error::Late(format!(
            "something began while the store was away: process {launched:?}, deploy {taken:?}"
        ))),
    }
}
