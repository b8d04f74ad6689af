//! A client of a gateway, which connects again as often as it has to.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::sleep};
use tokio_websockets::{ClientBuilder, Message};

use super::{TOKEN, identify};

/// What a client has seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) connections: usize,
    pub(super) readies: usize,
    pub(super) resumes: usize,
    pub(super) guilds: BTreeSet<String>,
    /// Ids of messages, in their order.
    pub(super) messages: Vec<String>,
    /// Numbers that were not for it.
    pub(super) fillers: usize,
    /// Sequences that did not follow the one before.
    pub(super) jumps: usize,
}

/// A client that connects again as often as it has to, as a library does.
#[derive(Clone)]
pub(super) struct Client {
    shard: (u32, u32),
    seen: Arc<Mutex<Seen>>,
}

impl Client {
    pub(super) fn start(address: SocketAddr) -> (Self, JoinHandle<()>) {
        Self::of(address, (0, 1))
    }

    /// Of this shard of so many.
    pub(super) fn of(address: SocketAddr, shard: (u32, u32)) -> (Self, JoinHandle<()>) {
        let seen = Arc::default();
        let client = Self { shard, seen };
        let one = client.clone();
        let living = tokio::spawn(async move {
            let mut session = None;
            loop {
                one.connection(address, &mut session).await;
                sleep(Duration::from_millis(10)).await;
            }
        });
        (client, living)
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    async fn connection(&self, address: SocketAddr, session: &mut Option<(String, u64)>) {
        let url = format!("ws://{address}/?v=10&encoding=json");
        let builder = ClientBuilder::from_uri(url.parse().unwrap());
        let Ok((mut socket, _)) = builder.connect().await else {
            return;
        };
        self.seen().connections += 1;
        while let Some(Ok(message)) = socket.next().await {
            let Some(text) = message.as_text() else {
                continue;
            };
            let payload: Value = serde_json::from_str(text).unwrap();
            let sequence = session.as_ref().map(|(_, sequence)| *sequence);
            let answer = match payload["op"].as_u64() {
                Some(0) => {
                    self.dispatch(&payload, session);
                    continue;
                }
                Some(1) => json!({"op": 1, "d": sequence}),
                Some(9) => {
                    *session = None;
                    self.identify()
                }
                Some(10) => session.as_ref().map_or_else(
                    || self.identify(),
                    |(id, sequence)| {
                        json!({"op": 6, "d": {"token": TOKEN, "session_id": id, "seq": sequence}})
                    },
                ),
                Some(7) => return,
                _ => continue,
            };
            if socket
                .send(Message::text(answer.to_string()))
                .await
                .is_err()
            {
                return;
            }
        }
    }

    fn identify(&self) -> Value {
        identify(self.shard)
    }

    fn dispatch(&self, payload: &Value, session: &mut Option<(String, u64)>) {
        let (kind, d) = (payload["t"].as_str().unwrap(), &payload["d"]);
        let sequence = payload["s"].as_u64().unwrap();
        let mut seen = self.seen();
        match kind {
            "READY" => {
                seen.readies += 1;
                *session = Some((d["session_id"].as_str().unwrap().to_owned(), 0));
            }
            "RESUMED" => seen.resumes += 1,
            "BATON_FILLER" => seen.fillers += 1,
            "GUILD_CREATE" => drop(seen.guilds.insert(d["id"].as_str().unwrap().to_owned())),
            "MESSAGE_CREATE" => seen.messages.push(d["id"].as_str().unwrap().to_owned()),
            _ => {}
        }
        if let Some((_, last)) = session {
            seen.jumps += usize::from(sequence != *last + 1 && kind != "RESUMED");
            *last = sequence;
        }
    }

    pub(super) async fn until(&self, what: &str, condition: impl Fn(&Seen) -> bool) {
        for _ in 0..3000 {
            if condition(&self.seen()) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("not {what}: {:?}", self.seen());
    }

    pub(super) async fn until_messages(&self, more: usize) {
        let before = self.seen().messages.len();
        let enough = |seen: &Seen| seen.messages.len() >= before + more;
        self.until("enough messages", enough).await;
    }

    /// Messages that came more than once.
    pub(super) fn repeated(&self) -> usize {
        let seen = self.seen();
        let once: BTreeSet<&String> = seen.messages.iter().collect();
        seen.messages.len() - once.len()
    }

    /// It had one session, in which nothing is missing and nothing came twice.
    pub(super) fn saw_one_session(&self) {
        assert_eq!(self.repeated(), 0, "{:?}", self.shard);
        let seen = self.seen();
        assert_eq!(
            (seen.readies, seen.jumps),
            (1, 0),
            "{:?}: {seen:?}",
            self.shard
        );
        // RESUMED of Discord has a number, and is nobody's.
        assert!(seen.fillers <= seen.resumes, "{:?}: {seen:?}", self.shard);
    }
}
