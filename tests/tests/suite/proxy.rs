//! A client of the gateway that `baton-slave --proxy` is, in a fleet.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use baton_testing::{Fleet, process::program};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};
use tokio_websockets::{ClientBuilder, Message};

/// The token of the fleet's bot.
const TOKEN: &str = "MTA1.simulated.token";
/// GUILDS, GUILD_MESSAGES, MESSAGE_CONTENT.
const INTENTS: u64 = 1 | 512 | 32_768;

fn bot(build: &str, address: SocketAddr, store: &str) -> Vec<String> {
    let program = program("baton-slave").unwrap().display().to_string();
    let (address, intents) = (address.to_string(), INTENTS.to_string());
    let flags = [
        "--build",
        build,
        "--sink",
        "none",
        "--intents",
        &intents,
        "--state",
        "store",
        "--store",
        store,
        "--proxy",
        &address,
    ];
    std::iter::once(program)
        .chain(flags.map(str::to_owned))
        .collect()
}

/// What a client has seen.
#[derive(Debug, Default)]
struct Seen {
    readies: usize,
    guilds: BTreeSet<String>,
    /// Ids of messages, in their order.
    messages: Vec<String>,
    /// Sequences that did not follow the one before.
    jumps: usize,
}

/// A client that connects again as often as it has to, as a library does.
#[derive(Clone)]
struct Client(Arc<Mutex<Seen>>);

impl Client {
    fn start(address: SocketAddr) -> (Self, JoinHandle<()>) {
        let client = Self(Arc::default());
        let one = client.clone();
        let living = tokio::spawn(async move {
            let mut session = None;
            loop {
                one.connection(address, &mut session).await;
                sleep(Duration::from_millis(50)).await;
            }
        });
        (client, living)
    }

    async fn connection(&self, address: SocketAddr, session: &mut Option<(String, u64)>) {
        let url = format!("ws://{address}/?v=10&encoding=json");
        let builder = ClientBuilder::from_uri(url.parse().unwrap());
        let Ok((mut socket, _)) = builder.connect().await else {
            return;
        };
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
                    identify()
                }
                Some(10) => session.as_ref().map_or_else(identify, |(id, sequence)| {
                    json!({"op": 6, "d": {"token": TOKEN, "session_id": id, "seq": sequence}})
                }),
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

    fn dispatch(&self, payload: &Value, session: &mut Option<(String, u64)>) {
        let (kind, d) = (payload["t"].as_str().unwrap(), &payload["d"]);
        let sequence = payload["s"].as_u64().unwrap();
        let mut seen = self.0.lock().unwrap();
        match kind {
            "READY" => {
                seen.readies += 1;
                *session = Some((d["session_id"].as_str().unwrap().to_owned(), 0));
            }
            "GUILD_CREATE" => drop(seen.guilds.insert(d["id"].as_str().unwrap().to_owned())),
            "MESSAGE_CREATE" => seen.messages.push(d["id"].as_str().unwrap().to_owned()),
            _ => {}
        }
        if let Some((_, last)) = session {
            seen.jumps += usize::from(sequence != *last + 1 && kind != "RESUMED");
            *last = sequence;
        }
    }

    async fn until(&self, what: &str, condition: impl Fn(&Seen) -> bool) {
        for _ in 0..3000 {
            if condition(&self.0.lock().unwrap()) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("not {what}: {:?}", self.0.lock().unwrap());
    }

    async fn until_messages(&self, more: usize) {
        let before = self.0.lock().unwrap().messages.len();
        let enough = |seen: &Seen| seen.messages.len() >= before + more;
        self.until("enough messages", enough).await;
    }

    /// Messages that came more than once.
    fn repeated(&self) -> usize {
        let seen = self.0.lock().unwrap();
        let once: BTreeSet<&String> = seen.messages.iter().collect();
        seen.messages.len() - once.len()
    }
}

fn identify() -> Value {
    json!({"op": 2, "d": {"token": TOKEN, "intents": INTENTS, "properties": {"browser": "tests"}}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_in_any_language_loses_nothing_when_it_is_killed_or_the_slave_is_or_is_replaced() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store").display().to_string();
    let builder = Fleet::builder().shards(1);
    let mut fleet = builder.start(bot("v1", address, &store)).await.unwrap();

    let (first, living) = Client::start(address);
    first.until_messages(20).await;
    let guilds = first.0.lock().unwrap().guilds.clone();
    assert!(!guilds.is_empty());
    living.abort();
    sleep(Duration::from_millis(200)).await;

    // Another process of the bot: it gets what the first one did not acknowledge.
    let (client, living) = Client::start(address);
    client.until_messages(20).await;
    assert_eq!(client.0.lock().unwrap().guilds, guilds);
    fleet.assert_nothing_lost().await;
    master_knows_of_a_client(&fleet, address).await;

    fleet.deploy(bot("v2", address, &store)).await.unwrap();
    client
        .until("greeted by the new slave", |seen| seen.readies == 2)
        .await;
    client.until_messages(20).await;
    fleet.assert_nothing_lost().await;
    assert_eq!(client.repeated(), 0, "a deploy repeats nothing");

    fleet.kill_bot().await.unwrap();
    client
        .until("greeted after the death", |seen| seen.readies == 3)
        .await;
    client.until_messages(20).await;
    fleet.assert_nothing_lost().await;
    assert_eq!(fleet.discord().counters().total.identifies, 1);
    let seen = client.0.lock().unwrap();
    assert_eq!((seen.jumps, &seen.guilds), (0, &guilds));
    drop(seen);
    living.abort();
}

/// Who is there, and at which address.
async fn master_knows_of_a_client(fleet: &Fleet, address: SocketAddr) {
    let mut clients = Value::Null;
    for _ in 0..600 {
        let status = fleet.status().await.unwrap();
        clients = status["slaves"][0]["clients"].clone();
        let library = json!([{"name": "tests", "clients": 1}]);
        if clients["attended"] == 1 && clients["libraries"] == library {
            assert_eq!(clients["address"], address.to_string());
            assert_eq!(
                (&clients["sessions"], &clients["lost"]),
                (&2.into(), &0.into())
            );
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("the master does not hear of the client: {clients}");
}
