//! Starts slaves so that they outlive the master.

use std::{
    fs, io,
    net::TcpListener,
    os::{
        fd::OwnedFd,
        unix::{fs::OpenOptionsExt, process::ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
};

use baton_core::event::EndedBy;
use baton_protocol::{
    DeployId, LaunchId,
    auth::{SECRET_VARIABLE, Secret},
    message::{Role, agent::Launch},
    tls::TLS_DIR_VARIABLE,
};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use tokio::{process::Command, sync::oneshot};
use tracing::warn;

use super::{
    output::{BEHIND, Output, Outputs},
    passed::Listeners,
};
use crate::config::{Slot, TOKEN_VARIABLE, check_command, token_in};

/// What a launched slave finds in its environment.
pub mod variable {
    /// Where the master is: `unix:` and the path of its socket, or the addresses at which an
    /// agent finds it.
    pub const MASTER: &str = "BATON_MASTER";
    /// The slot that the slave fills.
    pub const SLOT: &str = "BATON_SLOT";
    /// `candidate`, `standby` or `relaunch`.
    pub const ROLE: &str = "BATON_ROLE";
    /// The number of the deploy, where the slave is its candidate.
    pub const DEPLOY: &str = "BATON_DEPLOY";
    /// Which launch this is: the slave says it in its hello.
    pub const LAUNCH: &str = "BATON_LAUNCH";
    /// The host whose agent launched it: the slave says it in its hello.
    pub const HOST: &str = "BATON_HOST";
    /// Where HTTP for Discord goes, if it is not Discord.
    pub const API_URL: &str = "BATON_API_URL";
    /// The runtime directory of the master, or of the agent.
    pub const RUNTIME_DIR: &str = "BATON_RUNTIME_DIR";
    /// Set where standard error is a file that the master copies: so many bytes of it
    /// are kept at most while no master does. Slaves see to that themselves.
    pub const OUTPUT: &str = "BATON_OUTPUT";

    /// What a service manager sets for its own service alone: a slave that found it
    /// would speak for the master, or take a socket for one of its own.
    pub const OF_THE_SERVICE: [&str; 6] = [
        "LISTEN_FDNAMES",
        "LISTEN_FDS",
        "LISTEN_PID",
        "NOTIFY_SOCKET",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
    ];
}

/// A process that was launched.
#[derive(Debug)]
pub struct Child {
    process: tokio::process::Child,
    /// `None`: where the master writes.
    output: Option<Output>,
}

/// A process that is to be launched.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) slot: Slot,
    pub(super) command: Vec<String>,
    pub(super) role: Role,
    pub(super) deploy: Option<DeployId>,
    pub(super) launch: LaunchId,
    pub(super) master: std::ffi::OsString,
    pub(super) runtime_dir: PathBuf,
    pub(super) secret: Secret,
    pub(super) api_url: Option<String>,
    pub(super) token_file: Option<PathBuf>,
    /// The folder with the certificate of an agent's slaves.
    pub(super) tls_dir: Option<PathBuf>,
    pub(super) outputs: Option<Outputs>,
    pub(super) listeners: Option<Arc<Listeners>>,
    /// The host whose agent launches it; `None`: the master does.
    pub(super) host: Option<String>,
}

/// What gives a socket to a program as a service manager does: it comes as standard input,
/// and goes on as the descriptor 3. `LISTEN_PID` is only known in the process itself.
const PASS_ON: &str = r#"LISTEN_PID=$$; export LISTEN_PID; exec "$@" 3<&0 </dev/null"#;

/// What every slave gets that the agent of a host launches.
#[derive(Clone, Debug)]
pub struct Common {
    /// The name of the host.
    pub host: String,
    /// Where the masters are.
    pub masters: String,
    /// The agent's runtime directory.
    pub runtime_dir: PathBuf,
    /// The fleet's secret.
    pub secret: Secret,
    /// The file with the bot's token; `None`: it is in the agent's environment.
    pub token_file: Option<PathBuf>,
    /// The folder with the certificate of the host's slaves.
    pub tls_dir: Option<PathBuf>,
    /// Where slaves write whose slot has no `log`.
    pub outputs: Option<Outputs>,
    /// The sockets that are passed on.
    pub listeners: Arc<Listeners>,
}

impl Plan {
    /// What an agent was told to launch.
    ///
    /// # Errors
    /// One line for a person: the order cannot be understood.
    pub fn ordered(order: Launch, common: &Common) -> Result<Self, String> {
        let Launch {
            launch,
            slot: name,
            role,
            deploy,
            command,
            env,
            log,
            listen,
            api_url,
        } = order;
        let address = |text: &str| {
            let address = text.parse();
            address.map_err(|_| format!("listen: `{text}` is not an address with a port"))
        };
        let listen = (!listen.is_empty()).then(|| address(&listen)).transpose()?;
        let slot = Slot {
            name,
            command: None,
            shards: None,
            env,
            log: (!log.is_empty()).then(|| log.into()),
            listen,
            host: Some(common.host.clone()),
            lease: None,
        };
        Ok(Self {
            slot,
            command,
            role,
            deploy: Some(deploy).filter(|deploy| *deploy != DeployId(0)),
            launch,
            master: common.masters.clone().into(),
            runtime_dir: common.runtime_dir.clone(),
            secret: common.secret.clone(),
            api_url: Some(api_url).filter(|url| !url.is_empty()),
            token_file: common.token_file.clone(),
            tls_dir: common.tls_dir.clone(),
            outputs: common.outputs.clone(),
            listeners: Some(Arc::clone(&common.listeners)),
            host: Some(common.host.clone()),
        })
    }

    /// Starts it in a process group of its own, so that neither a terminal
    /// nor the master's end reaches it. Waits for the disks of its program, its token and
    /// its log, so it has a thread to itself: one that hangs holds up this launch and
    /// nothing else.
    ///
    /// # Errors
    /// One line for a person: it cannot be started.
    pub async fn start(self) -> Result<(u32, Child), String> {
        let starting = tokio::task::spawn_blocking(move || self.start_here());
        let failed = |_| Err("the task that was to start it panicked".to_owned());
        starting.await.unwrap_or_else(failed)
    }

    /// The socket that goes along; `None`: none does. The slave then binds the address itself,
    /// when it can.
    fn passed(&self) -> Option<TcpListener> {
        let (address, listeners) = (self.slot.listen?, self.listeners.as_ref()?);
        let listener = listeners.of(address);
        let listener = listener.inspect_err(|error| {
            warn!(
                slot = self.slot.name, listen = %address, %error,
                "the slave is launched without the socket for its clients"
            );
        });
        listener.ok()
    }

    fn start_here(self) -> Result<(u32, Child), String> {
        let program = check_command(&self.command)?;
        let role = match self.role {
            Role::Candidate => "candidate",
            Role::Standby => "standby",
            Role::Relaunch => "relaunch",
        };
        let place = &self.slot;
        let token = match &self.token_file {
            Some(file) if !place.env.contains_key(TOKEN_VARIABLE) => {
                Some(token_in("token_file", file)?)
            }
            Some(_) | None => None,
        };
        let passed = self.passed();
        let shell = match &passed {
            Some(_) => " (by /bin/sh, which passes the socket of `listen` on)",
            None => "",
        };
        let failed = |error: io::Error| format!("command `{}`{shell}: {error}", program.display());
        let mut child = match &passed {
            Some(_) => {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", PASS_ON, "sh"]).arg(&program);
                shell
            }
            None => Command::new(&program),
        };
        for variable in variable::OF_THE_SERVICE {
            child.env_remove(variable);
        }
        child
            .args(self.command.iter().skip(1))
            .envs(self.api_url.iter().map(|url| (variable::API_URL, url)))
            .envs(&place.env)
            .env(variable::MASTER, &self.master)
            .env(SECRET_VARIABLE, self.secret.to_hex())
            .env(variable::SLOT, &place.name)
            .env(variable::ROLE, role)
            .env(variable::RUNTIME_DIR, &self.runtime_dir)
            .env_remove(variable::OUTPUT)
            .env_remove(variable::DEPLOY)
            .env_remove(variable::LAUNCH)
            .env_remove(variable::HOST)
            .stdin(Stdio::null())
            .process_group(0);
        if let Some(listener) = passed {
            child.stdin(OwnedFd::from(listener));
            child.env("LISTEN_FDS", "1");
            child.env("LISTEN_FDNAMES", &place.name);
        }
        if let Some(token) = token {
            child.env(TOKEN_VARIABLE, token.reveal());
        }
        if let Some(deploy) = self.deploy {
            child.env(variable::DEPLOY, deploy.to_string());
        }
        if let Some(host) = &self.host {
            child.env(variable::HOST, host);
        }
        // A master's certificate, or an agent's, is not a slave's.
        match &self.tls_dir {
            Some(dir) => child.env(TLS_DIR_VARIABLE, dir),
            None if place.env.contains_key(TLS_DIR_VARIABLE) => &mut child,
            None => child.env_remove(TLS_DIR_VARIABLE),
        };
        if self.launch.is_said() {
            child.env(variable::LAUNCH, self.launch.to_string());
        }
        let mut output = None;
        let mut unnamed = None;
        if let Some(log) = &place.log {
            let file = open_log(log).map_err(|error| format!("log {}: {error}", log.display()))?;
            output = Some(Output::behind(log, &file));
            child.stderr(file.try_clone().map_err(failed)?);
            child.stdout(file);
        } else if let Some(outputs) = &self.outputs {
            match outputs.begin() {
                Ok((file, path)) => {
                    child.stderr(file);
                    child.env(variable::OUTPUT, BEHIND.to_string());
                    unnamed = Some((outputs, path));
                }
                Err(error) => warn!(
                    slot = place.name, %error,
                    "the slave writes where the master does: its last words will not be known"
                ),
            }
        }
        let process = child.spawn().inspect_err(|_| {
            if let Some((_, path)) = &unnamed {
                // Nobody writes there.
                let _ = fs::remove_file(path);
            }
        });
        let process = process.map_err(failed)?;
        let Some(pid) = process.id() else {
            return Err(format!("command `{}` ended at once", program.display()));
        };
        if let Some((outputs, path)) = unnamed {
            output = Some(outputs.named(&path, pid));
        }
        Ok((pid, Child { process, output }))
    }
}

/// To append. A pipe without a reader is reported, and not waited for. What a bot writes is
/// for its user alone, as everything else that the master makes; a file that is there keeps
/// its mode.
fn open_log(path: &Path) -> io::Result<fs::File> {
    let nonblock = OFlags::NONBLOCK.bits().cast_signed();
    let file = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(nonblock)
        .open(path)?;
    let flags = fcntl_getfl(&file)?;
    fcntl_setfl(&file, flags.difference(OFlags::NONBLOCK))?;
    Ok(file)
}

impl Child {
    /// Waits for its end: how it ended, and the last lines that it wrote.
    pub async fn wait(&mut self) -> (EndedBy, Vec<String>) {
        let ending = match self.process.wait().await {
            Ok(status) => ending(status),
            Err(_) => EndedBy::Unknown,
        };
        let last_lines = match self.output.clone() {
            Some(output) => output.read().await,
            None => Vec::new(),
        };
        (ending, last_lines)
    }

    /// The same, and where `killed` is told, the process and its group are killed first.
    pub async fn ends(mut self, killed: oneshot::Receiver<()>) -> (EndedBy, Vec<String>) {
        let asked = tokio::select! {
            ended = self.wait() => Err(ended),
            Ok(()) = killed => Ok(()),
        };
        match asked {
            Err(ended) => ended,
            Ok(()) => {
                self.kill_group();
                self.wait().await
            }
        }
    }

    /// Kills the process and everything in its group. Its pid is its own until it is waited
    /// for, so no other process can be meant.
    fn kill_group(&self) {
        let leader = self
            .process
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(rustix::process::Pid::from_raw);
        if let Some(leader) = leader {
            // It may have ended by itself.
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        }
    }
}

fn ending(status: ExitStatus) -> EndedBy {
    match (status.code(), status.signal()) {
        (Some(code), _) => EndedBy::Code(code),
        (None, Some(signal)) => EndedBy::Signal(signal),
        (None, None) => EndedBy::Unknown,
    }
}

/// The process group of a process; `None`: there is no such process.
#[must_use]
pub fn group_of(pid: u32) -> Option<u32> {
    let pid = i32::try_from(pid).ok();
    let group = rustix::process::getpgid(Some(pid.and_then(rustix::process::Pid::from_raw)?));
    Some(group.ok()?.as_raw_nonzero().get().cast_unsigned())
}

/// Whether `pid` is `leader` or belongs to the process group that `leader` was
/// launched in: a slave behind a shell has another pid than what was launched.
#[must_use]
pub fn is_of_launch(pid: u32, leader: u32) -> bool {
    pid == leader || group_of(pid) == Some(leader)
}
