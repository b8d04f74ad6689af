//! Known dead: a pidfd names one process for ever, also one that this master
//! did not start.
//!
//! A process is dead when its pidfd says so, when no process has its pid in our own pid
//! namespace, or when that pid belongs to a process that started at another time.
//! Everything else is unknown: what `/proc` does not show (another user's process,
//! a mount, an error) may well live, and so may what is of another host, of another
//! pid namespace, or of another boot, which may be one of another host.

use std::{
    fs, io,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    sync::Arc,
    time::Duration,
};

use baton_protocol::{ProcessIdentity, process::start_time_of};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal},
};
use tokio::io::unix::AsyncFd;

use super::{here::here, hidden};

/// One process, held by a pidfd.
#[derive(Clone, Debug)]
pub struct Watch {
    pidfd: Arc<AsyncFd<OwnedFd>>,
    /// Whether it is ours to kill: the kernel named it, or it is our own user's.
    may_kill: bool,
}

/// Why a process cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// No process has this name any more: it is dead.
    #[error("the process is dead")]
    Dead,
    /// It is of another host, lives in another pid namespace, was named on another
    /// boot, or names none of them: its death could not be known here.
    #[error("the process is in another pid namespace, or of another boot or host")]
    Elsewhere,
    /// It cannot be seen now, which is no proof that it is dead.
    #[error("whether the process lives cannot be seen: {0}")]
    Unseen(#[source] io::Error),
}

/// How long a process has lived; `None`: unknown.
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
    /// Opens a pidfd for exactly this process. Its name is compared after the pidfd
    /// is open: a pid that was given to another process in between is noticed.
    ///
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// See [`WatchError`].
    pub fn open(process: &ProcessIdentity) -> Result<Self, WatchError> {
        let here = here().map_err(WatchError::Unseen)?;
        let Some(pid) = pid_here(process, &here) else {
            return Err(WatchError::Elsewhere);
        };
        hidden::check_everywhere(process.pid).map_err(WatchError::Unseen)?;
        let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(pidfd) => pidfd,
            Err(rustix::io::Errno::SRCH) => return Err(WatchError::Dead),
            Err(error) => return Err(WatchError::Unseen(error.into())),
        };
        // One that ended and was not waited for has its pid still.
        if has_ended(&pidfd).map_err(WatchError::Unseen)? {
            return Err(WatchError::Dead);
        }
        let started = shown(process.pid, &here).map_err(|error| {
            if mutant!("unseen-is-dead") {
                return WatchError::Dead;
            }
            WatchError::Unseen(error)
        })?;
        if started != process.start_time {
            return Err(WatchError::Dead);
        }
        let owner = fs::metadata(format!("/proc/{pid}", pid = process.pid)).map(|of| of.uid());
        let may_kill = owner.is_ok_and(|uid| uid == rustix::process::geteuid().as_raw());
        Self::of(pidfd, may_kill)
    }

    /// The same for a process that a master named before this one. `boot` is the
    /// boot that it ran on: who was named on that one did not outlive it, where ours
    /// is another of the same host. On another host that boot may go on.
    ///
    /// # Errors
    /// See [`WatchError`].
    pub fn open_again(process: &ProcessIdentity, boot: Option<&str>) -> Result<Self, WatchError> {
        match boot {
            Some(boot) if boot == process.boot_id && !boot.is_empty() => {
                let here = here().map_err(WatchError::Unseen)?;
                let over =
                    boot != here.boot_id && !is_elsewhere(process, &here) && boot_is_the_kernels();
                if over {
                    return Err(WatchError::Dead);
                }
            }
            Some(_) | None => {}
        }
        Self::open(process)
    }

    /// The process of a peer that the kernel itself named: nothing needs to be read
    /// about it.
    ///
    /// # Errors
    /// See [`WatchError`].
    pub fn of_peer(process: &ProcessIdentity) -> Result<Self, WatchError> {
        match Self::open(process) {
            Ok(watch) => {
                return Ok(Self {
                    may_kill: true,
                    ..watch
                });
            }
            Err(WatchError::Unseen(_)) => {}
            Err(error @ (WatchError::Dead | WatchError::Elsewhere)) => return Err(error),
        }
        let here = here().map_err(WatchError::Unseen)?;
        let Some(pid) = pid_here(process, &here) else {
            return Err(WatchError::Elsewhere);
        };
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK);
        let pidfd = pidfd.map_err(|error| WatchError::Unseen(error.into()))?;
        Self::of(pidfd, true)
    }

    fn of(pidfd: OwnedFd, may_kill: bool) -> Result<Self, WatchError> {
        // The newer constructors are unsafe: they want a promise that the
        // descriptor is not closed while it is registered. An `OwnedFd` that
        // nobody takes out keeps that promise.
        #[allow(deprecated)]
        let pidfd = AsyncFd::new(pidfd).map_err(WatchError::Unseen)?;
        Ok(Self {
            pidfd: Arc::new(pidfd),
            may_kill,
        })
    }

    /// Whether it is ours to kill: the kernel said that it dialled, or it is a process
    /// of our own user. If it is another user's, a hello alone has named it.
    #[must_use]
    pub const fn may_kill(&self) -> bool {
        self.may_kill
    }

    /// Returns when the process is dead.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub async fn dead(&self) -> io::Result<()> {
        self.pidfd.readable().await.map(|_| ())
    }

    /// Whether it is known to be dead now.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        has_ended(self.pidfd.get_ref()).unwrap_or(false)
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

