//! What a service manager gives to a master, and what the master tells it: listening
//! sockets (`LISTEN_FDS`), readiness and being alive (`NOTIFY_SOCKET`,
//! `WATCHDOG_USEC`). Under anything else than systemd all of this does nothing.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::{mpsc, oneshot},
    time::interval,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{error::Error, notice::Notice};

/// The first descriptor that a service manager passes.
const FIRST: usize = 3;

/// Listening sockets that were open before this master started: a slave that dials
/// between two masters waits instead of being refused.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Instead of binding `listen`.
    pub tcp: Option<TcpListener>,
    /// Instead of binding `slave.sock` in the runtime directory.
    pub unix: Option<UnixListener>,
    /// Instead of binding the `listen` of slots.
    pub slots: Vec<std::net::TcpListener>,
}

impl Sockets {
    /// Takes what was passed: those of `slots`; at most one other TCP socket, which other
    /// hosts may reach only if `listen` says so; and one unix socket, which must be
    /// `slave`. Called once, first thing: it clears `LISTEN_FDS`.
    ///
    /// # Errors
    /// [`Error::Configuration`] says what to change in the socket unit.
    pub fn take(listen: SocketAddr, slave: &Path, slots: &[SocketAddr]) -> Result<Self, Error> {
        let mut passed = ListenFd::from_env();
        let mut sockets = Self::default();
        for index in 0..passed.len() {
            if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
                let listener = adopt(listener, |tcp| tcp.set_nonblocking(true));
                let listener = listener.map_err(|error| unusable(index, &error))?;
                if listener.local_addr().is_ok_and(|it| slots.contains(&it)) {
                    sockets.slots.push(listener);
                    continue;
                }
                let listener =
                    TcpListener::from_std(listener).map_err(|error| unusable(index, &error))?;
                check_tcp(&listener, listen).map_err(Error::Configuration)?;
                if sockets.tcp.replace(listener).is_some() {
                    return wrong(
                        "two TCP sockets were passed that are no slot's listen: keep one ListenStream= of them",
                    );
                }
            } else {
                let listener = match passed.take_unix_listener(index) {
                    Ok(Some(listener)) => adopt(listener, |unix| unix.set_nonblocking(true)),
                    Ok(None) => continue,
                    Err(error) => Err(error),
                };
                let listener = listener
                    .and_then(UnixListener::from_std)
                    .map_err(|error| unusable(index, &error))?;
                check_unix(&listener, slave).map_err(Error::Configuration)?;
                if sockets.unix.replace(listener).is_some() {
                    return wrong("two unix sockets were passed: keep one ListenStream= of them");
                }
            }
        }
        Ok(sockets)
    }
}

fn adopt<T>(socket: T, set: impl FnOnce(&T) -> io::Result<()>) -> io::Result<T> {
    set(&socket)?;
    Ok(socket)
}

fn check_tcp(listener: &TcpListener, listen: SocketAddr) -> Result<(), String> {
    let passed = listener.local_addr().map_err(|error| error.to_string())?;
    if passed.ip().is_loopback() || !listen.ip().is_loopback() {
        return Ok(());
    }
    Err(format!(
        "the passed socket {passed} can be reached from other hosts, and listen is {listen}: \
         set listen = \"{passed}\" and tls_dir, or pass a loopback address"
    ))
}

fn check_unix(listener: &UnixListener, slave: &Path) -> Result<(), String> {
    let passed = listener.local_addr().map_err(|error| error.to_string())?;
    let passed = passed.as_pathname().map(Path::to_owned);
    if passed.as_deref().is_some_and(|passed| same(passed, slave)) {
        return Ok(());
    }
    Err(format!(
        "the passed socket {} is not where slaves dial: set ListenStream={}",
        passed
            .unwrap_or_else(|| PathBuf::from("without a path"))
            .display(),
        slave.display()
    ))
}

fn same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        (Ok(_) | Err(_), Ok(_) | Err(_)) => one == other,
    }
}

fn unusable(index: usize, error: &io::Error) -> Error {
    Error::Configuration(format!(
        "descriptor {} of LISTEN_FDS is not a listening socket: {error}; pass stream sockets only",
        FIRST + index
    ))
}

fn wrong<T>(reason: &str) -> Result<T, Error> {
    Err(Error::Configuration(reason.to_owned()))
}

/// Slaves and operators can dial.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The master was asked to leave, and may wait for the shard in hand.
pub fn stopping() {
    let status = NotifyState::Status("leaving; the slaves keep serving");
    tell(&[NotifyState::Stopping, status]);
}

/// The configuration was read again; `status` says what came of it.
pub fn reloaded(status: &str) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => warn!(%error, "the service manager could not be notified"),
    }
    ready(status);
}

/// Says that the master is alive, three times in the time that the service
/// manager gives, for as long as the driver behind `notices` answers; without one,
/// as long as tasks run. Does nothing where no time is given.
pub async fn keep_alive(notices: Option<mpsc::Sender<Notice>>, closing: CancellationToken) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut tick = interval(limit / 3);
    loop {
        tokio::select! {
            () = closing.cancelled() => return,
            _ = tick.tick() => {}
        }
        if let Some(notices) = &notices {
            let (answer, view) = oneshot::channel();
            let asked = notices.send(Notice::Look { answer }).await;
            if asked.is_err() || view.await.is_err() {
                return;
            }
        }
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "the service manager could not be notified");
    }
}
