//! Starts slaves so that they outlive the master.

use std::{
    collections::BTreeMap,
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
    message::Role,
};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use tokio::process::Command;
use tracing::warn;

use super::{
    output::{BEHIND, Output, Outputs},
    passed::Listeners,
};
use crate::config::{DEFAULT_API_URL, Slot, TOKEN_VARIABLE, check_command, token_in};

/// What a launched slave finds in its environment.
pub mod variable {
    /// Where the master is: `unix:` and the path of its socket.
    pub const MASTER: &str = "BATON_MASTER";
    /// The slot that the slave fills.
    pub const SLOT: &str = "BATON_SLOT";
    /// `candidate`, `standby` or `relaunch`.
    pub const ROLE: &str = "BATON_ROLE";
    /// The number of the deploy, where the slave is its candidate.
    pub const DEPLOY: &str = "BATON_DEPLOY";
    /// Which launch this is: the slave says it in its hello.
    pub const LAUNCH: &str = "BATON_LAUNCH";
    /// Where HTTP for Discord goes, if it is not Discord.
    pub const API_URL: &str = "BATON_API_URL";
    /// The master's runtime directory.
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

/// Knows each slot's command and what its slaves need.
#[derive(Debug)]
pub struct Launcher {
    runtime_dir: PathBuf,
    slave_socket: PathBuf,
    secret: Secret,
    /// What stands for Discord's own; `None`: nothing does.
    api_url: Option<String>,
    slots: BTreeMap<String, Slot>,
    /// What each slot's command was before the present one.
    before: BTreeMap<String, Vec<String>>,
    /// The file that slaves get the bot's token from.
    token_file: Option<PathBuf>,
    /// Where slaves write whose slot has no `log`; `None`: where the master does.
    outputs: Option<Outputs>,
    /// The sockets that are passed on; `None`: none are.
    listeners: Option<Arc<Listeners>>,
}

/// A process that was launched.
#[derive(Debug)]
pub struct Child {
    process: tokio::process::Child,
    /// `None`: where the master writes.
    output: Option<Output>,
}

impl Launcher {
    /// `commands` are what deploys brought: they win over the configured ones.
    #[must_use]
    pub fn new(
        runtime_dir: &Path,
        slave_socket: &Path,
        secret: Secret,
        slots: &[Slot],
        mut commands: BTreeMap<String, Vec<String>>,
    ) -> Self {
        let slots = slots
            .iter()
            .cloned()
            .map(|mut slot| {
                slot.command = commands.remove(&slot.name).or(slot.command);
                (slot.name.clone(), slot)
            })
            .collect();
        Self {
            runtime_dir: runtime_dir.to_owned(),
            slave_socket: slave_socket.to_owned(),
            secret,
            api_url: None,
            slots,
            before: BTreeMap::new(),
            token_file: None,
            outputs: None,
            listeners: None,
        }
    }

    /// From now on slaves of slots with a `listen` get its socket.
    pub fn pass_on(&mut self, listeners: Arc<Listeners>) {
        self.listeners = Some(listeners);
    }

    /// From now on slaves get the bot's token from this file, as it is when they are
    /// launched.
    pub fn take_token_from(&mut self, file: Option<PathBuf>) {
        self.token_file = file;
    }

    /// From now on slaves learn where HTTP for Discord goes. A slot's own `env` wins.
    #[must_use]
    pub fn with_api_url(mut self, url: &str) -> Self {
        self.api_url = (url != DEFAULT_API_URL).then(|| url.to_owned());
        self
    }

    /// From now on slaves whose slot has no `log` write there, and not where the
    /// master does.
    pub fn write_to(&mut self, outputs: Outputs) {
        self.outputs = Some(outputs);
    }

    /// Where the processes of a group write that was launched into this slot, maybe by
    /// an earlier master.
    #[must_use]
    pub fn output_of(&self, slot: &str, leader: u32) -> Option<Output> {
        match self.slots.get(slot).and_then(|place| place.log.as_deref()) {
            Some(log) => Some(Output::of_file(log)),
            None => Some(self.outputs.as_ref()?.of_group(leader)),
        }
    }

