//! A master around one peer, and a slave at the other end of the pipe.
#![allow(clippy::unwrap_used)]

use baton_protocol::{
    Epoch, ProcessIdentity, ShardId, Ticket, Version,
    auth::Secret,
    handshake,
    message::{Held, Hello, Proof, Report, Welcome},
};
use tokio::io::{DuplexStream, duplex};

use super::*;
use crate::{doors::Places, process::Dialled};

/// Everything around a peer: what it tells the driver comes out here.
pub(super) struct Master {
    pub(super) context: Arc<Context>,
    pub(super) notices: mpsc::Receiver<Notice>,
    /// Of the slave that joined last.
    pub(super) link: Option<Link>,
}

impl Master {
    pub(super) fn new() -> Self {
        let (sender, notices) = mpsc::channel(64);
        let context = Context::for_test(Secret::random().unwrap(), sender);
        Self {
            context: Arc::new(context),
            notices,
            link: None,
        }
    }

    pub(super) fn dial_raw(&self, origin: Origin) -> DuplexStream {
        let (ours, theirs) = duplex(16 * 1024);
        let place = Places::new(1).take().0.unwrap();
        tokio::spawn(serve(Arc::clone(&self.context), ours, origin, place));
        theirs
    }

    pub(super) fn dial(&self, origin: Origin) -> Slave {
        let mut connection = Connection::new(self.dial_raw(origin));
        connection.trust(baton_protocol::Trust::Known);
        Slave(connection)
    }

    pub(super) async fn join(&mut self, slave: u128) -> Slave {
        let mut connection = self.dial(local());
        connection.greet(hello(slave)).await;
        connection.report(report(0..0, true)).await;
        self.link = Some(self.joined().await.link);
        connection
    }

    pub(super) async fn joined(&mut self) -> Joining {
        let Notice::Joined(joining) = self.notices.recv().await.unwrap() else {
            panic!("a slave was to join");
        };
        *joining
    }
}

/// The unix socket, dialled by this process.
pub(super) fn local() -> Origin {
    Origin::UnixOwner(Dialled::Local(Some(std::process::id())))
}

/// The other end of a connection.
pub(super) struct Slave(pub(super) Connection);

impl Slave {
    pub(super) async fn say(&mut self, message: impl Into<Frame>) {
        self.0.send(&message.into()).await.unwrap();
    }

    pub(super) async fn report(&mut self, report: Report) {
        self.say(handshake::ToMaster::Report(report)).await;
    }

    pub(super) async fn hear(&mut self) -> ToSlave {
        let frame = self.0.recv().await.unwrap().expect("a message");
        ToSlave::from_frame(frame).unwrap()
    }

    pub(super) async fn greet(&mut self, hello: Hello) -> Welcome {
        self.say(hello_frame(hello)).await;
        let frame = self.0.recv().await.unwrap().expect("a welcome");
        let Ok(handshake::ToSlave::Welcome(welcome)) = handshake::ToSlave::from_frame(frame) else {
            panic!("a welcome was to come");
        };
        welcome
    }

    pub(super) async fn prove(&mut self, secret: &Secret, welcome: &Welcome) {
        let proof = secret.slave_proof(&welcome.challenge, SlaveId(1));
        self.say(handshake::ToMaster::Proof(Proof { proof })).await;
    }

    pub(super) async fn refused(&mut self) -> RefusedReason {
        let ToSlave::Refused(refused) = self.hear().await else {
            panic!("a refusal was to come");
        };
        refused.reason
    }

    /// Whether the connection ends without another word.
    pub(super) async fn dropped(&mut self) -> bool {
        !matches!(self.0.recv().await, Ok(Some(_)))
    }
}

pub(crate) fn hello(slave: u128) -> Hello {
    Hello {
        version: Version::NEWEST,
        lowest: Version::OLDEST,
        slave: SlaveId(slave),
        slot: "main".to_owned(),
        process: ProcessIdentity::current().unwrap(),
        nonce: "0123456789abcdef".into(),
        ..Hello::default()
    }
}

pub(super) fn hello_frame(hello: Hello) -> Frame {
    let hello = handshake::ToMaster::Hello {
        running: false,
        hello: Box::new(hello),
    };
    hello.to_frame()
}

pub(super) fn report(shards: std::ops::Range<u32>, last: bool) -> Report {
    let held = |shard| Held {
        epoch: Epoch(1),
        ticket: Ticket {
            shard: ShardId(shard),
            ..Ticket::default()
        },
        ..Held::default()
    };
    Report {
        shards: shards.map(held).collect(),
        last,
        ..Report::default()
    }
}
