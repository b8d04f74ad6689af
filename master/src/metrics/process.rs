//! What the kernel says of a process.

use std::{fs, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// Resident memory in bytes; `None` where there is no such process.
pub(super) fn memory(pid: u32) -> Option<u64> {
    resident(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line?.trim().strip_suffix("kB")?.trim();
    kib.parse::<u64>().ok()?.checked_mul(1024)
}

/// Processor time that this process has used.
pub(super) fn processor_time() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(used.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(used.tv_nsec).unwrap_or(0))
}

/// Open files of this process, and how many it may have.
pub(super) fn files() -> (Option<u64>, Option<u64>) {
    let open = fs::read_dir("/proc/self/fd").ok();
    let open = open.and_then(|open| u64::try_from(open.count()).ok());
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    (open, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\tbaton\nVmPeak:\t  9000 kB\nVmRSS:\t  1234 kB\nThreads:\t4\n";
        assert_eq!(resident(status), Some(1234 * 1024));
        assert_eq!(resident("Name:\tkthreadd\n"), None);
        assert_eq!(resident("VmRSS:\tmuch\n"), None);
    }

    #[test]
    fn this_process_has_memory_and_open_files() {
        assert!(memory(std::process::id()).is_some_and(|bytes| bytes > 0));
        assert!(processor_time() > Duration::ZERO);
        let (open, most) = files();
        assert!(open.is_some_and(|open| open > 2) && most >= open);
    }
}
