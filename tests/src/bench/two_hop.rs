//! Bytes from one process to the next through a third, as one would build it
//! without Baton: the same host, the same sockets, nothing but the bytes.
//!
//! Windowed, it keeps what Baton keeps to: chunks of 64 KiB, at most 256 KiB of
//! them not acknowledged by the last process, which has each in memory before it
//! says so. Piped, there is no window and no chunk, only what the sockets hold.

use std::{
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use baton_protocol::state::{MAX_STATE_BODY, MAX_UNACKNOWLEDGED};
use tempfile::TempDir;
use tokio::{
    io::{self, AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use crate::{
    chaos::wire::Wire,
    error::{Error, Result},
    process::{Process, command},
};

/// How the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hops {
    /// In chunks, a bounded number of them on their way.
    Windowed,
    /// As they come.
    Piped,
}

impl Hops {
    const fn name(self) -> &'static str {
        match self {
            Self::Windowed => "windowed",
            Self::Piped => "piped",
        }
    }
}

impl FromStr for Hops {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "windowed" => Ok(Self::Windowed),
            "piped" => Ok(Self::Piped),
            other => Err(format!("{other}: give windowed or piped")),
        }
    }
}

/// MB/s of `bytes` bytes through three processes.
///
/// # Errors
/// One of them does not do its part.
pub async fn measure(hops: Hops, bytes: u64) -> Result<f64> {
    measure_over(hops, bytes, Duration::ZERO).await
}

/// The same with links between the processes, over which each byte takes so long, in both
/// ways.
///
/// # Errors
/// As [`measure`].
pub async fn measure_over(hops: Hops, bytes: u64, one_way: Duration) -> Result<f64> {
    let mut links = Vec::new();
    let folder = TempDir::with_prefix("baton-").map_err(Error::io("make a folder"))?;
    let start = async |role: &str, to: &str| {
        let size = bytes.to_string();
        let arguments = ["hop", role, hops.name(), to, &size];
        let command = command("baton-reference", arguments)?;
        let (process, line) = Process::start(role, folder.path(), command, true).await?;
        Ok::<_, Error>((process, line.trim().to_owned()))
    };
    let mut over = async |to: String| {
        if one_way.is_zero() {
            return Ok(to);
        }
        let link = Wire::lay().await?;
        link.delay(one_way);
        link.lead_to(to.parse().map_err(|error| Error::answer(&to, error))?);
        let address = link.address().to_string();
        links.push(link);
        Ok::<_, Error>(address)
    };
    let (_sink, sink) = start("sink", "-").await?;
    let (_relay, relay) = start("relay", &over(sink).await?).await?;
    let relay = over(relay).await?;
    let (_source, seconds) = start("source", &relay).await?;
    let seconds: f64 = seconds
        .parse()
        .map_err(|error| Error::answer("the source", error))?;
    Ok(bytes as f64 / 1e6 / seconds)
}

/// One of the three processes; `tell` says where it listens, or how many seconds
/// it took.
///
/// # Errors
/// A socket failed.
pub async fn play(
    role: &str,
    hops: Hops,
    to: &str,
    bytes: u64,
    tell: impl Fn(String),
) -> io::Result<()> {
    let listen = async || {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        tell(listener.local_addr()?.to_string());
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        io::Result::Ok(socket)
    };
    match (role, hops) {
        ("sink", Hops::Windowed) => sink(listen().await?).await,
        ("sink", Hops::Piped) => sink_piped(listen().await?).await,
        ("relay", Hops::Windowed) => relay(listen().await?, dial(to).await?).await,
        ("relay", Hops::Piped) => {
            let (mut from, mut to) = (listen().await?, dial(to).await?);
            copy_bidirectional(&mut from, &mut to).await.map(drop)
        }
        ("source", _) => {
            let length = usize::try_from(bytes).unwrap_or(usize::MAX);
            // Written, so that it is in memory before the time begins.
            let all: Arc<[u8]> = (0..length).map(|n| (n >> 6) as u8).collect();
            let socket = dial(to).await?;
            let began = Instant::now();
            match hops {
                Hops::Windowed => source(socket, all).await?,
                Hops::Piped => source_piped(socket, &all).await?,
            }
            tell(began.elapsed().as_secs_f64().to_string());
            Ok(())
        }
        (other, _) => Err(io::Error::other(format!("no part is called {other}"))),
    }
}

