//! Command lines and configuration of a fleet's processes.

use std::{
    collections::BTreeMap,
    fmt::Display,
    fs::{self, File},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use super::{
    hosts,
    masters::Seat,
    options::{Armed, FleetOptions},
};
use crate::{
    discord::{Discord, INTENTS, TOKEN},
    error::{Error, Result},
    http::Endpoint,
    news::News,
    parts::Ready,
    process::{Process, program},
    programs::wrapped,
    shim::{self, Loads},
};

/// The settings of every slave of a fleet, however it is started.
pub(super) fn slave_arguments(
    folder: &Path,
    discord: &Discord,
    options: &FleetOptions,
    build: &str,
) -> Vec<String> {
    [
        ("--build", build.to_owned()),
        ("--gateway-url", discord.gateway_url.clone()),
        ("--intents", INTENTS.to_string()),
        ("--handler-ms", options.handler_ms.to_string()),
        (
            "--sink",
            format!("file:{}/sinks/%p.jsonl", folder.display()),
        ),
        (
            "--inspect",
            format!("unix:{}/run/inspect-{build}", folder.display()),
        ),
    ]
    .into_iter()
    .flat_map(|(flag, value)| [flag.to_owned(), value])
    .chain(options.special.slave_flags.iter().cloned())
    .collect()
}

pub(super) fn slave_command(
    folder: &Path,
    discord: &Discord,
    options: &FleetOptions,
    build: &str,
) -> Result<Vec<String>> {
    let mut command = match options.special.slots[..] {
        [] | [_] => options.special.slave_wrapper.clone(),
        [..] => hosts::runs_slave(folder, build),
    };
    command.push(program(&options.slave)?.display().to_string());
    command.extend(slave_arguments(folder, discord, options, build));
    Ok(command)
}

/// The command of the slaves of a host. Processes of two hosts may have one number, so the
/// host's goes before it in the name of the sink.
pub(super) fn host_command(
    folder: &Path,
    discord: &Discord,
    options: &FleetOptions,
    (host, number): (&str, u32),
    build: &str,
) -> Result<Vec<String>> {
    let build = format!("{host}-{build}");
    let mut command = slave_command(folder, discord, options, &build)?;
    let sink = format!("file:{}/sinks/{}00%p.jsonl", folder.display(), number + 1);
    command.extend(["--sink".to_owned(), sink]);
    Ok(command)
}

/// While this file is in a fleet's folder, a master counts the passes of its
/// point.
pub(super) const ARMED: &str = "armed";

/// The processes in this file of a fleet's folder are not shown to its masters, one
/// pid a line.
pub const HIDDEN: &str = "hidden";

/// The first master of a fleet, ready and watched.
pub(super) struct First {
    pub(super) master: Process,
    pub(super) news: News,
    pub(super) admin: Endpoint,
    pub(super) listen: String,
    pub(super) admin_http: Option<String>,
}

impl First {
    pub(super) async fn start(
        folder: &Path,
        discord: &Discord,
        options: &FleetOptions,
        starts: u32,
    ) -> Result<Self> {
        let (master, line) = start_master(folder, discord, options, Seat::First, starts).await?;
        let Ready {
            admin,
            listen,
            admin_http,
        } = Ready::read(&line)?;
        Ok(Self {
            news: News::open(&admin).await?,
            master,
            admin,
            listen,
            admin_http,
        })
    }
}

/// The log of its first start is `master.log`, of the next one `master-2.log`.
pub(super) async fn start_master(
    folder: &Path,
    discord: &Discord,
    options: &FleetOptions,
    seat: Seat,
    starts: u32,
) -> Result<(Process, String)> {
    let special = &options.special;
    let config = folder.join(seat.config()).display().to_string();
    let mut arguments = vec!["run", "--json-ready", "--config", &config];
    if special.late_seal {
        arguments.push("--late-seal");
    }
    let mut command = wrapped(&special.master_wrapper, "baton-master", &arguments)?;
    command
        .env("DISCORD_TOKEN", TOKEN)
        .env("BATON_LOG", "info,baton_master=debug")
        .env("BATON_HIDDEN", folder.join(seat.hidden()));
    if let Some(build) = special.master_as {
        command.env("BATON_MASTER_AS", build);
    }
    if special.shim != Loads::Nobody {
        shim::load(folder, &mut command);
    }
    if let Some(crash) = special.crash {
        command.env("BATON_CRASH_AT", crash.at);
        if crash.armed == Armed::Later {
            command.env("BATON_CRASH_WHEN", folder.join(ARMED));
        }
    }
    if let Some(ca) = &discord.ca {
        command.env("SSL_CERT_FILE", ca);
    }
    let log = match starts {
        1 => seat.log().to_owned(),
        later => format!("{}-{later}", seat.log()),
    };
    Process::start(&log, &folder.join("logs"), command, true).await
}

pub(super) fn write_toml(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).map_err(Error::io("write the master's configuration"))
}

