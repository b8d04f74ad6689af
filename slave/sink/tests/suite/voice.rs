//! The worker of `docs/voice.md` behind a whole fleet, judged at a stand-in for Lavalink: there
//! a track goes on only while the simulated Discord keeps the voice connection of its player.

use std::{
    fs, io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use async_nats::jetstream;
use baton_brokers::{Nats, Process, or_pass_over, parts};
use baton_lavalink::{Config, Lavalink, What};
use baton_testing::{Fault, FaultName, Fleet, Traffic};
use serde_json::{Value, json};

use crate::{
    common::{PATIENCE, until_true},
    fleet::bot,
    workers::{Language, Worker},
};

/// The worker's file, in the folder of the broker.
const KEPT: &str = "voice.json";

/// A fleet that publishes, the worker, and Lavalink: its player is in a channel, and plays.
struct Scene {
    fleet: Fleet,
    /// `None`: it was killed.
    lavalink: Option<Lavalink>,
    address: SocketAddr,
    worker: Worker,
    /// Its process; `None`: it is away.
    process: Option<Process>,
    bot: String,
    guild: u64,
    channel: String,
    nats: Nats,
}

impl Scene {
    /// `None`: something is not installed.
    async fn start() -> Option<Self> {
        let nats = or_pass_over(Nats::start())?;
        let library = or_pass_over(parts::python("lavalink"))?;
        let lavalink = lavalink(Config::default().listen).await.unwrap();
        let address = lavalink.address();
        // A guild that has an outage lets nobody into its channels.
        let builder = Fleet::builder().shards(2).events_per_second(0.0);
        let fleet = builder.patience(PATIENCE).start(bot("v1", &nats));
        let fleet = fleet.await.unwrap();
        let (guild, channel) = voice_channel(&fleet);
        let bot = fleet.status().await.unwrap()["bot"].take();
        let bot = bot.as_str().unwrap().to_owned();
        let environment = vec![
            ("NATS_URL", nats.url()),
            ("LAVALINK", address.to_string()),
            ("BOT", bot.clone()),
            ("GUILD", guild.to_string()),
            ("CHANNEL", channel.clone()),
            ("TRACK", "silence:36000".to_owned()),
            ("KEPT", nats.dir().join(KEPT).display().to_string()),
        ];
        let which = (Language::Python, "import lavalink");
        let worker = Worker::of("voice.md", which, nats.dir(), &library, environment);
        let mut scene = Self {
            fleet,
            lavalink: Some(lavalink),
            address,
            worker,
            process: None,
            bot,
            guild,
            channel,
            nats,
        };
        scene.worker_starts();
        scene.until("it plays", || scene.position() > 0).await;
        Some(scene)
    }

    fn worker_starts(&mut self) {
        self.process = Some(self.worker.start());
    }

    /// `kill -9`.
    fn worker_dies(&mut self) {
        self.process = None;
    }

    /// Another Lavalink is there, which knows nothing.
    async fn lavalink_is_restarted(&mut self) {
        self.lavalink = None;
        let began = Instant::now();
        while self.lavalink.is_none() {
            assert!(began.elapsed() < PATIENCE, "its address is taken");
            self.lavalink = lavalink(self.address).await.ok();
        }
    }

    /// The next worker has gone on with so many sessions by now.
    async fn resumes(&self, times: usize) {
        let is_so = || self.count(&What::Resumed) == times;
        self.until("the next worker goes on", is_so).await;
    }

    /// How often Discord has ended the player's connection because the bot had left.
    fn outs(&self) -> usize {
        self.count(&What::VoiceClosed(4014))
    }

    /// Discord has done so once more than this.
    async fn is_out(&self, before: usize) {
        self.until("it is out", || self.outs() > before).await;
    }

    /// Lavalink was let in so many times by now, and somebody hears the track.
    async fn is_in(&self, times: usize) {
        let is_so = || self.count(&What::VoiceConnected) == times;
        self.until("it is in", is_so).await;
        let at = self.position();
        self.until("it is heard", || self.position() > at).await;
    }

    /// Where the track is, in milliseconds.
    fn position(&self) -> u64 {
        let lavalink = self.lavalink.as_ref();
        lavalink.and_then(|it| it.position(self.guild)).unwrap_or(0)
    }

    /// What the next worker will know.
    fn kept(&self) -> String {
        fs::read_to_string(self.nats.dir().join(KEPT)).unwrap_or_default()
    }

    /// The session of Lavalink that began last.
    fn session(&self) -> String {
        let lines = self.lavalink.iter().flat_map(Lavalink::ledger);
        let mut began = lines.filter(|line| line.what == What::Connected);
        began.next_back().unwrap().session
    }

    fn happened(&self) -> Vec<What> {
        let lines = self.lavalink.iter().flat_map(Lavalink::ledger);
        lines.map(|line| line.what).collect()
    }

    fn count(&self, what: &What) -> usize {
        self.happened().iter().filter(|one| *one == what).count()
    }

    /// Another worker sends op 4.
    async fn moves_to(&self, channel: Value) {
        let d = json!({
            "guild_id": self.guild.to_string(), "channel_id": channel,
            "self_mute": false, "self_deaf": false,
        });
        let command = json!({"op": 4, "d": d}).to_string();
        let sent = async || -> Result<(), async_nats::Error> {
            let broker = async_nats::connect(self.nats.url()).await?;
            let context = jetstream::new(broker);
            let sent = context.publish("baton.commands.any", command.clone().into());
            sent.await?.await?;
            Ok(())
        };
        until_true("the broker takes it", async || sent().await.is_ok()).await;
    }

    /// A session that is over has ended for good: its end comes late, in the one behind it.
    async fn hears_that_another_session_has_ended(&self) {
        let d = json!({
            "guild_id": self.guild.to_string(), "user_id": self.bot, "channel_id": null,
        });
        let event = json!({"t": "VOICE_STATE_UPDATE", "s": 1, "op": 0, "d": d}).to_string();
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("baton-guild", self.guild.to_string());
        headers.insert("baton-session", "0011223344556677");
        let broker = async_nats::connect(self.nats.url()).await.unwrap();
        let context = jetstream::new(broker);
        let subject = "baton.events.0.0.VOICE_STATE_UPDATE";
        let sent = context.publish_with_headers(subject, headers, event.into());
        sent.await.unwrap().await.unwrap();
    }

    /// Discord forgets the session of the guild's shard as soon as its connection ends, which is
    /// now: the publisher is killed.
    async fn loses_its_session(&mut self) {
        let expires = Fault::new(FaultName::ExpireSession).on_shard(0);
        self.fleet.fault(expires).unwrap();
        self.fleet.kill_bot().await.unwrap();
    }

    async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_so() {
            assert!(
                began.elapsed() < PATIENCE,
                "it never came to this: {what}; {:?}; the worker said {:?}",
                self.happened(),
                self.worker.said()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn lavalink(listen: SocketAddr) -> io::Result<Lavalink> {
    let config = Config {
        listen,
        player_update: Duration::from_millis(200),
        voice_scheme: "ws",
        ..Config::default()
    };
    Lavalink::start(config).await
}

/// A guild of the first shard, and a channel in which the bot can play.
fn voice_channel(fleet: &Fleet) -> (u64, String) {
    let guild = fleet.discord().truth_guilds(0).unwrap()[0];
    let truth = fleet.discord().truth_guild(guild).unwrap();
    let truth: Value = serde_json::from_str(&truth).unwrap();
    let channels = truth["guild"]["channels"].as_array().unwrap();
    let voice = channels.iter().find(|channel| channel["type"] == 2);
    (guild, voice.unwrap()["id"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_player_never_stops_through_deploys_crashes_and_restarts_of_its_worker() {
    let Some(mut scene) = Scene::start().await else {
        return;
    };
    let traffic = Traffic::at_rate(20.0);
    scene.fleet.discord().set_traffic(None, &traffic).unwrap();
    let at = scene.position();
    let began = Instant::now();

    // Of the gateway, also while no worker is there.
    scene.fleet.deploy(bot("v2", &scene.nats)).await.unwrap();
    scene.worker_dies();
    scene.fleet.deploy(bot("v3", &scene.nats)).await.unwrap();
    scene.worker_starts();
    scene.resumes(1).await;
    scene.fleet.kill_bot().await.unwrap();
    // Both at once.
    scene.worker_dies();
    scene.fleet.kill_bot().await.unwrap();
    scene.worker_starts();
    scene.resumes(2).await;
    scene.fleet.assert_nothing_lost().await;

    // Its time and that of everybody else are the same, but for what is cut off to milliseconds.
    let lasted = began.elapsed();
    let played = Duration::from_millis(scene.position() - at + 1);
    assert!(played >= lasted, "it played {played:?} of {lasted:?}");
    let happened = scene.happened();
    let expected = [
        What::Connected,
        What::TrackStarted,
        What::VoiceConnected,
        What::Away,
        What::Resumed,
        What::Away,
        What::Resumed,
    ];
    assert_eq!(happened, expected);
    assert_eq!(scene.fleet.discord().counters().total.identifies, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_track_goes_on_where_it_was_when_discord_took_the_bot_out_of_its_channel() {
    let Some(mut scene) = Scene::start().await else {
        return;
    };
    // The worker joins again by the new session, maybe before Discord looks who is there.
    let at = scene.position();
    scene.loses_its_session().await;
    scene.is_in(2).await;
    assert_eq!(scene.fleet.discord().counters().total.identifies, 3);
    let refused = |what: &What| matches!(what, What::Refused(_));
    assert!(!scene.happened().iter().any(refused), "half of it was old");

    // The same, and the worker hears of it when it is back.
    scene.worker_dies();
    let outs = scene.outs();
    scene.loses_its_session().await;
    scene.is_out(outs).await;
    scene.worker_starts();
    scene.is_in(3).await;

    // The voice server is another one, and the worker hears of it when it is back.
    scene.worker_dies();
    let outs = scene.outs();
    scene.moves_to(json!(scene.channel)).await;
    scene.is_out(outs).await;
    scene.worker_starts();
    scene.is_in(4).await;

    scene.hears_that_another_session_has_ended().await;
    scene.moves_to(json!(scene.channel)).await;
    scene.is_in(5).await;

    assert!(scene.position() > at);
    assert_eq!(scene.count(&What::TrackStarted), 1, "it is the same track");
    assert_eq!(scene.count(&What::Ended), 0, "it is the same player");

    let stopped = What::TrackEnded("stopped");
    assert_eq!(scene.count(&stopped), 0);

    // Somebody takes the bot out, and means it.
    scene.moves_to(Value::Null).await;
    let ends = || scene.count(&stopped) == 1;
    scene.until("the worker ends the player", ends).await;
    assert_eq!(scene.count(&What::VoiceConnected), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_goes_on_with_a_broker_and_a_lavalink_that_were_restarted() {
    let Some(mut scene) = Scene::start().await else {
        return;
    };
    scene.nats.kill();
    scene.nats.start_again().unwrap();
    scene.moves_to(json!(scene.channel)).await;
    scene.is_in(2).await;

    scene.lavalink_is_restarted().await;
    scene.until("it plays again", || scene.position() > 0).await;
    // The new session of Lavalink is what the next worker goes on with.
    let is_kept = || scene.kept().contains(&scene.session());
    scene.until("it is kept", is_kept).await;
    scene.worker_dies();
    scene.worker_starts();
    scene.resumes(1).await;
    assert_eq!(scene.count(&What::TrackStarted), 1);

    scene.worker_dies();
    scene.lavalink_is_restarted().await;
    scene.worker_starts();
    scene.until("it plays again", || scene.position() > 0).await;
    assert_eq!(scene.count(&What::VoiceConnected), 1);
}
