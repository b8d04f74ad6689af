//! A wire that can be cut: a TCP relay between a client and a server.
//!
//! Harm is done to everybody's connections or to those of one process. It lasts
//! until it is [healed](Wire::heal); what was held back goes on then, as after a
//! cable that was pulled and put back.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

use super::hunt;
use crate::error::{Error, Result};

/// Bytes that one relay step takes.
const STEP: usize = 16 * 1024;

/// Steps on their way at a time, in one direction of one connection.
const ON_THE_WAY: usize = 256;

/// Whose connections are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// All of them.
    Everybody,
    /// Those that this process dialled.
    Process(u32),
}

/// Which bytes are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// What the client sends.
    Up,
    /// What the server sends.
    Down,
    /// Both.
    Both,
}

/// What can be done to a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// Connections are reset, and new ones are too.
    Cut,
    /// No byte goes this way. Connections stay open, new ones are taken.
    Hold(Way),
    /// Each byte takes so long to arrive, in both ways.
    Delay(Duration),
    /// In the middle of what comes next this way, both ends are reset; once for
    /// each connection that is open now.
    Tear(Way),
    /// What comes next this way is garbage; once for each connection that is open
    /// now.
    Garble(Way),
}

/// What is wrong with a wire at the moment.
#[derive(Clone, Debug, Default)]
struct State {
    harm: Option<(Whose, Harm)>,
    /// Counts the harms, so that each connection is torn once.
    harms: u64,
    delay: Duration,
    target: Option<SocketAddr>,
}

/// A relay that listens; dropped, it closes everything.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    carried: Arc<[AtomicU64; 2]>,
    task: JoinHandle<()>,
}

impl Wire {
    /// Listens on a free port of this host. Until there is a
    /// [target](Self::lead_to), connections are closed at once.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn lay() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.map_err(Error::io("listen for a wire"))?;
        let address = listener.local_addr().map_err(Error::io("a wire's port"))?;
        let state = Arc::new(watch::Sender::new(State::default()));
        let carried = Arc::default();
        let relay = relay(listener, Arc::clone(&state), Arc::clone(&carried));
        let task = tokio::spawn(relay);
        Ok(Self {
            address,
            state,
            carried,
            task,
        })
    }

    /// Where clients dial.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Names the server.
    pub fn lead_to(&self, target: SocketAddr) {
        self.state.send_modify(|state| state.target = Some(target));
    }

    /// How long each byte takes while nothing is wrong; for bytes sent from now
    /// on.
    pub fn delay(&self, delay: Duration) {
        self.state.send_modify(|state| state.delay = delay);
    }

    /// Bytes that were sent this way so far.
    #[must_use]
    pub fn carried(&self, way: Way) -> u64 {
        let [up, down] = &*self.carried;
        let (up, down) = (up.load(Ordering::Relaxed), down.load(Ordering::Relaxed));
        match way {
            Way::Up => up,
            Way::Down => down,
            Way::Both => up + down,
        }
    }

    /// Does this harm, in place of any other.
    pub fn harm(&self, whose: Whose, harm: Harm) {
        self.state.send_modify(|state| {
            state.harm = Some((whose, harm));
            state.harms += 1;
        });
    }

    /// Ends every harm; the usual delay stays.
    pub fn heal(&self) {
        self.state.send_modify(|state| state.harm = None);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // Its connections end with the last sender of the state.
        self.task.abort();
    }
}

async fn relay(
    listener: TcpListener,
    state: Arc<watch::Sender<State>>,
    carried: Arc<[AtomicU64; 2]>,
) {
    loop {
        let Ok((client, peer)) = listener.accept().await else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let carried = Arc::clone(&carried);
        tokio::spawn(connection(client, peer, state.subscribe(), carried));
    }
}

