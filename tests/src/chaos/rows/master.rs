//! What happens to the master, its journal and its disk.

use std::time::Duration;

use super::ROW;
use crate::{
    chaos::{
        expect::{Expect, Serves},
        phase::Phase::{self, M0, M1, M2, M3, M4, M5, M6, M7},
        row::{Blow, Damage, Resource, Row},
        scene::Who,
    },
    shim::Loads,
};

/// Longer than every limit.
const LONG: Duration = Duration::from_secs(5);

/// Nobody who holds a shard dies: nothing is repeated. A fleet at rest notices
/// nothing.
fn adopted(phase: Phase) -> Expect {
    match phase {
        M0 => Expect::calm().at(Serves::Old).unnoticed(),
        M1 | M2 | M3 | M4 | M5 | M6 | M7 => Expect::calm(),
    }
}

/// Nobody knows any more whether somebody else had a shard after it was sealed,
/// and died: what is replayed is marked.
fn forgotten(phase: Phase) -> Expect {
    match phase {
        M3 | M4 | M5 => adopted(phase).with_marks(),
        M0 | M1 | M2 | M6 | M7 => adopted(phase),
    }
}

/// The same, and the deploy goes through.
fn goes_on(phase: Phase) -> Expect {
    match phase {
        M0 => Expect::calm().at(Serves::Old).unnoticed(),
        M1 | M2 | M3 | M4 | M5 | M6 | M7 => Expect::done(),
    }
}

const HOUR: i64 = 3600;

/// Only the monotonic clock counts.
const CLOCK: Row = Row {
    phases: &[M0, M2, M5, M7],
    setup: |setup| setup.shim = Loads::Everybody,
    expect: goes_on,
    ..ROW
};

