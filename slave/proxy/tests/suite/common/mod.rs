//! A proxy on an upstream that does what a test says.

mod client;

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use baton_proxy::{
    Begin, Call, CommandRefused, Dispatch, Fleet, Guild, Guilds, Input, Proxy, ProxyConfig,
    Sequence, ShardId, Status, Token, Upstream,
};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    time::{Instant, sleep, timeout},
};

pub(crate) use self::client::{Came, Client, Manner};

/// The token of the tests. Libraries want its first part to be the bot's id.
pub(crate) const TOKEN: &str = "OTAw.secret.token";
/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The bot's user.
pub(crate) const BOT: u64 = 900;
/// The intents of the sessions: GUILDS, GUILD_MEMBERS, GUILD_MESSAGES.
pub(crate) const INTENTS: u64 = 1 | 2 | 512;

/// What a slave would be.
#[derive(Debug)]
pub(crate) struct Above {
    pub(crate) fleet: Mutex<Fleet>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
pub(crate) struct Inner {
    /// In their order, each with its text.
    pub(crate) guilds: Vec<(u64, Option<String>)>,
    /// Where the state stands.
    pub(crate) at: u64,
    pub(crate) calls: Vec<Call>,
    /// What was finished, in the order in which it was said.
    pub(crate) finished: Vec<(u64, u64)>,
    pub(crate) commands: Vec<Value>,
    /// So many commands are refused first.
    pub(crate) full: usize,
    /// How often it was told that there is room now, or none.
    rooms: usize,
    /// What was said last of the clients that go along.
    pub(crate) clients: String,
}

impl Above {
    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Every sequence that was finished, ascending. Each is said once.
    pub(crate) fn finished(&self) -> Vec<u64> {
        let inner = self.inner();
        let ranges = inner.finished.iter();
        let mut all: Vec<u64> = ranges.flat_map(|(first, last)| *first..=*last).collect();
        all.sort_unstable();
        let count = all.len();
        all.dedup();
        assert_eq!(all.len(), count, "each once: {:?}", inner.finished);
        all
    }

    pub(crate) fn rooms(&self) -> usize {
        self.inner().rooms
    }

    pub(crate) fn has_finished(&self, sequence: u64) -> bool {
        let inner = self.inner();
        let mut ranges = inner.finished.iter();
        ranges.any(|(first, last)| (*first..=*last).contains(&sequence))
    }
}

impl Upstream for Above {
    fn fleet(&self) -> Fleet {
        *self.fleet.lock().unwrap()
    }

    fn ready(&self, _: ShardId) -> Option<String> {
        let ready = json!({
            "user": {"id": BOT.to_string(), "username": "bot", "discriminator": "0", "avatar": null, "bot": true, "global_name": null,
                "verified": true, "mfa_enabled": true, "flags": 0, "email": null, "odd": 1},
            "application": {"id": "901", "flags": 0},
            "session_id": "the shard's own", "odd": {"new": [1.50]},
        });
        Some(ready.to_string())
    }

    fn guilds(&self, _: ShardId) -> Guilds {
        let inner = self.inner();
        Guilds {
            ids: inner.guilds.iter().map(|(id, _)| *id).collect(),
            at: Sequence(inner.at),
        }
    }

    fn guild(&self, _: ShardId, guild: u64) -> Option<Guild> {
        let inner = self.inner();
        let (_, text) = inner.guilds.iter().find(|(id, _)| *id == guild)?;
        Some(Guild {
            json: text.clone()?,
            at: Sequence(inner.at),
        })
    }

    fn calls(&self, _: ShardId) -> Vec<Call> {
        self.inner().calls.clone()
    }

    fn finished(&self, _: ShardId, first: Sequence, last: Sequence) {
        self.inner().finished.push((first.get(), last.get()));
    }

    fn room_changed(&self, _: ShardId) {
        self.inner().rooms += 1;
    }

    fn clients_changed(&self, _: ShardId, clients: &str) {
        clients.clone_into(&mut self.inner().clients);
    }

    fn command(&self, _: ShardId, json: String) -> Result<(), CommandRefused> {
        let mut inner = self.inner();
        if inner.full > 0 {
            inner.full -= 1;
            return Err(CommandRefused::Full);
        }
        inner.commands.push(serde_json::from_str(&json).unwrap());
        Ok(())
    }
}

fn above(shards: u32) -> Arc<Above> {
    let intents = INTENTS;
    let guilds = [1, 2].map(|id| (id, Some(guild(id))));
    let inner = Inner {
        guilds: guilds.to_vec(),
        at: 100,
        ..Inner::default()
    };
    Arc::new(Above {
        fleet: Mutex::new(Fleet { shards, intents }),
        inner: Mutex::new(inner),
    })
}

/// A proxy with shard 0.
pub(crate) struct Rig {
    pub(crate) proxy: Proxy,
    pub(crate) above: Arc<Above>,
    pub(crate) input: Input,
    /// One that others may have too, and what they are configured with.
    socket: Option<(std::net::TcpListener, ProxyConfig)>,
}

/// What a test changes of the configuration.
pub(crate) fn config() -> ProxyConfig {
    let mut config = ProxyConfig::default();
    config.listen.set_port(0);
    config.bot_token = Token::new(TOKEN);
    config.timings.ask = Duration::from_millis(20);
    // Longer than a busy machine stands still: who takes over waits for a word.
    config.timings.settle = Duration::from_secs(60);
    config
}

impl Rig {
    /// Of one shard, with a session whose events up to 100 are finished, and two guilds.
    pub(crate) async fn new() -> Self {
        Self::with(config()).await
    }

