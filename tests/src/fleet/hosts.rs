//! A fleet on several hosts: its certificates, its slots, its agents.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Fleet, options::FleetOptions};
use crate::{
    error::{Error, Result},
    hosts::{Host, Network},
    parts::folders,
    process::{Process, command},
    programs::wrapped,
};

/// Whoever issues the fleet's certificates.
const AUTHORITY: &str = "tls/authority";
/// The master's own.
const MASTER: &str = "tls/master";

/// Makes certificates for the master, and for the agent of each host and its slaves, as an
/// operator does.
pub(super) async fn certificates(folder: &Path, network: &Network) -> Result<()> {
    folders(folder, &["tls"])?;
    let authority = folder.join(AUTHORITY).display().to_string();
    certs(&["init", "--ca", &authority, "--fleet", "demo"]).await?;
    let mut wanted = vec![("master", "here".to_owned(), MASTER.to_owned())];
    for host in network.hosts() {
        for role in ["agent", "slave"] {
            wanted.push((role, host.name(), of(role, host)));
        }
    }
    for (role, host, out) in wanted {
        let out = folder.join(out).display().to_string();
        let issue = ["issue", "--ca", &authority, "--role", role];
        certs(&[&issue[..], &["--host", &host, "--out", &out]].concat()).await?;
    }
    Ok(())
}

fn of(role: &str, host: &Host) -> String {
    format!("tls/{role}-{}", host.name())
}

async fn certs(arguments: &[&str]) -> Result<()> {
    let mut command = command("baton-master", [&["certs"], arguments].concat())?;
    let made = command.output().await;
    let made = made.map_err(Error::io("run baton-master certs"))?;
    if made.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&made.stderr);
    Err(Error::answer("baton-master certs", said.trim()))
}

/// What the master's configuration says of the network.
pub(super) fn master_lines(folder: &Path, options: &FleetOptions) -> String {
    match options.special.network {
        Some(_) => format!(
            "tls_dir = {:?}\n",
            folder.join(MASTER).display().to_string()
        ),
        None => String::new(),
    }
}

/// The tables of the slots, each with this command.
pub(super) fn slot_tables(options: &FleetOptions, command: &[String]) -> String {
    let mut toml = String::new();
    for slot in &options.special.slots {
        toml.push_str(&format!(
            "[[slot]]\nname = {:?}\ncommand = {command:?}\n{}",
            slot.name, slot.more
        ));
        if let Some(shards) = &slot.shards {
            toml.push_str(&format!("shards = {shards:?}\n"));
        }
        if let Some(host) = &slot.host {
            toml.push_str(&format!("host = {host:?}\n"));
        }
    }
    toml
}

/// What runs a slave of one slot of several: each can be asked what it holds at a place of
/// its own.
pub(super) fn runs_slave(folder: &Path, build: &str) -> Vec<String> {
    let place = format!("unix:{}/run/inspect-{build}-", folder.display());
    let script = format!("exec \"$@\" --inspect \"{place}$BATON_SLOT\"");
    ["/bin/sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
}

/// Where an agent finds the master, and how its host is entered.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// The name of its host.
    pub host: String,
    /// Where the master is.
    pub join: String,
    /// What runs its command line, which follows; empty: nothing does.
    pub runs: Vec<String>,
    /// Its folder of certificates, and that of its slaves.
    pub tls: Option<[PathBuf; 2]>,
}

impl Fleet {
    /// Starts the agent of a host of the fleet's network.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start_agent_of(&self, host: &Host) -> Result<Process> {
        self.start_agent_with(&AgentOptions {
            host: host.name(),
            join: format!("tls://{}", self.listen),
            runs: host.runs(),
            tls: Some(["agent", "slave"].map(|role| self.folder.join(of(role, host)))),
        })
        .await
    }

    /// Starts an agent; its log is `agent-NAME.log`, of a later one `agent-NAME-2.log`.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start_agent_with(&self, options: &AgentOptions) -> Result<Process> {
        let name = format!("agent-{}", options.host);
        let dir = self.folder.join(&name).display().to_string();
        let (host, join) = (options.host.as_str(), options.join.as_str());
        let arguments = ["agent", "--json-ready", "--host", host, "--join", join];
        let arguments = [&arguments[..], &["--runtime-dir", &dir]].concat();
        let mut command = wrapped(&options.runs, "baton-master", &arguments)?;
        let secret = fs::read_to_string(self.folder.join("run/secret"));
        let secret = secret.map_err(Error::io("read the fleet's secret"))?;
        self.slave_environment(&mut command);
        command
            .env("BATON_SECRET", secret.trim())
            .env("BATON_LOG", "info,baton_master=debug");
        if let Some([agent, slaves]) = &options.tls {
            command
                .env("BATON_TLS_DIR", agent)
                .env("BATON_SLAVES_TLS_DIR", slaves);
        }
        let logs = self.folder.join("logs");
        let numbered = (2..).map(|start| format!("{name}-{start}"));
        let mut logged = std::iter::once(name.clone()).chain(numbered);
        let is_free = |log: &String| !logs.join(format!("{log}.log")).exists();
        let log = logged.find(is_free).unwrap_or(name);
        let (process, _) = Process::start(&log, &logs, command, true).await?;
        Ok(process)
    }
}
