//! The link to the master: dial and handshake. State goes out behind everything else.

use std::{ops::ControlFlow, path::PathBuf, time::Duration};

use baton_protocol::{
    Connection, ConnectionError, Frame, SlaveId, Term, ToMaster, ToSlave, Trust, Version,
    auth::{self, Secret},
    handshake,
    message::{CopyState, Hello, Proof, Report, Welcome},
};
use tokio::{net::UnixStream, sync::mpsc, time::timeout};

use super::{
    link_error::LinkError,
    link_state::Wire,
    pipe::{Pipe, Read, connect_tcp, stays_on_host},
    secure,
};
use crate::{
    config::{Address, SecretSource},
    state::{Allowance, StateChannel},
};

/// Control frames that wait for a master that does not read. One more and it is
/// given up: it hears everything when the slave dials again.
const CONTROL_QUEUE: usize = 65_536;

/// A connection to a master that proved itself; our proof is sent.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) welcome: Welcome,
    /// Whether the master accepted the report.
    pub(crate) accepted: bool,
    state: StateGuard,
    /// State bytes that may be on their way.
    allowance: Allowance,
    pipe: Pipe<ToSlave>,
}

/// The way of state over a link. A copy ends with it.
#[derive(Debug)]
struct StateGuard(StateChannel);

/// What a dial needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Introduction {
    pub(crate) address: Address,
    pub(crate) hello: Hello,
    pub(crate) running: bool,
    pub(crate) secret: SecretSource,
    /// Of the certificate, where there is one.
    pub(crate) tls_dir: Option<PathBuf>,
    pub(crate) deadline: Duration,
}

impl Link {
    /// Dials and shakes hands, up to and with our proof.
    pub(crate) async fn dial(introduction: Introduction) -> Result<Self, LinkError> {
        let deadline = introduction.deadline;
        timeout(deadline, Self::shake_hands(introduction))
            .await
            .map_err(|_| LinkError::Slow(deadline))?
    }

    async fn shake_hands(mut introduction: Introduction) -> Result<Self, LinkError> {
        let tls_dir = introduction.tls_dir.take();
        let (mut connection, peer) = connect(&introduction.address, tls_dir).await?;
        let nonce = auth::nonce()?;
        introduction.hello.nonce.clone_from(&nonce);
        let Introduction {
            hello,
            running,
            secret,
            ..
        } = introduction;
        // A disk that hangs holds up this dial, which has a deadline, and nothing else.
        let secret = tokio::task::spawn_blocking(move || secret.read());
        let secret = secret.await.unwrap_or_else(|ended| Err(ended.to_string()));
        let (slave, known) = (hello.slave, hello.term);
        let hello = handshake::ToMaster::Hello {
            running,
            hello: Box::new(hello),
        };
        connection.send(&hello.to_frame()).await.map_err(broken)?;
        // A master that refuses our certificate says so here at the earliest.
        let frame = connection.recv().await.map_err(broken)?;
        let frame = frame.ok_or(LinkError::Closed)?;
        let welcome = match handshake::ToSlave::from_frame(frame)? {
            handshake::ToSlave::Welcome(welcome) => welcome,
            handshake::ToSlave::Refused(refused) => return Err(LinkError::Refused(refused)),
        };
        let known_by = secret.as_ref().map_err(String::as_str);
        check(&welcome, peer, known_by, &nonce, slave, known)?;
        connection.trust(Trust::Known);
        let proof = secret.ok().map_or_else(Default::default, |secret| {
            secret.slave_proof(&welcome.challenge, slave)
        });
        connection
            .send(&handshake::ToMaster::Proof(Proof { proof }).to_frame())
            .await?;
        Ok(Self::start(welcome, connection))
    }

