//! What happens.

use std::{
    collections::BTreeMap,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{process::Command, time::sleep};

use super::{Lost, OnHost, Outcome};
use crate::{
    demo::{
        BEFORE_DEPLOY, BEFORE_PROBES, DemoOptions, LIMIT, SAMPLED_GUILDS, begin_traffic,
        fleet_options,
        judging::{moves, wire},
        now_us, replayed, stop_probes,
    },
    error::{Error, Result},
    fleet::{Fleet, SlotOptions, Special},
    gap::Interval,
    hosts::Network,
    process::{Process, command},
};

/// Traffic before the deploy, and between what happens.
const CALM: Duration = Duration::from_millis(1500);

/// Plays the deploy and the loss, and gives what there is to judge.
pub(super) async fn play(options: &DemoOptions, hosts: u8, say: &impl Fn(&str)) -> Result<Outcome> {
    let network = Arc::new(Network::make(hosts)?);
    let names: Vec<String> = network.hosts().iter().map(|host| host.name()).collect();
    let slots = OnHost::of(options.shards, &names);
    let mut fleet = start(options, &network, &slots).await?;
    let mut agents: Vec<Process> = Vec::new();
    for host in network.hosts() {
        agents.push(fleet.start_agent_of(host).await?);
    }
    fleet.all_serving(LIMIT).await?;
    let cold = fleet.discord.counts().await?;
    say(&format!(
        "{hosts} hosts, each with an agent and a slot: {} shards serve after a cold start of {} \
         IDENTIFYs",
        options.shards,
        cold.identifies - cold.identifies_refused,
    ));
    begin_traffic(options, &fleet, say).await?;
    sleep(BEFORE_PROBES).await;
    let sampled: Vec<u32> = (0..options.shards.min(options.sampled)).collect();
    fleet.discord.probe(&sampled, true).await?;
    sleep(BEFORE_DEPLOY).await;

    say("deploying build v2, slot after slot: baton-master deploy --all");
    let before = fleet.discord.counts().await?;
    let (began, since_us) = (Instant::now(), now_us());
    let mut arguments = vec!["--all".to_owned(), "--wait".to_owned(), "--".to_owned()];
    arguments.extend(fleet.slave_command("v2", &[])?);
    let deploy = operate(&fleet, options, "deploy", &arguments)?;
    stop_probes(&mut fleet, &sampled).await?;
    deploy.await?;
    let total_ms = began.elapsed().as_secs_f64() * 1000.0;
    let after = fleet.discord.counts().await?;
    let log = fleet.discord.log().await?;
    let moves = moves(&fleet, &log, since_us);
    let ended = ended(&fleet, &slots, &moves);
    sleep(CALM).await;

    let lost = lose(options, &mut fleet, &network, &slots, say).await?;
    sleep(CALM).await;
    fleet.discord.traffic(0.0).await?;
    let handled = fleet.settle(Duration::from_secs(30)).await?;
    let state_mismatches = mismatches(&fleet, &slots, &lost.at).await?;
    let log = fleet.discord.log().await?;
    let outcome = Outcome {
        slots,
        sent: fleet.discord.ledger().await?,
        handled,
        moves,
        ended,
        cold,
        before,
        after,
        total_ms,
        lost,
        state_mismatches,
        wire: wire(&log),
    };
    if options.keep {
        say(&format!(
            "logs and sinks are in {}",
            fleet.folder().display()
        ));
    }
    // The agents first: they would start slaves again.
    for agent in &mut agents {
        if !agent.is_over() {
            agent.stop().await?;
        }
    }
    fleet.shut_down().await?;
    Ok(outcome)
}

async fn start(options: &DemoOptions, network: &Arc<Network>, slots: &[OnHost]) -> Result<Fleet> {
    let slots = slots.iter().map(|slot| SlotOptions {
        name: slot.slot.clone(),
        host: Some(slot.host.clone()),
        shards: Some(format!("{}-{}", slot.first, slot.last)),
        more: String::new(),
    });
    let special = Special {
        late_seal: options.late_seal,
        slave_flags: options.slave_flags.clone(),
        limits: BTreeMap::from([("replay_buffer", replayed(options).to_string())]),
        slots: slots.collect(),
        network: Some(Arc::clone(network)),
        ..Special::default()
    };
    let mut fleet = fleet_options(options, special);
    fleet.discord.at = network.here();
    fleet.launch = true;
    Fleet::start(fleet).await
}

/// Begins a command of an operator: on this terminal, or only for its end, which is what is
/// to be waited for.
fn operate(
    fleet: &Fleet,
    options: &DemoOptions,
    verb: &str,
    arguments: &[String],
) -> Result<impl Future<Output = Result<()>> + use<>> {
    let config = fleet.folder().join("baton.toml").display().to_string();
    let first = [verb.to_owned(), "--config".to_owned(), config];
    let mut command: Command = command("baton-master", first.iter().chain(arguments))?;
    command.kill_on_drop(true);
    if !options.live {
        command.stdout(Stdio::null());
    }
    let run = command.spawn().map_err(Error::io("start baton-master"))?;
    let what = format!("baton-master {verb}");
    Ok(async move {
        let made = tokio::time::timeout(LIMIT, run.wait_with_output()).await;
        let late = |_| Error::Late(format!("{what} still runs after {LIMIT:?}"));
        let made = made
            .map_err(late)?
            .map_err(Error::io("wait for baton-master"))?;
        if made.status.success() {
            return Ok(());
        }
        let said = format!("{}; {}", made.status, String::from_utf8_lossy(&made.stderr));
        Err(Error::answer(&what, said.trim()))
    })
}

/// How each slot's part of the deploy ended, by slot, and how many of its shards moved.
fn ended(
    fleet: &Fleet,
    slots: &[OnHost],
    moves: &BTreeMap<u32, Interval>,
) -> BTreeMap<String, (u64, String)> {
    let news = fleet.news.all();
    let rollout = news.iter().find(|event| event["type"] == "rollout_ended");
    let done = rollout.and_then(|event| event["done"].as_array());
    let done = done.map_or(&[][..], Vec::as_slice);
    let ends = slots.iter().map(|slot| {
        let outcome = match done.iter().any(|name| *name == *slot.slot) {
            true => "done",
            false => "not done",
        };
        let moved = moves.keys().filter(|shard| slot.has(**shard)).count() as u64;
        (slot.slot.clone(), (moved, outcome.to_owned()))
    });
    ends.collect()
}

/// A host is gone in the middle of the traffic. The operator says so, and gives its shards to
/// the others.
async fn lose(
    options: &DemoOptions,
    fleet: &mut Fleet,
    network: &Network,
    slots: &[OnHost],
    say: &impl Fn(&str),
) -> Result<Lost> {
    let (host, at) = network
        .hosts()
        .iter()
        .zip(slots)
        .next_back()
        .ok_or_else(|| Error::answer("the demo", "it has no host"))?;
    say(&format!(
        "host {} is lost, and {} shards with it",
        at.host,
        at.size()
    ));
    let identifies = fleet.discord.counts().await?.identifies;
    let at_us = now_us();
    host.lose();
    // The master is not told: it hears nothing more, and an operator sees that.
    silent(fleet, &at.host).await?;
    let word = Instant::now();
    let fence = ["--host".to_owned(), at.host.clone()];
    operate(fleet, options, "fence", &fence)?.await?;
    let drain = [at.host.clone()];
    operate(fleet, options, "drain", &drain)?.await?;
    fleet.all_serving(LIMIT).await?;
    Ok(Lost {
        at: at.clone(),
        at_us,
        back_ms: word.elapsed().as_secs_f64() * 1000.0,
        identifies: fleet.discord.counts().await?.identifies - identifies,
    })
}

/// Waits until the master says that it does not reach the host.
async fn silent(fleet: &Fleet, host: &str) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let status = fleet.status().await?;
        let hosts = status["hosts"].as_array().map_or(&[][..], Vec::as_slice);
        let found = hosts.iter().find(|it| it["host"] == *host);
        if found.is_some_and(|it| it["connected"] == Value::Bool(false)) {
            return Ok(());
        }
        if Instant::now() > deadline {
            let hosts = &status["hosts"];
            return Err(Error::Late(format!("host {host} is not missed: {hosts}")));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// What the caches of the slots that are there say, against the truth.
async fn mismatches(fleet: &Fleet, slots: &[OnHost], lost: &OnHost) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for slot in slots.iter().filter(|slot| slot.slot != lost.slot) {
        let shards = slot.first..=slot.last;
        let build = format!("v2-{}", slot.slot);
        wrong.extend(
            fleet
                .state_mismatches_of(shards, &build, SAMPLED_GUILDS)
                .await?,
        );
    }
    Ok(wrong)
}