pub(super) fn master_toml(
    folder: &Path,
    discord: &Discord,
    options: &FleetOptions,
    seat: Seat,
    listen: impl Display,
) -> Result<String> {
    let mut toml = format!(
        "name = \"demo\"\n\
         runtime_dir = {run:?}\n\
         {shared}\
         listen = \"{listen}\"\n\
         api_url = {rest:?}\n\
         shard_count = {shards}\n\
         standbys = {standbys}\n\
         {data_dir}\
         {admin_listen}\
         {network}\
         [limits]\n",
        run = folder.join(seat.run()).display().to_string(),
        shared = seat.lines(options),
        network = hosts::master_lines(folder, options),
        rest = discord.rest_url,
        shards = options.discord.shards,
        standbys = options.special.standbys,
        data_dir = if options.special.data_apart {
            format!(
                "data_dir = {:?}\n",
                folder.join("data").display().to_string()
            )
        } else {
            String::new()
        },
        admin_listen = match &options.special.admin_listen {
            Some(address) => {
                let token = folder.join("admin-token");
                write_token(&token)?;
                format!("admin_listen = {address:?}\nadmin_token_file = {token:?}\n")
            }
            None => String::new(),
        },
    );
    let soak = humantime::format_duration(options.soak).to_string();
    let mut limits = BTreeMap::from([
        ("contact", "300ms".to_owned()),
        ("soak", soak),
        ("identify_window", "100ms".to_owned()),
        // Most runs strike shards while they move: nothing is to hold them up.
        ("canary_time", "0s".to_owned()),
    ]);
    limits.extend(options.special.limits.clone());
    for (name, limit) in limits {
        toml.push_str(&format!("{name} = {}\n", toml_value(&limit)));
    }
    for (number, host) in (0..).zip(&options.special.hosts) {
        let hosts = u32::try_from(options.special.hosts.len()).unwrap_or(u32::MAX);
        let shards = options.discord.shards;
        let (first, next) = (shards * number / hosts, shards * (number + 1) / hosts);
        let command = host_command(folder, discord, options, (host, number), "v1")?;
        toml.push_str(&format!(
            "[[slot]]\nname = \"{host}\"\nhost = \"{host}\"\nshards = [{first}, {last}]\n\
             command = {command:?}\n",
            last = next.saturating_sub(1),
        ));
    }
    for slot in &options.special.slot_keys {
        toml.push_str(&format!("[[slot]]\n{slot}\n"));
        if options.launch {
            let command = slave_command(folder, discord, options, "v1")?;
            toml.push_str(&format!("command = {command:?}\n"));
        }
    }
    if !options.special.slots.is_empty() {
        let command = slave_command(folder, discord, options, "v1")?;
        toml.push_str(&hosts::slot_tables(options, &command));
    } else if options.launch && options.special.slot_keys.is_empty() {
        let command = slave_command(folder, discord, options, "v1")?;
        toml.push_str(&format!(
            "[[slot]]\nname = \"main\"\ncommand = {command:?}\n"
        ));
        if let Some(lease) = options.special.lease {
            toml.push_str(&format!("on_silence = \"lease\"\nlease = {lease:?}\n"));
        }
        if let Some(address) = options.special.clients_at {
            toml.push_str(&format!("listen = \"{address}\"\n"));
        }
    }
    Ok(toml)
}

/// For this fleet's operators: made once.
fn write_token(file: &Path) -> Result<()> {
    if file.exists() {
        return Ok(());
    }
    let token: u128 = rand::random();
    let mut options = File::options();
    let file = options.write(true).create_new(true).mode(0o600).open(file);
    let written = file.and_then(|mut file| writeln!(file, "{token:032x}"));
    written.map_err(Error::io("write a token"))
}

/// A count as it is, a time as text.
fn toml_value(limit: &str) -> String {
    match limit.parse::<u64>() {
        Ok(count) => count.to_string(),
        Err(_) => format!("{limit:?}"),
    }
}
