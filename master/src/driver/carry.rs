//! Carrying actions out, in their order.

use baton_core::event::{Action, Durability, Entry, Input};
use baton_protocol::{SlaveId, ToSlave};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

use super::{Driver, Ending, MAX_FAILURES, SAVE_PAUSE, SLOW_SAVE, inbox::Inbox};
use crate::{journal::SaveError, supervise::LaunchOrder};

impl Driver {
    /// Carries out everything that the core asks for, and what it asks for
    /// because of that. Each action is done before the next one is polled.
    pub(super) async fn carry_out(&mut self, inbox: &mut Inbox) {
        if self.resume_at.is_some_and(|at| at > Instant::now()) {
            return;
        }
        self.resume_at = None;
        let mut failures = 0;
        loop {
            let mut caused = Vec::new();
            while let Some(action) = self.core.poll_action() {
                if let Action::Save(entries, durability) = action {
                    match self.save(entries, durability, inbox).await {
                        Ok(()) => {}
                        Err(SaveError::Deposed(reason)) => {
                            // Nothing that follows may be carried out, and nothing is decided.
                            self.ending = Some(Ending::Deposed(reason));
                            return;
                        }
                        Err(SaveError::Refused(reason)) => {
                            if self.unsaved.lets() {
                                error!(reason, "the journal could not be written");
                            }
                            if self.journal.is_gone() {
                                self.ending = Some(Ending::Broken("journal"));
                                return;
                            }
                            failures += 1;
                            caused.push(Input::SaveFailed { reason });
                            break;
                        }
                    }
                } else {
                    self.carry(action, &mut caused);
                }
            }
            if caused.is_empty() {
                break;
            }
            // A failed save comes first: the core takes back what it queued.
            caused.sort_by_key(|input| !matches!(input, Input::SaveFailed { .. }));
            for input in caused {
                self.core.handle(self.clock.now(), input);
            }
            if failures == MAX_FAILURES {
                self.resume_at = Some(Instant::now() + SAVE_PAUSE);
                return;
            }
        }
        self.answers.taken();
    }

    /// Waits until this is saved. When that takes long, whoever looks at the fleet is
    /// shown it meanwhile: what is decided already, and not told yet.
    async fn save(
        &mut self,
        entries: Vec<Entry>,
        durability: Durability,
        inbox: &mut Inbox,
    ) -> Result<(), SaveError> {
        let commands: Vec<_> = entries
            .iter()
            .filter_map(|entry| match entry {
                Entry::Command { slot, command } => Some((slot.clone(), command.clone())),
                Entry::Pinned(_)
                | Entry::Owner { .. }
                | Entry::Work { .. }
                | Entry::Slave(_)
                | Entry::Gone(_)
                | Entry::Fenced(_)
                | Entry::Ticket { .. }
                | Entry::Deploy(_)
                | Entry::GivenUp(_)
                | Entry::Seen
                | Entry::Whole
                | Entry::Identifies(_)
                | Entry::Leased { .. }
                | Entry::Arrangement(_)
                | Entry::LateSealRefused(_) => None,
            })
            .collect();
        let began = Instant::now();
        let saved = self.journal.save(entries, durability);
        if mutant!("save-not-awaited") {
            // Sent to the journal's thread, and that is all.
            let _ = tokio::time::timeout(std::time::Duration::ZERO, saved).await;
        } else {
            tokio::pin!(saved);
            let saved = loop {
                let look = async {
                    sleep_until(began + SLOW_SAVE).await;
                    inbox.look().await
                };
                tokio::select! {
                    biased;
                    saved = &mut saved => break saved,
                    // The asker may be gone.
                    asker = look => drop(asker.send(self.view(self.clock.now()))),
                }
            };
            let took = began.elapsed();
            self.observe(|observer| observer.saved(durability, took, saved.is_ok()));
            saved?;
        }
        for (slot, command) in commands {
            self.supervisor.remember(&slot, &command);
        }
        Ok(())
    }

    fn carry(&mut self, action: Action, caused: &mut Vec<Input>) {
        match action {
            Action::Save(..) => debug_assert!(false, "`carry_out` takes saves, and can wait"),
            Action::Send(slave, message) => self.send(slave, message, caused),
            Action::Refuse(slave, refused) => {
                info!(slave = %format_args!("{slave:.8}"), detail = %refused.detail, "slave refused");
                // The asker of this launch hears the reason at once.
                caused.extend(self.supervisor.refused(slave, &refused.detail));
                if let Some(link) = self.connections.leave(slave) {
                    // An outbox that is full has other troubles.
                    let _ = link.send(ToSlave::Refused(refused));
                }
                self.forget_stranger(slave);
            }
            Action::Launch {
                slot,
                role,
                command,
                deploy,
                launch,
            } => {
                let order = LaunchOrder {
                    role,
                    command,
                    deploy,
                    launch,
                };
                caused.extend(self.supervisor.launch(slot, order));
            }
            Action::GiveUp { slot } => self.supervisor.give_up(&slot),
            Action::Kill(slave, why) => self.supervisor.kill(slave, why),
            Action::HangUp(slave) => {
                if let Some(link) = self.connections.get(slave) {
                    warn!(%slave, "nothing comes from its host; connection dropped");
                    link.cut();
                }
            }
            Action::Keep(aside) => self.aside.keep(*aside),
            Action::Tell(news) => self.tell(news),
            Action::Exit => self.ending = Some(Ending::Left),
        }
    }

    fn send(&mut self, slave: SlaveId, message: ToSlave, caused: &mut Vec<Input>) {
        let Some(link) = self.connections.get(slave) else {
            debug!(slave = %format_args!("{slave:.8}"), "a message to a slave that is not connected is dropped");
            return;
        };
        self.observe(|observer| observer.sent(&message));
        if link.send(message).is_err() {
            warn!(slave = %format_args!("{slave:.8}"), "slave takes nothing; connection dropped");
            link.cut();
            self.connections.leave(slave);
            caused.push(Input::Left { slave });
        }
    }
}
