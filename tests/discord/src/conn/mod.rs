//! One websocket connection, from HELLO to its end.
//!
//! ```text
//!   upgrade ──▶ HELLO ──▶ waiting ──IDENTIFY──▶ serving ──▶ End
//!                           │  ▲                  ▲
//!                           │  └── op 9 ──┐       │
//!                           └───RESUME────┴───────┘
//! ```
//!
//! One task owns the socket. Others tell it things by [`Command`]; dispatches it
//! fetches itself from the session when it is notified.

mod act;
pub(crate) mod command;
mod commands;
mod hello;
mod identify;
mod replay;
mod resume;
mod send;

use std::{collections::VecDeque, convert::Infallible, pin::Pin, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Notify, mpsc},
    time::{Instant, Sleep, timeout},
};
use tokio_websockets::{CloseCode, Message, WebSocketStream};

use self::{command::Command, replay::Shaping};
use crate::{
    clock::monotonic_us,
    commands::CommandLine,
    config::MissedHeartbeat,
    counters::Count,
    faults::Fault,
    id::ConnId,
    ledger::What,
    server::Shared,
    session::{Attachment, Session},
    wire::{
        encode::{Compression, Encoder},
        end::{End, ends_session},
        link::LinkControl,
        opening::Opening,
        pace::Commands,
        payload::Payload,
        websocket,
    },
};

/// Commands from other tasks that can wait.
const MAX_COMMANDS: usize = 64;
/// How long a close waits for the other side's.
const CLOSE: Duration = Duration::from_secs(1);

/// See the module. `Err` of any step is the end of the connection.
pub(crate) struct Connection<S> {
    pub(super) shared: Arc<Shared>,
    pub(super) id: ConnId,
    pub(super) ws: WebSocketStream<S>,
    pub(super) encoder: Encoder,
    pub(super) link: LinkControl,
    pub(super) opening: Opening,
    pub(super) version: u8,
    pub(super) compression: Compression,
    pub(super) shard: Option<u32>,
    pub(super) session: Option<Arc<Session>>,
    pub(super) notify: Arc<Notify>,
    tell: mpsc::Sender<Command>,
    pub(super) told: mpsc::Receiver<Command>,
    /// Told while a write was under way.
    pub(super) later: VecDeque<Fault>,
    pub(super) commands: Commands,
    /// Rings when the client has missed its heartbeats.
    pub(super) beat: Pin<Box<Sleep>>,
    pub(super) no_ack_until: Option<Instant>,
    /// How long the client may be silent.
    pub(super) patience: Duration,
    /// What faults do to the dispatches.
    pub(super) shaping: Shaping,
    pub(super) replaying: u64,
}

/// Serves one websocket to its end.
pub(crate) async fn serve<S>(shared: Arc<Shared>, stream: S, link: LinkControl, opening: Opening)
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let ws = websocket::serve(stream);
    let (tell, told) = mpsc::channel(MAX_COMMANDS);
    let id = shared.open_connection(tell.clone());
    let compression = opening.compression.unwrap_or(Compression::None);
    let patience = patience(&shared, shared.settings.get().heartbeat_interval);
    let mut connection = Connection {
        id,
        ws,
        encoder: Encoder::new(compression),
        link,
        version: *opening.version.as_ref().unwrap_or(&10),
        compression,
        shard: None,
        opening,
        session: None,
        notify: Arc::default(),
        tell,
        told,
        later: VecDeque::new(),
        commands: Commands::new(shared.config.commands_per_minute),
        beat: Box::pin(tokio::time::sleep(patience)),
        no_ack_until: None,
        patience,
        shaping: Shaping::default(),
        replaying: 0,
        shared,
    };
    let end = match connection.live().await {
        Ok(never) => match never {},
        Err(end) => end,
    };
    connection.finish(end).await;
}

/// How long a client may be silent: one and a half intervals and what the line
/// takes.
pub(super) fn patience(shared: &Shared, interval: Duration) -> Duration {
    interval * 3 / 2 + shared.config.rtt * 2
}

