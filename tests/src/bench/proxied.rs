//! What the proxy costs a client, beside a bare client of the same simulated Discord: the
//! delay that it adds, processor time, memory, and the time of READY with its guilds.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::sleep,
};
use tokio_websockets::{ClientBuilder, Message, ServerBuilder};

use super::{
    client::{Client, WIRE, Wire},
    handover::Kept,
    median,
    place::Place,
    serving,
};
use crate::{
    chaos::hunt,
    demo::now_us,
    discord::{Discord, DiscordOptions},
    error::{Error, Result},
    fleet::{Fleet, FleetOptions, Slave, own_proxy},
    gap::Spread,
};

/// A cold start takes at most this long.
const START: Duration = Duration::from_secs(120);
/// Traffic before it is counted, and while it is.
const WARM: Duration = Duration::from_secs(2);
const COUNTED: Duration = Duration::from_secs(5);
/// Until the last event that was counted has come.
const LATE: Duration = Duration::from_secs(2);
/// Greetings of one row.
const GREETINGS: usize = 5;
/// Events a second for the client that does not read.
const UNREAD: f64 = 4000.0;

/// Everything about the proxy.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Proxied {
    /// Events through it.
    pub events: Vec<Through>,
    /// READY with its guilds.
    pub greetings: Vec<Greeting>,
    /// Memory of what there are many of.
    pub memory: Vec<Each>,
    /// A client that does not read.
    pub unread: Vec<Unread>,
}

/// Events through the proxy: one client for each shard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Through {
    /// Shards, and clients.
    pub shards: u32,
    /// Events a second that came, all shards together.
    pub rate: f64,
    /// How everybody talks.
    pub wire: String,
    /// From the simulated Discord to the client.
    pub delay_ms: Spread,
    /// The same without a proxy between them.
    pub bare_ms: Spread,
    /// The difference of the medians.
    pub added_p50_ms: Option<f64>,
    /// The difference of the 99th percentiles.
    pub added_p99_ms: Option<f64>,
    /// Microseconds of processor time of an event, of the process behind the proxy.
    pub slave_us: f64,
    /// The same of bare twilight with its cache.
    pub bare_us: f64,
}

/// READY and its guilds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Greeting {
    /// Guilds of the shard.
    pub guilds: u32,
    /// Bytes of READY and all of them.
    pub bytes: usize,
    /// From IDENTIFY to the last guild: the median.
    pub ms: f64,
    /// The same messages through a websocket with nothing behind it: the median.
    pub socket_ms: f64,
}

/// Memory of one of many, from the difference of two sizes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Each {
    /// What there is more of.
    pub of: String,
    /// KiB of the process' own memory; the store's pages are not in it.
    pub kib: f64,
}

/// One client that reads nothing after its READY.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unread {
    /// For so long.
    pub seconds: u64,
    /// Events a second that were asked for meanwhile.
    pub rate: f64,
    /// KiB of the process' own memory before.
    pub before_kib: f64,
    /// The most in the first half.
    pub first_kib: f64,
    /// The most in the second half.
    pub second_kib: f64,
}

/// A fleet whose slave serves clients.
struct Behind {
    fleet: Fleet,
    slave: Slave,
    url: String,
    _place: Place,
}

impl Behind {
    async fn start(shards: u32, guilds: u32) -> Result<Self> {
        let fleet = Fleet::start(FleetOptions {
            discord: options(shards, guilds),
            ..FleetOptions::default()
        })
        .await?;
        let address = own_proxy().to_string();
        let place = Place::new()?;
        let stored = Kept::Store.flags(&place);
        let mut flags = vec!["--proxy", &address];
        flags.extend(stored.iter().map(String::as_str));
        let slave = fleet.start_slave_with("v1", &flags).await?;
        fleet.all_serving(START).await?;
        let url = format!("ws://{address}");
        Ok(Self {
            fleet,
            slave,
            url,
            _place: place,
        })
    }

    fn pid(&self) -> Result<u32> {
        let process = &self.slave.process;
        process
            .pid()
            .ok_or_else(|| Error::answer("the slave", process.last_words()))
    }

    /// KiB of its own memory.
    fn memory(&self) -> Result<f64> {
        match hunt::own_kib(self.pid()?) {
            0 => Err(Error::answer("/proc", "no VmRSS")),
            kib => Ok(kib as f64),
        }
    }

    async fn end(self) -> Result<()> {
        drop(self.slave);
        self.fleet.shut_down().await
    }
}

fn options(shards: u32, guilds: u32) -> DiscordOptions {
    let mut options = DiscordOptions {
        shards,
        guilds_per_shard: guilds,
        members_per_guild: 20,
        ..DiscordOptions::default()
    };
    options.more.push("--stamp".to_owned());
    options
}

/// What each client got: the stamp of each event, and when it came.
type Came = Vec<(String, u64)>;

/// One client for each shard, and everything that they get until this is dropped.
struct Clients {
    stop: watch::Sender<()>,
    all: JoinSet<Result<Came>>,
}

