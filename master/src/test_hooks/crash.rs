//! Points at which a test can have the process killed: before and after every
//! save of the journal, and before and after every message that a migration
//! needs.
//!
//! They exist only in builds with debug assertions; nothing of them is in a
//! release build. There `BATON_CRASH_AT=NAME[:N]` kills the process (`SIGKILL`,
//! so nothing is written, closed or said any more) when it passes the named
//! point for the `N`th time, and `BATON_CRASH_WHEN=FILE` has passes count only
//! while that file exists. `baton-master crash-points` shows the names.

#[cfg(debug_assertions)]
pub(crate) use self::armed::{after, before};
#[cfg(debug_assertions)]
pub use self::armed::{check, names};

/// Passes the points before `_what`.
#[cfg(not(debug_assertions))]
pub(crate) const fn before<T: ?Sized>(_what: &T) {}

/// Passes the points after `_what`.
#[cfg(not(debug_assertions))]
pub(crate) const fn after<T: ?Sized>(_what: &T) {}

#[cfg(debug_assertions)]
mod armed {
    use std::{
        path::PathBuf,
        sync::{
            LazyLock,
            atomic::{AtomicU64, Ordering},
        },
        thread,
    };

    use baton_core::event::{Entry, Hold};
    use baton_protocol::{ToSlave, message::ResumeAfter};
    use rustix::process::{Signal, getpid, kill_process};

    use crate::error::Error;

    /// What is saved.
    const SAVES: &[&str] = &[
        "term",
        "shard-count",
        "pinned",
        "reservation",
        "owner",
        "checkpoint",
        "ticket",
        "work",
        "slave",
        "gone",
        "fenced",
        "deploy",
        "given-up",
        "seen",
        "whole",
        "command",
    ];

    /// What is sent.
    const SENDS: &[&str] = &[
        "accepted",
        "full-start",
        "identify-permit",
        "soft-start",
        "migration-start",
        "copy-state",
        "state",
        "state-ack",
        "dial",
        "stop-shard",
        "seal-late",
        "overtake",
        "resume",
        "settled",
        "stop-work",
        "start-work",
        "forget",
        "shutdown",
    ];

    static ASKED: LazyLock<Result<Option<Asked>, String>> = LazyLock::new(Asked::read);

    /// Something with points before and after it.
    pub(crate) trait Point {
        /// What is done, and to what; each thing once.
        fn kinds(&self) -> Vec<(&'static str, &'static str)>;
    }

    impl Point for str {
        fn kinds(&self) -> Vec<(&'static str, &'static str)> {
            let known = SAVES.iter().find(|kind| **kind == self);
            known.map(|kind| ("save", *kind)).into_iter().collect()
        }
    }

    impl Point for [Entry] {
        fn kinds(&self) -> Vec<(&'static str, &'static str)> {
            let mut kinds: Vec<_> = self.iter().map(|entry| ("save", saved(entry))).collect();
            kinds.sort_unstable();
            kinds.dedup();
            kinds
        }
    }

    impl Point for ToSlave {
        fn kinds(&self) -> Vec<(&'static str, &'static str)> {
            sent(self).map(|kind| ("send", kind)).into_iter().collect()
        }
    }

