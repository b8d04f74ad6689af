//! A core that is away behind a publisher that stays: its queue waits, it starts when the shards
//! serve, and what stands already is not done again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_nats::jetstream::{self, consumer::pull};
use baton_brokers::{Nats, or_pass_over};
use baton_slave::{Ack, Bot, Event, Sequence, ShardId};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::timeout};

use crate::{
    commands::Owner,
    common::{Came, PATIENCE, Traffic, judge, until},
    nats::config,
    scenes::A_MS,
};

/// So many seconds the core is away; a minute needs more patience than all tests have together.
const AWAY: &str = "BATON_CORE_AWAY";
const USUALLY: u64 = 3;

/// The code behind the queue: handles events, each once it is acknowledged.
struct Core {
    handled: Arc<std::sync::Mutex<Vec<Came>>>,
    task: JoinHandle<()>,
}

impl Core {
    /// Says that it starts, and takes events once all shards are ready.
    async fn start(nats: &Nats, before: Vec<Came>, want: Value) -> (Self, Value) {
        let broker = async_nats::connect(nats.url()).await.unwrap();
        let ready = starts(&broker, json!({"envelope": 1, "commands": 1}), want).await;
        let context = jetstream::new(broker);
        let stream = context.get_stream("baton").await.unwrap();
        let durable = pull::Config {
            durable_name: Some("core".to_owned()),
            max_ack_pending: 1,
            ack_wait: Duration::from_secs(1),
            ..pull::Config::default()
        };
        let consumer = stream
            .get_or_create_consumer("core", durable)
            .await
            .unwrap();
        let mut messages = consumer.messages().await.unwrap();
        let handled = Arc::new(std::sync::Mutex::new(before));
        let all = Arc::clone(&handled);
        let task = tokio::spawn(async move {
            while let Some(Ok(message)) = messages.next().await {
                let headers = message.headers.clone().unwrap();
                let header = |name: &str| headers.get(name).map(ToString::to_string);
                let mut came = Came::read(header);
                came.is_marked |= message.info().unwrap().delivered > 1;
                all.lock().unwrap().push(came);
                let _ = message.ack().await;
            }
        });
        (Self { handled, task }, ready)
    }

    fn count(&self) -> usize {
        self.handled.lock().unwrap().len()
    }

    /// It dies, with what it had handled.
    fn dies(self) -> Vec<Came> {
        self.task.abort();
        self.handled.lock().unwrap().clone()
    }
}

/// Says that a core starts, and waits for what the shard says.
async fn starts(broker: &async_nats::Client, versions: Value, want: Value) -> Value {
    let inbox = broker.new_inbox();
    let mut answers = broker.subscribe(inbox.clone()).await.unwrap();
    let message = json!({"control": "start", "versions": versions, "want": want}).to_string();
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("baton-answer", inbox);
    headers.insert("baton-ttl", "60000");
    let context = jetstream::new(broker.clone());
    let said = context.publish_with_headers("baton.commands.any", headers, message.into());
    said.await.unwrap().await.unwrap();
    let answer = timeout(PATIENCE, answers.next()).await.unwrap().unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
}

#[tokio::test]
async fn a_core_that_is_away_loses_nothing_waits_for_its_shards_and_gets_only_what_differs() {
    let Some(nats) = or_pass_over(Nats::start()) else {
        return;
    };
    let mut owner = Owner::start(config(&nats.url()), 1).await;
    owner.discord.is_user(77);
    // The queue of any shard is there once a shard is.
    let broker = async_nats::connect(nats.url()).await.unwrap();
    let context = jetstream::new(broker.clone());
    crate::common::until_true("the queue is there", async || {
        context.get_stream("baton-commands").await.is_ok()
    })
    .await;

    // Another version is refused with the reason, whether the shard serves or not.
    owner.discord.is_connected(false);
    let refused = starts(&broker, json!({"envelope": 2}), json!({})).await;
    let reason = refused["reason"].as_str().unwrap();
    assert!(
        reason.contains("speaks version 2 of envelope, and this publisher version 1"),
        "{reason}"
    );

    // Its start is blocked until the shard serves.
    let guild = (5_u64 << 22).to_string();
    let want =
        json!({"presence": {"status": "idle"}, "voice": {guild.clone(): {"channel_id": "9"}}});
    let starting = Core::start(&nats, Vec::new(), want.clone());
    tokio::pin!(starting);
    let early = timeout(Duration::from_millis(500), &mut starting).await;
    assert!(early.is_err(), "nothing serves");
    assert_eq!(owner.discord.try_recv(), None);
    owner.discord.is_connected(true);
    let written = async {
        let presence = owner.written().await;
        (presence, owner.written().await)
    };
    let ((core, ready), (presence, voice)) = tokio::join!(starting, written);
    assert!(
        presence.contains(r#""op":3"#) && voice.contains(r#""op":4"#),
        "{presence} {voice}"
    );
    assert_eq!(
        (&ready["ready"], &ready["written"], &ready["shards"]),
        (&json!(true), &json!(2), &json!(1))
    );

    // It dies, and the publisher goes on.
    let traffic = Traffic::start(Arc::clone(&owner.sink), 0, A_MS);
    until("it handles events", || core.count() > 200).await;
    let before = core.dies();
    let seconds = std::env::var(AWAY).map_or(USUALLY, |away| away.parse().unwrap());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    // Somebody moves the bot to another channel meanwhile.
    owner.hears_that_it_is_in(&guild, "8");
    let (core, ready) = {
        let written = owner.written();
        let ((core, ready), written) =
            tokio::join!(Core::start(&nats, before, want.clone()), written);
        assert!(written.contains(r#""channel_id":"9""#), "{written}");
        (core, ready)
    };
    assert_eq!(ready["written"], 1, "the presence stood");
    traffic.more(300).await;
    let last = traffic.end().await;
    let all = || -> BTreeMap<u64, Came> {
        let handled = core.handled.lock().unwrap();
        let of_shard = handled.iter().filter(|one| one.shard == 0);
        of_shard.map(|one| (one.sequence, one.clone())).collect()
    };
    until("it has handled them all", || all().len() as u64 >= last).await;
    let again = judge(&core.dies(), 0, last);
    assert!(again <= 1, "what it had in hand: {again}");

    // It comes back once more, and nothing differs.
    let (core, ready) = Core::start(&nats, Vec::new(), want).await;
    assert_eq!(ready["written"], 0);
    core.dies();
    assert_eq!(owner.discord.try_recv(), None);
}

impl Owner {
    /// The bot's own voice state, as an event says it.
    fn hears_that_it_is_in(&self, guild: &str, channel: &str) {
        let d = json!({"guild_id": guild, "channel_id": channel, "user_id": "77", "self_mute": false, "self_deaf": false});
        let text = json!({"t": "VOICE_STATE_UPDATE", "s": 1_000_000, "op": 0, "d": d}).to_string();
        let event = Event::for_test(ShardId(7), Sequence(1_000_000), "VOICE_STATE_UPDATE", &text);
        self.sink.handle(event, Ack::detached(), &self.handle);
    }
}
