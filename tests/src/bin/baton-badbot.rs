//! A build that is no good, on purpose: what the chaos rows deploy.
//!
//! `baton-badbot exits CODE | silent | garbage | aborts URL | panics URL`

use std::{
    env,
    fs::{File, OpenOptions},
    io::Write,
    os::unix::net::UnixStream,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use baton_slave::{Ack, Bot, Event, Intents, Mark, ShardHandle, Slave, SlaveConfig};
use baton_tests::discord::INTENTS;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["exits", code] => ExitCode::from(code.parse().unwrap_or(1)),
        ["silent"] => wait(),
        ["garbage"] => garbage(),
        ["aborts", url] => serve(url, Bad::Aborts),
        ["panics", url] => serve(url, Bad::Panics),
        _ => ExitCode::from(2),
    }
}

/// Until it is killed.
fn wait() -> ExitCode {
    loop {
        #[expect(clippy::disallowed_methods, reason = "it is a bad bot")]
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// Says something that is no hello to the master that started it.
fn garbage() -> ExitCode {
    let master = env::var("BATON_MASTER").unwrap_or_default();
    let path = master.strip_prefix("unix:").unwrap_or(&master);
    let said = UnixStream::connect(path).and_then(|mut master| {
        master.write_all(&[0xff; 4096])?;
        Ok(master)
    });
    match said {
        Ok(_open) => wait(),
        Err(_) => ExitCode::FAILURE,
    }
}

/// What it does with its first events.
enum Bad {
    Aborts,
    Panics,
}

struct BadBot {
    bad: Bad,
    sink: Mutex<File>,
    handed: AtomicU64,
}

impl Bot for BadBot {
    fn handle(&self, event: Event, ack: Ack, _shard: &ShardHandle) {
        match self.bad {
            Bad::Aborts => std::process::abort(),
            Bad::Panics => {
                self.write_down(&event);
                drop(ack);
                panic!("on purpose");
            }
        }
    }
}

impl BadBot {
    /// A panic finishes an event.
    fn write_down(&self, event: &Event) {
        let now = clock_gettime(ClockId::Monotonic);
        let now = now.tv_sec.cast_unsigned() * 1_000_000 + now.tv_nsec.cast_unsigned() / 1000;
        let mut line = json!({
            "shard": event.shard().get(),
            "epoch": event.epoch().get(),
            "session": event.session(),
            "seq": event.sequence().get(),
            "type": event.kind(),
            "n": self.handed.fetch_add(1, Ordering::Relaxed),
            "handed_us": now,
            "finished_us": now,
        });
        if event.mark() == Mark::MayRepeat {
            line["mark"] = "may_repeat".into();
        }
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = sink.write_all(format!("{line}\n").as_bytes());
    }
}

fn serve(url: &str, bad: Bad) -> ExitCode {
    match try_to_serve(url, bad) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "baton-badbot: {error}");
            ExitCode::FAILURE
        }
    }
}

fn try_to_serve(url: &str, bad: Bad) -> Result<(), Box<dyn std::error::Error>> {
    let run = env::var("BATON_RUNTIME_DIR")?;
    let sink = format!("{run}/../sinks/{}.jsonl", std::process::id());
    let sink = OpenOptions::new().create(true).append(true).open(sink)?;
    let config = SlaveConfig::from_env()?
        .with_gateway_url(url)
        .with_intents(Intents::from_bits_retain(INTENTS))
        .with_large_threshold(250)
        .with_build("bad");
    let bot = BadBot {
        bad,
        sink: Mutex::new(sink),
        handed: AtomicU64::new(0),
    };
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(Slave::builder(bot).config(config).run())?;
    Ok(())
}
