//! What this process holds, over HTTP: `GET /status` and `GET /guild/ID`.

use std::{
    fmt, fs, io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path as InPath, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use baton_sink::{Sink, Status};
use baton_slave::{Error, Monitor};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, UnixListener},
    task::spawn_blocking,
    time::sleep,
};

use crate::{copies::Copies, relay::Relay};

/// How often it is looked whether the socket is still there.
const EVERY: Duration = Duration::from_secs(1);

/// Where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// A loopback address.
    Tcp(SocketAddr),
    /// A socket file, `%p` in its name is the process id. A socket that is there
    /// is replaced: in a deploy the newest process answers.
    Unix(PathBuf),
}

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some("") => {
                return Err("inspect: `unix:` has no path: give unix:/path/to/socket".to_owned());
            }
            Some(path) => return Ok(Self::Unix(crate::with_pid(path))),
            None => {}
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Self::Tcp(address)),
            Ok(address) => Err(format!(
                "inspect: {address} can be reached from other hosts: give a loopback address or unix:PATH"
            )),
            Err(_) => Err(format!(
                "inspect: `{text}` is no address: give 127.0.0.1:PORT or unix:PATH"
            )),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A socket file of this process, for its user alone. Dropped: removed, unless another
/// process has put its own there since.
#[derive(Clone, Debug)]
struct Socket {
    path: PathBuf,
    /// Which file it is.
    file: Arc<Mutex<Option<Identity>>>,
}

/// Device and inode.
type Identity = (u64, u64);

/// Removes the socket when it is dropped.
#[derive(Debug)]
pub(crate) struct Bound(Socket);

impl Drop for Bound {
    fn drop(&mut self) {
        let mut file = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = file.take()
            && identity(&self.0.path) == Some(file)
        {
            let _ = fs::remove_file(&self.0.path);
        }
    }
}

