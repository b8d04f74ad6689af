//! `baton-master agent`: the master's hand on this host.

use std::{path::PathBuf, time::Duration};

use baton_protocol::HostName;
use clap::Args;

use super::{logging, say};
use crate::{
    agent::{self, OnExit},
    config::{LogFormat, Options, from_here},
    error::Error,
    process::kernel_name,
};

/// What a container's end leaves of 30 s.
const GRACE: &str = "25s";

/// The folder of an agent, where none is named.
pub(super) const FOLDER: &str = "/run/baton-agent";

/// The slot of a slave, where none is named.
const DEFAULT_SLOT: &str = "main";

#[derive(Debug, Args)]
pub(super) struct AgentArguments {
    /// The name of this host, as slots name it with `host` [default: what the kernel calls it]
    #[arg(long, env = "BATON_HOST", value_name = "NAME", value_parser = host)]
    host: Option<String>,
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
        default_value = FOLDER
    )]
    runtime_dir: PathBuf,
    /// File with the fleet's secret [default: BATON_SECRET, else the file `secret` in its folder]
    #[arg(long, env = "BATON_SECRET_FILE", value_name = "FILE")]
    secret_file: Option<PathBuf>,
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
    /// The slot of COMMAND
    #[arg(long, value_name = "NAME", requires = "command")]
    slot: Option<String>,
    /// Print one line of JSON when it knows what was launched before
    #[arg(long)]
    json_ready: bool,
    /// One slave that the agent starts by itself and ends with, in a container or a pod: it is the
    /// next build of its slot when the folder is new, and else takes the place of the one before
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
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
    let slave = match (arguments.slot, arguments.command) {
        (_, command) if command.is_empty() => None,
        (slot, command) => {
            let here =
                std::env::current_dir().map_err(|error| Error::system("this folder", error))?;
            let command = from_here(command, &here).map_err(Error::Configuration)?;
            Some((slot.unwrap_or_else(|| DEFAULT_SLOT.to_owned()), command))
        }
    };
    let agent = agent::Options {
        host: match arguments.host {
            Some(host) => host,
            None => own_name()?,
        },
        join: arguments.join,
        slaves_join: arguments.slaves_join,
        tls_dir: arguments.tls_dir,
        slaves_tls_dir: arguments.slaves_tls_dir,
        runtime_dir: arguments.runtime_dir,
        secret_file: arguments.secret_file,
        on_exit: arguments.on_exit,
        grace: arguments.grace,
        token_file: arguments.token_file,
        slave,
    };
    agent::run(agent, |ready| {
        if json_ready {
            let line = serde_json::to_string(ready).unwrap_or_default();
            // The process that started it may read nothing.
            std::thread::spawn(move || say(&line));
        }
    })
    .await
}

/// In a container that is one which no other container has.
fn own_name() -> Result<String, Error> {
    let name = kernel_name();
    host(&name).map_err(|_| {
        Error::Configuration(format!(
            "the kernel calls this host {name:?}, which cannot be its name here: give --host"
        ))
    })
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

pub(super) fn time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| format!("`{text}` is not a time with its unit, such as 25s"))
}
