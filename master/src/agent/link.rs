//! The link to a master: dial, handshake, and the two tasks of a connection.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use baton_protocol::{
    Address, Connection, ConnectionError, DecodeError, Term, Trust, Version,
    auth::{self, Secret},
    connection::{Receiver, Sender},
    message::{
        Proof, Refused,
        agent::{AgentAccepted, AgentHello, AgentReport, FromAgent, ToAgent},
    },
    tls::{self, Identity},
};
use tokio::{
    net::{TcpStream, UnixStream},
    sync::mpsc,
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

/// Messages that wait for a master that does not read. One more and it is given up: it hears
/// everything when the agent dials again.
const QUEUE: usize = 4096;

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("cannot be reached: {0}")]
    Dial(#[source] io::Error),
    #[error("did not answer within {0:?}")]
    Slow(Duration),
    #[error("the handshake failed: {0}")]
    Connection(#[from] ConnectionError),
    #[error("the handshake failed: {0}")]
    Decode(#[from] DecodeError),
    #[error("closed the connection")]
    Closed,
    #[error("sent another message where {0} was due")]
    OutOfPlace(&'static str),
    #[error("refuses this agent: {}", .0.detail)]
    Refused(Refused),
    #[error("speaks version {0}, which this build does not")]
    Version(Version),
    #[error(
        "did not prove that it knows the secret: this host's secret is another one, or another program \
         listens there. Give the agent the fleet's BATON_SECRET, or the master's file `secret` in its \
         runtime folder"
    )]
    Untrusted,
    #[error("is not this fleet's master any more: {0}")]
    OtherMaster(String),
    #[error("is not trusted: {0}")]
    Certificate(String),
    #[error("the operating system has no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
}

/// A connection to a master that accepted this agent.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) term: Term,
    pub(super) accepted: AgentAccepted,
    say: mpsc::Sender<FromAgent>,
    said: mpsc::Receiver<ToAgent>,
    _reading: AbortOnDropHandle<()>,
    writing: Option<AbortOnDropHandle<()>>,
}

impl Link {
    /// Dials, proves, reports, and waits until that is accepted, within `deadline`.
    pub(super) async fn dial(
        address: &Address,
        tls_dir: Option<PathBuf>,
        hello: AgentHello,
        report: AgentReport,
        secret: &Secret,
        deadline: Duration,
    ) -> Result<Self, LinkError> {
        let shaking = shake_hands(address, tls_dir, hello, report, secret);
        let shaken = timeout(deadline, shaking);
        shaken.await.map_err(|_| LinkError::Slow(deadline))?
    }

    /// The next order; `None`: the link is over.
    pub(super) async fn order(&mut self) -> Option<ToAgent> {
        self.said.recv().await
    }

    /// Says something; whether the link takes it.
    pub(super) fn say(&self, message: FromAgent) -> bool {
        self.say.try_send(message).is_ok()
    }

    /// Writes what is queued, for so long at most, and closes.
    pub(super) async fn finish(mut self, patience: Duration) {
        let writing = self.writing.take();
        drop(self.say);
        if let Some(writing) = writing {
            // What is not written by then the master hears from the next agent.
            let _ = timeout(patience, writing).await;
        }
    }
}

/// Addresses of masters, with commas between them.
///
/// # Errors
/// One of them is none, leaves this host in clear, or needs a certificate that there is not.
pub(super) fn addresses(text: &str, tls_dir: Option<&Path>) -> Result<Vec<Address>, String> {
    let list = Address::list(text)?;
    if let Some(open) = list.iter().find(|address| address.is_open()) {
        return Err(format!(
            "{open} is not on this host, and TCP in clear stays on its host: give tls://{open}, and \
             a certificate of this host (baton-master certs issue)"
        ));
    }
    let is_tls = |address: &&Address| matches!(address, Address::Tls(_));
    match list.iter().find(is_tls) {
        Some(tls) if tls_dir.is_none() => Err(format!(
            "{tls}: name the folder with this host's certificate (BATON_TLS_DIR for the agent's, \
             BATON_SLAVES_TLS_DIR for its slaves'; baton-master certs issue makes them)"
        )),
        Some(_) | None => Ok(list),
    }
}

