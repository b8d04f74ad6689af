//! The simulated Twitch as a process. See the README.

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use twitch_mock::{Config, Error, Traffic, Twitch};

/// A simulated Twitch, stricter than Twitch.
///
/// Prints one line of JSON with its addresses when it is ready.
#[derive(Parser, Debug)]
#[command(name = "twitch-mock", version)]
struct Args {
    /// A configuration in JSON; the options below stand above it
    #[arg(long)]
    config: Option<PathBuf>,
    /// Channels there are, channel1 and so on
    #[arg(long)]
    channels: Option<u32>,
    /// Events a second, in all channels together
    #[arg(long)]
    rate: Option<f64>,
    /// Seed of ids, hashes, jitter and traffic
    #[arg(long)]
    seed: Option<u64>,
    /// How long an event takes to a connection, for IRC and EventSub
    #[arg(long, value_parser = humantime::parse_duration)]
    delay: Option<std::time::Duration>,
    /// From a byte to the answer to it, on every connection but those to the control port
    #[arg(long, value_parser = humantime::parse_duration)]
    round_trip: Option<std::time::Duration>,
    /// Up to how much longer it takes
    #[arg(long, value_parser = humantime::parse_duration)]
    jitter: Option<std::time::Duration>,
}

impl Args {
    fn config(&self) -> Result<Config, Error> {
        let mut config = match &self.config {
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    Error::Invalid(format!("cannot read {}: {error}", path.display()))
                })?;
                Config::from_json(&text)?
            }
            None => Config::default(),
        };
        config.channels = self.channels.unwrap_or(config.channels);
        config.seed = self.seed.unwrap_or(config.seed);
        config.round_trip = self.round_trip.unwrap_or(config.round_trip);
        if let Some(rate) = self.rate {
            config.traffic = Traffic {
                rate,
                ..config.traffic
            };
        }
        if let Some(delay) = self.delay {
            config.irc.delay = delay;
            config.eventsub.delay = delay;
        }
        if let Some(jitter) = self.jitter {
            config.irc.jitter = jitter;
            config.eventsub.jitter = jitter;
        }
        Ok(config)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match run(&Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "twitch-mock: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run(args: &Args) -> Result<(), Error> {
    let signals = signal(SignalKind::terminate())
        .and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?)));
    let (mut terminate, mut interrupt) =
        signals.map_err(|error| Error::Invalid(format!("signals: {error}")))?;
    let twitch = Twitch::start(args.config()?).await?;
    let line = serde_json::json!(twitch.addresses()).to_string();
    // A thread of its own: a pipe that nobody reads must not hold a task.
    std::thread::spawn(move || {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    });
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    twitch.shutdown().await;
    Ok(())
}
