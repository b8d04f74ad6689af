//! `baton-master agent-status`: how the agent of this host does, for a person, a probe, and a hook
//! before its end.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use tokio::time::{Instant, sleep};

use super::{agent, say};
use crate::{
    agent::{Status, ask},
    error::{EXIT_DONE, EXIT_FAILED, Error},
};

/// How often it is looked whether another slave took over.
const LOOK: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
pub(super) struct AgentStatusArguments {
    /// Folder of the agent
    #[arg(
        long,
        env = "BATON_RUNTIME_DIR",
        value_name = "DIR",
        default_value = agent::FOLDER
    )]
    runtime_dir: PathBuf,
    /// End with 1 unless it is ready: the slave that it started has served all its shards, and fills
    /// its slot since; without one, a master accepted the agent
    #[arg(long)]
    ready: bool,
    /// Wait until its slave has nothing that another one is to take over, for so long at most
    #[arg(long, value_name = "TIME", value_parser = agent::time, conflicts_with = "ready")]
    followed: Option<Duration>,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: AgentStatusArguments) -> Result<u8, Error> {
    let dir = &arguments.runtime_dir;
    if let Some(patience) = arguments.followed {
        return Ok(followed(dir, patience).await);
    }
    let status = ask(dir).await.map_err(Error::Failed)?;
    match arguments.json {
        true => say(&serde_json::to_string(&status).unwrap_or_default()),
        false => say(&told(&status)),
    }
    match arguments.ready && !status.ready {
        true => Ok(EXIT_FAILED),
        false => Ok(EXIT_DONE),
    }
}

/// Whatever comes of it, the end goes on.
async fn followed(dir: &std::path::Path, patience: Duration) -> u8 {
    let until = Instant::now() + patience;
    loop {
        match ask(dir).await {
            Ok(status) if status.owner || status.shards > 0 => {}
            Ok(_) => return done("its slave has nothing that another one is to take over"),
            Err(_) => return done("the agent has ended"),
        }
        if Instant::now() >= until {
            return done("no other slave took over in time: what it has, it seals when it ends");
        }
        sleep(LOOK).await;
    }
}

fn done(what: &str) -> u8 {
    say(what);
    EXIT_DONE
}

fn told(status: &Status) -> String {
    let linked = match status.linked {
        true => "a master leads it",
        false => "no master leads it",
    };
    let ready = match status.ready {
        true => "ready".to_owned(),
        false => format!("not ready: {}", status.why),
    };
    let of_slave = match (&status.slot, &status.slave) {
        (None, _) => format!("{} processes", status.launched),
        (Some(slot), None) => format!("slot {slot}"),
        (Some(slot), Some(slave)) => format!(
            "slot {slot}, slave {slave:.8}, {} of {} shards serve",
            status.serving, status.shards
        ),
    };
    format!(
        "agent of host {}: {of_slave}; {linked}; {ready}",
        status.host
    )
}
