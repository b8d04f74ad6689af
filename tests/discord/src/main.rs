//! The simulated Discord as a process. See the README.

use std::{
    io::{IsTerminal, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use baton_discord::{
    Discord, DiscordConfig, Error, MissedHeartbeat, ResumeWhileConnected, Tls, Traffic,
};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// A simulated Discord, stricter than Discord.
///
/// The token comes from BATON_GATEWAY_TOKEN; without it every token that is not
/// empty is accepted.
#[derive(Parser, Debug)]
#[command(name = "baton-discord", version)]
struct Args {
    /// Where the websocket and the REST interface listen
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where the control port listens; loopback only
    #[arg(long, default_value = "127.0.0.1:0")]
    control: SocketAddr,
    /// Shards the world is divided into
    #[arg(long, default_value_t = 16)]
    shards: u32,
    #[arg(long, default_value_t = 20)]
    guilds_per_shard: u32,
    #[arg(long, default_value_t = 20)]
    members_per_guild: u32,
    /// Extra state of each guild, as channel topics
    #[arg(long, default_value_t = 0)]
    state_bytes_per_guild: u32,
    /// Seed of the world and its events
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Events per second and shard
    #[arg(long, default_value_t = 5.0, allow_hyphen_values = true, value_parser = rate)]
    rate: f64,
    /// Round-trip time that is added under TLS
    #[arg(long, default_value = "0ms", value_parser = humantime::parse_duration)]
    rtt: Duration,
    /// Serve wss and https with a certificate made at the start
    #[arg(long)]
    tls: bool,
    /// Write the PEM of the authority that clients must trust
    #[arg(long, requires = "tls")]
    cert_out: Option<PathBuf>,
    /// Certificate chain to serve instead
    #[arg(long, requires = "key", conflicts_with = "tls")]
    cert: Option<PathBuf>,
    /// Private key to serve instead
    #[arg(long, requires = "cert")]
    key: Option<PathBuf>,
    /// IDENTIFYs per identify window
    #[arg(long, default_value_t = 1)]
    max_concurrency: u32,
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    identify_window: Duration,
    /// IDENTIFYs a day; one more ends every session and resets the token
    #[arg(long, default_value_t = 1000)]
    session_start_limit: u32,
    #[arg(long, default_value = "41250ms", value_parser = humantime::parse_duration)]
    heartbeat_interval: Duration,
    /// After 1.5 intervals without a heartbeat: `drop` or `close_4009`
    #[arg(long, default_value = "drop")]
    missed_heartbeat: MissedHeartbeat,
    /// How long a session without a connection can be resumed
    #[arg(long, default_value = "90s", value_parser = humantime::parse_duration)]
    resume_window: Duration,
    /// Events a session keeps; default max(100, min(3500, guilds * 75))
    #[arg(long)]
    replay_buffer: Option<u32>,
    /// Events a client may be behind before its connection is dropped
    #[arg(long, default_value_t = 100_000)]
    backlog: u32,
    /// A RESUME while the old connection is open: `take_over`, `refuse`, `refuse_false`
    /// or `both`
    #[arg(long, default_value = "take_over")]
    resume_while_connected: ResumeWhileConnected,
    /// A heartbeat's sequence trims the replay buffer
    #[arg(long)]
    heartbeat_trims: bool,
    /// Each so many dispatches of a session, 1 to 3 sequence numbers are left out
    #[arg(long, default_value_t = 0)]
    skip_every: u32,
    /// Each Nth event is sent twice
    #[arg(long, default_value_t = 0)]
    repeat_every: u32,
    /// Each so many guilds and changes of one have something odd in them: unknown fields
    /// and values, nulls, members twice, values that no model can read
    #[arg(long, default_value_t = 0)]
    odd_every: u32,
    /// Each dispatch says in an unknown field which one it is: `_stamp`, `SESSION:SEQ` as
    /// in the ledger
    #[arg(long)]
    stamp: bool,
    /// An IDENTIFY that is refused with op 9 counts off the session start limit
    #[arg(long)]
    refused_identify_counts: bool,
    /// Shards on which nothing happens until `POST /traffic` says so, as `3,5`
    #[arg(long, value_delimiter = ',')]
    quiet_shards: Vec<u32>,
    /// How long after a request for all members of a guild the next one is answered with
    /// RATE_LIMITED; 0s = never
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    member_request_window: Duration,
    /// REST requests a second, all together; 0 = no limit
    #[arg(long, default_value_t = 50)]
    rest_per_second: u32,
    /// REST requests of one method, route and channel, guild or webhook in a window; 0 =
    /// no limit
    #[arg(long, default_value_t = 5)]
    rest_bucket: u32,
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    rest_bucket_window: Duration,
    /// Answers 401, 403 and 429 in ten minutes until REST answers with error 1015; 0 = no
    /// limit
    #[arg(long, default_value_t = 10_000)]
    invalid_requests: u32,
    /// Intents a client may ask for, as a number
    #[arg(long, default_value_t = baton_discord::intents::ALL)]
    allowed_intents: u64,
    /// Dispatches the ledger holds
    #[arg(long, default_value_t = 8_000_000)]
    ledger_limit: usize,
    /// Print one line of JSON with the addresses when ready
    #[arg(long)]
    json: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=100_000.0).contains(&rate) => Ok(rate),
        Ok(_) | Err(_) => Err("not a number from 0 to 100000".to_owned()),
    }
}

