//! The socket that a supervisor passes to this process, and how it is given back.
//!
//! The master opens the address of a slot and passes the socket to each slave that it
//! launches, as systemd passes its own. A master that starts while slaves run cannot open the
//! address again: it asks them, at `passed/PID` in its runtime directory.

use std::{
    fs,
    io::{self, IoSlice},
    mem::MaybeUninit,
    net::{SocketAddr, TcpListener},
    os::{
        fd::AsFd,
        unix::{
            fs::PermissionsExt,
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use listenfd::ListenFd;
use rustix::net::{
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg, sockopt::socket_peercred,
};

/// After an error the next master is heard after this.
const AGAIN: Duration = Duration::from_millis(100);

/// Takes the socket that was passed for this address; `None`: none was. Called once, while
/// nothing else opens files.
pub(crate) fn take(address: SocketAddr) -> Option<TcpListener> {
    let mut passed = ListenFd::from_env();
    for index in 0..passed.len() {
        let listener = match passed.take_tcp_listener(index) {
            Ok(Some(listener)) => listener,
            Ok(None) => continue,
            Err(error) => {
                tracing::warn!(%error, "a descriptor of LISTEN_FDS is no listening socket");
                continue;
            }
        };
        match listener.local_addr() {
            Ok(at) if at == address => match listener.set_nonblocking(true) {
                Ok(()) => return Some(listener),
                Err(error) => tracing::warn!(%error, "the socket that was passed is of no use"),
            },
            Ok(at) => tracing::warn!(
                passed = %at, proxy = %address,
                "the socket that was passed is not where the proxy is to listen: it is left alone"
            ),
            Err(error) => tracing::warn!(%error, "the socket that was passed is of no use"),
        }
    }
    None
}

/// Gives the socket to every master that asks, from a thread of its own, until the process
/// ends. Where that cannot be, it is said, and the next master has to wait for the address.
pub(crate) fn give_back(listener: &TcpListener, runtime_dir: &Path) {
    let path = runtime_dir
        .join("passed")
        .join(std::process::id().to_string());
    if let Err(error) = start(listener, path.clone()) {
        tracing::warn!(
            path = %path.display(), %error,
            "the next master cannot get the socket for clients from this process"
        );
    }
}

fn start(listener: &TcpListener, path: PathBuf) -> io::Result<()> {
    let listener = listener.try_clone()?;
    // Of a process that had this id before.
    let _ = fs::remove_file(&path);
    let door = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    thread::Builder::new()
        .name("passed".to_owned())
        .spawn(move || {
            for asked in door.incoming() {
                match asked.and_then(|master| give(&master, &listener)) {
                    Ok(()) => tracing::info!("a master asked for the socket for clients"),
                    Err(error) => {
                        tracing::warn!(%error, "a master did not get the socket for clients");
                        // Without a descriptor to spare it fails at once, again and again.
                        #[expect(clippy::disallowed_methods, reason = "a thread of its own")]
                        thread::sleep(AGAIN);
                    }
                }
            }
        })?;
    Ok(())
}

fn give(master: &UnixStream, listener: &TcpListener) -> io::Result<()> {
    let asks = socket_peercred(master)?.uid;
    if asks != rustix::process::geteuid() && !asks.is_root() {
        return Err(io::Error::other(format!("user {asks:?} asked for it")));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut along = SendAncillaryBuffer::new(&mut space);
    let sockets = [listener.as_fd()];
    let _ = along.push(SendAncillaryMessage::ScmRights(&sockets));
    sendmsg(
        master,
        &[IoSlice::new(b"1")],
        &mut along,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}
