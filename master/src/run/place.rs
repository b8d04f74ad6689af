//! The place of a master: its directories, which no other master has meanwhile, its
//! secret, and the sockets that slaves dial.

use std::{io, net::SocketAddr, os::fd::AsFd};

use baton_protocol::auth::Secret;
use tokio::net::{TcpListener, UnixListener};

use crate::{
    config::Config,
    error::Error,
    keeper::Maker,
    listener,
    runtime_dir::{Lock, RuntimeDir, make_dir, same},
    service,
};

/// What a master has before it knows anything of its fleet.
pub(super) struct Place {
    pub(super) dir: RuntimeDir,
    /// Of the runtime directory.
    pub(super) lock: Lock,
    /// Of the data directory, where that is another one.
    pub(super) data_lock: Option<Lock>,
    /// Whether a secret was there before this start: a fleet may have run.
    pub(super) ran_before: bool,
    pub(super) secret: Secret,
    pub(super) tcp: TcpListener,
    /// Passed by a service manager, or made already; `None`: it is made later.
    unix: Option<(UnixListener, Maker)>,
    /// Passed for slots.
    pub(super) for_slots: Vec<std::net::TcpListener>,
}

impl Place {
    /// Takes it.
    ///
    /// # Errors
    /// Another master has it, or the configuration or the operating system is in the way.
    pub(super) async fn take(config: &Config) -> Result<Self, Error> {
        let dir = RuntimeDir::open(&config.runtime_dir)?;
        make_dir("data_dir", &config.data_dir)?;
        let lock = Lock::take(dir.path())?;
        let data_lock = if same(dir.path(), &config.data_dir) {
            None
        } else {
            Some(Lock::take(&config.data_dir)?)
        };
        let slots = config.slots.iter();
        let here = slots.filter(|slot| slot.host.is_none());
        let slots: Vec<_> = here.filter_map(|slot| slot.listen).collect();
        let passed = service::Sockets::take(config.listen, &dir.slave_socket(), &slots)?;
        let tcp = match passed.tcp {
            Some(tcp) => tcp,
            None => listener::bind(config.listen).await?,
        };
        let ran_before = dir.has_secret(&config.data_dir);
        let secret = dir.secret(&config.data_dir)?;
        Ok(Self {
            dir,
            lock,
            data_lock,
            ran_before,
            secret,
            tcp,
            unix: passed.unix.map(|unix| (unix, Maker::Service)),
            for_slots: passed.slots,
        })
    }

    /// The unix socket that slaves dial, and who made it.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn slave_socket(&mut self) -> Result<(UnixListener, Maker), Error> {
        match self.unix.take() {
            Some(made) => Ok(made),
            None => Ok((self.dir.bind(&self.dir.slave_socket())?, Maker::Us)),
        }
    }

    /// The sockets that slaves dial, a second time: what takes connections there until the
    /// first is used may let go of it, and none is refused in between.
    ///
    /// # Errors
    /// They cannot be made.
    pub(super) fn again(&mut self) -> Result<(TcpListener, UnixListener), Error> {
        let (unix, maker) = self.slave_socket()?;
        let failed = |error| Error::system("the sockets of slaves", error);
        let again = || -> io::Result<(TcpListener, UnixListener)> {
            let tcp = std::net::TcpListener::from(self.tcp.as_fd().try_clone_to_owned()?);
            let unix = std::os::unix::net::UnixListener::from(unix.as_fd().try_clone_to_owned()?);
            tcp.set_nonblocking(true)?;
            unix.set_nonblocking(true)?;
            Ok((TcpListener::from_std(tcp)?, UnixListener::from_std(unix)?))
        };
        let sockets = again().map_err(failed)?;
        self.unix = Some((unix, maker));
        Ok(sockets)
    }
}

/// Where a socket listens.
///
/// # Errors
/// It has no address.
pub(super) fn local_address(listener: &TcpListener) -> Result<SocketAddr, Error> {
    listener
        .local_addr()
        .map_err(|error| Error::system("address of the listener", error))
}
