//! What an agent before launched: its end is waited for as if this agent had started it.

use baton_core::event::EndedBy;
use baton_protocol::{LaunchId, ProcessIdentity};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::{Event, Processes, Row};
use crate::process::{Output, Outputs, UNHEARD, Watch, WatchError, lived};

impl Processes {
    /// Takes up one launch.
    pub(super) fn adopt_one(&mut self, row: &Row) {
        let Some(process) = &row.process else {
            let line = "(the agent ended while it was being started)".to_owned();
            return self.ended(row.launch, EndedBy::Unknown, None, vec![line]);
        };
        let output = match &row.log {
            Some(log) => Some(Output::of_file(log)),
            None => self
                .common
                .outputs
                .as_ref()
                .map(|to: &Outputs| to.of_group(process.pid)),
        };
        match self.watching.look(process) {
            Ok(watch) => {
                info!(
                    slot = row.slot,
                    pid = process.pid,
                    "adopted: it was launched by an agent before"
                );
                self.wait_for_adopted(row.launch, process.clone(), watch, output);
            }
            Err(WatchError::Dead) => {
                let events = self.events.clone();
                let launch = row.launch;
                tokio::spawn(async move {
                    let last_lines = last_lines(output).await;
                    let ended = Event::Ended(launch, EndedBy::Unknown, None, last_lines);
                    // Fails only when the agent has ended.
                    let _ = events.send(ended).await;
                });
            }
            Err(error @ (WatchError::Elsewhere | WatchError::Unseen(_))) => {
                warn!(
                    slot = row.slot, pid = process.pid, %error,
                    "the end of a process that an agent before launched cannot be known by its launch"
                );
                self.unknown.insert(row.launch);
            }
        }
    }

    fn wait_for_adopted(
        &mut self,
        launch: LaunchId,
        process: ProcessIdentity,
        watch: Watch,
        output: Option<Output>,
    ) {
        let (kill, mut killed) = oneshot::channel();
        self.kills.insert(launch, kill);
        let events = self.events.clone();
        tokio::spawn(async move {
            let mut asked = false;
            loop {
                tokio::select! {
                    dead = watch.dead() => {
                        if dead.is_err() {
                            return;
                        }
                        break;
                    }
                    Ok(()) = &mut killed, if !asked => {
                        asked = true;
                        kill_leader(&process, &watch);
                    }
                }
            }
            let lived = lived(&process);
            let last_lines = last_lines(output).await;
            let ended = Event::Ended(launch, EndedBy::Unknown, lived, last_lines);
            // Fails only when the agent has ended.
            let _ = events.send(ended).await;
        });
    }

    /// What lives of the launches of a slot that an agent before made, with its process id.
    pub(in crate::agent) fn adopted(&self, slot: &str) -> Option<(LaunchId, u32)> {
        let mut rows = self.rows.iter().filter(|row| row.slot == slot);
        rows.find_map(|row| {
            let lives = row.ended.is_none() && self.kills.contains_key(&row.launch);
            Some((row.launch, row.process.as_ref().filter(|_| lives)?.pid))
        })
    }
}

async fn last_lines(output: Option<Output>) -> Vec<String> {
    match output {
        Some(output) => output.read().await,
        None => vec![UNHEARD.to_owned()],
    }
}

/// Kills a process that an earlier agent launched, with its group. While it lives its pid is its own.
fn kill_leader(process: &ProcessIdentity, watch: &Watch) {
    if !watch.has_ended()
        && let Some(leader) = Pid::from_raw(process.pid.cast_signed())
    {
        let _ = kill_process_group(leader, Signal::KILL);
    }
    let _ = watch.kill();
}