impl Socket {
    /// Makes it, in the place of another socket.
    fn bind(path: &Path) -> io::Result<(UnixListener, Self)> {
        match fs::symlink_metadata(path) {
            Ok(there) if there.file_type().is_socket() => {}
            Ok(_) => return Err(io::Error::other("a file that is no socket is there")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let socket = Self {
            path: path.to_owned(),
            file: Arc::default(),
        };
        Ok((socket.listen(RenameFlags::empty())?, socket))
    }

    /// Makes it again, where it was removed and nobody else has put one there.
    fn bind_again(&self) -> Option<UnixListener> {
        let gone = fs::symlink_metadata(&self.path)
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if !gone {
            return None;
        }
        // Its folder may be gone too: it is tried again.
        self.listen(RenameFlags::NOREPLACE).ok()
    }

    /// It gets its name when its mode is right.
    fn listen(&self, how: RenameFlags) -> io::Result<UnixListener> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = self.path.clone().into_os_string();
        new.push(format!(".{}", std::process::id()));
        let new = PathBuf::from(new);
        let _ = fs::remove_file(&new);
        let listener = UnixListener::bind(&new)?;
        let named = fs::set_permissions(&new, fs::Permissions::from_mode(0o600))
            .and_then(|()| Ok(renameat_with(CWD, &new, CWD, &self.path, how)?));
        if let Err(error) = named {
            let _ = fs::remove_file(&new);
            return Err(error);
        }
        *file = identity(&self.path);
        Ok(listener)
    }
}

type Shared = State<(Arc<Relay>, Monitor, Option<Arc<Sink>>, Arc<Copies>)>;

/// Binds, and serves in the background until the process ends.
pub(crate) async fn serve(
    address: &Address,
    relay: Arc<Relay>,
    monitor: Monitor,
    broker: Option<Arc<Sink>>,
    copies: Arc<Copies>,
) -> Result<Option<Bound>, Error> {
    let router = Router::new()
        .route("/status", get(status))
        .route("/guild/{id}", get(guild))
        .with_state((relay, monitor, broker, copies));
    let taken = |error: io::Error| {
        Error::Config(format!(
            "inspect: cannot listen at {address}: {error}: give another address; a build that is being replaced keeps its port, a socket (unix:PATH) is taken over"
        ))
    };
    match address {
        Address::Tcp(address) => {
            let listener = TcpListener::bind(address).await.map_err(taken)?;
            tokio::spawn(async move { axum::serve(listener, router).await });
            Ok(None)
        }
        Address::Unix(path) => {
            let (listener, socket) = Socket::bind(path).map_err(taken)?;
            tokio::spawn(keep(listener, socket.clone(), router));
            Ok(Some(Bound(socket)))
        }
    }
}

/// Serves there, also behind somebody who empties the folder.
async fn keep(mut listener: UnixListener, socket: Socket, router: Router) {
    loop {
        let serving = axum::serve(listener, router.clone()).into_future();
        tokio::select! {
            _ = serving => return,
            anew = anew(&socket) => listener = anew,
        }
        tracing::warn!(
            socket = %socket.path.display(),
            "the socket of inspect was removed while this process runs, and is there again"
        );
    }
}

/// Returns when the socket was removed and is there again.
async fn anew(socket: &Socket) -> UnixListener {
    loop {
        sleep(EVERY).await;
        let socket = socket.clone();
        if let Ok(Some(listener)) = spawn_blocking(move || socket.bind_again()).await {
            return listener;
        }
    }
}

/// Which file has this name.
fn identity(path: &Path) -> Option<Identity> {
    let file = fs::symlink_metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}

async fn status(State((relay, monitor, broker, copies)): Shared) -> Response {
    let Some(status) = monitor.status().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let known = relay.known().clone();
    let Ok(counts) = spawn_blocking(move || known.counts()).await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    Json(json!({
        "pid": std::process::id(),
        "slave": status,
        "cache": counts,
        "sink": {"lost": relay.sink().lost()},
        "broker": broker.map(|broker| at_the_broker(&broker.status())),
        "copies": copies.status(),
    }))
    .into_response()
}

/// How publishing goes.
fn at_the_broker(status: &Status) -> Value {
    let trouble = status.trouble.as_ref().map(|trouble| {
        json!({
            "seconds": trouble.lasts.as_secs(),
            "events": trouble.events,
            "reason": trouble.reason,
        })
    });
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    json!({
        "address": status.broker,
        "confirmed": status.confirmed,
        "repeats": status.repeats,
        "retries": status.retries,
        "waiting": status.waiting,
        "confirm_p50_ms": ms(status.confirm_p50),
        "confirm_p99_ms": ms(status.confirm_p99),
        "trouble": trouble,
        "commands": {
            "written": status.commands.written,
            "refused": status.commands.refused,
        },
    })
}

async fn guild(State((relay, _, _, _)): Shared, InPath(id): InPath<u64>) -> Response {
    match relay.known().guild_create(id) {
        Some(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_host_are_taken() {
        for wrong in ["0.0.0.0:80", "unix:", "", "localhost", "127.0.0.1"] {
            let error = Address::parse(wrong).expect_err(wrong);
            assert!(error.starts_with("inspect: "), "{error}");
        }
        for right in ["127.0.0.1:0", "[::1]:80", "unix:/run/a"] {
            let address = Address::parse(right).expect(right);
            assert_eq!(address.to_string(), right);
        }
    }

    #[tokio::test]
    async fn a_socket_is_replaced_and_any_other_file_is_kept() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("notes");
        fs::write(&path, "precious").expect("a file");
        assert!(Socket::bind(&path).is_err());
        assert_eq!(fs::read_to_string(&path).expect("the file"), "precious");

        let path = dir.path().join("socket");
        let (_old, old) = Socket::bind(&path).expect("nothing there");
        let (_new, new) = Socket::bind(&path).expect("a socket there");
        let mode = fs::metadata(&path).expect("it").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // The process before leaves what is no longer its own.
        assert!(old.bind_again().is_none(), "the newest process answers");
        drop(Bound(old));
        assert!(path.exists());
        drop(Bound(new));
        assert!(!path.exists());
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_that_is_removed_comes_back_also_where_its_folder_went_with_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("run");
        let path = folder.join("socket");
        fs::create_dir(&folder).expect("room");
        let (listener, socket) = Socket::bind(&path).expect("nothing there");
        let router = Router::new().route("/", get(async || "here"));
        let serving = tokio::spawn(keep(listener, socket.clone(), router));
        let bound = Bound(socket);
        for _ in 0..2 {
            fs::remove_dir_all(&folder).expect("ours");
            sleep(3 * EVERY).await;
            fs::create_dir(&folder).expect("room");
            let back = async {
                while tokio::net::UnixStream::connect(&path).await.is_err() {
                    sleep(EVERY).await;
                }
            };
            let waited = tokio::time::timeout(60 * EVERY, back).await;
            waited.expect("it comes back");
        }
        serving.abort();
        drop(bound);
        assert!(!path.exists(), "and goes with its process");
    }
}
