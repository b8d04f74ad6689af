//! The beginning: the checks of the URL, and HELLO or what stands in for it.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::sleep,
};

use super::{Connection, missed, patience};
use crate::{
    counters::Count,
    faults::{FaultName, When},
    ledger::What,
    wire::end::End,
};

/// For ever.
const EVER: Duration = Duration::from_secs(30 * 24 * 3600);
/// The longest interval that is believed: a client may be silent for so long.
const LONGEST: u64 = 24 * 3600 * 1000;

impl<S> Connection<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    /// Checks the URL and says HELLO, unless a fault says otherwise.
    pub(super) async fn hello(&mut self) -> Result<(), End> {
        self.note(What::Connected, self.opening.asked.clone());
        self.shared.counters.add(None, Count::Connect);
        if self.opening.version.is_err() {
            return Err(End::Close(4012, "invalid API version, use v=10 or v=9"));
        }
        if !self.opening.json {
            return Err(End::Close(4012, "only encoding=json is served"));
        }
        if self.opening.compression.is_none() {
            return Err(End::Close(
                4012,
                "compress is zlib-stream, zstd-stream or left out",
            ));
        }
        let interval = self.shared.settings.get().heartbeat_interval.as_millis();
        let mut interval = Some(Value::from(u64::try_from(interval).unwrap_or(u64::MAX)));
        for fault in self
            .shared
            .faults
            .take(When::Connect, self.opening.resume_shard)
        {
            if fault.name == FaultName::NoHello {
                return self.silence(EVER).await;
            } else if fault.name == FaultName::SlowHello {
                self.silence(fault.duration()).await?;
            } else if fault.name == FaultName::OddHello {
                self.note(What::Fault, fault.name.name().to_owned());
                interval = fault.value;
            } else {
                let instead_of_hello = fault.name == FaultName::Op7BeforeHello;
                self.schedule(fault).await?;
                if instead_of_hello {
                    return self.silence(EVER).await;
                }
            }
        }
        // What makes no interval leaves the patience as it is.
        if let Some(ms) = interval
            .as_ref()
            .and_then(Value::as_u64)
            .filter(|ms| *ms > 0)
        {
            let believed = Duration::from_millis(ms.min(LONGEST));
            self.patience = patience(&self.shared, believed);
        }
        self.beaten();
        let mut data = json!({"_trace": ["[\"baton-discord\",{\"micros\":0.0}]"]});
        if let Some(interval) = interval {
            data["heartbeat_interval"] = interval;
        }
        self.send_text(json!({"t": null, "s": null, "op": 10, "d": data}).to_string())
            .await?;
        self.note(What::Hello, String::new());
        Ok(())
    }

    /// Says nothing for a while. Ends with the client, and when it has missed its
    /// heartbeats.
    async fn silence(&mut self, lasting: Duration) -> Result<(), End> {
        self.note(What::Fault, "no HELLO".to_owned());
        let over = sleep(lasting);
        tokio::pin!(over);
        loop {
            tokio::select! {
                message = self.ws.next() => match message {
                    Some(Ok(message)) => if let Some((code, _)) = message.as_close() {
                        return Err(End::Client(code.into()));
                    },
                    Some(Err(_)) | None => return Err(End::Lost("end of stream")),
                },
                () = &mut over => return Ok(()),
                () = &mut self.beat => return Err(missed(&self.shared)),
                () = self.shared.stop.cancelled() => return Err(End::Lost("the server stops")),
            }
        }
    }
}
