//! What a minimal client can reach on the same gateway: the floor of a handover,
//! and what a bot does that has no master.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

use super::client::{Client, Got, Session, WIRE};
use crate::{
    demo::now_us,
    discord::{Discord, DiscordOptions},
    error::{Error, Result},
    gap::{Interval, Spread, Timeline},
};

/// What was measured at one round-trip time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Floor {
    /// Round-trip time.
    pub rtt_ms: u64,
    /// Sessions that are handed over at the same moment.
    pub sessions: u32,
    /// Events a second, all sessions together.
    pub events_s: f64,
    /// How the client and the simulated Discord talk.
    pub wire: String,
    /// The gap of a RESUME on a connection that was held after HELLO: nothing can
    /// be faster without a second open session.
    pub held: Spread,
    /// The same where RESUME names the sequence at which the connection was dialled,
    /// as twilight's does: what was handled while it was dialled is replayed too.
    pub from_dial: Spread,
    /// The gap of closing, dialling and resuming.
    pub plain: Spread,
    /// From closing to READY of a new session; every event in between is lost.
    /// Discord's own pace (5 s for each IDENTIFY) comes on top.
    pub cold: Spread,
}

/// Probes before each handover: the usual delay is taken over them.
const BEFORE: Duration = Duration::from_millis(700);

/// Measures `runs` times, each time with a gateway of its own.
///
/// # Errors
/// The simulated Discord does not do its part.
pub async fn measure(rtt: Duration, sessions: u32, runs: u32) -> Result<Floor> {
    let (mut held, mut from_dial) = (Vec::new(), Vec::new());
    let (mut plain, mut cold) = (Vec::new(), Vec::new());
    for seed in 0..runs {
        let folder = TempDir::with_prefix("baton-").map_err(Error::io("make a folder"))?;
        let discord = start(&folder, rtt, sessions, seed).await?;
        let mut lives = Vec::new();
        for shard in 0..sessions {
            lives.push(Life::begin(&discord, shard, sessions).await?);
        }
        let held_at = hand_over(&mut lives, Next::Held).await?;
        let from_dial_at = hand_over(&mut lives, Next::FromDial).await?;
        let plain_at = hand_over(&mut lives, Next::AfterClose).await?;
        for (number, life) in lives.iter().enumerate() {
            let line = life.line(&discord).await?;
            held.extend(line.gap_us(held_at[number]));
            from_dial.extend(line.gap_us(from_dial_at[number]));
            plain.extend(line.gap_us(plain_at[number]));
        }
        let anew = lives.iter_mut().map(|life| life.identify_anew(&discord));
        cold.extend(try_join_all(anew).await?);
    }
    Ok(Floor {
        rtt_ms: rtt.as_millis() as u64,
        sessions,
        events_s: 1000.0 * f64::from(sessions),
        wire: WIRE.to_owned(),
        held: Spread::of_us(held),
        from_dial: Spread::of_us(from_dial),
        plain: Spread::of_us(plain),
        cold: Spread::of_us(cold),
    })
}

/// All of them at the same moment.
async fn hand_over(lives: &mut [Life], next: Next) -> Result<Vec<Interval>> {
    let at = Instant::now() + BEFORE;
    try_join_all(lives.iter_mut().map(|life| life.hand_over(at, next))).await
}

/// What a bot does whose masters move one shard after the other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OneByOne {
    /// Round-trip time.
    pub rtt_ms: u64,
    /// Events a second.
    pub events_s: f64,
    /// How the client and the simulated Discord talk.
    pub wire: String,
    /// The wait between a shard that stopped and the next owner's word that it
    /// has it.
    pub wait_ms: u64,
    /// A shard's silence: from closing to RESUMED.
    pub shard_ms: f64,
}

/// Plays the rule `runs` times: close, wait, dial, RESUME.
///
/// # Errors
/// The simulated Discord does not do its part.
pub async fn one_by_one(rtt: Duration, wait: Duration, runs: u32) -> Result<OneByOne> {
    let folder = TempDir::with_prefix("baton-").map_err(Error::io("make a folder"))?;
    let discord = start(&folder, rtt, 1, 1).await?;
    let mut life = Life::begin(&discord, 0, 1).await?;
    let mut spent_us = 0;
    for _ in 0..runs {
        sleep(BEFORE).await;
        let Interval {
            sealed_us,
            resumed_us,
        } = life.close_dial_and_resume(wait).await?;
        spent_us += resumed_us - sealed_us;
    }
    let shard_ms = spent_us as f64 / 1000.0 / f64::from(runs);
    Ok(OneByOne {
        rtt_ms: rtt.as_millis() as u64,
        events_s: 1000.0,
        wire: WIRE.to_owned(),
        wait_ms: wait.as_millis() as u64,
        shard_ms,
    })
}

