//! The one call that has to be unsafe: opening an environment.
#![allow(
    unsafe_code,
    reason = "heed marks opening as unsafe; why it is sound here stands at the call"
)]

use std::path::Path;

use heed::{Env, EnvFlags, EnvOpenOptions, WithTls};

/// Threads that read one shard at once, in all processes. A slot has 64 bytes.
const READERS: u32 = 1000;

/// Opens an environment.
///
/// Reads use a slot a thread: the first of a thread takes a lock for it, all others take
/// none, so that no process that is stopped can hold them up.
///
/// # Errors
/// What the engine says.
pub(super) fn open(folder: &Path, size: usize) -> Result<Env<WithTls>, heed::Error> {
    let mut options = EnvOpenOptions::new();
    options.map_size(size).max_readers(READERS);
    // SAFETY: `NO_SYNC` is unsafe because after a crash of the *host* the file may be torn.
    // It is not read then: the header names the boot in which it was written, and a file of
    // another boot is set aside unread, but for that record and its checksum. Pages of it
    // are touched only after their number was compared with the length of the file.
    // `NO_MEM_INIT` leaves bytes between records as they were in this process' memory:
    // the file is this user's, and nothing reads them.
    unsafe { options.flags(EnvFlags::NO_SYNC | EnvFlags::NO_MEM_INIT) };
    // SAFETY: what a memory map shows must change only as the engine expects.
    // - The folder is this user's and closed to others (`folder`), on this host, and only
    //   this crate writes into it. A copy is made by reading the file, not by the engine.
    // - The engine's own locks are in use (no `NO_LOCK`), and pids are unique among those
    //   who use it, because all are in one pid namespace (`generation`).
    // - An environment is opened once a process (`generation` keeps them, and heed refuses
    //   a second one), and no other handle of its lock file is opened and closed.
    // - No write goes through the map (no `WRITE_MAP`), so that a full disk is an error of a
    //   system call and not a SIGBUS.
    // - A file is cut short by nobody; it is renamed or removed as a whole, and the map
    //   keeps what it shows.
    unsafe { options.open(folder) }
}