impl Clients {
    async fn connect(url: &str, shards: u32) -> Result<Self> {
        let (stop, stopped) = watch::channel(());
        let mut all = JoinSet::new();
        for shard in 0..shards {
            let mut client = identified(url, shard, shards).await?;
            let mut stopped = stopped.clone();
            all.spawn(async move {
                let mut came = Came::new();
                loop {
                    let text = tokio::select! {
                        biased;
                        _ = stopped.changed() => return Ok(came),
                        text = client.next_text() => text?,
                    };
                    let at = now_us();
                    came.extend(stamp(&text).map(|stamp| (stamp, at)));
                }
            });
        }
        Ok(Self { stop, all })
    }

    /// What came of what was sent between two times.
    async fn delays(self, discord: &Discord, span: (u64, u64)) -> Result<Vec<i64>> {
        let Self { stop, mut all } = self;
        drop(stop);
        let sent = discord.ledger().await?;
        let made: HashMap<String, u64> = sent
            .iter()
            .filter(|sent| (span.0..span.1).contains(&sent.created_us))
            .map(|sent| (format!("{}:{}", sent.session, sent.seq), sent.created_us))
            .collect();
        let mut delays = Vec::new();
        while let Some(came) = all.join_next().await {
            let came = came.map_err(|error| Error::answer("a client", error))??;
            let delay = |(stamp, at): (String, u64)| {
                Some(at.cast_signed() - made.get(&stamp)?.cast_signed())
            };
            delays.extend(came.into_iter().filter_map(delay));
        }
        if delays.len() * 100 < made.len() * 99 {
            let text = format!("{} of {} events came", delays.len(), made.len());
            return Err(Error::answer("the clients", text));
        }
        Ok(delays)
    }
}

