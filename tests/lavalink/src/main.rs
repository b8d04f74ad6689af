//! See the library.

use std::{io::Write, net::SocketAddr, process::ExitCode, time::Duration};

use baton_lavalink::{Config, Lavalink};
use clap::Parser;

/// A stand-in for a Lavalink server, version 4. It says where it listens as one line of JSON.
#[derive(Debug, Parser)]
struct Options {
    /// Where it listens; port 0 is one that is free.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// What clients have to know.
    #[arg(long, env = "LAVALINK_PASSWORD", default_value = "youshallnotpass")]
    password: String,
    /// How often players that play say where they are.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    player_update: Duration,
    /// Connects to voice gateways without TLS.
    #[arg(long)]
    plain_voice: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let config = Config {
        listen: options.listen,
        password: options.password,
        player_update: options.player_update,
        voice_scheme: if options.plain_voice { "ws" } else { "wss" },
    };
    let lavalink = match Lavalink::start(config).await {
        Ok(lavalink) => lavalink,
        Err(error) => {
            let listen = options.listen;
            let _ = writeln!(std::io::stderr(), "baton-lavalink: {listen}: {error}");
            return ExitCode::from(1);
        }
    };
    let line = serde_json::json!({"address": lavalink.address()});
    let _ = writeln!(std::io::stdout(), "{line}");
    let _ = tokio::signal::ctrl_c().await;
    ExitCode::SUCCESS
}
