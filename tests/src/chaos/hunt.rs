//! Processes of a run, found by what `/proc` says of them: whose command line
//! names the run's folder, which of them is which build, what they hold.

use std::{fs, path::Path, time::Duration};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use tokio::time::{Instant, sleep};

use crate::{
    error::{Error, Result},
    parts::processes_naming,
};

/// Processes whose command line or environment names `folder`, but this one.
#[must_use]
pub fn of_folder(folder: &Path) -> Vec<u32> {
    processes_naming(&folder.display().to_string())
}

/// The youngest living slave of this build in `folder`.
#[must_use]
pub fn slave(folder: &Path, build: &str) -> Option<u32> {
    let folder = folder.display().to_string();
    let build = format!("--build\0{build}\0");
    all()
        .filter(|pid| {
            let line = read(*pid, "cmdline");
            line.contains(&folder)
                && line.contains(&build)
                && !line.contains("baton-master\0")
                && is_alive(*pid)
        })
        .max_by_key(|pid| started(*pid))
}

/// Whether a process runs or is stopped; one that is dead and not yet waited for
/// is not alive.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    !matches!(state(&read(pid, "stat")), None | Some('Z' | 'X'))
}

/// Waits until every thread of a process that was stopped stands, or is gone.
pub async fn stands(pid: u32) {
    while numbers(&format!("/proc/{pid}/task")).any(|thread| runs(pid, thread)) {
        sleep(Duration::from_micros(200)).await;
    }
}

/// Whether a thread does something, or will without being told to.
fn runs(pid: u32, thread: u32) -> bool {
    let stat = read(pid, &format!("task/{thread}/stat"));
    matches!(state(&stat), Some('R' | 'S' | 'D'))
}

/// What a process or thread does, as the kernel writes it behind the name; `None`: it is
/// gone.
fn state(stat: &str) -> Option<char> {
    stat.rsplit(')').next()?.trim_start().chars().next()
}

/// Sends a signal; nothing happens if the process has ended.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
        let _ = kill_process(pid, signal);
    }
}

/// Sets the soft limit of a process; `None`: as high as it may be.
///
/// # Errors
/// It is not ours, or the limit may not be set.
pub fn limit(pid: u32, resource: Resource, soft: Option<u64>) -> Result<()> {
    let hard = getrlimit(resource).maximum;
    let limit = Rlimit {
        current: soft.or(hard),
        maximum: hard,
    };
    prlimit(Pid::from_raw(pid.cast_signed()), resource, limit)
        .map(drop)
        .map_err(|error| Error::io(format!("limit process {pid}"))(error.into()))
}

/// How many files a process has open.
#[must_use]
pub fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |files| files.flatten().count())
}

/// Memory that a process has, in KiB.
#[must_use]
pub fn memory_kib(pid: u32) -> u64 {
    status_kib(pid, "VmRSS:")
}

/// The same without what it shares with others: files in memory, such as a store.
#[must_use]
pub fn own_kib(pid: u32) -> u64 {
    memory_kib(pid).saturating_sub(status_kib(pid, "RssShmem:"))
}

/// The most memory that a process had, in KiB, since its start or since its peak
/// was forgotten.
#[must_use]
pub fn peak_kib(pid: u32) -> u64 {
    status_kib(pid, "VmHWM:")
}

/// A process' peak begins with what it has now. Where the kernel does not do
/// that, the peak stays what it was.
pub fn forget_peak(pid: u32) {
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

fn status_kib(pid: u32, name: &str) -> u64 {
    read(pid, "status")
        .lines()
        .find_map(|line| {
            let rest = line.strip_prefix(name)?;
            rest.split_whitespace().next()?.parse().ok()
        })
        .unwrap_or(0)
}

/// Processor time that a process has spent, in microseconds: the kernel counts it
/// in hundredths of a second.
#[must_use]
pub fn spent_us(pid: u32) -> f64 {
    let stat = read(pid, "stat");
    let after = stat.rsplit(')').next().unwrap_or("");
    let ticks = after.split_whitespace().skip(11).take(2);
    ticks
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum::<f64>()
        * 10_000.0
}

/// Waits until a process hardly does anything for a fifth of a second.
///
/// # Errors
/// Not within `limit`.
pub async fn at_rest(pid: u32, limit: Duration) -> Result<()> {
    let began = Instant::now();
    loop {
        let before = spent_us(pid);
        sleep(Duration::from_millis(200)).await;
        if spent_us(pid) - before <= 20_000.0 {
            return Ok(());
        }
        if began.elapsed() > limit {
            return Err(Error::Late(format!(
                "process {pid} is still busy after {limit:?}"
            )));
        }
    }
}

/// Whether a process has the TCP connection between these ports of the loopback.
#[must_use]
pub fn dialled(pid: u32, from: u16, to: u16) -> bool {
    // A table that changes while it is read may leave lines out.
    let Some(inode) = (0..8).find_map(|_| inode(from, to)) else {
        return false;
    };
    let name = format!("socket:[{inode}]");
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    files
        .flatten()
        .any(|file| fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == &*name))
}

/// The inode of the client's socket. Its port alone may be that of several.
fn inode(from: u16, to: u16) -> Option<u64> {
    // 127.0.0.1 as the kernel writes it, on a little-endian host.
    let ends = [from, to].map(|port| format!("0100007F:{port:04X}"));
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    table.lines().skip(1).find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let is_it = words.next()? == ends[0] && words.next()? == ends[1];
        is_it.then(|| words.nth(6)?.parse().ok()).flatten()
    })
}

fn all() -> impl Iterator<Item = u32> {
    numbers("/proc")
}

/// Those that this folder has an entry for.
fn numbers(folder: &str) -> impl Iterator<Item = u32> + use<> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Ticks since the host started at which the process did.
fn started(pid: u32) -> u64 {
    let stat = read(pid, "stat");
    let after = stat.rsplit(')').next().unwrap_or("");
    let mut words = after.split_whitespace();
    words
        .nth(19)
        .and_then(|ticks| ticks.parse().ok())
        .unwrap_or(0)
}

fn read(pid: u32, file: &str) -> String {
    let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_does_stands_behind_its_name_whatever_that_is() {
        assert_eq!(state("12 (a) S (b) T 1 12"), Some('T'));
        assert_eq!(state(""), None);
        assert!(is_alive(std::process::id()));
        assert!(runs(std::process::id(), std::process::id()));
    }
}
