//! An agent starts: what it was told is checked, its folder is taken, and what was launched
//! before is taken up.

use std::{path::PathBuf, sync::Arc};

use baton_protocol::{AgentId, ProcessIdentity, Term, Version, message::agent::AgentHello};
use serde::Serialize;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{info, warn};

use super::{
    Agent, Options, QUEUE, door, ledger::Ledger, link::addresses, parent::Parent,
    processes::Processes, reaper, way::Way,
};
use crate::{
    config::check_command,
    ending::Ending,
    error::Error,
    process::{Common, Listeners, Outputs, we_are_on},
    runtime_dir::{Lock, agent_secret, make_dir},
    service,
};

/// What a started agent tells its starter, as one line of JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Ready {
    /// The name of its host.
    pub host: String,
    /// Its process id.
    pub pid: u32,
    /// Its folder.
    pub runtime_dir: PathBuf,
}

/// Runs an agent until it is asked to end (`SIGTERM`, `SIGINT`), or until the slave that it started by
/// itself has ended. Gives the exit code: that slave's, else 0. `ready` is called when it knows what was
/// launched before.
///
/// # Errors
/// It cannot start: the error says what to change.
pub async fn run(options: Options, ready: impl FnOnce(&Ready)) -> Result<u8, Error> {
    let mut ending = Ending::new()?;
    let here =
        ProcessIdentity::current().map_err(|error| Error::system("read /proc/self", error))?;
    // A slave that dials by TLS is of the host that its certificate names: of this one.
    we_are_on(options.host.parse().ok());
    let is_init = here.pid == 1;
    let on_exit = options.on_exit(is_init)?;
    if let Some((_, command)) = &options.slave {
        check_command(command).map_err(Error::Configuration)?;
    }
    let wrong = |key: &str, reason: String| Error::Configuration(format!("{key}: {reason}"));
    let tls_dir = options.tls_dir.as_deref();
    let masters = addresses(&options.join, tls_dir).map_err(|reason| wrong("--join", reason))?;
    let slaves = options.slaves_join.as_ref().unwrap_or(&options.join);
    addresses(slaves, options.slaves_tls_dir.as_deref())
        .map_err(|reason| wrong("--slaves-join", reason))?;
    make_dir("runtime_dir", &options.runtime_dir)?;
    let dir = options
        .runtime_dir
        .canonicalize()
        .map_err(|error| Error::system("runtime_dir", error))?;
    if let Some(pid) = Lock::holder(&dir) {
        return Err(Error::Configuration(format!(
            "runtime_dir: the master with pid {pid} uses {}: give the agent a folder of its own",
            dir.display()
        )));
    }
    let _lock = Lock::take_for_agent(&dir)?;
    let secret = agent_secret(&dir, options.secret_file.as_deref())?;
    let outputs = Outputs::open(&dir)
        .inspect_err(|error| {
            warn!(%error, "slaves write where the agent does: their last words will not be known");
        })
        .ok();
    let common = Common {
        host: options.host.clone(),
        masters: options.slaves_join.clone().unwrap_or(options.join),
        runtime_dir: dir.clone(),
        secret: secret.clone(),
        token_file: options.token_file,
        tls_dir: options.slaves_tls_dir,
        outputs,
        listeners: Arc::new(Listeners::new(&dir, Vec::new())),
    };
    let (events, happened) = mpsc::channel(QUEUE);
    let processes = Processes::adopt(common, here.clone(), Ledger::open(&dir)?, events);
    let (asked, listening) =
        door::open(&dir).map_err(|error| Error::system("agent.sock in runtime_dir", error))?;
    let slave = options.slave;
    let parent = slave.map(|(slot, command)| Parent::new(slot, command, &processes));
    let reaping = is_init.then(|| AbortOnDropHandle::new(tokio::spawn(reaper::reap())));
    let id =
        AgentId::random().map_err(|error| Error::Failed(format!("no random numbers: {error}")))?;
    let agent = Agent {
        hello: AgentHello {
            version: Version::NEWEST,
            lowest: Version::OLDEST,
            term: Term::default(),
            agent: id,
            host: options.host.clone(),
            process: here.clone(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            ..AgentHello::default()
        },
        masters,
        tls_dir: options.tls_dir,
        next: 0,
        failures: 0,
        secret,
        processes,
        parent,
        happened,
        asked,
        link: Way::Wait(Instant::now()),
        heard: Instant::now(),
    };
    let pid = here.pid;
    info!(host = options.host, pid, runtime_dir = %dir.display(), "agent started");
    ready(&Ready {
        host: options.host.clone(),
        pid,
        runtime_dir: dir,
    });
    service::ready(&format!("agent of host {}", options.host));
    let alive = CancellationToken::new();
    let beats = AbortOnDropHandle::new(tokio::spawn(service::keep_alive(None, alive)));
    let code = agent.run(&mut ending, on_exit, options.grace).await;
    drop((reaping, beats, listening));
    Ok(code)
}