    /// What each slot's command was before the present one.
    pub fn remember_before(&mut self, before: BTreeMap<String, Vec<String>>) {
        self.before = before;
    }

    /// A deploy brought this command: it fills the slot from now on.
    pub fn remember(&mut self, slot: &str, command: &[String]) {
        let Some(place) = self.slots.get_mut(slot) else {
            return;
        };
        let now = Some(command.to_vec());
        if place.command != now
            && let Some(before) = std::mem::replace(&mut place.command, now)
        {
            self.before.insert(slot.to_owned(), before);
        }
    }

    /// The slot's command; `None`: it has none.
    #[must_use]
    pub fn present(&self, slot: &str) -> Option<&[String]> {
        self.slots.get(slot)?.command.as_deref()
    }

    /// What the slot's command was before the present one; `None`: it has had one only.
    #[must_use]
    pub fn former(&self, slot: &str) -> Option<&[String]> {
        self.before.get(slot).map(Vec::as_slice)
    }

    /// What the slot's command was before the present one.
    ///
    /// # Errors
    /// One line for a person: no such slot, or it has had one command only.
    pub fn before(&self, slot: &str) -> Result<Vec<String>, String> {
        if !self.slots.contains_key(slot) {
            return Err(format!("this fleet has no slot {slot:?}"));
        }
        self.before.get(slot).cloned().ok_or_else(|| {
            format!(
                "slot {slot:?} has had no other command before: name the build to go back to with \
                 baton-master deploy -- COMMAND, or start its slave yourself"
            )
        })
    }

    /// What is started when this slot is filled: nothing is looked at yet.
    ///
    /// # Errors
    /// One line for a person: no such slot, or no command.
    pub fn plan(
        &self,
        slot: &str,
        role: Role,
        command: Option<&[String]>,
        deploy: Option<DeployId>,
        launch: LaunchId,
    ) -> Result<Plan, String> {
        let Some(place) = self.slots.get(slot) else {
            return Err(format!("there is no slot `{slot}`"));
        };
        let Some(command) = command.or(place.command.as_deref()) else {
            return Err(format!(
                "slot `{slot}` has no command; configure one, or name it with the deploy"
            ));
        };
        let mut master = std::ffi::OsString::from("unix:");
        master.push(&self.slave_socket);
        Ok(Plan {
            slot: place.clone(),
            command: command.to_vec(),
            role,
            deploy,
            launch,
            master,
            runtime_dir: self.runtime_dir.clone(),
            secret: self.secret.clone(),
            api_url: self.api_url.clone(),
            token_file: self.token_file.clone(),
            outputs: self.outputs.clone(),
            listeners: self.listeners.clone(),
        })
    }
}

/// A process that is to be launched.
#[derive(Clone, Debug)]
pub struct Plan {
    slot: Slot,
    command: Vec<String>,
    role: Role,
    deploy: Option<DeployId>,
    launch: LaunchId,
    master: std::ffi::OsString,
    runtime_dir: PathBuf,
    secret: Secret,
    api_url: Option<String>,
    token_file: Option<PathBuf>,
    outputs: Option<Outputs>,
    listeners: Option<Arc<Listeners>>,
}

/// What gives a socket to a program as a service manager does: it comes as standard input,
/// and goes on as the descriptor 3. `LISTEN_PID` is only known in the process itself.
const PASS_ON: &str = r#"LISTEN_PID=$$; export LISTEN_PID; exec "$@" 3<&0 </dev/null"#;

impl Plan {
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

/// Kills a launched process and everything in its group. Its pid is its own
/// until it is waited for, so no other process can be meant.
pub fn kill_group(child: &Child) {
    let leader = child
        .process
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(rustix::process::Pid::from_raw);
    if let Some(leader) = leader {
        // It may have ended by itself.
        let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
    }
}
