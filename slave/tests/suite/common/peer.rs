//! A slave as the small master sees it: what it gets, and what it says.

use std::{collections::BTreeMap, time::Duration};

use baton_protocol::{
    Connection, Epoch, Frame, SequenceRanges, ShardId, Ticket, ToMaster, ToSlave,
    connection::Sender,
    message::{
        Checkpoint, FullStart, Hello, Report, Resume, ResumeAfter, Seal, Settled, Step, Unit,
    },
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;

use super::LONG;

/// One slave's connection to the fake master.
pub struct Peer {
    pub hello: Hello,
    pub running: bool,
    pub report: Report,
    sender: Sender,
    said: mpsc::UnboundedReceiver<ToMaster>,
    _reader: AbortOnDropHandle<()>,
    /// Said and not yet waited for.
    kept: Vec<ToMaster>,
    /// IdentifyRequests are answered at once.
    pub permits: bool,
    pub identifies: Vec<baton_protocol::message::IdentifyRequest>,
    /// The newest ticket of each shard, from checkpoints.
    pub checkpoints: BTreeMap<ShardId, Ticket>,
}

impl Peer {
    pub(super) fn new(connection: Connection, hello: Hello, running: bool, report: Report) -> Self {
        let (mut receiver, sender) = connection.split();
        let (say, said) = mpsc::unbounded_channel();
        let reader = tokio::spawn(async move {
            while let Ok(Some(frame)) = receiver.recv().await {
                if say.send(ToMaster::from_frame(frame).unwrap()).is_err() {
                    return;
                }
            }
        });
        Self {
            hello,
            running,
            report,
            sender,
            said,
            _reader: AbortOnDropHandle::new(reader),
            kept: Vec::new(),
            permits: true,
            identifies: Vec::new(),
            checkpoints: BTreeMap::new(),
        }
    }

    pub async fn order(&mut self, order: impl Into<Frame>) {
        assert!(self.tries_to_order(order).await, "the link is over");
    }

    /// `false`: the link is over.
    pub async fn tries_to_order(&mut self, order: impl Into<Frame>) -> bool {
        self.sender.send(&order.into()).await.is_ok()
    }

    /// Takes in what is said, answers requests for permits, and gives the first
    /// thing that `pick` wants.
    pub async fn wait<T>(&mut self, what: &str, mut pick: impl FnMut(&ToMaster) -> Option<T>) -> T {
        if let Some((at, picked)) = self
            .kept
            .iter()
            .enumerate()
            .find_map(|(at, message)| Some((at, pick(message)?)))
        {
            self.kept.remove(at);
            return picked;
        }
        let until = Instant::now() + LONG;
        loop {
            let said = timeout_at(until, self.said.recv()).await;
            let Ok(Some(message)) = said else {
                let last = &self.kept[self.kept.len().saturating_sub(20)..];
                panic!("{what} never came ({said:?}); last came {last:?}");
            };
            self.note(&message).await;
            if let Some(picked) = pick(&message) {
                return picked;
            }
            self.kept.push(message);
        }
    }

    /// Takes in everything that was said up to now.
    pub async fn catch_up(&mut self) {
        while let Ok(message) = self.said.try_recv() {
            self.note(&message).await;
            self.kept.push(message);
        }
    }

    /// The steps of a shard that were said before what was waited for last.
    pub fn steps(&self, shard: u32) -> Vec<Step> {
        let steps = self.kept.iter().filter_map(|message| match message {
            ToMaster::Progress(progress) if progress.shard.get() == shard => Some(progress.step),
            _ => None,
        });
        steps.collect()
    }

    async fn note(&mut self, message: &ToMaster) {
        match message {
            ToMaster::IdentifyRequest(request) => {
                self.identifies.push(*request);
                if self.permits {
                    self.order(ToSlave::IdentifyPermit(Unit {
                        shard: request.shard,
                        epoch: request.epoch,
                    }))
                    .await;
                }
            }
            ToMaster::Checkpoint(Checkpoint { shards }) => {
                for entry in shards {
                    if let Some(session) = &entry.session {
                        self.checkpoints.insert(entry.shard, session.clone());
                    }
                    let ticket = self.checkpoints.get_mut(&entry.shard).expect("a session");
                    ticket.handled = entry.handled;
                    ticket.finished_above = entry.finished_above.clone();
                    ticket.state_at = entry.handled;
                    ticket.in_doubt = SequenceRanges::new();
                }
            }
            _ => {}
        }
    }

    /// Starts shards cold, and waits until they serve.
    pub async fn start(&mut self, shards: &[u32], epoch: u64, shard_count: u32) {
        let unit = |shard: &u32| Unit {
            shard: ShardId(*shard),
            epoch: Epoch(epoch),
        };
        self.order(ToSlave::FullStart(FullStart {
            shards: shards.iter().map(unit).collect(),
            shard_count,
        }))
        .await;
        for shard in shards {
            self.serving(*shard).await;
        }
    }

    /// READY, or RESUMED without an order.
    pub async fn serving(&mut self, shard: u32) {
        self.wait("serving", |message| match message {
            ToMaster::Progress(progress)
                if progress.shard.get() == shard && progress.step == Step::Serving =>
            {
                Some(())
            }
            _ => None,
        })
        .await;
    }

    pub async fn seal(&mut self, shard: u32, epoch: u64, drain: Duration) -> Ticket {
        self.order(ToSlave::Seal(Seal {
            shard: ShardId(shard),
            epoch: Epoch(epoch),
            drain,
            begins: None,
        }))
        .await;
        self.ticket(shard).await
    }

    /// Asks for a late seal.
    pub async fn seal_late(&mut self, unit: Unit) {
        self.order(ToSlave::SealLate(Seal {
            shard: unit.shard,
            epoch: unit.epoch,
            drain: LONG,
            begins: None,
        }))
        .await;
    }

    /// Asks for a late seal, and is answered that it will be one.
    pub async fn seals_late(&mut self, unit: Unit) {
        self.seal_late(unit).await;
        let answered = self.wait("its answer", |message| match message {
            ToMaster::SealLate(unit) => Some(*unit),
            _ => None,
        });
        assert_eq!(answered.await, unit);
    }

    pub async fn ticket(&mut self, shard: u32) -> Ticket {
        self.wait("a ticket", |message| match message {
            ToMaster::Sealed(sealed) if sealed.ticket.shard.get() == shard => {
                Some(sealed.ticket.clone())
            }
            _ => None,
        })
        .await
    }

    pub async fn settled(&mut self, shard: u32) -> SequenceRanges {
        self.wait("settled", |message| match message {
            ToMaster::Settled(settled) if settled.shard.get() == shard => {
                Some(settled.unfinished.clone())
            }
            _ => None,
        })
        .await
    }

    pub async fn settle(&mut self, shard: u32, epoch: u64, unfinished: SequenceRanges) {
        self.order(ToSlave::Settled(Settled {
            shard: ShardId(shard),
            epoch: Epoch(epoch),
            unfinished,
            events: Vec::new(),
        }))
        .await;
    }

    /// Gives a shard, without waiting for the answer.
    pub async fn give(&mut self, epoch: u64, after: ResumeAfter, ticket: Ticket) {
        self.give_to(epoch, after, ticket, false).await;
    }

    /// The same, and whether what it has of the state is too old.
    pub async fn give_to(
        &mut self,
        epoch: u64,
        after: ResumeAfter,
        ticket: Ticket,
        state_too_old: bool,
    ) {
        let resume = Resume {
            epoch: Epoch(epoch),
            after,
            state_too_old,
            ticket,
            ..Resume::default()
        };
        self.order(ToSlave::Resume(Box::new(resume))).await;
    }

    /// Gives a shard and waits until Discord said RESUMED.
    pub async fn resume(&mut self, epoch: u64, after: ResumeAfter, ticket: Ticket) {
        let shard = ticket.shard.get();
        self.give(epoch, after, ticket).await;
        self.resumed(shard, epoch).await;
    }

    pub async fn resumed(&mut self, shard: u32, epoch: u64) {
        self.wait("RESUMED", |message| match message {
            ToMaster::Resumed(unit) => {
                let expected = (ShardId(shard), Epoch(epoch));
                ((unit.shard, unit.epoch) == expected).then_some(())
            }
            _ => None,
        })
        .await;
    }
}
