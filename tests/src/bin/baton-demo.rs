//! The main job with embedded defaults: see [`baton_tests::demo`].

use std::{
    fmt,
    io::{IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use baton_brokers::Kind;
use baton_tests::{
    demo::{DemoOptions, hosts, proxy, run, serve_page, sink, twitch},
    error::Error,
    verdict::Judged,
};
use clap::Parser;

/// Replaces a busy bot by a new build and shows what its users notice.
///
/// Starts a simulated Discord, a master and a first slave under traffic, deploys
/// a second build, and judges every event. Ends with 0 only if nothing was lost,
/// repeated, needlessly marked or out of order, every sampled guild's state is
/// true, the deploy spent no IDENTIFY and every shard moved.
#[derive(Parser)]
#[command(name = "demo", version)]
struct Arguments {
    /// Shards of the bot
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4096))]
    shards: u32,
    /// Events a second on each shard
    #[arg(long, default_value_t = 20.0, allow_hyphen_values = true, value_parser = rate)]
    rate: f64,
    /// Round-trip time to the simulated Discord or Twitch, in milliseconds
    #[arg(long, default_value_t = 0, value_name = "MS")]
    rtt: u64,
    /// How long a handler takes, in milliseconds
    #[arg(long, default_value_t = 0, value_name = "MS")]
    handler_ms: u64,
    /// Shards whose gaps are timed, by a probe every millisecond on each of them
    #[arg(long, default_value_t = 16)]
    probed: u32,
    /// Guilds of each shard
    #[arg(long, default_value_t = 20)]
    guilds: u32,
    /// Members of each guild
    #[arg(long, default_value_t = 10)]
    members: u32,
    /// TLS between the slaves and the simulated Discord
    #[arg(long)]
    tls: bool,
    /// Let the old slave handle events until Discord takes the session from it
    #[arg(long)]
    late_seal: bool,
    /// Program of the slaves, beside this one
    #[arg(long, default_value = "baton-slave", value_name = "PROGRAM")]
    slave: String,
    /// Seed of traffic and guilds
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep the folder with logs and sinks
    #[arg(long)]
    keep: bool,
    /// Bots on real libraries in front of a proxy, one for each library and compression,
    /// each with a shard: killed, replaced, the proxy deployed and killed under them
    #[arg(long, conflicts_with_all = ["page", "shards", "tls", "late_seal", "slave", "handler_ms", "probed"])]
    proxy: bool,
    /// A publisher, a real broker (nats, amqp, redis), and a worker behind it:
    /// the publisher deployed and killed, the broker killed and full, the worker killed for 60 s
    #[arg(long, value_name = "BROKER", conflicts_with_all = ["page", "proxy", "tls", "late_seal", "slave", "handler_ms", "probed"])]
    sink: Option<Kind>,
    /// A fleet on so many hosts (network namespaces; needs root), a slot each: a rolling deploy,
    /// then a host is lost
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=i64::from(hosts::MOST_HOSTS)),
          conflicts_with_all = ["page", "proxy", "sink", "tls", "slave", "probed"])]
    hosts: Option<u8>,
    /// A fleet on the simulated Twitch: units of a conduit with many channels, deployed and
    /// killed under traffic
    #[arg(long, conflicts_with_all = ["page", "proxy", "sink", "hosts", "tls", "late_seal", "slave", "handler_ms", "probed", "shards", "rate"])]
    twitch: bool,
    /// With --twitch: how much later than another one a message may come, in milliseconds
    #[arg(long, default_value_t = 3000, value_name = "MS", requires = "twitch")]
    jitter: u64,
    /// With --sink: each of these for a shorter time; with --twitch: fewer channels too
    #[arg(long)]
    quick: bool,
    /// Serve until Ctrl-C, with the master's page for a person to play with
    #[arg(long)]
    page: bool,
    /// Only the verdict, as one JSON object on the last line; with --page only the
    /// address
    #[arg(long)]
    json: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=10_000.0).contains(&rate) => Ok(rate),
        Ok(_) | Err(_) => Err("not a number from 0 to 10000".to_owned()),
    }
}

/// clap's first paragraph; what follows only repeats the help.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<_> = first
        .trim_start_matches("error: ")
        .split_whitespace()
        .collect();
    format!("{}; see scripts/demo --help", words.join(" "))
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => {
            let _ = writeln!(std::io::stderr(), "demo: {}", one_line(&error));
            return ExitCode::from(2);
        }
        // Help and version.
        Err(error) => error.exit(),
    };
    let options = DemoOptions {
        shards: arguments.shards,
        rate: arguments.rate,
        rtt: Duration::from_millis(arguments.rtt),
        handler_ms: arguments.handler_ms,
        guilds_per_shard: arguments.guilds,
        members_per_guild: arguments.members,
        tls: arguments.tls,
        sampled: arguments.probed,
        slave: arguments.slave,
        seed: arguments.seed,
        keep: arguments.keep,
        live: !arguments.json,
        late_seal: arguments.late_seal,
        slave_flags: Vec::new(),
        store: None,
        behind: None,
    };
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let json = arguments.json;
    let say = |line: &str| {
        if !json {
            print(&format!("{line}\n"));
        }
    };
    if arguments.page {
        let ready = |page: &str| {
            if json {
                print(&format!("{{\"page\":\"{page}\"}}\n"));
            }
        };
        return match serve_page(&options, say, ready).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        };
    }
    if arguments.proxy {
        return judged(proxy::run(&options, say).await, json, |it, text| {
            it.show(text)
        });
    }
    if arguments.twitch {
        let whole = twitch::Options::default();
        let options = twitch::Options {
            jitter: Duration::from_millis(arguments.jitter),
            round_trip: options.rtt,
            keep: arguments.keep,
            channels: if arguments.quick {
                1000
            } else {
                whole.channels
            },
            ..whole
        };
        return judged(twitch::run(options, say).await, json, |it, text| {
            it.show(text)
        });
    }
    if let Some(count) = arguments.hosts {
        return judged(hosts::run(&options, count, say).await, json, |it, text| {
            it.show(text)
        });
    }
    if let Some(kind) = arguments.sink {
        let spans = match arguments.quick {
            true => sink::Spans::QUICK,
            false => sink::Spans::WHOLE,
        };
        return judged(
            sink::run(&options, kind, spans, say).await,
            json,
            |it, text| it.show(text),
        );
    }
    judged(run(&options, say).await, json, |it, text| {
        it.show(text, colour)
    })
}

/// Prints what a run was worth, as JSON or as a table; 0 if nothing was wrong with it.
fn judged<V: Judged>(
    verdict: Result<V, Error>,
    json: bool,
    show: impl FnOnce(&V, &mut String) -> fmt::Result,
) -> ExitCode {
    let verdict = match verdict {
        Ok(verdict) => verdict,
        Err(error) => return failed(&error),
    };
    let mut text = String::new();
    if json {
        print(&format!("{}\n", verdict.to_json()));
    } else if show(&verdict, &mut text).is_ok() {
        print(&text);
    }
    ExitCode::from(u8::from(!verdict.faults().is_empty()))
}

fn failed(error: &Error) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "demo: {}", error.chain());
    ExitCode::from(1)
}

/// A reader that went away is no reason to panic.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