/// The pid of a process, where that is one of our own pid namespace: another one's
/// processes may have the same numbers.
#[must_use]
pub fn pid_of_ours(process: &ProcessIdentity) -> Option<u32> {
    let here = here().ok()?;
    pid_here(process, &here).map(|_| process.pid)
}

/// Whether it is of another host: its certificate says so, or it does itself. A certificate
/// of another host wins over everything that the process says of itself, so that no process
/// of this host is watched, and killed, for a slave of another one.
fn is_elsewhere(process: &ProcessIdentity, here: &ProcessIdentity) -> bool {
    let by_its_word = process.host.is_another_than(here.host) && !mutant!("host-not-asked");
    let by_certificate = process.host_name.is_some()
        && process.host_name != here.host_name
        && !mutant!("certified-host-not-asked");
    by_its_word || by_certificate
}

/// Whether its pid is one of ours: on another host or boot, or in another pid namespace,
/// the same number is another process.
pub(super) fn is_here(process: &ProcessIdentity, here: &ProcessIdentity) -> bool {
    process.boot_id == here.boot_id
        && process.pid_namespace == here.pid_namespace
        && !is_elsewhere(process, here)
}

/// Its pid, where that is a pid of ours.
fn pid_here(process: &ProcessIdentity, here: &ProcessIdentity) -> Option<Pid> {
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
    pid.filter(|_| is_here(process, here))
}

/// When the process that has `pid` now started, as our own `/proc` shows it.
fn shown(pid: u32, here: &ProcessIdentity) -> io::Result<u64> {
    // A `/proc` of another pid namespace calls others by these numbers.
    let own = fs::read_link("/proc/self")?;
    if own.to_str() != Some(here.pid.to_string().as_str()) {
        return Err(io::Error::other("/proc is of another pid namespace"));
    }
    hidden::check(pid)?;
    start_time_of(pid)
}

fn has_ended(pidfd: &OwnedFd) -> io::Result<bool> {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    Ok(poll(&mut fds, Some(&now))? > 0)
}

/// Whether the boot id that we read is the kernel's own: a container may find a
/// file in its place, and another one each time that it is started.
fn boot_is_the_kernels() -> bool {
    rustix::fs::statfs("/proc/sys/kernel/random/boot_id")
        .is_ok_and(|of| of.f_type == rustix::fs::PROC_SUPER_MAGIC)
}
