//! What those who only look can do to a fleet: read nothing, or too much.

use super::ROW;
use crate::chaos::{
    expect::Expect,
    phase::Phase::{M4, M6},
    row::Row,
    scene::Unread,
};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "log-unread-slaves",
        about: "each slave's standard error is a full pipe that is not read",
        phases: &[M4, M6],
        quick: M4,
        setup: |setup| setup.unread = Unread::Slaves,
        expect: |_| Expect::done().unnoticed(),
        ..ROW
    },
    Row {
        name: "log-unread-master",
        about: "the master's standard error is a full pipe that is not read",
        phases: &[M4, M6],
        quick: M4,
        setup: |setup| setup.unread = Unread::Master,
        expect: |_| Expect::done().unnoticed(),
        ..ROW
    },
];
