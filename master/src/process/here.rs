//! Which process this one is, and on which host.

use std::{
    io,
    sync::{PoisonError, RwLock},
};

use baton_protocol::{HostName, ProcessIdentity};

/// The name of this host: a fact of the process, as its pid is. `None`: it has none, since
/// the master has no certificate.
static HOST: RwLock<Option<HostName>> = RwLock::new(None);

/// This host is called so from now on.
pub fn we_are_on(host: Option<HostName>) {
    *HOST.write().unwrap_or_else(PoisonError::into_inner) = host;
}

/// The name of this host, where it has one.
#[must_use]
pub fn own_host() -> Option<HostName> {
    HOST.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// What the kernel calls this host, in small letters. That need not be a name that a host of
/// a fleet can have.
#[must_use]
pub fn kernel_name() -> String {
    let kernel = rustix::system::uname();
    kernel.nodename().to_string_lossy().to_ascii_lowercase()
}

/// This process.
///
/// # Errors
/// `/proc` cannot be read.
pub(super) fn here() -> io::Result<ProcessIdentity> {
    Ok(ProcessIdentity {
        host_name: own_host(),
        ..ProcessIdentity::current()?
    })
}
