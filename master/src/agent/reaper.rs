//! As process 1 of its container, an agent is the parent of every orphan there, and has to wait for each
//! that ended: else the container fills up with dead processes.
//!
//! What the agent started itself has a task that waits for it, at once. So an orphan is what still has
//! nobody when it is looked at for the second time.

use std::{collections::BTreeSet, time::Duration};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use tokio::time::sleep;
use tracing::debug;

/// How often orphans are looked for.
const PASS: Duration = Duration::from_secs(1);

/// Waits for orphans, for as long as the process lives.
pub(super) async fn reap() {
    let mut seen = BTreeSet::new();
    loop {
        sleep(PASS).await;
        let before = std::mem::take(&mut seen);
        let looked = tokio::task::spawn_blocking(move || pass(&before)).await;
        seen = looked.unwrap_or_default();
    }
}

/// Waits for those that were `seen` before; gives those that are seen for the first time.
fn pass(seen: &BTreeSet<u32>) -> BTreeSet<u32> {
    let mut first = BTreeSet::new();
    for pid in children() {
        if !is_dead(pid) {
            continue;
        }
        if seen.contains(&pid.as_raw_nonzero().get().cast_unsigned()) {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            let reaped = waitid(WaitId::Pid(pid), options);
            debug!(pid = pid.as_raw_nonzero(), ?reaped, "an orphan ended");
        } else {
            first.insert(pid.as_raw_nonzero().get().cast_unsigned());
        }
    }
    first
}

/// Whether it ended and nobody waited for it. It stays for whoever does.
fn is_dead(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(WaitId::Pid(pid), options), Ok(Some(_)))
}

/// Our children, as `/proc` shows them.
fn children() -> Vec<Pid> {
    let own = std::process::id();
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries.flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse::<u32>().ok()?;
        let parent = baton_protocol::process::parent_of(pid).ok()?;
        let pid = Pid::from_raw(pid.cast_signed())?;
        (parent == own).then_some(pid)
    });
    pids.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::process::Command;

    use super::*;

    #[test]
    #[allow(clippy::zombie_processes, reason = "the reaper is to wait for it")]
    fn what_nobody_waits_for_is_waited_for_when_it_is_seen_again() {
        let child = Command::new("true").spawn().unwrap();
        let pid = child.id();
        let mut first = BTreeSet::new();
        while !first.contains(&pid) {
            first = pass(&BTreeSet::new());
        }
        assert!(pass(&BTreeSet::from([pid])).is_empty() || !is_dead(Pid::from_child(&child)));
        assert!(
            baton_protocol::process::parent_of(pid).is_err(),
            "it is gone"
        );
    }
}