async fn connect(address: &Address, tls_dir: Option<PathBuf>) -> Result<Connection, LinkError> {
    let to = match address {
        Address::Unix(path) => {
            let socket = UnixStream::connect(path).await.map_err(LinkError::Dial)?;
            return Ok(Connection::new(socket));
        }
        Address::Tcp(to) | Address::Tls(to) => to,
    };
    let socket = TcpStream::connect(to).await.map_err(LinkError::Dial)?;
    // Without it the connection is slower than it could be, and that is all.
    let _ = socket.set_nodelay(true);
    if matches!(address, Address::Tcp(_)) {
        // A name may lead elsewhere than its text says.
        let peer = socket.peer_addr().map_err(LinkError::Dial)?;
        if !peer.ip().to_canonical().is_loopback() {
            let text = format!("{peer} is not on this host: name it as tls://HOST:PORT");
            return Err(LinkError::Certificate(text));
        }
        return Ok(Connection::new(socket));
    }
    let wrong = |reason: String| LinkError::Certificate(reason);
    let dir = tls_dir.ok_or_else(|| wrong("it needs --tls-dir".to_owned()))?;
    // Read at each dial: a certificate that was renewed counts from the next one on.
    let reading = tokio::task::spawn_blocking(move || Identity::read(&dir)?.client());
    let config = match reading.await {
        Ok(read) => read.map_err(|error| wrong(error.to_string()))?,
        Err(ended) => return Err(wrong(ended.to_string())),
    };
    match tls::connect(config, socket).await {
        Ok(stream) => Ok(Connection::new(stream)),
        Err(error) if tls::refusal(&error).is_some() => Err(wrong(error.to_string())),
        Err(error) => Err(LinkError::Dial(error)),
    }
}

async fn shake_hands(
    address: &Address,
    tls_dir: Option<PathBuf>,
    mut hello: AgentHello,
    report: AgentReport,
    secret: &Secret,
) -> Result<Link, LinkError> {
    let mut connection = connect(address, tls_dir).await?;
    hello.nonce = auth::nonce()?;
    let (nonce, agent, host) = (hello.nonce.clone(), hello.agent, hello.host.clone());
    let known = hello.term;
    let hello = FromAgent::Hello(Box::new(hello));
    connection.send(&hello.to_frame()).await?;
    let ToAgent::Welcome(welcome) = answer(&mut connection).await? else {
        return Err(LinkError::OutOfPlace("the welcome"));
    };
    if welcome.version < Version::OLDEST || welcome.version > Version::NEWEST {
        return Err(LinkError::Version(welcome.version));
    }
    if !Secret::is_proof(&secret.master_proof_to_agent(&nonce, agent), &welcome.proof) {
        return Err(LinkError::Untrusted);
    }
    let term = welcome.term;
    if known.counter > 0 && (term.fleet != known.fleet || term.counter < known.counter) {
        let text = format!("its term is {term}, and {known} was followed before");
        return Err(LinkError::OtherMaster(text));
    }
    connection.trust(Trust::Known);
    let proof = secret.agent_proof(&welcome.challenge, agent, &host);
    let proof = FromAgent::Proof(Proof { proof });
    connection.send(&proof.to_frame()).await?;
    let report = FromAgent::Report(report);
    connection.send(&report.to_frame()).await?;
    let ToAgent::Accepted(accepted) = answer(&mut connection).await? else {
        return Err(LinkError::OutOfPlace("the acceptance"));
    };
    let (receiver, sender) = connection.split();
    let (say, queue) = mpsc::channel(QUEUE);
    let (tell, said) = mpsc::channel(QUEUE);
    Ok(Link {
        term,
        accepted,
        say,
        said,
        _reading: AbortOnDropHandle::new(tokio::spawn(read(receiver, tell))),
        writing: Some(AbortOnDropHandle::new(tokio::spawn(write(sender, queue)))),
    })
}

async fn answer(connection: &mut Connection) -> Result<ToAgent, LinkError> {
    let frame = connection.recv().await?.ok_or(LinkError::Closed)?;
    let answer = ToAgent::from_frame(frame)?;
    if let ToAgent::Refused(refused) = answer {
        return Err(LinkError::Refused(refused));
    }
    Ok(answer)
}

async fn read(mut receiver: Receiver, tell: mpsc::Sender<ToAgent>) {
    loop {
        let order = match receiver.recv().await {
            Ok(Some(frame)) => match ToAgent::from_frame(frame) {
                Ok(order) => order,
                // A newer master may say more than this agent knows.
                Err(DecodeError::UnknownId { id }) => {
                    debug!(id, "unknown message ignored");
                    continue;
                }
                Err(error) => return warn!(%error, "the master sent what is no order: link closed"),
            },
            Ok(None) => return,
            Err(error) => return debug!(%error, "connection lost"),
        };
        if tell.send(order).await.is_err() {
            return;
        }
    }
}

async fn write(mut sender: Sender, mut queue: mpsc::Receiver<FromAgent>) {
    while let Some(message) = queue.recv().await {
        if let Err(error) = sender.send(&message.to_frame()).await {
            return debug!(%error, "connection lost while writing");
        }
    }
    // Nobody may read any more.
    let _ = sender.close().await;
}