    pub(crate) async fn with(config: ProxyConfig) -> Self {
        let rig = Self::before_it_begins(config, 1).await;
        rig.resumed(100);
        rig
    }

    /// Its shard has no session yet.
    pub(crate) async fn before_it_begins(config: ProxyConfig, shards: u32) -> Self {
        let above = above(shards);
        let upstream: Arc<dyn Upstream> = above.clone();
        let proxy = Proxy::start(config, upstream).await.unwrap();
        Self::of(proxy, above)
    }

    /// On a socket that others have too. Nobody is let in yet.
    pub(crate) fn on(config: ProxyConfig, listener: std::net::TcpListener) -> Self {
        let above = above(1);
        let upstream: Arc<dyn Upstream> = above.clone();
        listener.set_nonblocking(true).unwrap();
        let socket = listener.try_clone().unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let proxy = Proxy::start_on(config.clone(), upstream, listener).unwrap();
        let mut rig = Self::of(proxy, above);
        rig.socket = Some((socket, config));
        rig
    }

    /// Another process on this one's socket, with the same guilds.
    pub(crate) fn sibling(&self) -> Self {
        let socket = self.socket.as_ref();
        let (socket, config) = socket.expect("it has one that others have");
        let sibling = Self::on(config.clone(), socket.try_clone().unwrap());
        let guilds = self.above.inner().guilds.clone();
        sibling.above.inner().guilds = guilds;
        sibling
    }

    fn of(proxy: Proxy, above: Arc<Above>) -> Self {
        let input = proxy.open(ShardId(0));
        Self {
            proxy,
            above,
            input,
            socket: None,
        }
    }

    /// The shard goes on with its session behind this event.
    pub(crate) fn resumed(&self, handled: u64) {
        let handled = Sequence(handled);
        self.input.begin(&Begin::Resumed { handled });
    }

    /// An event, which changes nothing in the state.
    pub(crate) async fn event(&self, sequence: u64) {
        self.say(sequence, "MESSAGE_CREATE", json!({"n": sequence}))
            .await;
    }

    pub(crate) async fn events(&self, sequences: std::ops::RangeInclusive<u64>) {
        for sequence in sequences {
            self.event(sequence).await;
        }
    }

    pub(crate) async fn say(&self, sequence: u64, kind: &str, d: Value) {
        let json = json!({"op": 0, "t": kind, "s": sequence, "d": d});
        self.input
            .event(Dispatch {
                sequence: Sequence(sequence),
                kind: kind.to_owned(),
                json: json.to_string().into(),
            })
            .await;
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.proxy.address())
    }

    /// A client that has read HELLO.
    pub(crate) async fn hello(&self) -> Client {
        self.hello_at("/?v=10&encoding=json").await
    }

    async fn hello_at(&self, path: &str) -> Client {
        let mut client = Client::open(&format!("{}{path}", self.url())).await;
        assert_eq!(client.payload().await["op"], 10);
        client
    }

    /// A client that has identified and read READY and the guilds, and those.
    pub(crate) async fn client(&self) -> (Client, Vec<Value>) {
        self.client_at("/?v=10&encoding=json").await
    }

    /// The same at this path.
    pub(crate) async fn client_at(&self, path: &str) -> (Client, Vec<Value>) {
        let mut client = self.hello_at(path).await;
        client.send(identify()).await;
        let greeting = client.greeting().await;
        (client, greeting)
    }

    pub(crate) fn status(&self) -> Status {
        self.proxy.status()
    }

    /// Waits for a condition.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !condition(self) {
            let shown = (self.status(), self.above.inner().finished.clone());
            assert!(began.elapsed() < PATIENCE, "not {what}: {shown:?}");
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// The client says that it has everything, this event too.
    pub(crate) async fn acknowledged(&self, client: &mut Client, sequence: u64) {
        client.beat().await;
        self.until_finished(sequence).await;
    }

    /// The client's process ends.
    pub(crate) async fn dies(&self, client: Client) {
        drop(client);
        self.until("gone", |rig| !rig.status().shards[0].clients[0].connected)
            .await;
    }

    pub(crate) async fn until_finished(&self, sequence: u64) {
        let what = format!("finished: {sequence}");
        self.until(&what, |rig| rig.above.has_finished(sequence))
            .await;
    }
}

pub(crate) fn identify() -> Value {
    json!({"op": 2, "d": {
        "token": format!("Bot {TOKEN}"), "intents": INTENTS,
        "properties": {"os": "linux", "browser": "tests", "device": "tests"},
    }})
}

/// RESUME of the session that this READY named, behind this sequence.
pub(crate) fn resume(ready: &Value, sequence: u64) -> Value {
    let session = &ready["d"]["session_id"];
    json!({"op": 6, "d": {"token": TOKEN, "session_id": session, "seq": sequence}})
}

/// The text of a guild with two members.
pub(crate) fn guild(id: u64) -> String {
    json!({
        "id": id.to_string(), "name": "a guild", "member_count": 2, "odd": [1.50],
        "members": [{"user": {"id": "11"}}, {"user": {"id": "12"}}],
    })
    .to_string()
}

/// These events as a client gets them, the first with this sequence.
pub(crate) fn in_a_row(
    first: u64,
    events: std::ops::RangeInclusive<u64>,
) -> Vec<(u64, Option<u64>)> {
    (first..).zip(events.map(Some)).collect()
}

/// Within the patience of a test.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it came in time")
}
