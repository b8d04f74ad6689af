//! Names this process, or another one, so that it is known for ever whether it
//! is dead (Linux `/proc`).

use std::{fs, io, os::unix::fs::MetadataExt};

use crate::id::ProcessIdentity;

impl ProcessIdentity {
    /// This process.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn current() -> io::Result<Self> {
        Self::of(std::process::id())
    }

    /// The process that has `pid` now.
    ///
    /// # Errors
    /// There is none, or `/proc` cannot be read.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let start_time = start_time(&stat).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("/proc/{pid}/stat has no start time"),
            )
        })?;
        Ok(Self {
            pid,
            start_time,
            boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id")?
                .trim()
                .to_owned(),
            pid_namespace: fs::metadata(format!("/proc/{pid}/ns/pid"))?.ino(),
        })
    }
}

/// Field 22. The second field is the program's name in brackets, which may hold
/// blanks and brackets itself.
fn start_time(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_one_name() {
        let process = ProcessIdentity::current().expect("/proc");
        assert_eq!(process, ProcessIdentity::of(process.pid).expect("/proc"));
        assert!(process.start_time > 0 && !process.boot_id.is_empty());
    }

    #[test]
    fn a_program_name_with_blanks_and_brackets_hides_nothing() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 8812 5 6";
        assert_eq!(start_time(stat), Some(8812));
    }
}