impl Args {
    fn config(&self) -> DiscordConfig {
        let tls = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Tls::Files {
                cert: cert.clone(),
                key: key.clone(),
            },
            (_, _) if self.tls => Tls::SelfSigned,
            (_, _) => Tls::Off,
        };
        let token = std::env::var("BATON_GATEWAY_TOKEN")
            .ok()
            .filter(|token| !token.is_empty());
        DiscordConfig {
            listen: self.listen,
            control: self.control,
            shards: self.shards,
            guilds_per_shard: self.guilds_per_shard,
            members_per_guild: self.members_per_guild,
            state_bytes_per_guild: self.state_bytes_per_guild,
            seed: self.seed,
            traffic: Traffic::at_rate(self.rate),
            rtt: self.rtt,
            tls,
            token,
            max_concurrency: self.max_concurrency,
            identify_window: self.identify_window,
            session_start_limit: self.session_start_limit,
            heartbeat_interval: self.heartbeat_interval,
            missed_heartbeat: self.missed_heartbeat,
            resume_window: self.resume_window,
            replay_buffer: self.replay_buffer,
            backlog: self.backlog,
            resume_while_connected: self.resume_while_connected,
            heartbeat_trims: self.heartbeat_trims,
            skip_every: self.skip_every,
            repeat_every: self.repeat_every,
            odd_every: self.odd_every,
            stamp: self.stamp,
            refused_identify_counts: self.refused_identify_counts,
            quiet_shards: self.quiet_shards.clone(),
            member_request_window: self.member_request_window,
            rest_per_second: self.rest_per_second,
            rest_bucket: self.rest_bucket,
            rest_bucket_window: self.rest_bucket_window,
            invalid_requests: self.invalid_requests,
            allowed_intents: self.allowed_intents,
            ledger_limit: self.ledger_limit,
            ..DiscordConfig::default()
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let _flush_at_the_end = baton_log::catch_panics();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        // A log whose reader is gone is no reason to end: what was reported there
        // would panic.
        .log_internal_errors(false)
        .with_writer(|| baton_log::stderr().writer())
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if error.use_stderr() => return refuse(&one_line(&error)),
        // Help and version.
        Err(error) => error.exit(),
    };
    match run(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(&error.to_string()),
    }
}

/// What to change, in one line.
fn refuse(reason: &str) -> ExitCode {
    baton_log::stderr().line(&format!("baton-discord: {reason}"));
    ExitCode::from(2)
}

/// clap's first paragraph; what follows only repeats the help.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<_> = first
        .trim_start_matches("error: ")
        .split_whitespace()
        .collect();
    format!("{}; see baton-discord --help", words.join(" "))
}

async fn run(args: &Args) -> Result<(), Error> {
    let signals = signal(SignalKind::terminate())
        .and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?)));
    let (mut terminate, mut interrupt) =
        signals.map_err(|error| Error::Invalid(format!("signals: {error}")))?;
    let discord = Discord::start(args.config()).await?;
    if let (Some(path), Some(pem)) = (&args.cert_out, discord.ca_pem()) {
        std::fs::write(path, pem)
            .map_err(|error| Error::Invalid(format!("cannot write {}: {error}", path.display())))?;
    }
    announce(args, &discord);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    discord.shutdown().await;
    Ok(())
}

/// Says where everything listens: one line of JSON for programs, three lines
/// for people.
fn announce(args: &Args, discord: &Discord) {
    let (url, rest, control) = (discord.url(), discord.rest_url(), discord.control_url());
    let text = if args.json {
        serde_json::json!({
            "gateway": url,
            "rest": rest,
            "control": control,
            "ca": args.cert_out.as_ref().filter(|_| discord.ca_pem().is_some()),
        })
        .to_string()
    } else {
        format!("gateway {url}\nrest    {rest}\ncontrol {control}")
    };
    // A thread of its own: a pipe that nobody reads must not hold a shard.
    std::thread::spawn(move || {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    });
}
