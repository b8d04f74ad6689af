//! A small master: it accepts or refuses slaves.

use std::sync::Arc;

use baton_protocol::{
    Connection, Frame, Term, Trust, Version,
    auth::Secret,
    handshake::{ToMaster, ToSlave},
    message::{self, Accepted, Hello, Proof, Refused, RefusedReason, Report, Welcome},
    tls,
};
use baton_slave::Address;
use bytes::Bytes;
use tokio::{net::TcpListener, time::timeout};

use super::{LONG, peer::Peer};

pub struct FakeMaster {
    listener: TcpListener,
    pub secret: Secret,
    pub term: Term,
    pub shard_count: u32,
    /// The lease of slaves that it accepts, in milliseconds; zero: none.
    pub lease_ms: u64,
    /// It is on another host.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

impl FakeMaster {
    pub async fn new(shard_count: u32) -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            secret: Secret::random().unwrap(),
            term: Term {
                counter: 1,
                ..Term::default()
            },
            shard_count,
            lease_ms: 0,
            tls: None,
        }
    }

    pub fn address(&self) -> Address {
        let address = self.listener.local_addr().unwrap().to_string();
        match self.tls {
            Some(_) => Address::Tls(address),
            None => Address::Tcp(address),
        }
    }

    /// The next slave, accepted.
    pub async fn accept(&self) -> Peer {
        timeout(LONG, self.try_accept())
            .await
            .expect("a slave dials")
    }

    /// Refuses the next slave that dials.
    pub async fn refuse(&self, reason: RefusedReason) {
        let dialled = timeout(LONG, self.hello()).await;
        let (mut connection, ..) = dialled.expect("a slave dials");
        let refused = Refused {
            reason,
            detail: "because of a test".to_owned(),
        };
        send(&mut connection, ToSlave::Refused(refused)).await;
    }

    /// The next slave, which reported; its connection stays as it is until it is
    /// accepted.
    pub async fn meet(&self) -> Met {
        timeout(LONG, self.try_meet()).await.expect("a slave dials")
    }

    async fn try_accept(&self) -> Peer {
        self.try_meet().await.accepted().await
    }

    async fn try_meet(&self) -> Met {
        let (mut connection, running, hello) = self.hello().await;
        connection.trust(Trust::Known);
        let challenge = Bytes::from_static(b"0123456789abcdef");
        send(
            &mut connection,
            ToSlave::Welcome(Welcome {
                version: Version::NEWEST,
                term: self.term,
                proof: self.secret.master_proof(&hello.nonce, hello.slave),
                challenge: challenge.clone(),
                checkpoint_ms: 10,
            }),
        )
        .await;
        let ToMaster::Proof(Proof { proof }) = receive(&mut connection).await else {
            panic!("no proof");
        };
        assert_eq!(proof, self.secret.slave_proof(&challenge, hello.slave));
        let mut report = Report::default();
        while !report.last {
            let ToMaster::Report(part) = receive(&mut connection).await else {
                panic!("no report");
            };
            report.shards.extend(part.shards);
            report.work = part.work;
            report.ready = part.ready;
            report.lapsed = part.lapsed;
            report.last = part.last;
        }
        Met {
            connection,
            hello,
            running,
            report,
            shard_count: self.shard_count,
            lease_ms: self.lease_ms,
        }
    }
}

impl FakeMaster {
    /// The next connection that begins with a hello. Another program of this host may dial
    /// where somebody else listened before.
    async fn hello(&self) -> (Connection, bool, Hello) {
        loop {
            let (socket, _) = self.listener.accept().await.unwrap();
            let mut connection = match &self.tls {
                None => Connection::new(socket),
                Some(config) => match tls::accept(Arc::clone(config), socket).await {
                    Ok((stream, _)) => Connection::new(stream),
                    Err(_) => continue,
                },
            };
            let Ok(Some(frame)) = connection.recv().await else {
                continue;
            };
            let ToMaster::Hello { running, hello } = ToMaster::from_frame(frame).unwrap() else {
                panic!("no hello");
            };
            return (connection, running, *hello);
        }
    }
}

/// A slave that reported and was not accepted.
pub struct Met {
    connection: Connection,
    hello: Hello,
    running: bool,
    pub report: Report,
    shard_count: u32,
    lease_ms: u64,
}

impl Met {
    pub async fn accepted(self) -> Peer {
        let Self {
            mut connection,
            hello,
            running,
            report,
            shard_count,
            lease_ms,
        } = self;
        let accepted = Accepted {
            shard_count,
            lease_ms,
        };
        send(&mut connection, message::ToSlave::Accepted(accepted)).await;
        Peer::new(connection, hello, running, report)
    }
}

async fn receive(connection: &mut Connection) -> ToMaster {
    let frame = connection.recv().await.unwrap().expect("a frame");
    ToMaster::from_frame(frame).unwrap()
}

async fn send(connection: &mut Connection, message: impl Into<Frame>) {
    connection.send(&message.into()).await.unwrap();
}
