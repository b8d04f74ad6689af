//! A new slave that says that it serves, and gets nothing.

use super::*;

/// B soaks with so many shards, each of which got so many events a second before.
fn soaking(shards: u32, per_second: u64) -> Rig {
    let mut rig = Rig::serving(shards);
    let checkpoints = |rig: &mut Rig, slave, epoch, at| {
        for shard in 0..shards {
            rig.say(slave, checkpoint(shard, epoch, at));
        }
    };
    for second in 1..=20 {
        rig.wait(SECOND);
        checkpoints(&mut rig, A, 1, 100 + second * per_second);
    }
    rig.join(B, Role::Candidate);
    rig.say(A, prepared(true));
    rig.say(B, prepared(false));
    for shard in 0..shards {
        rig.say(B, state_ready(shard, 1, 90 + 20 * per_second));
        rig.say(A, sealed(shard, 1, 100 + 20 * per_second));
        rig.say(A, settled(shard, 1, &[]));
        rig.say(B, resumed(shard, 2));
    }
    rig.say(A, ToMaster::StopWork(work(1, b"")));
    rig.say(B, ToMaster::StartWork(work(2, b"")));
    assert_eq!(rig.step(), Some("soaking"));
    rig
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
