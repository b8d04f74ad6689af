//! A new slave that says that it serves, and gets nothing.

use super::*;

/// A serves so many shards, each of which got so many events a second for 20 s.
fn serving(shards: u32, per_second: u64) -> Rig {
    let mut rig = Rig::serving(shards);
    for second in 1..=20 {
        rig.wait(SECOND);
        all_at(&mut rig, shards, 100 + second * per_second);
    }
    rig
}

/// A has handled all of this of each of its shards.
fn all_at(rig: &mut Rig, shards: u32, at: u64) {
    for shard in 0..shards {
        rig.say(A, checkpoint(shard, 1, at));
    }
}

/// A deploy of B, which soaks when every shard has moved at this sequence.
fn deployed(mut rig: Rig, shards: u32, at: u64) -> Rig {
    rig.join(B, Role::Candidate);
    rig.say(A, prepared(true));
    rig.say(B, prepared(false));
    for shard in 0..shards {
        rig.say(B, state_ready(shard, 1, at - 10));
        rig.say(A, sealed(shard, 1, at));
        rig.say(A, settled(shard, 1, &[]));
        rig.say(B, resumed(shard, 2));
    }
    rig.say(A, ToMaster::StopWork(work(1, b"")));
    rig.say(B, ToMaster::StartWork(work(2, b"")));
    assert_eq!(rig.step(), Some("soaking"));
    rig
}

/// B soaks with so many shards, each of which got so many events a second before.
fn soaking(shards: u32, per_second: u64) -> Rig {
    deployed(serving(shards, per_second), shards, 100 + 20 * per_second)
}

/// The connections of A's shards end, and come back with so many events, from this one on.
fn replayed(rig: &mut Rig, shards: u32, from: u64, events: u64) {
    for shard in 0..shards {
        rig.say(A, progress(shard, 1, Step::Reconnecting));
    }
    rig.wait(SECOND);
    for part in 1..=10 {
        all_at(rig, shards, from + events * part / 10);
        rig.wait(SECOND / 10);
    }
    for shard in 0..shards {
        rig.say(A, resumed(shard, 1));
    }
}

/// Whole soaks until it ends, and how, when `came` events came of each shard.
fn ends(mut rig: Rig, shards: std::ops::Range<u32>, came: u64) -> (u32, Option<&'static str>) {
    let base = rig.core.fleet.shards[ShardId(0)].ticket.clone().unwrap();
    let base = base.ticket.handled.get();
    for soaks in 1..10 {
        let asked = rig.wait(10 * SECOND);
        assert_eq!(orders(&asked), ["b Ping"]);
        for shard in shards.clone() {
            rig.say(B, checkpoint(shard, 2, base + came));
        }
        rig.say(B, pong(0, 0));
        if rig.step() != Some("soaking") {
            return (soaks, rig.step());
        }
    }
    panic!("the soak does not end")
}

#[test]
fn a_slave_whose_shards_got_nothing_in_three_soaks_is_rolled_back() {
    assert_eq!(ends(soaking(16, 1), 0..16, 0), (3, Some("rolling back")));
    assert_eq!(ends(soaking(16, 1), 0..16, 5), (1, Some("retiring")));
}

#[test]
fn one_busy_shard_that_is_dark_is_enough() {
    assert_eq!(ends(soaking(3, 20), 1..3, 200), (3, Some("rolling back")));
}

#[test]
fn of_quiet_shards_nothing_is_concluded() {
    assert_eq!(ends(soaking(2, 1), 0..2, 0), (1, Some("retiring")));
    assert_eq!(ends(soaking(16, 0), 0..16, 0), (1, Some("retiring")));
}

#[test]
fn what_it_hands_out_counts_where_it_has_finished_nothing() {
    let mut rig = soaking(16, 1);
    rig.wait(10 * SECOND);
    rig.say(
        B,
        ToMaster::Pong(Pong {
            handed: 150,
            ..Pong::default()
        }),
    );
    assert_eq!(rig.step(), Some("retiring"));
}

#[test]
fn a_replay_right_before_the_deploy_is_not_what_comes_as_a_rule() {
    let replayed = || {
        let mut rig = serving(16, 1);
        replayed(&mut rig, 16, 120, 12_000);
        rig.wait(SECOND);
        all_at(&mut rig, 16, 12_121);
        deployed(rig, 16, 12_121)
    };
    assert_eq!(ends(replayed(), 0..16, 10), (1, Some("retiring")));
    assert_eq!(ends(replayed(), 0..16, 0), (3, Some("rolling back")));
}

#[test]
fn a_burst_right_before_the_deploy_is_not_what_comes_as_a_rule() {
    let burst = || {
        let mut rig = serving(16, 1);
        for second in 1..=5 {
            rig.wait(SECOND);
            all_at(&mut rig, 16, 120 + second * 40);
        }
        deployed(rig, 16, 320)
    };
    assert_eq!(ends(burst(), 0..16, 10), (1, Some("retiring")));
    assert_eq!(ends(burst(), 0..16, 0), (3, Some("rolling back")));
}

#[test]
fn of_the_guilds_of_new_sessions_nothing_is_concluded() {
    let mut rig = Rig::serving(16);
    rig.wait(2 * SECOND);
    all_at(&mut rig, 16, 1_000);
    let rig = deployed(rig, 16, 1_000);
    assert_eq!(ends(rig, 0..16, 1), (1, Some("retiring")));
}

#[test]
fn a_replay_does_not_tighten_the_replay_budget() {
    let mut rig = serving(1, 10);
    let budget = |rig: &Rig| rig.core.view(rig.now).shards[0].replay_budget_seconds;
    let before = budget(&rig);
    assert!(before.is_some());
    rig.say(A, progress(0, 1, Step::Reconnecting));
    rig.wait(SECOND);
    all_at(&mut rig, 1, 4_000);
    assert_eq!(budget(&rig), before, "while it is replayed");
    rig.say(A, resumed(0, 1));
    rig.wait(2 * SECOND);
    all_at(&mut rig, 1, 4_020);
    assert_eq!(budget(&rig), before, "and afterwards");
}