async fn connection(
    client: TcpStream,
    peer: SocketAddr,
    mut state: watch::Receiver<State>,
    carried: Arc<[AtomicU64; 2]>,
) {
    let Ok(wire) = client.local_addr() else {
        return;
    };
    let link = Link { peer, wire };
    let Some(target) = state.borrow_and_update().target else {
        return;
    };
    if link.harm(&state.borrow()) == Some(Harm::Cut) {
        return reset(&client);
    }
    let Ok(server) = TcpStream::connect(target).await else {
        return reset(&client);
    };
    for end in [&client, &server] {
        let _ = end.set_nodelay(true);
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let [up, down] = &*carried;
    let up = pump(link, (Way::Up, up), from_client, to_server, state.clone());
    let down = pump(
        link,
        (Way::Down, down),
        from_server,
        to_client,
        state.clone(),
    );
    // Harm ends both ways at once. Else each way delivers what was sent before
    // its sender was gone.
    let _ = tokio::try_join!(up, down);
}

/// One connection, known by the client's address and ours.
#[derive(Clone, Copy, Debug)]
struct Link {
    peer: SocketAddr,
    wire: SocketAddr,
}

impl Link {
    /// What is done to it.
    fn harm(self, state: &State) -> Option<Harm> {
        match state.harm? {
            (Whose::Everybody, harm) => Some(harm),
            (Whose::Process(pid), harm) => {
                hunt::dialled(pid, self.peer.port(), self.wire.port()).then_some(harm)
            }
        }
    }
}

/// Resets instead of saying good-bye.
fn reset(socket: &TcpStream) {
    let _ = socket.set_zero_linger();
}

/// The end of a pump that takes the whole connection with it.
#[derive(Debug)]
struct Harmed;

/// Bytes that were sent, and when they arrive.
struct Step {
    due: Instant,
    bytes: Vec<u8>,
    written: usize,
}

/// Takes bytes one way, until the sender or the receiver is gone.
async fn pump(
    link: Link,
    (way, carried): (Way, &AtomicU64),
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
) -> std::result::Result<(), Harmed> {
    let mut harm = link.harm(&state.borrow_and_update());
    let mut spoilt = state.borrow().harms;
    let mut buffer = vec![0; STEP];
    let mut reading = true;
    let mut steps: VecDeque<Step> = VecDeque::new();
    loop {
        if harm == Some(Harm::Cut) {
            return harmed(&from, &to);
        }
        if !reading && steps.is_empty() {
            let _ = to.shutdown().await;
            return Ok(());
        }
        let concerns = |other: Way| other == way || other == Way::Both;
        let held = matches!(harm, Some(Harm::Hold(held)) if concerns(held));
        let tears = matches!(harm, Some(Harm::Tear(tear)) if concerns(tear));
        let garbles = matches!(harm, Some(Harm::Garble(garble)) if concerns(garble));
        if garbles
            && spoilt != state.borrow().harms
            && let Some(step) = steps.front_mut()
        {
            spoilt = state.borrow().harms;
            step.bytes.fill(0xa5);
        }
        let room = reading && steps.len() < ON_THE_WAY;
        tokio::select! {
            changed = state.changed() => {
                if changed.is_err() {
                    return harmed(&from, &to);
                }
                harm = link.harm(&state.borrow_and_update());
            }
            read = from.read(&mut buffer), if room => match read {
                // What was sent before a reset arrives: a reset would overtake it.
                Ok(0) | Err(_) => reading = false,
                Ok(count) => {
                    carried.fetch_add(count as u64, Ordering::Relaxed);
                    steps.push_back(Step {
                        due: Instant::now() + delay(harm, &state.borrow()),
                        bytes: buffer[..count].to_vec(),
                        written: 0,
                    });
                }
            },
            written = write(&mut to, steps.front()), if !held && !steps.is_empty() => {
                let Ok(count) = written else { return Ok(()) };
                if tears && spoilt != state.borrow().harms {
                    return harmed(&from, &to);
                }
                if let Some(step) = steps.front_mut() {
                    step.written += count;
                    if step.written == step.bytes.len() {
                        steps.pop_front();
                    }
                }
            }
        }
    }
}

fn delay(harm: Option<Harm>, state: &State) -> Duration {
    match harm {
        Some(Harm::Delay(delay)) => delay,
        Some(Harm::Cut | Harm::Hold(_) | Harm::Tear(_) | Harm::Garble(_)) | None => state.delay,
    }
}

/// Writes a part of a step once it is due. Survives being cancelled. Never the
/// whole step at once, so that a connection can be torn inside a frame.
async fn write(to: &mut OwnedWriteHalf, step: Option<&Step>) -> io::Result<usize> {
    let Some(step) = step else {
        return std::future::pending().await;
    };
    sleep_until(step.due).await;
    let rest = &step.bytes[step.written..];
    to.write(&rest[..rest.len().div_ceil(2)]).await
}

fn harmed(from: &OwnedReadHalf, to: &OwnedWriteHalf) -> std::result::Result<(), Harmed> {
    reset(from.as_ref());
    reset(to.as_ref());
    Err(Harmed)
}
