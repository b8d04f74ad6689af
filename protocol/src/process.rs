//! Names this process, or another one, so that it is known for ever whether it
//! is dead (Linux `/proc`).

use std::{fs, io, os::unix::fs::MetadataExt};

use ring::digest;

use crate::id::{HostId, ProcessIdentity};

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
        Ok(Self {
            pid,
            start_time: start_time_of(pid)?,
            boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id")?
                .trim()
                .to_owned(),
            pid_namespace: fs::metadata(format!("/proc/{pid}/ns/pid"))?.ino(),
            host: HostId::current(),
            host_name: None,
        })
    }
}

impl HostId {
    /// This host; not said where it has no `/etc/machine-id`.
    #[must_use]
    pub fn current() -> Self {
        fs::read_to_string("/etc/machine-id").map_or(Self(0), |text| Self::of_machine(&text))
    }

    /// The host with this machine id. The id itself is a secret of the host, so it is hashed
    /// with a name of ours.
    #[must_use]
    pub fn of_machine(text: &str) -> Self {
        let text = text.trim();
        // What stands there until the first boot has drawn one.
        if text.is_empty() || text == "uninitialized" {
            return Self(0);
        }
        let hash = digest::digest(&digest::SHA256, format!("baton host {text}").as_bytes());
        let bytes = hash.as_ref().iter().take(16);
        Self(bytes.fold(0, |id, &byte| id << 8 | u128::from(byte)))
    }
}

/// When the process that has `pid` now started, in clock ticks since the boot.
///
/// # Errors
/// `/proc` does not show it. That is no proof that there is none: `/proc` may hide
/// the processes of other users, or be of another pid namespace.
pub fn start_time_of(pid: u32) -> io::Result<u64> {
    number(pid, START_TIME)
}

/// Which process started the one that has `pid` now, or took it over; 0: none that
/// is seen from here.
///
/// # Errors
/// `/proc` does not show it.
pub fn parent_of(pid: u32) -> io::Result<u32> {
    let parent = number(pid, PARENT)?;
    u32::try_from(parent).map_err(io::Error::other)
}

/// Fields 4 and 22 of `/proc/PID/stat`, counted from the one behind the name.
const PARENT: usize = 1;
const START_TIME: usize = 19;

fn number(pid: u32, field: usize) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    field_of(&stat, field).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("/proc/{pid}/stat has no number where one is due"),
        )
    })
}

/// The second field is the program's name in brackets, which may hold blanks and
/// brackets itself.
fn field_of(stat: &str, field: usize) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name
        .split_ascii_whitespace()
        .nth(field)?
        .parse()
        .ok()
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
    fn a_host_is_known_by_its_machine_id_and_does_not_tell_it() {
        let id = "0123456789abcdef0123456789abcdef";
        let host = HostId::of_machine(&format!("{id}\n"));
        assert_eq!(host, HostId::of_machine(id));
        assert!(host.is_said() && host.to_string() != id);
        let other = HostId::of_machine("another");
        assert!(host.is_another_than(other) && !host.is_another_than(host));
        for none in ["", "\n", "uninitialized\n"] {
            let unsaid = HostId::of_machine(none);
            assert_eq!(unsaid, HostId(0), "{none:?}");
            assert!(!unsaid.is_another_than(host) && !host.is_another_than(unsaid));
        }
    }

    #[test]
    fn a_program_name_with_blanks_and_brackets_hides_nothing() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 8812 5 6";
        assert_eq!(field_of(stat, START_TIME), Some(8812));
        assert_eq!(field_of(stat, PARENT), Some(1));
    }
}
