//! What the host shows: files, disk, permissions.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use baton_core::view::View;

use super::Finding;
use crate::clock::unix_ms;

/// Less than this, and the journal may be refused its next page.
const LEAST_DISK: u64 = 64 << 20;

/// Less than this is worth a word.
const LOW_DISK: u64 = 512 << 20;

/// A shard needs one file when it is served and one when it is dialled ahead; a
/// process some more.
const FILES_OF_A_SHARD: u64 = 2;
const FILES_OF_A_PROCESS: u64 = 64;

/// What the host says at one moment.
#[derive(Clone, Debug)]
pub struct Host {
    /// Milliseconds since 1970.
    pub unix_ms: u64,
    /// Where the journal is.
    data_dir: PathBuf,
    /// Bytes that are free there for this user.
    free: Option<u64>,
    /// Directories that others may look into.
    open_to_others: Vec<PathBuf>,
    /// Open files of processes, and how many each may have. Another user's process,
    /// or another host's, says nothing.
    files: BTreeMap<u32, (u64, u64)>,
}

impl Host {
    /// Looks, at these processes too. Blocks as long as the disk does.
    #[must_use]
    pub fn look(runtime_dir: &Path, data_dir: &Path, pids: &[u32]) -> Self {
        let others = |dir: &&Path| {
            let mode = fs::metadata(dir).map(|found| found.permissions().mode());
            mode.is_ok_and(|mode| mode & 0o077 != 0)
        };
        let dirs = [runtime_dir, data_dir];
        Self {
            unix_ms: unix_ms(),
            data_dir: data_dir.to_owned(),
            free: free(data_dir),
            open_to_others: dirs
                .iter()
                .copied()
                .filter(others)
                .map(Path::to_owned)
                .collect(),
            files: pids
                .iter()
                .filter_map(|pid| Some((*pid, files_of(*pid)?)))
                .collect(),
        }
    }

    pub(super) fn examine(&self, view: &View) -> Vec<Finding> {
        let mut findings = vec![self.disk(), self.permissions()];
        findings.extend(self.files(view));
        findings
    }

    /// Room for the journal.
    #[must_use]
    pub fn disk(&self) -> Finding {
        let dir = self.data_dir.display();
        let next = "free space there: without it no shard can be moved (data_dir)";
        match self.free {
            None => Finding::warning("disk", format!("{dir} cannot be looked at"), next),
            Some(free) if free < LEAST_DISK => Finding::error(
                "disk",
                format!("{} MiB are free in {dir}", free >> 20),
                next,
            ),
            Some(free) if free < LOW_DISK => Finding::warning(
                "disk",
                format!("{} MiB are free in {dir}", free >> 20),
                next,
            ),
            Some(free) => Finding::ok("disk", format!("{} MiB are free in {dir}", free >> 20)),
        }
    }

    /// Who else may look.
    #[must_use]
    pub fn permissions(&self) -> Finding {
        match self.open_to_others.first() {
            Some(dir) => Finding::warning(
                "permissions",
                format!("other users may look into {}", dir.display()),
                "chmod 700 it: the secret and session ids are in there, and only their own modes \
                 protect them",
            ),
            None => Finding::ok("permissions", "the directories are this user's alone"),
        }
    }

    /// Open files of each slave of this host, against its shards.
    fn files(&self, view: &View) -> Vec<Finding> {
        let mut findings = Vec::new();
        for slave in view.slaves.iter().filter(|slave| slave.connected) {
            let known = self.files.get(&slave.pid).filter(|_| slave.host.is_none());
            let Some(&(open, most)) = known else {
                continue;
            };
            let needs = u64::from(view.shard_count) * FILES_OF_A_SHARD + FILES_OF_A_PROCESS;
            let (pid, build) = (slave.pid, &slave.build);
            let detail = format!("process {pid} (build {build}) may open {most} files, has {open}");
            let next = "raise LimitNOFILE= (or ulimit -n) of what starts it: every shard needs one, \
                        and another one in a deploy";
            let finding = if open.saturating_mul(10) > most.saturating_mul(9) {
                Finding::error("files", detail, next)
            } else if needs > most {
                Finding::warning("files", format!("{detail}, and may need {needs}"), next)
            } else {
                continue;
            };
            findings.push(finding.of_slave(&slave.slave));
        }
        if findings.is_empty() {
            findings.push(Finding::ok("files", "every process may open enough files"));
        }
        findings
    }
}

/// Bytes that are free for this user.
fn free(dir: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(dir).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Open files of a process, and how many it may have.
fn files_of(pid: u32) -> Option<(u64, u64)> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    Some((u64::try_from(open).ok()?, soft_limit(&limits)?))
}

fn soft_limit(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    match line?.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{super::Level, *};
    use baton_core::view::SlaveView;

    #[test]
    fn the_soft_limit_of_open_files_is_read() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(soft_limit(limits), Some(1024));
        assert_eq!(
            soft_limit("Max open files unlimited unlimited files"),
            Some(u64::MAX)
        );
        assert_eq!(soft_limit("Max processes 7 7 processes"), None);
    }

    #[test]
    fn a_process_with_too_few_files_for_the_fleet_is_found_before_it_runs_out() {
        let view = |shard_count| View {
            shard_count,
            slaves: vec![SlaveView {
                pid: std::process::id(),
                connected: true,
                ..SlaveView::default()
            }],
            ..View::default()
        };
        let nowhere = Path::new("/");
        let host = Host::look(nowhere, nowhere, &[std::process::id()]);
        assert_eq!(host.files(&view(1))[0].level, Level::Ok);
        assert_eq!(host.files(&view(u32::MAX))[0].level, Level::Warning);
    }

    #[test]
    fn a_directory_that_others_may_look_into_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let own = fs::Permissions::from_mode(0o700);
        fs::set_permissions(dir.path(), own).unwrap();
        assert_eq!(
            Host::look(dir.path(), dir.path(), &[]).permissions().level,
            Level::Ok
        );
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let found = Host::look(dir.path(), dir.path(), &[]).permissions();
        assert_eq!(found.level, Level::Warning);
        assert!(found.detail.contains(&dir.path().display().to_string()));
        assert!(
            Host::look(dir.path(), dir.path(), &[])
                .disk()
                .detail
                .contains("MiB")
        );
    }
}
