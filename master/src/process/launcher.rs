//! What slaves are launched with: each slot's command, and what is the same for all.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use baton_protocol::{
    DeployId, HostName, LaunchId,
    auth::Secret,
    message::{Role, agent::Launch},
};

use super::{
    launch::Plan,
    output::{Output, Outputs},
    passed::Listeners,
};
use crate::config::{DEFAULT_API_URL, Slot};

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

/// The one host that a slot names.
fn one_host(slot: &Slot) -> Option<&str> {
    let host = slot.host.as_deref()?;
    // Else its slaves come from several hosts, by themselves.
    host.parse::<HostName>().is_ok().then_some(host)
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

    /// There are these slots too. One that was there before is launched as before; one that is
    /// not named stays for what is running in it.
    pub fn take_slots(&mut self, slots: &[Slot]) {
        for slot in slots {
            let name = slot.name.clone();
            self.slots.entry(name).or_insert_with(|| slot.clone());
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

    /// The host whose agent starts the slaves of a slot; `None`: the master itself does, nobody
    /// does since they come by themselves, or there is no such slot.
    #[must_use]
    pub fn host_of(&self, slot: &str) -> Option<&str> {
        one_host(self.slots.get(slot)?)
    }

    /// The hosts whose agents start slaves, with their slots.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, &str)> {
        let slots = self.slots.values();
        slots.filter_map(|slot| Some((one_host(slot)?, slot.name.as_str())))
    }

    /// What the agent of its host is told when this slot is filled.
    ///
    /// # Errors
    /// One line for a person: no such slot, or no command.
    pub fn order(
        &self,
        slot: &str,
        role: Role,
        command: Option<&[String]>,
        deploy: Option<DeployId>,
        launch: LaunchId,
    ) -> Result<Launch, String> {
        let (place, command) = self.what_fills(slot, command)?;
        let log = place.log.as_ref();
        Ok(Launch {
            launch,
            slot: place.name.clone(),
            role,
            deploy: deploy.unwrap_or_default(),
            command: command.to_vec(),
            env: place.env.clone(),
            log: log.map_or_else(String::new, |log| log.display().to_string()),
            listen: place.listen.map_or_else(String::new, |at| at.to_string()),
            api_url: self.api_url.clone().unwrap_or_default(),
        })
    }

    fn what_fills<'a>(
        &'a self,
        slot: &str,
        command: Option<&'a [String]>,
    ) -> Result<(&'a Slot, &'a [String]), String> {
        let Some(place) = self.slots.get(slot) else {
            return Err(format!("there is no slot `{slot}`"));
        };
        let Some(command) = command.or(place.command.as_deref()) else {
            return Err(format!(
                "slot `{slot}` has no command; configure one, or name it with the deploy"
            ));
        };
        Ok((place, command))
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
        let (place, command) = self.what_fills(slot, command)?;
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
            tls_dir: None,
            outputs: self.outputs.clone(),
            listeners: self.listeners.clone(),
            host: None,
        })
    }
}
