//! Known dead: a pidfd names one process for ever, also one that this master
//! did not start.

use std::{io, os::fd::OwnedFd, sync::Arc, time::Duration};

use baton_protocol::ProcessIdentity;
use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::unix::AsyncFd;

/// One process, held by a pidfd.
#[derive(Clone, Debug)]
pub struct Watch {
    pidfd: Arc<AsyncFd<OwnedFd>>,
}

/// Why a process cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// No process has this name any more: it is dead.
    #[error("the process is dead")]
    Dead,
    /// It lives in another pid namespace, or names none: its death could not be
    /// known here.
    #[error("the process is in another pid namespace")]
    Elsewhere,
    /// The operating system refused.
    #[error("the process cannot be watched")]
    System(#[from] io::Error),
}

/// How long a process has lived; `None`: that cannot be told.
#[must_use]
pub fn lived(process: &ProcessIdentity) -> Option<Duration> {
    // What `/proc` counts in is a hundredth of a second on every Linux.
    let began = Duration::from_millis(process.start_time.checked_mul(10)?);
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let now = Duration::new(
        u64::try_from(now.tv_sec).ok()?,
        u32::try_from(now.tv_nsec).ok()?,
    );
    now.checked_sub(began).filter(|_| process.start_time > 0)
}

impl Watch {
    /// Opens a pidfd for exactly this process. Its name is compared again after
    /// the pidfd is open: a pid that was given to another process in between is
    /// noticed.
    ///
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// See [`WatchError`].
    pub fn open(process: &ProcessIdentity) -> Result<Self, WatchError> {
        let here = ProcessIdentity::current()?;
        if process.boot_id != here.boot_id && !process.boot_id.is_empty() {
            // Nothing outlives a boot of its host.
            return Err(WatchError::Dead);
        }
        let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
        let Some(pid) = pid.filter(|_| process.pid_namespace == here.pid_namespace) else {
            return Err(WatchError::Elsewhere);
        };
        let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(pidfd) => pidfd,
            Err(rustix::io::Errno::SRCH) => return Err(WatchError::Dead),
            Err(error) => return Err(WatchError::System(error.into())),
        };
        match ProcessIdentity::of(process.pid) {
            Ok(now) if now == *process => {}
            // Another process by now, or gone since the pidfd was opened (a dead
            // child that is not reaped has no namespace any more).
            Ok(_) => return Err(WatchError::Dead),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(WatchError::Dead);
            }
            Err(error) => return Err(WatchError::System(error)),
        }
        // The newer constructors are unsafe: they want a promise that the
        // descriptor is not closed while it is registered. An `OwnedFd` that
        // nobody takes out keeps that promise.
        #[allow(deprecated)]
        let pidfd = Arc::new(AsyncFd::new(pidfd)?);
        Ok(Self { pidfd })
    }

    /// Returns when the process is dead.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub async fn dead(&self) -> io::Result<()> {
        self.pidfd.readable().await.map(|_| ())
    }

    /// Sends `SIGKILL`. The process may already be dead.
    ///
    /// # Errors
    /// The operating system refused.
    pub fn kill(&self) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(self.pidfd.get_ref(), Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
