//! ZeroMQ: a PUB socket, from which subscribers get events at most once.
//!
//! Nobody confirms anything here, so an event is finished without it. What finds no room on its
//! way to the socket is dropped and counted. What a subscriber that is slow or not there does
//! not get is not known, by ZeroMQ's nature.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{
        mpsc::{Receiver, Sender, channel},
        watch,
    },
    time::{Instant, sleep_until},
};
use zeromq::{PubSocket, Socket, SocketSend, ZmqMessage};

use crate::{
    address::{Address, Broker},
    dispatch::Dispatch,
    envelope::{self, Stamp, partition},
    error::Error,
};

/// Events on their way to the socket.
const WAITING: usize = 4096;
/// How often an address that another process has is tried.
const AGAIN: Duration = Duration::from_millis(50);

/// A PUB socket, from which subscribers get events at most once: what finds no room on its way
/// is dropped and counted. Dropped, the address is free.
#[derive(Debug)]
pub struct Zmq {
    name: String,
    gateway: String,
    waiting: Sender<ZmqMessage>,
    wanted: watch::Sender<bool>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl Zmq {
    /// Publishes at this address, once it is [wanted](Self::is_wanted). `name` begins the topic of
    /// each event, `gateway` names this process.
    ///
    /// Must be called inside tokio.
    ///
    /// # Errors
    /// It is not an address of ZeroMQ.
    pub fn start(address: &Address, name: &str, gateway: &str) -> Result<Self, Error> {
        if address.broker() != Broker::Zmq {
            let wrong = "the broker's address: it is none of ZeroMQ".to_owned();
            return Err(Error::Address(wrong));
        }
        let (waiting, events) = channel(WAITING);
        let (wanted, is_wanted) = watch::channel(false);
        let counts = Arc::<Counts>::default();
        let hosts = address.hosts.iter();
        let hosts = hosts.map(|(host, port)| format!("tcp://{host}:{port}"));
        tokio::spawn(run(hosts.collect(), events, is_wanted, Arc::clone(&counts)));
        Ok(Self {
            name: name.to_owned(),
            gateway: gateway.to_owned(),
            waiting,
            wanted,
            counts,
        })
    }

    /// Whether this process has shards. Without any, the address is free for the next process.
    pub fn is_wanted(&self, wanted: bool) {
        self.wanted
            .send_if_modified(|is| std::mem::replace(is, wanted) != wanted);
    }

    /// Publishes an event, or drops it if there is no room, and never waits.
    pub fn publish(&self, event: &Dispatch) {
        if self.waiting.try_send(self.message(event)).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Events that went to the socket.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.counts.sent.load(Ordering::Relaxed)
    }

    /// Events that found no room, or no socket.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    /// Its topic, its envelope as lines of `NAME: VALUE`, its payload.
    fn message(&self, event: &Dispatch) -> ZmqMessage {
        let stamp = Stamp {
            gateway: &self.gateway,
            created: envelope::now_ms(),
            may_repeat: false,
            commands: None,
        };
        let fields = envelope::fields(event, &stamp);
        let mut about = String::new();
        for (name, value) in fields {
            about.push_str(name);
            about.push_str(": ");
            about.push_str(&value);
            about.push('\n');
        }
        let (partition, word) = (partition(event.guild, event.shard), envelope::word(event));
        let topic = format!("{}.events.{partition}.{}.{word}", self.name, event.shard);
        let mut message = ZmqMessage::from(topic);
        message.push_back(Bytes::from(about));
        message.push_back(event.payload.clone());
        message
    }
}

/// Has the address while it is wanted, and gives events to the socket.
async fn run(
    addresses: Vec<String>,
    mut events: Receiver<ZmqMessage>,
    mut wanted: watch::Receiver<bool>,
    counts: Arc<Counts>,
) {
    let mut socket: Option<PubSocket> = None;
    let mut said = false;
    let mut try_at = Instant::now();
    loop {
        let is_wanted = *wanted.borrow_and_update();
        match (is_wanted, socket.is_some()) {
            (true, false) if Instant::now() >= try_at => match bind(&addresses).await {
                Ok(bound) => {
                    tracing::info!(?addresses, "publishes to subscribers");
                    socket = Some(bound);
                    said = false;
                }
                Err(error) => {
                    try_at = Instant::now() + AGAIN;
                    if !std::mem::replace(&mut said, true) {
                        tracing::warn!(
                            ?addresses,
                            error,
                            "the address cannot be had: events are dropped until it can"
                        );
                    }
                }
            },
            (false, true) => {
                if let Some(mut bound) = socket.take() {
                    bound.unbind_all().await;
                }
            }
            (true, _) | (false, false) => {}
        }
        let again = is_wanted && socket.is_none();
        tokio::select! {
            event = events.recv() => {
                let Some(event) = event else { return };
                let sent = match &mut socket {
                    Some(socket) => socket.send(event).await.is_ok(),
                    None => false,
                };
                let count = if sent { &counts.sent } else { &counts.dropped };
                count.fetch_add(1, Ordering::Relaxed);
            }
            changed = wanted.changed() => if changed.is_err() { return },
            () = sleep_until(try_at), if again => {}
        }
    }
}

async fn bind(addresses: &[String]) -> Result<PubSocket, String> {
    let mut socket = PubSocket::new();
    for address in addresses {
        let bound = socket.bind(address).await;
        bound.map_err(|error| error.to_string())?;
    }
    Ok(socket)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use baton_slave::{Epoch, Sequence, ShardId};
    use tokio::time::timeout;
    use zeromq::{SocketRecv, SubSocket};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn event(sequence: u64) -> Dispatch {
        Dispatch {
            shard: ShardId(3),
            shards: 4,
            epoch: Epoch(7),
            session: "0011223344556677".to_owned(),
            sequence: Sequence(sequence),
            kind: "MESSAGE_CREATE".to_owned(),
            may_repeat: false,
            guild: Some(41_771_983_423_143_937),
            payload: Bytes::from_static(b"{}"),
        }
    }

    /// A port that nobody has.
    fn free() -> u16 {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    }

    fn starts(port: u16) -> Zmq {
        let address = Address::parse(&format!("zmq://127.0.0.1:{port}")).unwrap();
        Zmq::start(&address, "baton", "gateway-1").unwrap()
    }

    /// Publishes until something comes.
    async fn hears(zmq: &Zmq, sub: &mut SubSocket) -> ZmqMessage {
        let heard = async {
            for sequence in 1.. {
                zmq.publish(&event(sequence));
                let soon = Duration::from_millis(20);
                if let Ok(message) = timeout(soon, sub.recv()).await {
                    return message.unwrap();
                }
            }
            unreachable!("it is tried for ever")
        };
        timeout(PATIENCE, heard).await.expect("a message")
    }

    #[tokio::test]
    async fn a_subscriber_gets_topic_envelope_and_payload_and_the_next_process_the_address() {
        let port = free();
        let first = starts(port);
        first.publish(&event(1));
        let dropped = async {
            while first.dropped() == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, dropped).await.expect("nobody has shards");
        first.is_wanted(true);
        let mut sub = SubSocket::new();
        sub.subscribe("baton.events.5.").await.unwrap();
        let connects = async {
            let at = format!("tcp://127.0.0.1:{port}");
            while sub.connect(&at).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, connects).await.expect("it is bound");
        let message = hears(&first, &mut sub).await;
        let frames = message.into_vec();
        assert_eq!(frames[0], "baton.events.5.3.MESSAGE_CREATE");
        let about = String::from_utf8(frames[1].to_vec()).unwrap();
        assert!(
            about.contains("baton-session: 0011223344556677\n"),
            "{about}"
        );
        assert_eq!(frames[2], "{}");
        assert!(first.sent() > 0);

        // Another process waits for the address.
        let second = starts(port);
        second.is_wanted(true);
        first.is_wanted(false);
        let mut sub = SubSocket::new();
        sub.subscribe("").await.unwrap();
        let connects = async {
            let at = format!("tcp://127.0.0.1:{port}");
            while sub.connect(&at).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, connects).await.expect("it is bound");
        hears(&second, &mut sub).await;
        assert!(second.sent() > 0);
    }

    #[tokio::test]
    async fn what_finds_no_room_is_dropped_and_counted() {
        let zmq = starts(free());
        // Nobody takes them off, for this task does not yield.
        let more = WAITING as u64 + 10;
        for sequence in 0..more {
            zmq.publish(&event(sequence));
        }
        assert_eq!(zmq.dropped(), 10);
    }
}
