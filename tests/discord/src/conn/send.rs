//! Sending: payloads through the compression, dispatches out of the session.

use futures_util::SinkExt;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::sleep,
};
use tokio_websockets::Message;

use super::{Connection, command::Command, missed, replay::Shaped};
use crate::{
    counters::Count,
    faults::FaultName,
    kind::EventKind,
    ledger::What,
    wire::{end::End, payload::dispatch},
};

/// Dispatches fetched from the session at a time.
const BATCH: usize = 256;

impl<S> Connection<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    /// Sends one payload.
    pub(super) async fn send_text(&mut self, payload: String) -> Result<(), End> {
        let Ok(message) = self.encoder.encode(payload) else {
            return Err(End::Lost("compression failed"));
        };
        self.send(vec![message]).await
    }

    /// Fetches what the session has for this connection and sends it.
    pub(super) async fn pump(&mut self) -> Result<(), End> {
        let Some(session) = self.session.as_ref().filter(|_| !self.shaping.is_holding()) else {
            return Ok(());
        };
        let mut events = self.shaping.take_held();
        if events.is_empty() {
            let fetched = session.take(self.id, self.shaping.batch(BATCH));
            events = fetched.unwrap_or_default().into();
        } else {
            // More may have come meanwhile.
            self.notify.notify_one();
        }
        if events.is_empty() {
            return Ok(());
        }
        let stamp = self.shared.config.stamp.then_some(session.fingerprint);
        let Shaped { events, end } = self.shaping.shape(events);
        let mut messages = Vec::with_capacity(events.len());
        let mut resumed = false;
        for event in events {
            resumed |= event.kind == EventKind::Resumed;
            let payload = dispatch(event.kind.name(), event.seq, &event.body, stamp);
            let Ok(message) = self.encoder.encode(payload) else {
                return Err(End::Lost("compression failed"));
            };
            messages.push(message);
        }
        self.send(messages).await?;
        if let Some(end) = end {
            return Err(end);
        }
        if resumed {
            self.shaping.slow = None;
            let replayed = self.replaying;
            self.shared
                .counters
                .add(self.shard, Count::Resumed { replayed });
            self.note(What::Resumed, format!("replayed {replayed}"));
        }
        if let Some(pause) = self.shaping.slow {
            sleep(pause).await;
            self.beaten();
        }
        Ok(())
    }

    /// Writes messages out. While the client does not read, the connection still
    /// obeys what ends it.
    pub(super) async fn send(&mut self, messages: Vec<Message>) -> Result<(), End> {
        let Self {
            ws,
            told,
            later,
            beat,
            shared,
            link,
            ..
        } = self;
        let write = async {
            for message in messages {
                ws.feed(message).await?;
            }
            ws.flush().await
        };
        tokio::pin!(write);
        loop {
            tokio::select! {
                biased;
                written = &mut write => {
                    return written.map_err(|_| End::Lost("cannot write"));
                }
                command = told.recv() => match command {
                    None => return Err(End::Lost("forgotten")),
                    Some(Command::TakenOver) => return Err(TAKEN_OVER),
                    Some(Command::TokenReset) => return Err(TOKEN_RESET),
                    Some(Command::SessionEnded) => return Err(End::Lost("session ended")),
                    Some(Command::Overrun) => return Err(OVERRUN),
                    Some(Command::Fault(fault)) if fault.name == FaultName::Reset => {
                        link.reset();
                        return Err(End::Lost("reset"));
                    }
                    Some(Command::Fault(fault)) if fault.name == FaultName::Drop => link.cut(),
                    Some(Command::Fault(fault)) => later.push_back(fault),
                },
                () = &mut *beat => return Err(missed(shared)),
                () = shared.stop.cancelled() => return Err(End::Lost("the server stops")),
            }
        }
    }
}

pub(super) const TAKEN_OVER: End = End::Close(4000, "another connection resumed the session");
pub(super) const TOKEN_RESET: End = End::Close(4004, "session start limit exceeded, token reset");
pub(super) const OVERRUN: End = End::Lost("client too far behind");