    const fn saved(entry: &Entry) -> &'static str {
        match entry {
            Entry::Pinned(_) => "pinned",
            Entry::Owner {
                hold: Hold::Reserved,
                ..
            } => "reservation",
            Entry::Owner {
                hold: Hold::Owned, ..
            } => "owner",
            Entry::Ticket {
                after: ResumeAfter::Seal,
                ..
            } => "ticket",
            Entry::Ticket {
                after: ResumeAfter::Death,
                ..
            } => "checkpoint",
            Entry::Work { .. } => "work",
            Entry::Slave(_) => "slave",
            Entry::Gone(_) => "gone",
            Entry::Fenced(_) => "fenced",
            Entry::Deploy(_) => "deploy",
            Entry::GivenUp(_) => "given-up",
            Entry::Seen => "seen",
            Entry::Whole => "whole",
            Entry::Arrangement(_) => "arrangement",
            Entry::LateSealRefused(_) => "late-seal-refused",
            Entry::Identifies(_) => "identifies",
            Entry::Leased { .. } => "leased",
            Entry::Command { .. } => "command",
        }
    }

    const fn sent(message: &ToSlave) -> Option<&'static str> {
        match message {
            ToSlave::Accepted(_) => Some("accepted"),
            ToSlave::FullStart(_) => Some("full-start"),
            ToSlave::IdentifyPermit(_) => Some("identify-permit"),
            ToSlave::SoftStart => Some("soft-start"),
            ToSlave::ShardMigrationStart(_) => Some("migration-start"),
            ToSlave::CopyState(_) => Some("copy-state"),
            ToSlave::State(_) => Some("state"),
            ToSlave::StateAck(_) => Some("state-ack"),
            ToSlave::Dial(_) => Some("dial"),
            ToSlave::Seal(_) => Some("stop-shard"),
            ToSlave::SealLate(_) => Some("seal-late"),
            ToSlave::Overtake(_) => Some("overtake"),
            ToSlave::Try(_) => None,
            ToSlave::Resume(_) => Some("resume"),
            ToSlave::Settled(_) => Some("settled"),
            ToSlave::StopWork(_) => Some("stop-work"),
            ToSlave::StartWork(_) => Some("start-work"),
            ToSlave::Forget(_) => Some("forget"),
            ToSlave::Shutdown => Some("shutdown"),
            // No part of a migration.
            ToSlave::Refused(_)
            | ToSlave::Ping(_)
            | ToSlave::PermitsLeased(_)
            | ToSlave::Post(_) => None,
        }
    }

    /// Passes the points before `what`.
    pub(crate) fn before<T: Point + ?Sized>(what: &T) {
        pass("before", what);
    }

    /// Passes the points after `what`.
    pub(crate) fn after<T: Point + ?Sized>(what: &T) {
        pass("after", what);
    }

    fn pass<T: Point + ?Sized>(moment: &str, what: &T) {
        let Ok(Some(asked)) = &*ASKED else {
            return;
        };
        for (act, kind) in what.kinds() {
            if asked.point == name(moment, act, kind) {
                asked.pass();
            }
        }
    }

    /// Every point, by name.
    #[must_use]
    pub fn names() -> Vec<String> {
        let saves = SAVES.iter().map(|kind| ("save", kind));
        let sends = SENDS.iter().map(|kind| ("send", kind));
        saves
            .chain(sends)
            .flat_map(|(act, kind)| ["before", "after"].map(|moment| name(moment, act, kind)))
            .collect()
    }

    fn name(moment: &str, act: &str, kind: &str) -> String {
        format!("{moment}-{act}-{kind}")
    }

    /// Whether the environment names a point that exists, or none.
    ///
    /// # Errors
    /// It names another.
    pub fn check() -> Result<(), Error> {
        match &*ASKED {
            Ok(_) => Ok(()),
            Err(text) => Err(Error::Configuration(text.clone())),
        }
    }

    /// The point that the environment names.
    #[derive(Debug)]
    struct Asked {
        point: String,
        /// Passes until the process is killed; counts down.
        left: AtomicU64,
        /// Passes count only while this file exists.
        when: Option<PathBuf>,
    }

    impl Asked {
        fn read() -> Result<Option<Self>, String> {
            let Ok(text) = std::env::var("BATON_CRASH_AT") else {
                return Ok(None);
            };
            let (point, left) = match text.split_once(':') {
                Some((point, left)) => (point, left.parse().unwrap_or(0)),
                None => (&*text, 1),
            };
            if left == 0 || !names().iter().any(|name| name == point) {
                return Err(format!(
                    "BATON_CRASH_AT={text:?} is no point; see `baton-master crash-points`"
                ));
            }
            Ok(Some(Self {
                point: point.to_owned(),
                left: AtomicU64::new(left),
                when: std::env::var_os("BATON_CRASH_WHEN").map(PathBuf::from),
            }))
        }

        fn pass(&self) {
            if self.when.as_ref().is_some_and(|file| !file.exists()) {
                return;
            }
            if self.left.fetch_sub(1, Ordering::SeqCst) != 1 {
                return;
            }
            let _ = kill_process(getpid(), Signal::KILL);
            // The signal takes other threads a moment; this one does nothing more.
            loop {
                thread::park();
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn every_kind_is_one_of_the_names() {
            let all = names();
            assert!(all.contains(&"before-save-reservation".to_owned()));
            assert!(all.contains(&"after-send-resume".to_owned()));
            let entries = [Entry::Seen, Entry::Whole, Entry::Seen];
            assert_eq!(entries.kinds(), [("save", "seen"), ("save", "whole")]);
            for (act, kind) in entries.kinds().into_iter().chain(ToSlave::Shutdown.kinds()) {
                assert!(all.contains(&name("before", act, kind)), "{act} {kind}");
            }
            assert_eq!("term".kinds(), [("save", "term")]);
        }
    }
}