    fn start(welcome: Welcome, connection: Connection) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the budget of bytes bounds it")]
        let (state, frames) = mpsc::unbounded_channel();
        let allowance = Allowance::default();
        let pipe = Pipe::start(connection.split(), CONTROL_QUEUE, Some(frames), understand);
        Self {
            welcome,
            accepted: false,
            state: StateGuard(StateChannel::new(state, allowance.size())),
            allowance,
            pipe,
        }
    }

    /// Queues a part of what this slave reports, before anything else is said.
    pub(crate) fn report(&self, report: Report) {
        // A link that is over is noticed where it is read.
        let _ = self
            .pipe
            .say(handshake::ToMaster::Report(report).to_frame());
    }

    /// A new deploy begins: what a former one left unacknowledged will never be.
    pub(crate) fn renew_budget(&mut self) {
        self.state.0.renew(self.allowance.size());
    }

    /// For a copy of this deploy, and what may be on its way.
    pub(crate) fn state_channel(&mut self, copy: &CopyState) -> StateChannel {
        self.allowance.may_be(copy.unacknowledged);
        self.state.0.clone()
    }

    /// State bytes were taken in by the other side.
    pub(crate) fn acknowledged(&mut self, bytes: u64) {
        self.state.0.acknowledged(bytes, &mut self.allowance);
    }
}

impl Wire for Link {
    type Order = ToSlave;
    type Word = ToMaster;

    async fn order(&mut self) -> Option<ToSlave> {
        self.pipe.order().await
    }

    fn say(&self, word: &ToMaster) -> bool {
        self.pipe.say(word.to_frame())
    }

    async fn finish(self, patience: Duration) {
        drop(self.state);
        self.pipe.finish(patience).await;
    }
}

impl Drop for StateGuard {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    /// A process of our own user, as the kernel says of a unix socket.
    OurUser,
    /// Another user's, by a unix socket.
    OtherUser,
    /// TCP tells nothing; TLS says that it is a master, and its proof which fleet's.
    Remote,
}

/// Why a handshake ended: perhaps over a certificate.
fn broken(error: ConnectionError) -> LinkError {
    if let ConnectionError::Io(error) = &error
        && let Some(refused) = secure::refused(error)
    {
        return refused;
    }
    LinkError::Connection(error)
}

async fn connect(
    address: &Address,
    tls_dir: Option<PathBuf>,
) -> Result<(Connection, Peer), LinkError> {
    let failed = |source| LinkError::Dial {
        address: address.clone(),
        source,
    };
    Ok(match address {
        Address::Tcp(to) => {
            let socket = connect_tcp(address, to).await?;
            stays_on_host(address, &socket)?;
            (Connection::new(socket), Peer::Remote)
        }
        Address::Tls(to) => {
            let connection = secure::connect(address, to, tls_dir).await?;
            (connection, Peer::Remote)
        }
        Address::Unix(path) => {
            let socket = UnixStream::connect(path).await.map_err(failed)?;
            let own = rustix::process::geteuid().as_raw();
            let ours = socket.peer_cred().is_ok_and(|peer| peer.uid() == own);
            let peer = if ours { Peer::OurUser } else { Peer::OtherUser };
            (Connection::new(socket), peer)
        }
    })
}

/// Whether this is the master that we take orders from.
fn check(
    welcome: &Welcome,
    peer: Peer,
    secret: Result<&Secret, &str>,
    nonce: &[u8],
    slave: SlaveId,
    known: Term,
) -> Result<(), LinkError> {
    if welcome.version < Version::OLDEST || welcome.version > Version::NEWEST {
        return Err(LinkError::Version(welcome.version));
    }
    match (secret, peer) {
        // The kernel's word is enough, as it is for the master: a secret that was lost
        // or changed keeps no process of this host out. The fleet is compared below.
        (_, Peer::OurUser) => {}
        (Ok(secret), Peer::OtherUser | Peer::Remote) => {
            let expected = secret.master_proof(nonce, slave);
            if !Secret::is_proof(&expected, &welcome.proof) {
                return Err(LinkError::Untrusted(
                    "the master did not prove that it knows the secret: this slave's secret is wrong, or \
                     another process listens there (BATON_SECRET, or the file `secret` of the \
                     master's runtime directory)"
                        .to_owned(),
                ));
            }
        }
        (Err(_), Peer::OtherUser) => {}
        (Err(why), Peer::Remote) => {
            return Err(LinkError::Untrusted(format!(
                "over TCP a secret is needed, and there is none: {why}"
            )));
        }
    }
    if known.counter > 0 && welcome.term.fleet != known.fleet {
        return Err(LinkError::OtherMaster(format!(
            "its fleet is {:.8}, ours {:.8}",
            welcome.term.fleet, known.fleet
        )));
    }
    if welcome.term.counter < known.counter && !mutant!("older-term-obeyed") {
        return Err(LinkError::OtherMaster(format!(
            "its term {} is older than {known}",
            welcome.term
        )));
    }
    Ok(())
}

