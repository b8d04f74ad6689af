//! What goes out, and how a connection is closed.

use std::future::Future;

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::time::timeout;
use tokio_websockets::{CloseCode, Message};

use super::Connection;
use crate::{
    shard::Event,
    wire::{end::End, payload},
};

/// What has a number of its own and is not for this client. Discord's clients leave events
/// alone whose type they do not know.
const FILLER: &str = "BATON_FILLER";
/// Bytes of a close frame's reason.
const REASON: usize = 120;

impl Connection {
    /// HELLO, unless the URL asks for what there is not.
    pub(super) async fn hello(&mut self) -> Result<(), End> {
        if let Err(version) = &self.opening.version {
            let reason = format!("invalid API version {version:?}: 9 and 10 are served");
            return Err(End::because(4012, reason));
        }
        if !self.opening.is_json {
            return Err(End::close(4012, "only encoding=json is served"));
        }
        if self.opening.compression.is_none() {
            let reason = "compress is zlib-stream, zstd-stream or left out";
            return Err(End::close(4012, reason));
        }
        let interval = self.shared.config.timings.heartbeat.as_millis();
        let interval = u64::try_from(interval).unwrap_or(u64::MAX);
        let hello = json!({"heartbeat_interval": interval, "_trace": [trace()]});
        self.send_plain(10, &hello.to_string()).await
    }

    /// A payload that is no dispatch.
    pub(super) async fn send_plain(&mut self, op: u64, data: &str) -> Result<(), End> {
        let message = self.message(payload::plain(op, data))?;
        self.send(vec![message]).await
    }

    pub(super) fn dispatch(
        &mut self,
        kind: &str,
        sequence: u64,
        data: &str,
    ) -> Result<Message, End> {
        self.message(payload::dispatch(kind, sequence, data))
    }

    /// A dispatch without what the client did not ask for.
    pub(super) fn dispatch_seen(
        &mut self,
        kind: &str,
        sequence: u64,
        data: &str,
    ) -> Result<Message, End> {
        let seen = self
            .sight
            .and_then(|(fewer, own)| fewer.seen(kind, data, own));
        self.dispatch(kind, sequence, seen.as_deref().unwrap_or(data))
    }

    /// An event; `None`: one that is not for this client.
    pub(super) fn event(&mut self, sequence: u64, event: Option<&Event>) -> Result<Message, End> {
        match event.filter(|event| self.gets(event)) {
            Some(event) => self.dispatch_seen(&event.kind, sequence, event.data()),
            None => self.dispatch(FILLER, sequence, "{}"),
        }
    }

    /// Whether the client asked for it.
    pub(super) fn gets(&self, event: &Event) -> bool {
        self.sight.is_none_or(|(fewer, own)| fewer.gets(event, own))
            || mutant!("intents-unfiltered")
    }

    fn message(&mut self, payload: String) -> Result<Message, End> {
        let message = self.encoder.message(payload);
        message.map_err(|_| End::Lost("the compression failed"))
    }

    /// Writes messages out. A client that reads nothing for too long is given up; its
    /// session is not.
    pub(super) async fn send(&mut self, messages: Vec<Message>) -> Result<(), End> {
        let patience = self.shared.config.timings.write;
        let lost = |_| End::Lost("nothing can be written");
        for message in messages {
            within(patience, self.ws.feed(message))
                .await?
                .map_err(lost)?;
        }
        within(patience, self.ws.flush()).await?.map_err(lost)
    }

    /// Closes as the end requires, and waits for the other side's close.
    pub(super) async fn close(&mut self, end: End) {
        let patience = self.shared.config.timings.head;
        match end {
            End::Close(code, reason) => {
                self.shared.ends.count(code, &reason);
                let Ok(code) = CloseCode::try_from(code) else {
                    return;
                };
                let mut at = reason.len().min(REASON);
                while !reason.is_char_boundary(at) {
                    at -= 1;
                }
                let frame = Message::close(Some(code), &reason[..at]);
                let closing = async {
                    if self.ws.send(frame).await.is_ok() {
                        while let Some(Ok(_)) = self.ws.next().await {}
                    }
                };
                // It does not answer: it is closed all the same.
                let _ = timeout(patience, closing).await;
            }
            End::Client(_) => drop(timeout(patience, self.ws.close()).await),
            End::Lost(_) => {}
        }
    }
}

async fn within<T>(
    patience: std::time::Duration,
    write: impl Future<Output = T>,
) -> Result<T, End> {
    let written = timeout(patience, write).await;
    written.map_err(|_| End::Lost("the client reads nothing"))
}

/// What Discord puts where it says which of its servers answered.
pub(super) fn trace() -> String {
    r#"["baton-proxy",{"micros":0.0}]"#.to_owned()
}