/// A client of one shard. The simulated Discord lets so many identify in a while, and refuses the
/// others: they try again.
async fn identified(url: &str, shard: u32, shards: u32) -> Result<Client> {
    let mut tries = 0;
    loop {
        let mut client = Client::dial(url).await?;
        match client.identify(shard, shards).await {
            Ok(_) => return Ok(client),
            Err(_) if tries < 100 => tries += 1,
            Err(error) => return Err(error),
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// What names the dispatch.
fn stamp(text: &str) -> Option<String> {
    let (_, rest) = text.split_once(r#""_stamp":""#)?;
    rest.split_once('"').map(|(stamp, _)| stamp.to_owned())
}

/// The part of the traffic that is counted: when it was, and how many events came a second.
async fn traffic(discord: &Discord, rate: f64) -> Result<((u64, u64), f64)> {
    discord.traffic(rate).await?;
    sleep(WARM).await;
    let (from, before) = (now_us(), discord.dispatched().await?);
    sleep(COUNTED).await;
    let (to, after) = (now_us(), discord.dispatched().await?);
    let came = (after - before) as f64 / ((to - from) as f64 / 1e6);
    Ok(((from, to), came))
}

/// Measures `rate` events a second over `shards` shards.
///
/// # Errors
/// Somebody does not start, or events do not come.
pub async fn events(shards: u32, rate: f64) -> Result<Through> {
    let of_shard = rate / f64::from(shards);
    let folder = TempDir::with_prefix("baton-").map_err(Error::io("make a folder"))?;
    let discord = Discord::start(folder.path(), folder.path(), &options(shards, 20)).await?;
    let clients = Clients::connect(&discord.gateway_url, shards).await?;
    let (span, _) = traffic(&discord, of_shard).await?;
    discord.traffic(0.0).await?;
    sleep(LATE).await;
    let bare = clients.delays(&discord, span).await?;
    drop(discord);

    let behind = Behind::start(shards, 20).await?;
    let clients = Clients::connect(&behind.url, shards).await?;
    behind.fleet.discord.traffic(of_shard).await?;
    sleep(WARM).await;
    let spent = hunt::spent_us(behind.pid()?);
    let sent = behind.fleet.discord.dispatched().await?;
    let (span, came) = traffic(&behind.fleet.discord, of_shard).await?;
    let spent = hunt::spent_us(behind.pid()?) - spent;
    let sent = behind.fleet.discord.dispatched().await? - sent;
    behind.fleet.discord.traffic(0.0).await?;
    sleep(LATE).await;
    let through = clients.delays(&behind.fleet.discord, span).await?;
    behind.end().await?;

    let (delay_ms, bare_ms) = (Spread::of_us(through), Spread::of_us(bare));
    let added = |of: fn(&Spread) -> Option<f64>| Some(of(&delay_ms)? - of(&bare_ms)?);
    Ok(Through {
        shards,
        rate: came,
        wire: WIRE.to_owned(),
        added_p50_ms: added(|spread| spread.p50),
        added_p99_ms: added(|spread| spread.p99),
        delay_ms,
        bare_ms,
        slave_us: spent / sent as f64,
        bare_us: serving::bare(shards, rate).await?,
    })
}

/// Measures READY with so many guilds, beside the same messages through a socket.
///
/// # Errors
/// Somebody does not start, or guilds do not come.
pub async fn greeting(guilds: u32) -> Result<Greeting> {
    let behind = Behind::start(1, guilds).await?;
    let (mut greeted, mut texts) = (Vec::new(), Vec::new());
    for _ in 0..GREETINGS {
        let mut client = Client::dial_as(&behind.url, Wire::Plain).await?;
        let began = Instant::now();
        client.send_identify(0, 1).await?;
        texts.clear();
        // READY comes first.
        while texts.len() <= guilds as usize {
            texts.push(client.next_text().await?);
        }
        greeted.push(began.elapsed().as_secs_f64() * 1000.0);
        client.close().await?;
    }
    behind.end().await?;
    let bytes = texts.iter().map(String::len).sum();
    let texts = Arc::new(texts);
    let mut socket = Vec::new();
    for _ in 0..GREETINGS {
        socket.push(through_a_socket(Arc::clone(&texts)).await?);
    }
    let middle = |values: Vec<f64>| median(values.into_iter()).unwrap_or(f64::NAN);
    Ok(Greeting {
        guilds,
        bytes,
        ms: middle(greeted),
        socket_ms: middle(socket),
    })
}

/// Milliseconds from a word to the last of these messages, as it is read.
async fn through_a_socket(texts: Arc<Vec<String>>) -> Result<f64> {
    let broken = |error| Error::answer("a websocket", error);
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.map_err(Error::io("listen"))?;
    let address = listener.local_addr().map_err(Error::io("listen"))?;
    let count = texts.len();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.map_err(Error::io("accept"))?;
        let served = ServerBuilder::new().accept(stream).await;
        let (_, mut socket) = served.map_err(broken)?;
        socket.next().await;
        for text in texts.iter() {
            let message = Message::text(text.clone());
            socket.feed(message).await.map_err(broken)?;
        }
        socket.flush().await.map_err(broken)?;
        socket.next().await;
        Ok::<_, Error>(())
    });
    let stream = TcpStream::connect(address)
        .await
        .map_err(Error::io("connect"))?;
    let uri = format!("ws://{address}/").parse();
    let uri = uri.map_err(|error| Error::answer("an address", error))?;
    let connected = ClientBuilder::from_uri(uri).connect_on(stream).await;
    let (mut socket, _) = connected.map_err(broken)?;
    let began = Instant::now();
    socket.send(Message::text("go")).await.map_err(broken)?;
    for _ in 0..count {
        let message = socket.next().await;
        let message = message.ok_or_else(|| Error::answer("a websocket", "it closed"))?;
        drop(message.map_err(broken)?);
    }
    let took = began.elapsed().as_secs_f64() * 1000.0;
    socket.close().await.map_err(broken)?;
    serving
        .await
        .map_err(|error| Error::answer("a websocket", error))??;
    Ok(took)
}

/// Memory of an idle shard, and of a client of one.
///
/// # Errors
/// Somebody does not start.
pub async fn memory() -> Result<Vec<Each>> {
    let (few, many) = (16, 144);
    let small = Behind::start(few, 1).await?;
    sleep(WARM).await;
    let of_few = small.memory()?;
    small.end().await?;
    let large = Behind::start(many, 1).await?;
    sleep(WARM).await;
    let of_many = large.memory()?;
    let clients = Clients::connect(&large.url, many).await?;
    sleep(WARM).await;
    let with_clients = large.memory()?;
    drop(clients);
    large.end().await?;
    let each = |of: &str, kib| Each {
        of: of.to_owned(),
        kib,
    };
    Ok(vec![
        each("an idle shard", (of_many - of_few) / f64::from(many - few)),
        each("a client", (with_clients - of_many) / f64::from(many)),
    ])
}

/// A client that reads nothing for so long. Time is compressed by the rate: the ring is full
/// within seconds, is given up after a minute, and everything that follows is passed by.
///
/// # Errors
/// Somebody does not start.
pub async fn unread(time: Duration) -> Result<Unread> {
    let behind = Behind::start(1, 20).await?;
    let mut client = Client::dial_as(&behind.url, Wire::Plain).await?;
    client.identify(0, 1).await?;
    sleep(WARM).await;
    let before_kib = behind.memory()?;
    behind.fleet.discord.traffic(UNREAD).await?;
    let began = Instant::now();
    let (mut first_kib, mut second_kib) = (0.0_f64, 0.0_f64);
    while began.elapsed() < time {
        sleep(Duration::from_millis(250)).await;
        let now = behind.memory()?;
        if began.elapsed() < time / 2 {
            first_kib = first_kib.max(now);
        } else {
            second_kib = second_kib.max(now);
        }
    }
    // It was there all the time.
    drop(client);
    behind.end().await?;
    Ok(Unread {
        seconds: time.as_secs(),
        rate: UNREAD,
        before_kib,
        first_kib,
        second_kib,
    })
}
