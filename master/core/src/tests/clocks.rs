//! Nobody's health hangs on the time of day: not on that of a slave's host, and not on a
//! midnight.

use super::*;
use crate::view::View;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Three seconds to midnight, in UTC.
const BEGINS: i64 = 20_000 * DAY_MS - 3_000;

/// A session that began now, by the clock of a host that is `off` by so much.
fn began(shard: u32, off: i64, at: i64) -> ToMaster {
    let session = discord::Session {
        began_unix_ms: u64::try_from(BEGINS + at + off).unwrap_or(0),
        ..discord::Session::with_id(format!("session of {shard}"))
    };
    ToMaster::Checkpoint(Checkpoint {
        shards: vec![CheckpointEntry {
            shard: ShardId(shard),
            epoch: Epoch(1),
            handled: Sequence(100),
            session: Some(Ticket {
                session: session.seal(),
                ..ticket(shard, 100)
            }),
            ..CheckpointEntry::default()
        }],
    })
}

/// What the master thinks of everybody, second by second: the clock of the slave of the second
/// slot is `off`, and from some moment on that slave says nothing.
fn health(off: i64, service: &'static Gateway) -> Vec<(View, Vec<String>)> {
    let mut settings = Settings {
        service,
        ..settings(2)
    };
    let slot = |name: &str, shard| SlotSettings {
        name: name.to_owned(),
        shards: Some(Members::range(shard, shard)),
        launches: true,
        ..SlotSettings::default()
    };
    settings.slots = vec![slot("main", 0), slot("second", 1)];
    let mut rig = Rig::new(settings);
    rig.join_speaking(A, Role::Relaunch, Version::NEWEST);
    let mut second = hello(B, Role::Relaunch);
    second.slot = "second".to_owned();
    second.version = Version::NEWEST;
    rig.comes(second, Report::default());
    rig.ready(A, 0, 1);
    rig.ready(B, 1, 1);
    let mut seen = Vec::new();
    for second in 0..90 {
        let at = second * 1000;
        let mut actions = rig.wait(SECOND);
        actions.extend(rig.say(A, began(0, 0, at)));
        actions.extend(rig.say(A, pong(0, 0)));
        if second < 10 {
            actions.extend(rig.say(B, began(1, off, at)));
            actions.extend(rig.say(B, pong(0, 0)));
        }
        let mut view = rig.core.view(rig.now);
        for shard in &mut view.shards {
            shard.session_began_unix_ms = None;
        }
        seen.push((view, orders(&actions)));
    }
    seen
}

#[test]
fn a_slave_whose_clock_is_off_by_hours_or_days_is_as_well_as_any_and_no_midnight_changes_it() {
    for service in [&GATEWAY, &BROADCAST] {
        let right = health(0, service);
        let (whole, _) = &right[9];
        assert!(whole.shards.iter().all(ShardView::gets_events));
        assert!(
            whole
                .slaves
                .iter()
                .all(|slave| slave.connected && !slave.hangs)
        );
        let (silent, _) = &right[89];
        let hangs: Vec<bool> = silent.slaves.iter().map(|slave| slave.hangs).collect();
        assert!(hangs.contains(&true), "its silence is seen all the same");
        for off in [
            3 * HOUR_MS,
            -3 * HOUR_MS,
            5 * DAY_MS,
            -5 * DAY_MS,
            -BEGINS,
            1_000 * 365 * DAY_MS,
        ] {
            let wrong = health(off, service);
            for (second, (right, wrong)) in right.iter().zip(&wrong).enumerate() {
                assert_eq!(right, wrong, "{off} ms off, second {second}");
            }
        }
    }
}
