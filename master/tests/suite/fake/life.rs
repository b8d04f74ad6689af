//! What a slave without a bot does: it dials, reports, and answers every order at once.

use super::*;

#[derive(Clone)]
pub(super) struct Life {
    pub(super) hello: Hello,
    pub(super) socket: PathBuf,
    /// Of standby masters, which it dials in turn.
    pub(super) others: VecDeque<PathBuf>,
    /// What it proves itself by, over TCP.
    pub(super) secret: Option<Secret>,
    pub(super) seen: Arc<Mutex<Seen>>,
}

impl Life {
    pub(super) async fn live(mut self) {
        loop {
            if let Some(connection) = self.dial().await
                && self.serve(connection).await.is_none()
            {
                kill(self.hello.process.pid);
                return;
            }
            if let Some(next) = self.others.pop_front() {
                let last = std::mem::replace(&mut self.socket, next);
                self.others.push_back(last);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The unix socket takes the process that dials, and its children. Of a process
    /// that the master launched the kernel knows better: TCP tells nothing.
    async fn dial(&self) -> Option<Connection> {
        if self.secret.is_none() {
            let socket = UnixStream::connect(&self.socket).await.ok()?;
            return Some(Connection::new(socket));
        }
        let address = std::fs::read_to_string(self.socket.with_file_name("listens")).ok()?;
        let socket = TcpStream::connect(address).await.ok()?;
        Some(Connection::new(socket))
    }

    /// One connection; `None` when the slave is to end, else it dials again.
    async fn serve(&self, mut connection: Connection) -> Option<()> {
        connection.trust(Trust::Known);
        let (mut receiver, mut sender) = connection.split();
        match self.join(&mut receiver, &mut sender).await {
            Ok(()) => {}
            Err(Some(refused)) => {
                self.seen().refused = Some(refused);
                return None;
            }
            Err(None) => return Some(()),
        }
        loop {
            let Ok(Some(frame)) = receiver.recv().await else {
                return Some(());
            };
            let message = ToSlave::from_frame(frame).expect("a master's message");
            if matches!(message, ToSlave::Ping(_)) && std::mem::take(&mut self.seen().mute) {
                tokio::spawn(async move {
                    while let Ok(Some(_)) = receiver.recv().await {}
                    drop(sender);
                });
                return Some(());
            }
            let ends = matches!(message, ToSlave::Shutdown | ToSlave::Refused(_));
            for answer in self.answer(message) {
                if say(&mut sender, answer).await.is_err() {
                    return Some(());
                }
            }
            if ends {
                return None;
            }
        }
    }

    /// Up to the last report; else why it was refused, or that the connection is lost.
    async fn join(
        &self,
        receiver: &mut Receiver,
        sender: &mut Sender,
    ) -> Result<(), Option<Refused>> {
        let mut hello = self.hello.clone();
        hello.term = self.seen().term;
        let hello = handshake::ToMaster::Hello {
            running: !self.seen().shards.is_empty(),
            hello: Box::new(hello),
        };
        sender.send(&hello.into()).await.map_err(|_| None)?;
        // A master that stands still has a socket that takes everything.
        let Ok(Ok(Some(frame))) = timeout(ANSWER, receiver.recv()).await else {
            return Err(None);
        };
        let welcome = match handshake::ToSlave::from_frame(frame).expect("a master's message") {
            handshake::ToSlave::Welcome(welcome) => welcome,
            handshake::ToSlave::Refused(refused) if refused.reason == RefusedReason::NotLeading => {
                self.seen().refused = Some(refused);
                return Err(None);
            }
            handshake::ToSlave::Refused(refused) => return Err(Some(refused)),
        };
        self.seen().term = welcome.term;
        if let Some(secret) = &self.secret {
            let proof = secret.slave_proof(&welcome.challenge, self.hello.slave);
            let proof = handshake::ToMaster::Proof(Proof { proof });
            sender.send(&proof.into()).await.map_err(|_| None)?;
        }
        let report = handshake::ToMaster::Report(report(&self.seen()));
        sender.send(&report.into()).await.map_err(|_| None)
    }

    fn answer(&self, message: ToSlave) -> Vec<ToMaster> {
        let mut seen = self.seen();
        match message {
            ToSlave::PermitsLeased(_) | ToSlave::Post(_) => Vec::new(),
            ToSlave::Accepted(_) => {
                seen.accepted += 1;
                Vec::new()
            }
            ToSlave::Refused(refused) => {
                seen.refused = Some(refused);
                Vec::new()
            }
            ToSlave::Ping(ping) => vec![ToMaster::Pong(Pong {
                number: ping.number,
                ..Pong::default()
            })],
            ToSlave::Try(_) => Vec::new(),
            ToSlave::SoftStart => vec![ToMaster::SoftStartComplete],
            ToSlave::FullStart(start) => {
                let units = start.shards.into_iter();
                units.map(|unit| begin(&mut seen, unit)).collect()
            }
            ToSlave::IdentifyPermit(unit) => {
                seen.permits.push((unit.shard, std::time::Instant::now()));
                let mut answers = serves(&mut seen, unit);
                answers.push(ToMaster::Progress(Progress {
                    shard: unit.shard,
                    epoch: unit.epoch,
                    step: Step::Serving,
                    ..Progress::default()
                }));
                answers
            }
            ToSlave::ShardMigrationStart(start) => {
                let shards = if start.from_this_slave {
                    u32::try_from(seen.shards.len()).expect("few shards")
                } else {
                    start.shards
                };
                vec![ToMaster::ShardMigrationStart(ShardMigrationStart {
                    shards,
                    ..start
                })]
            }
            ToSlave::CopyState(unit) => {
                seen.orders.push(("copy", unit.shard));
                let frames = StateWriter::new(unit.shard, unit.epoch).end(Sequence(5));
                frames.into_iter().map(ToMaster::State).collect()
            }
            ToSlave::State(frame) => {
                let header = frame.header();
                let ack = ToMaster::StateAck(StateAck {
                    shard: header.shard,
                    epoch: header.epoch,
                    bytes: frame.body().len() as u64,
                });
                let ready =
                    (frame.id() == event::STATE_END).then_some(ToMaster::StateReady(StateReady {
                        shard: header.shard,
                        epoch: header.epoch,
                        state_at: header.sequence,
                        pieces: 0,
                    }));
                [ack].into_iter().chain(ready).collect()
            }
            ToSlave::Dial(dial) => {
                seen.orders.push(("dial", dial.shard));
                vec![ToMaster::Dialled(Dialled {
                    shard: dial.shard,
                    epoch: dial.epoch,
                    failed: String::new(),
                })]
            }
            ToSlave::Seal(order) => seal(&mut seen, order),
            ToSlave::SealLate(late) => vec![ToMaster::SealLate(Unit {
                shard: late.shard,
                epoch: late.epoch,
            })],
            ToSlave::Overtake(unit) => vec![ToMaster::Overtaken(Overtaken {
                shard: unit.shard,
                epoch: unit.epoch,
                failed: String::new(),
            })],
            ToSlave::Resume(resume) => {
                let (shard, epoch) = (resume.shard(), resume.epoch);
                seen.orders.push(("resume", shard));
                let unit = Unit { shard, epoch };
                let mut answers = serves(&mut seen, unit);
                answers.push(ToMaster::Resumed(unit));
                answers
            }
            ToSlave::StopWork(work) => {
                seen.work = Epoch(0);
                vec![ToMaster::StopWork(Work {
                    epoch: work.epoch,
                    ticket: "where the work stands".into(),
                })]
            }
            ToSlave::StartWork(work) => {
                seen.work = work.epoch;
                vec![ToMaster::StartWork(Work {
                    epoch: work.epoch,
                    ..Work::default()
                })]
            }
            ToSlave::Shutdown => vec![ToMaster::Shutdown],
            ToSlave::Forget(unit) => {
                if seen
                    .shards
                    .get(&unit.shard)
                    .is_some_and(|(epoch, _)| *epoch < unit.epoch)
                {
                    seen.shards.remove(&unit.shard);
                }
                Vec::new()
            }
            ToSlave::Settled(_) | ToSlave::StateAck(_) => Vec::new(),
        }
    }
}

async fn say(
    sender: &mut Sender,
    message: ToMaster,
) -> Result<(), baton_protocol::ConnectionError> {
    sender.send(&message.to_frame()).await
}

fn report(seen: &Seen) -> Report {
    let held = |(shard, (epoch, holding)): (&ShardId, &(Epoch, Holding))| Held {
        epoch: *epoch,
        holding: *holding,
        ticket: ticket(*shard),
        untouched: false,
    };
    Report {
        shards: seen.shards.iter().map(held).collect(),
        work: seen.work,
        ready: true,
        lapsed: false,
        last: true,
    }
}

fn begin(seen: &mut Seen, unit: Unit) -> ToMaster {
    seen.orders.push(("start", unit.shard));
    seen.shards
        .insert(unit.shard, (unit.epoch, Holding::Starting));
    ToMaster::IdentifyRequest(IdentifyRequest {
        shard: unit.shard,
        epoch: unit.epoch,
        cause: IdentifyCause::Cold,
    })
}

fn serves(seen: &mut Seen, unit: Unit) -> Vec<ToMaster> {
    seen.shards
        .insert(unit.shard, (unit.epoch, Holding::Serving));
    let ticket = ticket(unit.shard);
    let entry = CheckpointEntry {
        shard: unit.shard,
        epoch: unit.epoch,
        handled: ticket.handled,
        session: Some(ticket),
        ..CheckpointEntry::default()
    };
    vec![ToMaster::Checkpoint(Checkpoint {
        shards: vec![entry],
    })]
}

fn seal(seen: &mut Seen, order: Seal) -> Vec<ToMaster> {
    let Seal { shard, epoch, .. } = order;
    seen.orders.push(("seal", shard));
    seen.shards.insert(shard, (epoch, Holding::Sealed));
    let ticket = ticket(shard);
    let sealed = ToMaster::Sealed(Box::new(Sealed { epoch, ticket }));
    let settled = ToMaster::Settled(Settled {
        shard,
        epoch,
        ..Settled::default()
    });
    vec![sealed, settled]
}

fn ticket(shard: ShardId) -> Ticket {
    Ticket {
        shard,
        session: discord::Session {
            resume_url: "ws://127.0.0.1:1".to_owned(),
            ..discord::Session::with_id(format!("session of {shard}"))
        }
        .seal(),
        handled: Sequence(9),
        state_at: Sequence(9),
        ..Ticket::default()
    }
}
