//! Locks of the file system: the kernel gives them back when their holder dies, in any pid
//! namespace, and a try never waits.

use std::{
    fs::File,
    io,
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};

use crate::Error;

/// Between two tries.
const PAUSE: Duration = Duration::from_micros(50);
const LONG_PAUSE: Duration = Duration::from_millis(5);

/// Tries until it is there or the patience is over, with pauses that grow.
pub(super) fn try_for<T>(
    patience: Duration,
    mut attempt: impl FnMut() -> Result<Option<T>, Error>,
) -> Result<T, Error> {
    if let Some(there) = attempt()? {
        return Ok(there);
    }
    let (until, mut pause) = (Instant::now() + patience, PAUSE);
    loop {
        if Instant::now() >= until {
            return Err(Error::Busy);
        }
        wait(pause);
        pause = (pause * 2).min(LONG_PAUSE);
        if let Some(there) = attempt()? {
            return Ok(there);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a lock that is held is rare, and whoever waits here was told that it may"
)]
fn wait(pause: Duration) {
    std::thread::sleep(pause);
}

/// One try at a lock of a file. False: another has it.
pub(super) fn lock(file: &File, operation: FlockOperation) -> io::Result<bool> {
    loop {
        match flock(file, operation) {
            Ok(()) => return Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(false),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A lock that is given back when this is dropped.
pub(super) struct Held<'f>(&'f File);

impl<'f> Held<'f> {
    /// Tries once. `None`: another process has it.
    pub(super) fn exclusive(file: &'f File) -> io::Result<Option<Self>> {
        let locked = lock(file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(locked.then_some(Self(file)))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Nothing keeps a lock from being given back.
        let _ = flock(self.0, FlockOperation::Unlock);
    }
}