/// The master is replaced by another build.
const REPLACED: Row = Row {
    phases: &[M0, M2, M4, M5, M7],
    blow: Blow::Kill(&[Who::Master]),
    expect: adopted,
    ..ROW
};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "master-killed",
        about: "kill -9 of the master; it is started again",
        phases: &Phase::ALL,
        quick: M4,
        blow: Blow::Kill(&[Who::Master]),
        expect: adopted,
        ..ROW
    },
    Row {
        name: "master-terminated",
        about: "SIGTERM of the master; it is started again",
        phases: &[M0, M1, M2, M3, M5, M7],
        quick: M5,
        blow: Blow::Leave(Who::Master),
        expect: adopted,
        ..ROW
    },
    Row {
        name: "master-frozen",
        about: "SIGSTOP of the master for longer than every limit",
        phases: &[M0, M1, M2, M3, M5, M6, M7],
        quick: M5,
        blow: Blow::Freeze(&[Who::Master], LONG),
        expect: goes_on,
        ..ROW
    },
    Row {
        name: "host-suspended",
        about: "SIGSTOP of master and slaves for longer than every limit",
        phases: &[M0, M2, M4, M5, M7],
        quick: M0,
        blow: Blow::Freeze(&[Who::Master, Who::Old, Who::New], LONG),
        expect: |phase| match phase {
            M0 => Expect::calm().at(Serves::Old),
            M1 | M2 | M3 | M4 | M5 | M6 | M7 => Expect::done(),
        },
        ..ROW
    },
    Row {
        name: "master-and-old-killed",
        about: "kill -9 of the master and the old slave",
        phases: &[M0, M2, M3, M5, M6, M7],
        quick: M3,
        blow: Blow::Kill(&[Who::Master, Who::Old]),
        expect: |_| Expect::recovered(),
        ..ROW
    },
    Row {
        name: "master-and-new-killed",
        about: "kill -9 of the master and the new slave",
        phases: &[M1, M2, M3, M4, M5, M6, M7],
        quick: M4,
        blow: Blow::Kill(&[Who::Master, Who::New]),
        expect: |_| Expect::recovered(),
        ..ROW
    },
    Row {
        name: "everything-killed",
        about: "kill -9 of everything",
        phases: &[M0, M1, M2, M3, M5, M6, M7],
        quick: M0,
        blow: Blow::Kill(&[Who::Master, Who::Old, Who::New]),
        expect: |_| Expect::recovered(),
        ..ROW
    },
    Row {
        name: "power-cut",
        about: "everything is killed; the end of the journal never reached the disk",
        phases: &[M0, M3, M5, M7],
        quick: M5,
        blow: Blow::PowerCut,
        expect: |_| Expect::recovered().with_marks_of_a_power_cut(),
        ..ROW
    },
    Row {
        name: "disk-full",
        about: "the master's journal cannot be written for a while",
        phases: &[M0, M2, M5, M7],
        quick: M0,
        blow: Blow::Short(Resource::MasterDisk, Duration::from_millis(1500)),
        expect: adopted,
        ..ROW
    },
    Row {
        name: "fsync-fails",
        about: "the disk under the master's journal syncs nothing for a while",
        phases: &[M0, M2, M5, M7],
        quick: M2,
        blow: Blow::Short(Resource::MasterSync, Duration::from_millis(1500)),
        setup: |setup| setup.shim = Loads::Master,
        expect: adopted,
        ..ROW
    },
    Row {
        name: "clock-jumps",
        about: "the wall clock of master and slaves jumps ahead by an hour",
        quick: M5,
        blow: Blow::Clock(HOUR, &[]),
        ..CLOCK
    },
    Row {
        name: "clock-jumps-back",
        about: "the wall clock of master and slaves jumps back by an hour",
        quick: M2,
        blow: Blow::Clock(-HOUR, &[]),
        unhurried: true,
        ..CLOCK
    },
    Row {
        name: "clock-jumps-crash",
        about: "everything is killed, and the wall clock jumps ahead by an hour",
        quick: M0,
        blow: Blow::Clock(HOUR, &[Who::Master, Who::Old, Who::New]),
        expect: |_| Expect::recovered(),
        ..CLOCK
    },
    Row {
        name: "clock-jumps-back-crash",
        about: "everything is killed, and the wall clock jumps back by an hour",
        quick: M7,
        blow: Blow::Clock(-HOUR, &[Who::Master, Who::Old, Who::New]),
        expect: |_| Expect::recovered(),
        unhurried: true,
        ..CLOCK
    },
    Row {
        name: "master-older",
        about: "kill -9 of the master; an older build takes its place",
        quick: M5,
        setup: |setup| setup.masters = [Some("newer"), Some("older")],
        ..REPLACED
    },
    Row {
        name: "master-older-apart",
        about: "the same, and the older build may not use the journal",
        phases: &[M0, M3, M5, M7],
        quick: M3,
        setup: |setup| setup.masters = [Some("apart"), Some("older")],
        expect: forgotten,
        ..REPLACED
    },
    Row {
        name: "master-newer",
        about: "kill -9 of the master; a newer build takes its place",
        quick: M4,
        setup: |setup| setup.masters = [Some("older"), Some("newer")],
        ..REPLACED
    },
    Row {
        name: "journal-torn",
        about: "the master is killed; the end of its write-ahead log is torn off",
        phases: &[M0, M3, M5, M7],
        quick: M5,
        blow: Blow::Journal(Damage::Torn),
        expect: adopted,
        ..ROW
    },
    Row {
        name: "journal-unsynced",
        about: "the master is killed; half of its write-ahead log was never written",
        phases: &[M0, M3, M5, M7],
        quick: M3,
        blow: Blow::Journal(Damage::Unsynced),
        // Tickets may be among what is missing.
        expect: |phase| match phase {
            M0 => adopted(phase),
            M1 | M2 | M3 | M4 | M5 | M6 | M7 => adopted(phase).with_marks(),
        },
        ..ROW
    },
    Row {
        name: "journal-corrupt",
        about: "the master is killed; garbage stands in its journal",
        phases: &[M0, M3, M5, M7],
        quick: M0,
        blow: Blow::Journal(Damage::Corrupt),
        expect: forgotten,
        ..ROW
    },
    Row {
        name: "journal-gone",
        about: "the master is killed; its journal is gone",
        phases: &[M0, M3, M5, M7],
        quick: M7,
        blow: Blow::Journal(Damage::Gone),
        expect: forgotten,
        ..ROW
    },
    Row {
        name: "master-port-taken",
        about: "the master is killed; another process has its port for a while",
        phases: &[M0, M5],
        quick: M5,
        blow: Blow::Short(Resource::MasterPort, Duration::from_millis(500)),
        expect: adopted,
        ..ROW
    },
    Row {
        name: "master-out-of-files",
        about: "the master cannot open another file for a while",
        phases: &[M0, M2, M5],
        quick: M0,
        blow: Blow::Short(Resource::Files(Who::Master), Duration::from_secs(2)),
        expect: adopted,
        ..ROW
    },
    Row {
        name: "new-out-of-files",
        about: "the new slave cannot open another file",
        phases: &[M2],
        quick: M2,
        blow: Blow::Short(Resource::Files(Who::New), Duration::from_secs(6)),
        expect: |_| Expect::rolled_back().with_marks(),
        ..ROW
    },
];
