//! `baton-master agent`: the master's hand on this host.

use std::{path::PathBuf, time::Duration};

use baton_protocol::HostName;
use clap::Args;

use super::{logging, say};
use crate::{
    agent::{self, OnExit},
    config::{LogFormat, Options},
    error::{EXIT_DONE, Error},
};

/// What a container's end leaves of 30 s.
const GRACE: &str = "25s";

#[derive(Debug, Args)]
pub(super) struct AgentArguments {
    /// The name of this host, as slots name it with `host`
    #[arg(long, env = "BATON_HOST", value_name = "NAME", value_parser = host)]
    host: String,
    /// Where the masters are: unix:/path, tls://HOST:PORT, or HOST:PORT on this host, several
    /// with commas between them
    #[arg(long, env = "BATON_MASTER", value_name = "ADDRESS,...")]
    join: String,
    /// Where the slaves that it launches find the masters [default: as --join]
    #[arg(long, env = "BATON_SLAVES_JOIN", value_name = "ADDRESS,...")]
    slaves_join: Option<String>,
    /// Folder with its certificate (ca.pem, cert.pem, key.pem), for masters at tls://
    #[arg(long, env = "BATON_TLS_DIR", value_name = "DIR")]
    tls_dir: Option<PathBuf>,
    /// Folder with the certificate of this host's slaves, which those that it launches find
    /// as BATON_TLS_DIR
    #[arg(long, env = "BATON_SLAVES_TLS_DIR", value_name = "DIR")]
    slaves_tls_dir: Option<PathBuf>,
    /// Its own folder: what it launched, what slaves write, the fleet's secret
    #[arg(
        long,
        env = "BATON_RUNTIME_DIR",
        value_name = "DIR",
        default_value = "/run/baton-agent"
    )]
    runtime_dir: PathBuf,
    /// What becomes of the slaves when it is asked to end [default: leave; stop as process 1]
    #[arg(long, env = "BATON_ON_EXIT", value_enum, value_name = "WHAT")]
    on_exit: Option<OnExit>,
    /// How long slaves have to end, where they are stopped
    #[arg(long, env = "BATON_GRACE", value_name = "TIME", value_parser = time, default_value = GRACE)]
    grace: Duration,
    /// File with the bot's token, read anew for each slave [default: DISCORD_TOKEN]
    #[arg(long, env = "BATON_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// What is logged [default: info]
    #[arg(long, env = "BATON_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// How log lines look
    #[arg(long, env = "BATON_LOG_FORMAT", value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Print one line of JSON when it knows what was launched before
    #[arg(long)]
    json_ready: bool,
}

pub(super) async fn run(arguments: AgentArguments) -> Result<u8, Error> {
    let options = Options {
        log: arguments.log,
        log_format: arguments.log_format,
        ..Options::default()
    };
    let filter = options.log.clone().unwrap_or_else(|| "info".to_owned());
    // It is read once.
    drop(logging::start(&options, &filter)?);
    let json_ready = arguments.json_ready;
    let agent = agent::Options {
        host: arguments.host,
        join: arguments.join,
        slaves_join: arguments.slaves_join,
        tls_dir: arguments.tls_dir,
        slaves_tls_dir: arguments.slaves_tls_dir,
        runtime_dir: arguments.runtime_dir,
        on_exit: arguments.on_exit,
        grace: arguments.grace,
        token_file: arguments.token_file,
    };
    agent::run(agent, |ready| {
        if json_ready {
            let line = serde_json::to_string(ready).unwrap_or_default();
            // The process that started it may read nothing.
            std::thread::spawn(move || say(&line));
        }
    })
    .await?;
    Ok(EXIT_DONE)
}

fn host(text: &str) -> Result<String, String> {
    match text.parse::<HostName>().is_ok() {
        true => Ok(text.to_owned()),
        false => Err(
            "the name of a host has 1 to 63 of the characters a-z, 0-9, `.` and `-`, and begins with \
             one of the first two kinds"
                .to_owned(),
        ),
    }
}

fn time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| format!("`{text}` is not a time with its unit, such as 25s"))
}
