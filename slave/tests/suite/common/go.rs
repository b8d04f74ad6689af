//! A Go master that says what a test tells it to, and checks that
//! nothing but frames of the Go wire comes back.

use std::{num::NonZeroU32, time::Duration};

use baton_discord::Discord;
use baton_protocol::{
    Connection, Frame, Trust,
    go::{Migration, Session, ToMaster, ToSlave},
};
use baton_slave::{Address, Legacy, SlaveConfig};
use bytes::Bytes;
use serde_json::Value;
use tokio::{net::TcpListener, time::timeout};

use crate::common::{INTENTS, LONG};

pub struct Master(TcpListener);

/// One connection of a slave, which has said hello.
pub struct Wire(Connection);

impl Master {
    pub async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub fn address(&self) -> Address {
        Address::Tcp(self.0.local_addr().unwrap().to_string())
    }

    /// The next connection, of which nothing was read.
    pub async fn connection(&self) -> Wire {
        let accepted = timeout(LONG, self.0.accept()).await.expect("a slave dials");
        let mut connection = Connection::new(accepted.unwrap().0);
        connection.trust(Trust::Known);
        Wire(connection)
    }

    /// The next slave, which says whether it owns shards.
    pub async fn slave(&self, running: bool) -> Wire {
        let mut wire = self.connection().await;
        let bytes = if running {
            *b"\x08\0\0\0\x0a\0\0\0\x81\xa7Running\xc3"
        } else {
            *b"\x08\0\0\0\x0a\0\0\0\x81\xa7Running\xc2"
        };
        assert_eq!(wire.frame().await.to_bytes()[..], bytes);
        wire
    }

    /// The next slave, and whether it says that it owns shards.
    pub async fn hello(&self) -> (bool, Wire) {
        let mut wire = self.connection().await;
        match wire.said().await {
            ToMaster::Hello { running } => (running, wire),
            other => panic!("{other:?} came for a hello"),
        }
    }

    /// Cold start of a slave.
    pub async fn starts(&self, discord: &Discord, shards: u32) -> Wire {
        let mut wire = self.slave(false).await;
        wire.raw(2, b"").await;
        let ready = || discord.counters().total.identifies == u64::from(shards);
        crate::common::until("every READY", ready).await;
        wire
    }
}

impl Wire {
    pub async fn raw(&mut self, id: u32, body: &[u8]) {
        let body = Bytes::copy_from_slice(body);
        self.0.send(&Frame { id, body }).await.unwrap();
    }

    pub async fn order(&mut self, order: impl Into<Frame>) {
        self.0.send(&order.into()).await.unwrap();
    }

    pub async fn migration(&mut self, from_this_slave: bool, num_shards: u32) {
        self.order(ToSlave::ShardMigrationStart(Migration {
            from_this_slave,
            num_shards,
        }))
        .await;
    }

    pub async fn stop(&mut self, shard: u32) {
        self.order(ToSlave::StopShard(Session {
            shard,
            ..Session::default()
        }))
        .await;
    }

    pub async fn give(&mut self, ticket: &Session) {
        self.order(ToSlave::Resume(ticket.clone())).await;
    }

    pub async fn frame(&mut self) -> Frame {
        let frame = timeout(LONG, self.0.recv()).await.expect("a frame comes");
        frame.unwrap().expect("the slave stays")
    }

    /// The next message; it is in the Go form.
    pub async fn said(&mut self) -> ToMaster {
        let frame = self.frame().await;
        assert!((1..=10).contains(&frame.id), "{frame:?}");
        let key = frame.body.windows(5).any(|bytes| bytes == b"Baton");
        assert!(!key, "{frame:?}");
        ToMaster::from_frame(frame).unwrap()
    }

    /// 3{true}: its answer is the next thing that comes, so nothing else was said.
    pub async fn becomes_source(&mut self, shards: u32) {
        self.migration(true, 0).await;
        self.says_migration(true, shards).await;
    }

    /// 3{false}, answered.
    pub async fn becomes_target(&mut self, shards: u32) {
        self.migration(false, shards).await;
        self.says_migration(false, shards).await;
    }

    async fn says_migration(&mut self, from_this_slave: bool, num_shards: u32) {
        let expected = Migration {
            from_this_slave,
            num_shards,
        };
        assert_eq!(self.said().await, ToMaster::ShardMigrationStart(expected));
    }

    /// The ticket that comes next.
    pub async fn ticket(&mut self, shard: u32) -> Session {
        match self.said().await {
            ToMaster::StopShard(ticket) if ticket.shard == shard => ticket,
            other => panic!("{other:?} came for the ticket of shard {shard}"),
        }
    }

    /// The acknowledgement that comes next: the order itself.
    pub async fn acknowledges(&mut self, ticket: &Session) {
        assert_eq!(self.said().await, ToMaster::Resume(ticket.clone()));
    }

    /// The slave closes without another word.
    pub async fn ends(&mut self) {
        let end = timeout(LONG, self.0.recv()).await.expect("the slave ends");
        assert!(!matches!(end, Ok(Some(_))), "{end:?}");
    }
}

/// What the Go master does with two slaves.
pub async fn migrate(old: &mut Wire, new: &mut Wire, shards: u32) {
    old.becomes_source(shards).await;
    new.becomes_target(shards).await;
    for shard in 0..shards {
        old.stop(shard).await;
        let ticket = old.ticket(shard).await;
        assert!(!ticket.session_id.is_empty());
        new.give(&ticket).await;
        new.acknowledges(&ticket).await;
    }
    old.stop(shards).await;
    old.ends().await;
}

pub fn config(master: &Master, discord: &Discord, shards: u32) -> SlaveConfig {
    let mut config = SlaveConfig::new("token");
    config.masters = vec![master.address()];
    config.legacy = NonZeroU32::new(shards).map(Legacy::new);
    config.gateway_url = Some(discord.url());
    config.intents = INTENTS;
    let timings = &mut config.timings;
    timings.redial_first = Duration::from_millis(50);
    timings.redial_max = Duration::from_millis(400);
    timings.invalid_session = Duration::from_millis(20);
    timings.legacy_redial = Duration::from_millis(20);
    timings.identify_window = Duration::from_millis(1);
    super::patient(timings);
    config
}

/// One recorded frame.
pub struct Recorded {
    pub who: String,
    pub to_slave: bool,
    pub id: u32,
    pub body: Vec<u8>,
    pub decoded: Value,
}

/// The migration of a recording, without its connections' ends and guild states.
pub fn recorded(name: &str) -> Vec<Recorded> {
    let path = format!(
        "{}/../protocol/tests/fixtures/{name}",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(path).unwrap();
    let entries: Vec<Value> = serde_json::from_str(&text).unwrap();
    let frames = entries.iter().filter_map(|entry| {
        let hex = entry["body_hex"].as_str()?;
        Some(Recorded {
            who: entry["who"].as_str()?.to_owned(),
            to_slave: entry["direction"] == "master->slave",
            id: u32::try_from(entry["event_id"].as_u64()?).unwrap(),
            body: (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
                .collect(),
            decoded: entry["decoded"].clone(),
        })
    });
    frames.collect()
}
