//! Everything that a shard waits for, in one place; and what is the same in
//! every phase of its life.

use std::future::pending;

use baton_protocol::{Epoch, Sequence, Ticket, Version, message::ResumeAfter};
use tokio::time::{Duration, Instant, sleep_until};

use super::{
    Care, Frozen, Order, Retry, Shard,
    gateway::{Gateway, Incoming},
    snapshots::Snapshot,
};
use crate::{
    bot::{Command, Event, Finished, How, Mark},
    state::{CopyOut, Form, Heartbeat, StateChannel, snapshot::Read},
    telemetry::Position,
};

/// Where a shard stands is noted for each event as long as so many ranges, or fewer,
/// are finished out of turn; else once for each checkpoint.
const NOTED_AT_ONCE: usize = 16;

/// What a phase has to look at itself. The rest is done by [`Shard::input`].
#[derive(Debug)]
pub(super) enum Input {
    /// An order that may end the phase.
    Turn(Turn),
    /// A permit for this epoch.
    Permit,
    /// From the connection.
    Gateway(Incoming),
    /// An event was finished or given back.
    Finished,
    /// From the snapshot that is being read.
    Read(Read),
    /// The time that was asked for has come.
    Due,
}

/// An order that may end a phase.
#[derive(Debug)]
pub(super) enum Turn {
    Start {
        epoch: Epoch,
    },
    Resume {
        epoch: Epoch,
        after: ResumeAfter,
        ticket: Box<Ticket>,
        care: Care,
    },
    Seal {
        epoch: Epoch,
        drain: Duration,
        begins: Option<Sequence>,
    },
    SealLate {
        epoch: Epoch,
        drain: Duration,
        begins: Option<Sequence>,
    },
    Forget {
        epoch: Epoch,
    },
    Leave,
}

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
        self.finished.attend();
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
            if self.orders.is_empty() {
                self.acknowledge();
            }
            let command_at = match &gateway {
                Some(gateway) if serving => gateway.may_command(),
                Some(_) | None => Err(Instant::now() + Duration::from_secs(3600)),
            };
            let soon = [
                due,
                self.note_due,
                self.retries
                    .front()
                    .filter(|_| serving)
                    .map(|retry| retry.at),
                command_at.err(),
                self.snapshot.due.filter(|_| serving),
            ];
            let soon = soon.into_iter().flatten().min();
            // A reader that waits for a copy comes first.
            let copy_out = self.copy_out.as_mut().or(self.snapshot.copy.as_mut());
            let copy_out = copy_out.filter(|_| serving);
            tokio::select! {
                biased;
                order = self.orders.recv() => {
                    if let Some(input) = self.order(order.unwrap_or(Order::Leave)).await {
                        return input;
                    }
                }
                finished = self.finished.take() => {
                    self.finished(finished);
                    self.finish_all_reported();
                    return Input::Finished;
                }
                () = sleep_until(soon.unwrap_or_else(Instant::now)), if soon.is_some() => {
                    let now = Instant::now();
                    if self.note_due.is_some_and(|due| due <= now) {
                        self.note();
                    }
                    self.hand_out_retries(now, serving);
                    if serving {
                        self.snapshot_due(now);
                    }
                    if due.is_some_and(|due| due <= now) {
                        return Input::Due;
                    }
                }
                read = Snapshot::read(&mut self.snapshot.reading) => return Input::Read(read),
                change = self.ahead.change() => self.ahead_changed(change),
                change = self.trials.change(&self.context.trials) => self.trials_changed(change),
                Some(command) = self.commands.recv(), if command_at.is_ok() => {
                    if let Some(gateway) = &gateway {
                        send_command(gateway, command);
                    }
                }
                alternative = gateway_or_copy(gateway.as_deref_mut(), copy_out) => {
                    match alternative {
                        Alternative::Gateway(incoming) => return Input::Gateway(incoming),
                        Alternative::Copy(true) if self.copy_out.is_some() => {
                            let heartbeat = gateway.as_ref().and_then(|open| open.heartbeat());
                            self.copy_step(heartbeat);
                        }
                        Alternative::Copy(true) => self.snapshot_step(),
                        Alternative::Copy(false) if self.copy_out.is_some() => self.copy_out = None,
                        Alternative::Copy(false) => self.snapshot.copy = None,
                    }
                }
            }
        }
    }

    /// Carries an order out, or gives it to the phase.
    async fn order(&mut self, order: Order) -> Option<Input> {
        match order {
            Order::Start { epoch } => Some(Input::Turn(Turn::Start { epoch })),
            Order::Resume {
                epoch,
                after,
                ticket,
                care,
            } => Some(Input::Turn(Turn::Resume {
                epoch,
                after,
                ticket,
                care,
            })),
            Order::Seal {
                epoch,
                drain,
                begins,
            } => Some(Input::Turn(Turn::Seal {
                epoch,
                drain,
                begins,
            })),
            Order::SealLate {
                epoch,
                drain,
                begins,
            } => Some(Input::Turn(Turn::SealLate {
                epoch,
                drain,
                begins,
            })),
            Order::ServeOn => {
                self.late = None;
                None
            }
            Order::Forget { epoch } => Some(Input::Turn(Turn::Forget { epoch })),
            Order::Leave => Some(Input::Turn(Turn::Leave)),
            Order::GiveUpState => {
                self.copied = None;
                self.frozen = Frozen::GivenUp;
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
                channel,
            } => {
                self.begin_copy(epoch, reader, channel);
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

    /// What became of an event.
    fn finished(&mut self, finished: Finished) {
        let current = finished.generation == self.generation;
        if current {
            self.hands.done(finished.sequence);
            self.trial_ends(finished.sequence);
        }
        let counters = &self.context.counters;
        let panicked = self
            .panicked
            .remove(&(finished.generation, finished.sequence));
        match finished.how {
            How::Done => {
                counters.finished.add();
                if panicked {
                    counters.failed.add();
                    tracing::warn!(sequence = %finished.sequence, "a handler panicked after its event was finished");
                }
            }
            How::Panicked => {
                counters.finished.add();
                counters.failed.add();
                tracing::warn!(sequence = %finished.sequence, "a handler panicked");
            }
            How::Retry { event, attempt } if attempt < self.context.config.timings.retries => {
                counters.retried.add();
                if current && self.window.give_back(finished.sequence, event.mark()) {
                    self.retries.push_back(Retry {
                        at: Instant::now() + self.context.config.timings.retry_delay,
                        generation: self.generation,
                        attempt: attempt + 1,
                        event,
                    });
                }
                return;
            }
            How::Retry { event, attempt } => {
                counters.finished.add();
                counters.failed.add();
                tracing::warn!(
                    sequence = %finished.sequence,
                    kind = event.kind(),
                    attempt,
                    "an event was given back too often: given up"
                );
            }
        }
        if current {
            self.window.finish(finished.sequence);
            self.touch();
        }
    }

    /// Takes in what was reported up to now, so that a ticket is exact.
    pub(super) fn finish_all_reported(&mut self) {
        while let Some(finished) = self.finished.try_take() {
            self.finished(finished);
        }
    }

    fn hand_out_retries(&mut self, now: Instant, serving: bool) {
        while serving && self.retries.front().is_some_and(|retry| retry.at <= now) {
            let Some(retry) = self.retries.pop_front() else {
                return;
            };
            if retry.generation == self.generation && self.window.run_again(retry.event.sequence())
            {
                self.hand_out(retry.event, retry.attempt);
            }
        }
    }

    /// Before all others, in their own order, marked.
    pub(super) fn hand_out_first(&mut self, events: Vec<Event>) {
        for event in events.into_iter().rev() {
            self.retries.push_front(Retry {
                at: Instant::now(),
                generation: self.generation,
                attempt: 1,
                event: event.marked(Mark::MayRepeat),
            });
        }
    }

    /// Something changed: the next checkpoint will say it.
    pub(super) fn touch(&mut self) {
        if self
            .window
            .finished_above()
            .ranges()
            .nth(NOTED_AT_ONCE)
            .is_none()
        {
            self.note();
        } else if self.note_due.is_none() {
            self.note_due = Some(self.context.checkpoints.next_line());
        }
    }

    fn note(&mut self) {
        self.note_due = None;
        self.standing.note(Position {
            epoch: self.epoch,
            generation: self.generation,
            received: self.window.received(),
            handled: self.window.handled(),
            finished_above: self.window.finished_above().clone(),
            oldest: self.hands.oldest(self.window.received()),
        });
    }

    fn begin_copy(&mut self, epoch: Epoch, reader: Version, channel: StateChannel) {
        if epoch != self.epoch {
            return;
        }
        let keeps = self.context.keeps_state();
        let keys = if keeps && !self.state_lost {
            self.with_state(|state, shard| state.export(shard))
                .unwrap_or_default()
        } else {
            Vec::new()
        };
        // What is left of lost state must not pass for whole at the next owner.
        let session = match &self.session {
            Some(_) if self.state_lost => Some(""),
            Some(session) => Some(&*session.tag),
            None => None,
        };
        let compression = self.context.config.state_compression;
        self.copy_out = Some(CopyOut::new(
            Form::of_reader(reader, compression),
            self.id,
            epoch,
            self.window.received(),
            session.filter(|_| keeps),
            keys,
            channel.budget(),
        ));
        self.channel = Some(channel);
    }

    fn copy_step(&mut self, heartbeat: Option<Heartbeat>) {
        let Some(mut copy) = self.copy_out.take() else {
            return;
        };
        if copy.outlasts(heartbeat) {
            self.copy_out = Some(copy);
            return;
        }
        let at = self.window.received();
        let frame = copy.step(at, |key| {
            self.with_state(|state, shard| state.export_piece(shard, key))
                .flatten()
        });
        if let Some((frame, channel)) = frame.zip(self.channel.as_ref()) {
            channel.send(frame);
        }
        if !copy.is_over() && copy.epoch() == self.epoch {
            self.copy_out = Some(copy);
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

fn send_command(gateway: &Gateway, command: Command) {
    gateway.command(command.json);
    // No task waits for the receipt: fine.
    let _ = command.sent.send(());
}
