//! The calls that have to be unsafe: opening an environment, and giving back what of it is
//! mapped.
#![allow(
    unsafe_code,
    reason = "both are marked as unsafe; why they are sound here stands at each call"
)]

use std::{collections::BTreeMap, fs::File, io, os::unix::fs::MetadataExt as _, path::Path};

use heed::{Env, EnvFlags, EnvOpenOptions, WithTls};
use rustix::{
    fs::{major, minor},
    mm::{Advice, madvise},
};

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

/// Bytes that are given back in one call. While it lasts, no thread of the process can map
/// anything, as allocators do: some tenths of a millisecond.
const AT_ONCE: usize = 16 << 20;

/// Gives back what this process has mapped of these environments, each with its data file. The
/// files have it; what is looked at again is mapped again.
///
/// # Errors
/// The process cannot look at its own maps.
pub(super) fn unmap(open: &[(&Env<WithTls>, &File)]) -> io::Result<()> {
    let mut lengths = BTreeMap::new();
    for (_, file) in open {
        let found = file.metadata()?;
        let named = (major(found.dev()), minor(found.dev()), found.ino());
        lengths.insert(named, usize::try_from(found.len()).unwrap_or(usize::MAX));
    }
    for line in std::fs::read_to_string("/proc/self/maps")?.lines() {
        let Some(Mapped { start, end, file }) = Mapped::of(line) else {
            continue;
        };
        // Behind the end of a file nothing is mapped.
        let length = lengths.get(&file).copied().unwrap_or(0);
        let end = end.min(start.saturating_add(length));
        let mut at = start;
        while at < end {
            let bytes = AT_ONCE.min(end - at);
            // SAFETY: the range is a shared map of the file of an environment, in this process.
            // The kernel listed it so while the environment was open, and it is open until
            // here, as it is borrowed: nobody else unmaps it, so that nothing else is there
            // now. Of such a map this takes away entries of the page table and nothing else:
            // each page is found again in the file at the next look, also by whoever has a
            // reference to it. (A private map would lose what was written to it.)
            unsafe {
                let at = std::ptr::with_exposed_provenance_mut(at);
                madvise(at, bytes, Advice::LinuxDontNeed)?;
            }
            at += bytes;
        }
    }
    Ok(())
}

/// A shared map of a file from its beginning.
#[derive(Debug, PartialEq, Eq)]
struct Mapped {
    start: usize,
    end: usize,
    /// Its device and inode.
    file: (u32, u32, u64),
}

impl Mapped {
    /// What a line of `/proc/self/maps` says, if it is one.
    fn of(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let is_shared = words.next()?.ends_with('s');
        let is_whole = words.next()?.bytes().all(|digit| digit == b'0');
        let (major, minor) = words.next()?.split_once(':')?;
        let hex = |digits| u32::from_str_radix(digits, 16).ok();
        let mapped = Self {
            start: usize::from_str_radix(start, 16).ok()?,
            end: usize::from_str_radix(end, 16).ok()?,
            file: (hex(major)?, hex(minor)?, words.next()?.parse().ok()?),
        };
        (is_shared && is_whole).then_some(mapped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_kernel_s_list_only_shared_maps_of_whole_files_count() {
        let of = |line| Mapped::of(line).map(|mapped| (mapped.start, mapped.end, mapped.file));
        let line = "7f00a000-7f00c000 r--s 00000000 00:1a 1234    /dev/shm/a b (deleted)";
        assert_eq!(of(line), Some((0x7f00_a000, 0x7f00_c000, (0, 0x1a, 1234))));
        for other in [
            "7f00a000-7f00c000 r--p 00000000 00:1a 1234 /dev/shm/a",
            "7f00a000-7f00c000 r--s 00001000 00:1a 1234 /dev/shm/a",
            "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]",
            "7f00a000 r--s",
            "",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
