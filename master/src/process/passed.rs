//! The sockets at which slots' slaves serve clients of their own: opened by the master, had by
//! every slave that it launches.
//!
//! ```text
//! a service manager ──LISTEN_FDS──▶ master ──LISTEN_FDS──▶ slave ──┐
//!                                     ▲                            │ runtime_dir/passed/PID
//!                                next master ◀────SCM_RIGHTS───────┘
//! ```
//!
//! One socket has one queue, whoever accepts from it: so no connection is lost where two
//! slaves of a deploy, or none, accept. (Two sockets of one address, with `SO_REUSEPORT`, have
//! two queues, and what waits in the queue of a process that ends is lost.) The socket lives as
//! long as one process has it. A master that starts while slaves run cannot bind the address:
//! it asks them for what they were passed.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, ErrorKind, IoSliceMut},
    mem::MaybeUninit,
    net::{SocketAddr, TcpListener},
    os::unix::{fs::DirBuilderExt, net::UnixStream},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg, sockopt::socket_acceptconn,
};
use tracing::{info, warn};

/// A slave that is asked answers at once, or hangs.
const PATIENCE: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug)]
pub struct Listeners {
    /// Where slaves give back what they were passed.
    dir: PathBuf,
    open: Mutex<BTreeMap<SocketAddr, TcpListener>>,
}

/// The folder below the runtime directory in which slaves give sockets back.
const DIR: &str = "passed";

impl Listeners {
    /// With the sockets that a service manager passed for slots.
    #[must_use]
    pub fn new(runtime_dir: &Path, passed: Vec<TcpListener>) -> Self {
        let dir = runtime_dir.join(DIR);
        let made = fs::DirBuilder::new().mode(0o700).create(&dir);
        if let Err(error) = made
            && error.kind() != ErrorKind::AlreadyExists
        {
            warn!(dir = %dir.display(), %error, "slaves cannot give sockets back to the next master");
        }
        let open = passed.into_iter();
        let open = open.filter_map(|listener| Some((listener.local_addr().ok()?, listener)));
        Self {
            dir,
            open: Mutex::new(open.collect()),
        }
    }

    /// What slaves give back, and nothing of its own: for somebody who looks and is no master.
    #[must_use]
    pub fn of_slaves(runtime_dir: &Path) -> Self {
        Self {
            dir: runtime_dir.join(DIR),
            open: Mutex::default(),
        }
    }

    /// The socket of this address, for one more process. Opened, if it is not; if a slave has
    /// it, that one is asked. Waits for it, up to half a second a slave.
    ///
    /// # Errors
    /// The address cannot be bound, and no slave gives it.
    pub fn of(&self, address: SocketAddr) -> io::Result<TcpListener> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = open.get(&address) {
            return listener.try_clone();
        }
        let listener = match TcpListener::bind(address) {
            Ok(listener) => listener,
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                self.ask_slaves(address).ok_or(error)?
            }
            Err(error) => return Err(error),
        };
        listener.set_nonblocking(true)?;
        let one_more = listener.try_clone()?;
        open.insert(address, listener);
        Ok(one_more)
    }

    fn ask_slaves(&self, address: SocketAddr) -> Option<TcpListener> {
        let slaves = fs::read_dir(&self.dir).ok()?;
        for slave in slaves.flatten() {
            let path = slave.path();
            match ask(&path) {
                Ok(listener) if listener.local_addr().is_ok_and(|it| it == address) => {
                    info!(%address, from = %path.display(), "a slave gave the socket back");
                    return Some(listener);
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    // Its process is gone.
                    let _ = fs::remove_file(&path);
                }
                Err(error) => {
                    warn!(from = %path.display(), %error, "a slave does not give its socket back");
                }
            }
        }
        None
    }
}

/// Asks whoever listens there for its socket.
fn ask(path: &Path) -> io::Result<TcpListener> {
    let slave = UnixStream::connect(path)?;
    slave.set_read_timeout(Some(PATIENCE))?;
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut along = RecvAncillaryBuffer::new(&mut space);
    let mut into = [IoSliceMut::new(&mut byte)];
    recvmsg(&slave, &mut into, &mut along, RecvFlags::CMSG_CLOEXEC)?;
    let mut came = None;
    for message in along.drain() {
        if let RecvAncillaryMessage::ScmRights(sockets) = message {
            came = sockets.last();
        }
    }
    let none = || io::Error::new(ErrorKind::InvalidData, "no socket came");
    let socket = came.ok_or_else(none)?;
    if !socket_acceptconn(&socket)? {
        return Err(none());
    }
    Ok(TcpListener::from(socket))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{
        io::IoSlice,
        net::TcpStream,
        os::{fd::AsFd, unix::net::UnixListener},
    };

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

    use super::*;

    /// As a slave does: gives this socket to whoever asks.
    fn gives(dir: &Path, pid: u32, listener: TcpListener) {
        let door = UnixListener::bind(dir.join(DIR).join(pid.to_string())).unwrap();
        std::thread::spawn(move || {
            for asked in door.incoming() {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut along = SendAncillaryBuffer::new(&mut space);
                let sockets = [listener.as_fd()];
                assert!(along.push(SendAncillaryMessage::ScmRights(&sockets)));
                let byte = [IoSlice::new(b"1")];
                sendmsg(asked.unwrap(), &byte, &mut along, SendFlags::empty()).unwrap();
            }
        });
    }

    fn any() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").unwrap()
    }

    #[test]
    fn the_next_master_gets_the_socket_from_a_slave_and_nobody_in_its_queue_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let first = Listeners::new(dir.path(), Vec::new());
        let (free, other) = (any(), any());
        let address = free.local_addr().unwrap();
        drop(free);
        let at_slave = first.of(address).unwrap();
        assert_eq!(first.of(address).unwrap().local_addr().unwrap(), address);
        gives(dir.path(), 1, other);
        gives(dir.path(), 2, at_slave);
        // Of a slave that ended.
        drop(UnixListener::bind(dir.path().join(DIR).join("3")).unwrap());
        drop(first);
        let waits = TcpStream::connect(address).unwrap();
        let next = Listeners::new(dir.path(), Vec::new());
        let socket = next.of(address).unwrap();
        // Who has connected may be in the queue a moment later.
        socket.set_nonblocking(false).unwrap();
        let (accepted, from) = socket.accept().unwrap();
        assert_eq!(from, waits.local_addr().unwrap());
        drop(accepted);
    }

    #[test]
    fn an_address_that_somebody_else_has_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let taken = any();
        let address = taken.local_addr().unwrap();
        let listeners = Listeners::new(dir.path(), Vec::new());
        drop(UnixListener::bind(dir.path().join(DIR).join("3")).unwrap());
        let refused = listeners.of(address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
        assert!(!dir.path().join(DIR).join("3").exists(), "nobody is there");
        drop(taken);
        assert!(listeners.of(address).is_ok(), "it is tried again");
    }

    #[test]
    fn what_a_service_manager_passed_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let passed = any();
        let address = passed.local_addr().unwrap();
        let listeners = Listeners::new(dir.path(), vec![passed]);
        assert_eq!(
            listeners.of(address).unwrap().local_addr().unwrap(),
            address
        );
    }
}
