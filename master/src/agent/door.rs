//! The socket in an agent's folder at which whoever started it asks how it does: a probe, or a
//! hook before its end. Only its user reaches it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

/// Its name in the agent's folder.
const SOCKET: &str = "agent.sock";

/// So many are answered at once; others wait in the socket's queue.
const AT_ONCE: usize = 8;

/// An agent that lives answers within this time.
const PATIENCE: Duration = Duration::from_secs(3);

/// A longer answer is none of an agent.
const LONGEST: u64 = 64 * 1024;

/// How an agent does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The name of its host.
    pub host: String,
    /// Its process id.
    pub pid: u32,
    /// Whether a master has accepted it.
    pub linked: bool,
    /// Launched processes that live.
    pub launched: usize,
    /// The slot of the slave that it started by itself; absent: it starts none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// That slave; absent: no master accepted it yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slave: Option<String>,
    /// Whether that slave fills its slot.
    pub owner: bool,
    /// Whether a deploy of the slot runs that is not committed.
    pub deploying: bool,
    /// How many shards that slave owns.
    pub shards: u32,
    /// How many of these it serves.
    pub serving: u32,
    /// With a slave of its own: it has served all its shards, and fills its slot since.
    /// Without one: a master has accepted the agent.
    pub ready: bool,
    /// Why it is not ready, for a person; empty: it is.
    pub why: String,
}

/// Who asks.
pub(super) type Asked = mpsc::Receiver<oneshot::Sender<Status>>;

/// Listens in a folder whose lock is ours.
///
/// # Errors
/// The operating system refused.
pub(super) fn open(dir: &Path) -> io::Result<(Asked, AbortOnDropHandle<()>)> {
    let path = dir.join(SOCKET);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path)?;
    let (ask, asked) = mpsc::channel(AT_ONCE);
    let listening = tokio::spawn(listen(listener, ask));
    Ok((asked, AbortOnDropHandle::new(listening)))
}

async fn listen(listener: UnixListener, ask: mpsc::Sender<oneshot::Sender<Status>>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            Err(error) => {
                warn!(%error, "nobody can be told how this agent does");
                tokio::time::sleep(PATIENCE).await;
                continue;
            }
        };
        let ask = ask.clone();
        tokio::spawn(async move {
            let _place = place;
            // Who does not read is not answered.
            let _ = timeout(PATIENCE, answer(socket, ask)).await;
        });
    }
}

async fn answer(
    mut socket: UnixStream,
    ask: mpsc::Sender<oneshot::Sender<Status>>,
) -> io::Result<()> {
    let (request, answer) = oneshot::channel();
    let ended = |_| io::Error::other("the agent is ending");
    ask.send(request).await.map_err(io::Error::other)?;
    let status = answer.await.map_err(ended)?;
    socket.write_all(&serde_json::to_vec(&status)?).await?;
    socket.shutdown().await
}

/// Asks the agent of a folder.
///
/// # Errors
/// One line for a person: no agent answers there.
pub async fn ask(dir: &Path) -> Result<Status, String> {
    let path: PathBuf = dir.join(SOCKET);
    let asking = async {
        let socket = UnixStream::connect(&path).await?;
        let mut text = Vec::new();
        socket.take(LONGEST).read_to_end(&mut text).await?;
        Ok::<_, io::Error>(serde_json::from_slice(&text)?)
    };
    let shown = path.display();
    match timeout(PATIENCE, asking).await {
        Ok(Ok(status)) => Ok(status),
        Ok(Err(error)) => Err(format!("no agent answers at {shown}: {error}")),
        Err(_) => Err(format!(
            "the agent at {shown} does not answer in {PATIENCE:?}"
        )),
    }
}