fn understand(frame: Frame) -> Read<ToSlave> {
    match ToSlave::from_frame(frame) {
        Ok(order) => ControlFlow::Continue(Some(order)),
        Err(error) => {
            tracing::error!(%error, "the master sent what is no order: link closed");
            ControlFlow::Break(())
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use baton_protocol::FleetId;

    use super::{super::pipe::ORDER_QUEUE, *};

    const PATIENCE: Duration = Duration::from_secs(1);

    /// A link over a pipe, and the master's end of it.
    fn link() -> (Link, Connection) {
        let (here, there) = tokio::io::duplex(64 * 1024);
        let link = Link::start(Welcome::default(), Connection::new(here));
        (link, Connection::new(there))
    }

    #[test]
    fn a_changed_secret_keeps_no_master_of_our_own_user_out_and_another_fleet_always_is() {
        let secret = Secret::random().unwrap();
        let slave = SlaveId(1);
        let term = |fleet| Term {
            fleet: FleetId(fleet),
            counter: 3,
        };
        let welcome = Welcome {
            version: Version::NEWEST,
            term: term(7),
            proof: Secret::random().unwrap().master_proof(b"nonce", slave),
            ..Welcome::default()
        };
        let judged = |peer, known| {
            check(&welcome, peer, Ok(&secret), b"nonce", slave, known).map_err(|e| e.to_string())
        };
        assert_eq!(judged(Peer::OurUser, term(7)), Ok(()));
        for peer in [Peer::OtherUser, Peer::Remote] {
            let refused = judged(peer, term(7)).unwrap_err();
            assert!(refused.contains("BATON_SECRET"), "{refused}");
        }
        for peer in [Peer::OurUser, Peer::OtherUser, Peer::Remote] {
            assert!(judged(peer, term(8)).is_err());
        }
        let without = |peer| check(&welcome, peer, Err("no file"), b"nonce", slave, term(7));
        assert!(without(Peer::OurUser).is_ok());
        let refused = without(Peer::Remote).unwrap_err().to_string();
        assert!(
            refused.contains("over TCP") && refused.contains("no file"),
            "{refused}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_that_is_finished_reads_orders_until_the_master_closes() {
        let (link, mut master) = link();
        link.say(&ToMaster::Shutdown);
        let begun = tokio::time::Instant::now();
        let finished = tokio::spawn(link.finish(PATIENCE));
        let goodbye = master.recv().await.unwrap().expect("a frame");
        assert_eq!(ToMaster::from_frame(goodbye).unwrap(), ToMaster::Shutdown);
        assert!(master.recv().await.unwrap().is_none(), "nothing more comes");
        for _ in 0..2 * ORDER_QUEUE {
            tokio::time::sleep(Duration::from_millis(1)).await;
            master.send(&ToSlave::Shutdown.to_frame()).await.unwrap();
        }
        drop(master);
        finished.await.unwrap();
        assert!(begun.elapsed() < PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_master_that_never_closes_keeps_a_link_for_no_longer_than_its_patience() {
        let (link, _master) = link();
        let begun = tokio::time::Instant::now();
        link.finish(PATIENCE).await;
        assert_eq!(begun.elapsed(), PATIENCE);
    }
}