async fn start(folder: &TempDir, rtt: Duration, shards: u32, seed: u32) -> Result<Discord> {
    let mut options = DiscordOptions {
        shards,
        members_per_guild: 5,
        rtt,
        seed: u64::from(seed),
        ..DiscordOptions::default()
    };
    let buffer = ["--replay-buffer", "3500"];
    options.more.extend(buffer.map(str::to_owned));
    Discord::start(folder.path(), folder.path(), &options).await
}

/// How the next connection comes about.
#[derive(Clone, Copy)]
enum Next {
    /// It is held when the old one closes; RESUME names the last sequence.
    Held,
    /// It is held when the old one closes; RESUME names the last sequence of before
    /// it was dialled.
    FromDial,
    /// It is dialled when the old one is closed.
    AfterClose,
}

/// One session, from connection to connection.
struct Life {
    shard: u32,
    shards: u32,
    session: Session,
    reader: Reader,
    /// When each dispatch came first.
    got: BTreeMap<u64, u64>,
}

impl Life {
    async fn begin(discord: &Discord, shard: u32, shards: u32) -> Result<Self> {
        let mut client = Client::dial(&discord.gateway_url).await?;
        let session = client.identify(shard, shards).await?;
        discord.probe(&[shard], true).await?;
        Ok(Self {
            shard,
            shards,
            session,
            reader: Reader::start(client),
            got: BTreeMap::new(),
        })
    }

    /// `at`: when the old connection is closed, or its next one dialled. Those that
    /// are held are dialled before.
    async fn hand_over(&mut self, at: Instant, next: Next) -> Result<Interval> {
        match next {
            Next::Held => {
                let next = Client::dial(self.session.url()).await?;
                sleep_until(at).await;
                self.resume_on(next, None).await
            }
            Next::FromDial => {
                sleep_until(at).await;
                let dialled_us = now_us();
                let next = Client::dial(self.session.url()).await?;
                self.resume_on(next, Some(dialled_us)).await
            }
            Next::AfterClose => {
                sleep_until(at).await;
                self.close_dial_and_resume(Duration::ZERO).await
            }
        }
    }

    async fn resume_on(&mut self, next: Client, from_us: Option<u64>) -> Result<Interval> {
        let sealed_us = now_us();
        self.stop().await?.close().await?;
        let last = self.last_before(from_us.unwrap_or(u64::MAX));
        self.resume(next, last, sealed_us).await
    }

    async fn close_dial_and_resume(&mut self, wait: Duration) -> Result<Interval> {
        let sealed_us = now_us();
        self.stop().await?.close().await?;
        sleep(wait).await;
        let next = Client::dial(self.session.url()).await?;
        let last = self.last_before(u64::MAX);
        self.resume(next, last, sealed_us).await
    }

    /// The sequence of the last dispatch that came before this time.
    fn last_before(&self, us: u64) -> u64 {
        let mut got = self.got.iter().rev();
        got.find(|(_, at)| **at < us).map_or(0, |(last, _)| *last)
    }

    /// From closing to READY, in microseconds.
    async fn identify_anew(&mut self, discord: &Discord) -> Result<i64> {
        let closed_us = now_us();
        self.stop().await?.close().await?;
        let mut client = Client::dial(&discord.gateway_url).await?;
        client.identify(self.shard, self.shards).await?;
        Ok((now_us() - closed_us).cast_signed())
    }

    async fn stop(&mut self) -> Result<Client> {
        let (client, got) = self.reader.stop().await?;
        self.add(got);
        Ok(client)
    }

    async fn resume(&mut self, mut client: Client, last: u64, sealed_us: u64) -> Result<Interval> {
        client.resume(&self.session, last).await?;
        let resumed_us = loop {
            let got = client.next().await?;
            let (kind, at_us) = (got.kind.clone(), got.at_us);
            self.add(vec![got]);
            if kind == "RESUMED" {
                break at_us;
            }
        };
        self.reader = Reader::start(client);
        Ok(Interval {
            sealed_us,
            resumed_us,
        })
    }

    fn add(&mut self, got: Vec<Got>) {
        for got in got {
            self.got.entry(got.sequence).or_insert(got.at_us);
        }
    }

    async fn line(&self, discord: &Discord) -> Result<Timeline> {
        let sent = discord.ledger().await?;
        let pairs = sent
            .iter()
            .filter(|sent| sent.shard == self.shard)
            .filter_map(|sent| Some((sent.created_us, *self.got.get(&sent.seq)?)));
        Ok(Timeline::of_pairs(pairs.collect()))
    }
}

/// Reads a connection until it is wanted back.
struct Reader {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(Client, Vec<Got>)>>,
}

impl Reader {
    fn start(mut client: Client) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut seen = Vec::new();
            loop {
                tokio::select! {
                    biased;
                    _ = &mut stopped => return Ok((client, seen)),
                    got = client.next() => seen.push(got?),
                }
            }
        });
        Self {
            stop: Some(stop),
            task,
        }
    }

    async fn stop(&mut self) -> Result<(Client, Vec<Got>)> {
        // Dropped: the same to the reader.
        drop(self.stop.take());
        (&mut self.task)
            .await
            .map_err(|error| Error::answer("the reader", error))?
    }
}
