//! What this process holds, over HTTP: `GET /status` and `GET /guild/ID`.

use std::{
    fmt, fs, io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{
    Json, Router,
    extract::{Path as InPath, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use baton_slave::{Error, Monitor};
use serde_json::json;
use tokio::net::{TcpListener, UnixListener};

use crate::relay::Relay;

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

/// A socket file of this process. Dropped: removed, unless another process has
/// put its own there since.
#[derive(Debug)]
pub(crate) struct Socket {
    path: PathBuf,
    file: Option<(u64, u64)>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.file.is_some() && identity(&self.path) == self.file {
            let _ = fs::remove_file(&self.path);
        }
    }
}

type Shared = State<(Arc<Relay>, Monitor)>;

/// Binds, and serves in the background until the process ends.
pub(crate) async fn serve(
    address: &Address,
    relay: Arc<Relay>,
    monitor: Monitor,
) -> Result<Option<Socket>, Error> {
    let router = Router::new()
        .route("/status", get(status))
        .route("/guild/{id}", get(guild))
        .with_state((relay, monitor));
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
            let (listener, socket) = bind(path).map_err(taken)?;
            tokio::spawn(async move { axum::serve(listener, router).await });
            Ok(Some(socket))
        }
    }
}

fn bind(path: &Path) -> io::Result<(UnixListener, Socket)> {
    match fs::symlink_metadata(path) {
        Ok(there) if there.file_type().is_socket() => fs::remove_file(path)?,
        Ok(_) => return Err(io::Error::other("a file that is no socket is there")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    let socket = Socket {
        path: path.to_owned(),
        file: identity(path),
    };
    Ok((listener, socket))
}

/// Device and inode.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let file = fs::symlink_metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}

async fn status(State((relay, monitor)): Shared) -> Response {
    let Some(status) = monitor.status().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let cache = relay.cache().inner().stats();
    Json(json!({
        "pid": std::process::id(),
        "slave": status,
        "cache": {"guilds": cache.guilds(), "users": cache.users(), "members": cache.members()},
        "sink": {"lost": relay.sink().lost()},
    }))
    .into_response()
}

async fn guild(State((relay, _)): Shared, InPath(id): InPath<u64>) -> Response {
    match relay.cache().guild_create(id) {
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
        assert!(bind(&path).is_err());
        assert_eq!(fs::read_to_string(&path).expect("the file"), "precious");

        let path = dir.path().join("socket");
        let (_old, old) = bind(&path).expect("nothing there");
        let (_new, new) = bind(&path).expect("a socket there");
        // The process before leaves what is no longer its own.
        drop(old);
        assert!(path.exists());
        drop(new);
        assert!(!path.exists());
    }
}
