//! What a broker's own client does, as programs of their own: one that publishes and nothing
//! else, and one that reads what a publisher of Baton has published. `baton-reference` runs
//! them; [`sinks`](super::sinks) measures beside them.

mod amqp;
mod nats;
mod redis;

use std::{
    fs::File,
    future::Future,
    io::{self, BufWriter, Write},
    time::{Duration, Instant},
};

use baton_brokers::Kind;
use futures_util::{StreamExt, stream::FuturesUnordered};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use tokio::time::interval;

use super::sinks::Bare;
use crate::{demo::now_us, gap::Spread};

/// What goes wrong here is of no kind.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Messages under way at once, at most.
const WINDOW: usize = 256;
/// Bytes of a message.
const BYTES: usize = 1024;

/// Publishes for so many seconds, as fast as the broker takes it or so many messages a
/// second.
///
/// # Errors
/// The broker does not take them.
pub async fn publish(kind: Kind, url: &str, rate: f64, seconds: f64) -> Result<Bare, Failed> {
    let time = Duration::from_secs_f64(seconds);
    match kind {
        Kind::Nats => {
            let nats = nats::Publisher::connect(url).await?;
            drive(rate, time, |number| nats.publish(number)).await
        }
        Kind::Rabbit => {
            let rabbit = amqp::Publisher::connect(url).await?;
            drive(rate, time, |number| rabbit.publish(number)).await
        }
        Kind::Redis => {
            let redis = redis::Publisher::connect(url).await?;
            drive(rate, time, |number| redis.publish(number)).await
        }
    }
}

async fn drive<F: Future<Output = Result<(), Failed>>>(
    rate: f64,
    time: Duration,
    publish: impl Fn(u64) -> F,
) -> Result<Bare, Failed> {
    let mut under_way = FuturesUnordered::new();
    let mut ticks = interval(Duration::from_millis(1));
    let (mut times, mut sent) = (Vec::new(), 0_u64);
    let (began, spent) = (Instant::now(), processor());
    loop {
        let elapsed = began.elapsed();
        let is_over = elapsed >= time;
        let due = match rate > 0.0 {
            true => (elapsed.as_secs_f64() * rate) as u64,
            false => u64::MAX,
        };
        while !is_over && sent < due && under_way.len() < WINDOW {
            let (at, number) = (Instant::now(), sent);
            let published = publish(number);
            under_way.push(async move { published.await.map(|()| at.elapsed()) });
            sent += 1;
        }
        if is_over && under_way.is_empty() {
            break;
        }
        tokio::select! {
            Some(took) = under_way.next(), if !under_way.is_empty() => {
                times.push(i64::try_from(took?.as_micros()).unwrap_or(i64::MAX));
            }
            _ = ticks.tick(), if rate > 0.0 => {}
        }
    }
    let spent = processor() - spent;
    Ok(Bare {
        rate: sent as f64 / began.elapsed().as_secs_f64(),
        confirm_ms: Spread::of_us(times),
        us: spent * 1e6 / sent.max(1) as f64,
    })
}

/// Seconds of processor time of this process.
fn processor() -> f64 {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}

/// Reads everything of so many shards, and writes it down as a slave does, until it is ended.
///
/// # Errors
/// The broker goes away, or the file cannot be written.
pub async fn consume(kind: Kind, url: &str, shards: u32, file: File) -> Result<(), Failed> {
    let lines = Lines {
        file: BufWriter::new(file),
        count: 0,
    };
    match kind {
        Kind::Nats => nats::consume(url, lines).await,
        Kind::Rabbit => amqp::consume(url, lines).await,
        Kind::Redis => redis::consume(url, shards, lines).await,
    }
}

/// What was read.
struct Lines {
    file: BufWriter<File>,
    count: u64,
}

impl Lines {
    /// One event, by the headers of its envelope.
    fn write(&mut self, header: impl Fn(&str) -> Option<String>) -> io::Result<()> {
        let number = |name: &str| header(name).and_then(|text| text.parse::<u64>().ok());
        let at_us = now_us();
        let mut line = json!({
            "shard": number("baton-shard"),
            "epoch": number("baton-epoch"),
            "session": header("baton-session"),
            "seq": number("baton-sequence"),
            "type": header("baton-type"),
            "n": self.count,
            "handed_us": at_us,
            "finished_us": at_us,
        });
        if let Some(mark) = header("baton-mark") {
            line["mark"] = mark.into();
        }
        self.count += 1;
        writeln!(self.file, "{line}")
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
