//! Everything that a shard waits for, in one place; and what is the same in
//! every phase of its life.

use std::future::pending;

use tokio::time::{Duration, Instant, sleep_until};

use super::{
    Shard,
    gateway::{Gateway, Incoming},
    order::Order,
    phase::Input,
    staying::News,
};
use crate::state::CopyOut;

impl Shard {
    /// Waits for the next thing that the phase has to look at, until `due` at the
    /// longest. The gateway is polled only if it is given; commands go out and
    /// state is copied only while `serving`.
    pub(super) async fn input(
        &mut self,
        gateway: Option<&mut Gateway>,
        serving: bool,
        due: Option<Instant>,
    ) -> Input {
        self.turn.ends().await;
        let input = self.next_input(gateway, serving, due).await;
        self.events.attend();
        self.turn.begins();
        input
    }

    async fn next_input(
        &mut self,
        mut gateway: Option<&mut Gateway>,
        serving: bool,
        due: Option<Instant>,
    ) -> Input {
        loop {
            // The copying slave may wait for it.
            if self.inbox.is_empty() {
                self.acknowledge();
            }
            self.outbox.tell();
            if serving && let Some(gateway) = &gateway {
                self.handle.set_connected(gateway.is_identified());
            }
            let command_at = match &gateway {
                Some(gateway) if serving => gateway.may_command(),
                Some(_) | None => Err(Instant::now() + Duration::from_secs(3600)),
            };
            let soon = [
                due,
                self.notes.due(),
                self.events
                    .next_retry()
                    .filter(|_| serving && !self.context.lease.is_shut()),
                self.events.worth_a_look_at().filter(|_| serving),
                command_at.err(),
                self.snapshot.due().filter(|_| serving),
                self.staying.look_due().filter(|_| serving),
            ];
            let soon = soon.into_iter().flatten().min();
            // A reader that waits for a copy comes first.
            let copy_out = self.keeping.copying_out().or(self.snapshot.copying());
            let copy_out = copy_out.filter(|_| serving);
            let held = serving && self.handle.is_held();
            tokio::select! {
                biased;
                order = self.inbox.next() => {
                    if let Some(input) = self.order(order).await {
                        return input;
                    }
                }
                finished = self.events.report() => {
                    self.finished(finished);
                    self.finish_all_reported();
                    return Input::Finished;
                }
                () = self.handle.hold_ends(), if held => return Input::Finished,
                () = sleep_until(soon.unwrap_or_else(Instant::now)), if soon.is_some() => {
                    let now = Instant::now();
                    if self.notes.is_due(now) {
                        self.note();
                    }
                    if serving {
                        if self.events.worth_a_look_at().is_some_and(|at| at <= now) {
                            self.note();
                        }
                        self.hand_out_retries(now);
                        self.snapshot_due(now);
                        self.look_after_what_stays(now);
                    }
                    if due.is_some_and(|due| due <= now) {
                        return Input::Due;
                    }
                }
                read = self.recall.next() => return Input::Read(read),
                news = self.staying.news() => match news {
                    News::Claimed(claimed) => return Input::Claimed(claimed),
                    News::Compacted(done) => {
                        Self::compacted(done);
                        return Input::Finished;
                    }
                },
                change = self.ahead.change() => self.ahead_changed(change),
                change = self.trials.change(&self.context.trials) => self.trials_changed(change),
                (json, way) = self.outbox.next(), if command_at.is_ok() => {
                    if let Some(gateway) = &mut gateway {
                        gateway.command(json, way).await;
                    }
                }
                alternative = gateway_or_copy(gateway.as_deref_mut(), copy_out) => {
                    match alternative {
                        Alternative::Gateway(incoming) => return Input::Gateway(incoming),
                        Alternative::Copy(true) if self.keeping.copies_out() => {
                            let heartbeat = gateway.as_ref().and_then(|open| open.heartbeat());
                            self.copy_step(heartbeat);
                        }
                        Alternative::Copy(true) => self.snapshot_step(),
                        Alternative::Copy(false) if self.keeping.copies_out() => {
                            self.keeping.stop_copy();
                        }
                        Alternative::Copy(false) => self.snapshot.stop_copy(),
                    }
                }
            }
        }
    }

    /// Carries an order out, or gives it to the phase.
    async fn order(&mut self, order: Order) -> Option<Input> {
        match order {
            // Nobody writes to a shard of Discord.
            Order::Letter(_) => None,
            Order::Turn(turn) => Some(Input::Turn(turn)),
            Order::ServeOn => {
                self.plans.serve_on();
                None
            }
            Order::GiveUpState => {
                self.keeping.give_up();
                None
            }
            Order::Permit { epoch } => (epoch == self.epoch).then_some(Input::Permit),
            Order::Try { epoch, sequence } => {
                if epoch == self.epoch {
                    self.tried(sequence);
                }
                None
            }
            Order::Settled { unfinished, events } => {
                self.settled(&unfinished, events);
                Some(Input::Finished)
            }
            Order::Copy {
                epoch,
                reader,
                way,
                channel,
            } => {
                self.begin_copy(epoch, reader, way, channel).await;
                None
            }
            Order::CopyHeard { epoch } => {
                if epoch == self.epoch {
                    self.copy_heard().await;
                }
                None
            }
            Order::StateIn(frame) => {
                self.take_state(&frame).await;
                None
            }
            Order::Dial { epoch, ticket } => {
                self.dial_ahead(epoch, &ticket);
                None
            }
            Order::Overtake { epoch } => {
                self.overtake(epoch);
                None
            }
        }
    }
}

enum Alternative {
    Gateway(Incoming),
    Copy(bool),
}

/// Events and copying take turns: neither starves the other.
async fn gateway_or_copy(gateway: Option<&mut Gateway>, copy: Option<&mut CopyOut>) -> Alternative {
    let incoming = async {
        match gateway {
            Some(gateway) => gateway.next().await,
            None => pending().await,
        }
    };
    let copying = async {
        match copy {
            Some(copy) => copy.ready().await,
            None => pending().await,
        }
    };
    tokio::select! {
        incoming = incoming => Alternative::Gateway(incoming),
        ready = copying => Alternative::Copy(ready),
    }
}