impl<S> Connection<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    async fn live(&mut self) -> Result<Infallible, End> {
        self.hello().await?;
        let stop = self.shared.stop.clone();
        loop {
            while let Some(fault) = self.later.pop_front() {
                self.carry_out(&fault).await?;
            }
            tokio::select! {
                message = self.ws.next() => match message {
                    Some(Ok(message)) => self.receive(message).await?,
                    Some(Err(_)) => return Err(End::Lost("broken connection or frame")),
                    None => return Err(End::Lost("end of stream")),
                },
                command = self.told.recv() => match command {
                    Some(command) => self.obey(command).await?,
                    None => return Err(End::Lost("forgotten")),
                },
                () = self.notify.notified() => self.pump().await?,
                () = self.shaping.held() => {
                    self.shaping.release();
                    self.pump().await?;
                }
                () = &mut self.beat => return Err(missed(&self.shared)),
                () = stop.cancelled() => return Err(End::Close(1001, "the server stops")),
            }
        }
    }

    async fn receive(&mut self, message: Message) -> Result<(), End> {
        if let Some((code, _)) = message.as_close() {
            return Err(End::Client(code.into()));
        }
        if !message.is_text() && !message.is_binary() {
            return Ok(());
        }
        if !self.commands.count() {
            return Err(End::Close(4008, "more than 120 commands in 60 s"));
        }
        let Payload { op, data } = Payload::read(message.as_payload())?;
        self.shared.commands.push(CommandLine {
            at_us: monotonic_us(),
            conn: self.id,
            shard: self.shard,
            session: self.session.as_ref().map(|session| session.fingerprint),
            op,
            data: CommandLine::harmless(&data),
        });
        self.opcode(op, data).await
    }

    /// The client is alive.
    pub(super) fn beaten(&mut self) {
        self.beat.as_mut().reset(Instant::now() + self.patience);
    }

    pub(super) fn attachment(&self) -> Attachment {
        Attachment {
            conn: self.id,
            notify: Arc::clone(&self.notify),
            commands: self.tell.clone(),
        }
    }

    /// Writes into the connection log.
    pub(super) fn note(&self, what: What, detail: String) {
        let session = self.session.as_ref().map(|session| session.fingerprint);
        self.shared.note(self.id, self.shard, session, what, detail);
    }

    /// The connection now is one of this shard.
    pub(super) fn name_shard(&mut self, shard: u32) {
        if self.shard == Some(shard) {
            return;
        }
        self.shard = Some(shard);
        self.shared.name_shard(self.id, shard);
        self.shared.counters.add_to_shard(shard, Count::Connect);
    }

    /// Leaves the session as the end requires, then closes.
    async fn finish(&mut self, end: End) {
        self.shared.close_connection(self.id);
        let session = self.session.take();
        let fingerprint = session.as_ref().map(|session| session.fingerprint);
        let (what, detail, ends) = match &end {
            End::Close(code, why) => (
                What::CloseSent,
                format!("{code} {why}"),
                ends_session(*code),
            ),
            End::Client(code) => {
                let ends = matches!(code, 1000 | 1001);
                (What::CloseReceived, code.to_string(), ends)
            }
            End::Lost(why) => (What::Lost, (*why).to_owned(), false),
        };
        if let Some(session) = session {
            if ends {
                session.end(Some(self.id), || Command::SessionEnded);
            } else {
                session.detach(self.id);
            }
        }
        self.shared
            .note(self.id, self.shard, fingerprint, what, detail);
        match end {
            End::Close(code, why) => {
                self.shared.counters.add(self.shard, Count::CloseSent(code));
                let _ = timeout(CLOSE, self.close(code, why)).await;
            }
            End::Client(code) => {
                self.shared
                    .counters
                    .add(self.shard, Count::CloseReceived(code));
                let _ = timeout(CLOSE, self.ws.close()).await;
            }
            End::Lost(_) => {}
        }
    }

    /// Sends the close frame and reads until the other side closes too.
    async fn close(&mut self, code: u16, why: &str) {
        let Ok(code) = CloseCode::try_from(code) else {
            return;
        };
        let frame = Message::close(Some(code), why);
        if self.ws.send(frame).await.is_ok() {
            while let Some(Ok(_)) = self.ws.next().await {}
        }
    }
}

pub(super) fn missed(shared: &Shared) -> End {
    match shared.config.missed_heartbeat {
        MissedHeartbeat::Drop => End::Lost("heartbeats missed"),
        MissedHeartbeat::Close4009 => End::Close(4009, "heartbeats missed"),
    }
}
