//! A whole fleet whose slaves publish: what Discord sent is compared with what the broker
//! has. The programs are those of `scripts/programs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_nats::jetstream;
use baton_brokers::{Nats, or_pass_over};
use baton_testing::{Fleet, process::program};
use serde_json::{Value, json};

use crate::{
    common::{Came, until_true},
    nats::{everything_of, messages_of},
};

pub(crate) fn bot(build: &str, nats: &Nats) -> Vec<String> {
    let program = program("baton-slave").unwrap().display().to_string();
    let url = nats.url();
    let flags = ["--build", build, "--sink", &url];
    let flags = flags.map(str::to_owned);
    std::iter::once(program).chain(flags).collect()
}

/// What the master shows of the broker of the slave that has the shards.
async fn shown(fleet: &Fleet) -> Value {
    let mut status = fleet.status().await.unwrap();
    let slaves = status["slaves"].as_array_mut().unwrap().iter_mut();
    let mut owners = slaves.filter(|slave| slave["shards"] != 0);
    owners
        .next()
        .map_or(Value::Null, |owner| owner["sink"].take())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deploy_a_killed_slave_and_a_killed_broker_lose_and_repeat_nothing() {
    let Some(mut nats) = or_pass_over(Nats::start()) else {
        return;
    };
    let builder = Fleet::builder().shards(2);
    let mut fleet = builder.start(bot("v1", &nats)).await.unwrap();
    fleet.deploy(bot("v2", &nats)).await.unwrap();
    fleet.assert_nothing_lost().await;
    fleet.kill_bot().await.unwrap();
    fleet.serves().await.unwrap();
    fleet.assert_nothing_lost().await;
    until_true("the master shows what the broker confirmed", async || {
        let sink = shown(&fleet).await;
        sink["confirmed"].as_u64() > Some(0) && sink["broker"] == nats.url()
    })
    .await;
    nats.kill();
    until_true(
        "the master shows that it takes nothing, and why",
        async || {
            let sink = shown(&fleet).await;
            !sink["troubled_ms"].is_null() && sink["reason"] != ""
        },
    )
    .await;
    let before = fleet.discord().ledger_counts().0;
    until_true("events came meanwhile", async || {
        fleet.discord().ledger_counts().0 > before + 20
    })
    .await;
    nats.start_again().unwrap();
    until_true("the master shows that it takes events again", async || {
        let sink = shown(&fleet).await;
        sink["troubled_ms"].is_null() && sink["reason"] == ""
    })
    .await;
    fleet.assert_nothing_lost().await;
    until_true("there is something to compare", async || {
        fleet.discord().ledger_counts().0 > 150
    })
    .await;
    fleet.assert_nothing_lost().await;
    assert_eq!(fleet.discord().counters().total.identifies, 2);

    let came = everything_of(&nats).await;
    let sent = fleet.discord().ledger(0, usize::MAX);
    assert!(sent.len() > 100);
    let names: BTreeSet<_> = came
        .iter()
        .map(|(session, one)| (session, one.sequence))
        .collect();
    assert_eq!(names.len(), came.len(), "nothing came twice");
    let newest = |shard: u32| {
        came.iter()
            .filter(|(_, one)| one.shard == shard)
            .map(|(_, one)| one.sequence)
            .max()
    };
    for entry in sent {
        // It is no event of a bot.
        if entry.kind.to_string() == "RESUMED" {
            continue;
        }
        // Traffic goes on.
        if Some(entry.seq) > newest(entry.shard) {
            continue;
        }
        let session = entry.session.to_string();
        let is_there = names.contains(&(&session, entry.seq));
        assert!(
            is_there,
            "{:?} {} of {session} is lost",
            entry.kind, entry.seq
        );
    }
    // What an owner had under way when its shard moved may come behind the first of the next.
    let mut newest = BTreeMap::<_, u64>::new();
    for (_, one) in &came {
        let Came {
            shard,
            guild,
            epoch,
            sequence,
            ..
        } = *one;
        let last = newest.insert((shard, guild, epoch), sequence);
        assert!(last < Some(sequence), "{one:?} came behind {last:?}");
    }
}

/// A worker: asks for members again and again, of a guild of each shard in turn, until it is
/// told to stop. Gives how many it asked for.
async fn asks(url: String, guilds: Vec<(String, u64)>, stop: Arc<AtomicBool>) -> usize {
    let context = jetstream::new(async_nats::connect(url).await.unwrap());
    let mut asked = 0;
    // Fewer than Discord takes in a minute.
    while asked < 160 && !stop.load(Ordering::Relaxed) {
        let (place, guild) = &guilds[asked % guilds.len()];
        let d = json!({"guild_id": guild.to_string(), "query": "", "limit": 1, "nonce": format!("ask-{asked}")});
        let command = json!({"op": 8, "d": d}).to_string();
        let by_shard = asked % 3 > 0;
        let place = if by_shard {
            place
        } else {
            "baton.commands.any"
        };
        let sent = context.publish(place.to_owned(), command.into()).await;
        sent.unwrap().await.unwrap();
        asked += 1;
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    asked
}

/// The nonces of the chunks that came as events.
async fn chunks(nats: &Nats) -> Vec<String> {
    let came = messages_of(nats, "baton").await;
    let chunks = came
        .iter()
        .filter(|message| message.subject.ends_with(".GUILD_MEMBERS_CHUNK"));
    let nonce = |message: &jetstream::Message| {
        let payload: Value = serde_json::from_slice(&message.payload).unwrap();
        payload["d"]["nonce"].as_str().unwrap().to_owned()
    };
    chunks.map(nonce).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_of_a_worker_over_a_deploy_are_written_once_and_each_is_answered_by_an_event() {
    let Some(nats) = or_pass_over(Nats::start()) else {
        return;
    };
    let builder = Fleet::builder().shards(2);
    let mut fleet = builder.start(bot("v1", &nats)).await.unwrap();
    fleet.assert_nothing_lost().await;
    // Of each shard where commands go, and a guild: an event says both.
    let mut guilds = BTreeMap::new();
    for message in messages_of(&nats, "baton").await {
        let headers = message.headers.clone().unwrap();
        let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
        if let Some(guild) = header("baton-guild") {
            guilds.insert(header("baton-commands").unwrap(), guild.parse().unwrap());
        }
    }
    let guilds: Vec<(String, u64)> = guilds.into_iter().collect();
    assert_eq!(guilds.len(), 2, "{guilds:?}");
    let stop = Arc::new(AtomicBool::new(false));
    let worker = tokio::spawn(asks(nats.url(), guilds, Arc::clone(&stop)));
    fleet.deploy(bot("v2", &nats)).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let asked = worker.await.unwrap();
    assert!(asked > 20, "{asked}");
    let mut nonces: Vec<_> = (0..asked).map(|number| format!("ask-{number}")).collect();
    nonces.sort();
    until_true("each is answered", async || {
        chunks(&nats).await.len() >= asked
    })
    .await;
    let mut came = chunks(&nats).await;
    came.sort();
    assert_eq!(came, nonces);
    // Discord got each once.
    let lines = fleet.discord().commands(0).into_iter();
    let lines = lines.filter(|line| line.op == 8);
    let read = lines.map(|line| serde_json::from_str::<Value>(&line.data).unwrap());
    let mut got: Vec<_> = read
        .map(|d| d["nonce"].as_str().unwrap().to_owned())
        .collect();
    got.sort();
    assert_eq!(got, nonces);
    fleet.assert_nothing_lost().await;
    assert_eq!(fleet.discord().counters().total.identifies, 2);
}