async fn dial(to: &str) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(to).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// Chunks are their length and their bytes; the answer to one is its length.
async fn source(socket: TcpStream, all: Arc<[u8]>) -> io::Result<()> {
    let window = MAX_UNACKNOWLEDGED as usize;
    let free = Arc::new(Semaphore::new(window));
    let (mut answers, mut out) = socket.into_split();
    let sender = {
        let free = Arc::clone(&free);
        tokio::spawn(async move {
            let mut frame = Vec::with_capacity(MAX_STATE_BODY + 4);
            for chunk in all.chunks(MAX_STATE_BODY) {
                let length = chunk.len() as u32;
                let permits = free.acquire_many(length).await;
                permits.map_err(io::Error::other)?.forget();
                frame.clear();
                frame.extend_from_slice(&length.to_le_bytes());
                frame.extend_from_slice(chunk);
                out.write_all(&frame).await?;
            }
            out.shutdown().await
        })
    };
    // The other end answers every chunk and then closes.
    while let Ok(taken) = answers.read_u32_le().await {
        free.add_permits(taken as usize);
    }
    if free.available_permits() == window {
        sender.await.map_err(io::Error::other)?
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

async fn relay(from: TcpStream, to: TcpStream) -> io::Result<()> {
    let (mut chunks, mut answers_out) = from.into_split();
    let (mut answers, mut chunks_out) = to.into_split();
    let forward = async {
        while let Ok(length) = chunks.read_u32_le().await {
            let mut frame = length.to_le_bytes().to_vec();
            frame.resize(4 + length as usize, 0);
            chunks.read_exact(&mut frame[4..]).await?;
            chunks_out.write_all(&frame).await?;
        }
        chunks_out.shutdown().await
    };
    let back = async {
        while let Ok(taken) = answers.read_u32_le().await {
            answers_out.write_u32_le(taken).await?;
        }
        answers_out.shutdown().await
    };
    tokio::try_join!(forward, back).map(drop)
}

async fn sink(socket: TcpStream) -> io::Result<()> {
    let (mut chunks, mut answers) = socket.into_split();
    let mut kept = Vec::new();
    while let Ok(length) = chunks.read_u32_le().await {
        let mut chunk = vec![0; length as usize];
        chunks.read_exact(&mut chunk).await?;
        kept.push(chunk);
        answers.write_u32_le(length).await?;
    }
    answers.shutdown().await
}

async fn source_piped(mut socket: TcpStream, all: &[u8]) -> io::Result<()> {
    socket.write_all(all).await?;
    socket.shutdown().await?;
    let came = socket.read_u64_le().await?;
    if came == all.len() as u64 {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

async fn sink_piped(mut socket: TcpStream) -> io::Result<()> {
    let mut kept = Vec::new();
    socket.read_to_end(&mut kept).await?;
    socket.write_u64_le(kept.len() as u64).await?;
    socket.shutdown().await
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn every_byte_comes_through_both_ways() {
        for hops in [Hops::Windowed, Hops::Piped] {
            let bytes = 3 * MAX_STATE_BODY as u64 + 17;
            let (told, listens) = mpsc::sync_channel(16);
            let begin = |role: &'static str, to: String| {
                let told = told.clone();
                tokio::spawn(async move {
                    let tell = |line| told.send(line).expect("somebody listens");
                    play(role, hops, &to, bytes, tell).await
                })
            };
            let address = async || {
                loop {
                    match listens.try_recv() {
                        Ok(address) => return address,
                        Err(_) => tokio::task::yield_now().await,
                    }
                }
            };
            let sink = begin("sink", String::new());
            let relay = begin("relay", address().await);
            let source = begin("source", address().await);
            for part in [source, relay, sink] {
                part.await.expect("no panic").expect("no error");
            }
            let seconds = listens.try_recv().expect("the source's time");
            assert!(seconds.parse::<f64>().expect("seconds") > 0.0);
        }
    }
}
