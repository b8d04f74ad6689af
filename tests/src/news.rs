//! What a master tells while it works: its stream of events, kept with times.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http_body_util::BodyExt;
use serde_json::Value;
use tokio::{sync::watch, time::timeout};

use crate::{
    error::{Error, Result},
    http::Endpoint,
};

/// Everything that a master told since the stream was opened.
#[derive(Debug)]
pub struct News {
    events: Arc<Mutex<Vec<Value>>>,
    count: watch::Receiver<usize>,
}

impl News {
    /// Opens the stream of `admin`.
    ///
    /// # Errors
    /// The master does not answer.
    pub async fn open(admin: &Endpoint) -> Result<Self> {
        let mut body = admin.stream("/v1/events").await?;
        let events = Arc::new(Mutex::new(Vec::new()));
        let (count, seen) = watch::channel(0);
        let kept = Arc::clone(&events);
        tokio::spawn(async move {
            let mut text = Vec::new();
            while let Some(Ok(frame)) = body.frame().await {
                let Some(data) = frame.data_ref() else {
                    continue;
                };
                text.extend_from_slice(data);
                while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = text.drain(..=end).collect();
                    let Some(json) = line.strip_prefix(b"data:") else {
                        continue;
                    };
                    if let Ok(event) = serde_json::from_slice::<Value>(json) {
                        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                        kept.push(event);
                        count.send_replace(kept.len());
                    }
                }
            }
        });
        Ok(Self {
            events,
            count: seen,
        })
    }

    /// Waits until an event satisfies `is`, and gives it.
    ///
    /// # Errors
    /// None did within `limit`, or the stream ended.
    pub async fn wait(
        &mut self,
        what: &str,
        limit: Duration,
        is: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let late = || Error::Late(format!("{what}: not seen within {limit:?}"));
        let found = async {
            let mut looked_at = 0;
            loop {
                self.count.borrow_and_update();
                {
                    let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(event) = events.iter().skip(looked_at).find(|event| is(event)) {
                        return Ok(event.clone());
                    }
                    looked_at = events.len();
                }
                let over = |_| Error::Late(format!("{what}: the master's news ended before"));
                self.count.changed().await.map_err(over)?;
            }
        };
        timeout(limit, found).await.map_err(|_| late())?
    }

    /// Every event so far.
    #[must_use]
    pub fn all(&self) -> Vec<Value> {
        self.events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// When each shard was last told to seal, in microseconds of the host's
    /// monotonic clock.
    #[must_use]
    pub fn seals(&self) -> BTreeMap<u32, u64> {
        self.phase("sealing").collect()
    }

    /// When shards were said to be in this phase of their migration, in
    /// microseconds of the host's monotonic clock, in the order of the news.
    pub fn phase(&self, phase: &str) -> impl Iterator<Item = (u32, u64)> {
        let phase = phase.to_owned();
        self.all().into_iter().filter_map(move |event| {
            if event["type"] != "migration" || event["phase"] != *phase {
                return None;
            }
            let shard = u32::try_from(event["shard"].as_u64()?).ok()?;
            Some((shard, event["at_us"].as_u64()?))
        })
    }
}
