use std::time::Duration;

use baton_protocol::go::{Migration, Session, ToMaster, ToSlave};
use bytes::Bytes;

use super::flow::{Flow, Order, Peer, RETURN, STEP};
use baton_core::event::Time;

const OLD: Peer = Peer(1);
const NEW: Peer = Peer(2);
const GRACE: Duration = Duration::from_secs(10);

#[test]
fn a_first_slave_starts_cold_and_a_second_one_takes_over_as_recorded() {
    let mut t = Test::new();
    t.hello(OLD, false).sends(&["1: full start"]);
    t.hello(NEW, false).sends(&["1: 3 true 0"]);
    t.start(OLD, true, 2).sends(&["2: 3 false 2"]);
    t.start(NEW, false, 2).sends(&["1: 4 0  0"]);
    t.state(OLD, b"guild").sends(&["2: 7 guild"]);
    t.stopped(OLD, 0, "sess-0", 1000)
        .sends(&["2: 5 0 sess-0 1000"]);
    t.resumed(NEW, 0, "sess-0", 1000).sends(&["1: 4 1  0"]);
    t.stopped(OLD, 1, "sess-1", 1001)
        .sends(&["2: 5 1 sess-1 1001"]);
    t.resumed(NEW, 1, "sess-1", 1001).sends(&["1: 4 2  0"]);
    t.gone(OLD).sends(&[]);
    assert!(t.flow.is_served() && !t.flow.is_migrating());
    // The new one gets neither 2 nor 6, and is the next deploy's old one.
    t.hello(Peer(3), false).sends(&["2: 3 true 0"]);
}

#[test]
fn a_running_slave_that_comes_back_is_told_nothing() {
    let mut t = Test::new();
    t.hello(OLD, true).sends(&[]);
    assert!(t.flow.is_served());
    t.gone(OLD).sends(&[]);
    t.hello(Peer(9), true).sends(&[]);
    t.wait(RETURN * 3).sends(&[]);
    assert!(t.flow.is_served());
}

#[test]
fn newcomers_wait_while_others_say_that_they_run() {
    let mut t = Test::new();
    // What a master leaves that ended in the middle of a migration.
    t.hello(OLD, true).sends(&[]);
    t.hello(NEW, true);
    t.hello(Peer(3), false).sends(&[]);
    t.wait(RETURN * 3).sends(&[]);
    // The one that served ends: the other one has shards, and keeps them.
    t.gone(OLD);
    t.wait(RETURN * 2).sends(&[]);
    assert!(t.flow.is_served(), "no cold start");
    // Alone it is the one to move from.
    t.hello(Peer(4), false).sends(&["2: 3 true 0"]);
}

#[test]
fn after_a_restart_a_newcomer_waits_for_those_who_serve_already() {
    // In any order of dialling, and as late as a slave may that dials every 5 s.
    for late in [0, 3, 5] {
        let mut t = Test::starting();
        t.hello(NEW, false).sends(&[]);
        t.wait(Duration::from_secs(late)).sends(&[]);
        t.hello(OLD, true).sends(&[]);
        t.wait(GRACE).sends(&["1: 3 true 0"]);
    }
}

#[test]
fn after_a_restart_in_a_migration_nothing_moves_from_the_first_who_is_back() {
    let mut t = Test::starting();
    t.hello(Peer(3), false).sends(&[]);
    // Each has a part of the shards; the other one dials a little later.
    t.hello(OLD, true).sends(&[]);
    t.wait(Duration::from_secs(4)).sends(&[]);
    t.hello(NEW, true).sends(&[]);
    t.wait(GRACE).sends(&[]);
    t.wait(RETURN * 10).sends(&[]);
    t.gone(NEW).sends(&["1: 3 true 0"]);
}

#[test]
fn a_newcomer_for_whom_nobody_was_there_starts_cold_when_the_grace_is_over() {
    let mut t = Test::starting();
    t.hello(OLD, false).sends(&[]);
    t.hello(OLD, false).sends(&[]);
    t.hello(NEW, false).sends(&[]);
    t.wait(GRACE - Duration::from_millis(1)).sends(&[]);
    t.wait(Duration::from_millis(1))
        .sends(&["1: full start", "1: 3 true 0"]);
    t.wait(STEP / 2).sends(&[]);
}

#[test]
fn one_who_was_back_and_ended_within_the_grace_is_missed_before_anybody_starts_cold() {
    let mut t = Test::starting();
    t.hello(OLD, true);
    t.wait(GRACE - Duration::from_secs(1));
    t.gone(OLD);
    t.hello(NEW, false).sends(&[]);
    t.wait(Duration::from_secs(1)).sends(&[]);
    t.hello(Peer(9), true).sends(&["9: 3 true 0"]);
}

#[test]
fn the_grace_is_no_shorter_than_a_running_slave_takes_to_dial_again() {
    let flow = Flow::new(Duration::from_secs(15), Duration::ZERO, Time::default());
    assert_eq!(flow.deadline(), Some(Time(RETURN)));
}

#[test]
fn who_says_that_it_runs_serves_when_a_deploy_lost_its_old_slave_before_a_shard_moved() {
    let mut t = Test::moving(3);
    t.hello(Peer(7), true).sends(&[]);
    t.hello(Peer(8), false).sends(&[]);
    t.gone(OLD);
    t.wait(RETURN).sends(&["2: 6"]);
    assert!(t.flow.is_served(), "no cold start beside it");
}

#[test]
fn who_waits_is_not_forgotten_when_an_old_slave_dies() {
    let mut t = Test::moving(3);
    t.hello(Peer(8), false).sends(&[]);
    t.gone(OLD);
    t.wait(RETURN).sends(&["2: 6", "8: full start"]);
}

#[test]
fn a_newcomer_has_its_turn_when_the_stranger_is_gone() {
    let mut t = Test::new();
    t.hello(OLD, true);
    t.hello(NEW, true);
    t.hello(Peer(3), false).sends(&[]);
    t.gone(NEW).sends(&["1: 3 true 0"]);
}

#[test]
fn strangers_who_say_that_they_run_have_so_many_places_and_no_more() {
    let mut t = Test::new();
    t.hello(OLD, true);
    let mut alarms = 0;
    for peer in 10..1000 {
        let said = &t.hello(Peer(peer), true).last;
        alarms += said
            .iter()
            .filter(|order| matches!(order, Order::Alarm(_)))
            .count();
    }
    assert_eq!(alarms, 17, "sixteen of them, and that there are more");
    // One whose alarm was left out has shards too.
    for peer in (10..40).chain([1]) {
        t.gone(Peer(peer));
    }
    t.hello(NEW, false).sends(&[]);
    t.wait(RETURN).sends(&[]);
    assert!(t.flow.is_served(), "no cold start");
}

#[test]
fn nobody_for_the_contact_time_starts_a_slave_again_and_again() {
    let mut t = Test::starting();
    t.wait(Duration::from_secs(14)).does(&[]);
    t.wait(Duration::from_secs(1)).does(&[Order::Launch]);
    t.wait(Duration::from_secs(14)).does(&[]);
    t.wait(Duration::from_secs(1)).does(&[Order::Launch]);
}

#[test]
fn a_slave_that_comes_during_a_migration_waits_for_its_end() {
    let mut t = Test::moving(2);
    t.hello(Peer(3), false).sends(&[]);
    t.stopped(OLD, 0, "a", 1);
    t.resumed(NEW, 0, "a", 1);
    t.stopped(OLD, 1, "b", 2);
    t.resumed(NEW, 1, "b", 2).sends(&["1: 4 2  0"]);
    t.gone(OLD).sends(&["2: 3 true 0"]);
}

#[test]
fn a_new_slave_that_dies_gives_everything_back_states_first() {
    let mut t = Test::moving(3);
    t.state(OLD, b"g0");
    t.stopped(OLD, 0, "a", 1).sends(&["2: 5 0 a 1"]);
    t.gone(NEW).sends(&[]);
    t.wait(RETURN)
        .sends(&["1: 7 g0", "1: 5 0 a 1", "1: 4 2  0"]);
    // The last shard brings the plugins of the Go bot back.
    t.state(OLD, b"g2").sends(&[]);
    t.stopped(OLD, 2, "c", 3).sends(&["1: 7 g2", "1: 5 2 c 3"]);
    t.hello(Peer(3), false).sends(&["1: 3 true 0"]);
}

#[test]
fn a_shard_in_hand_goes_back_too_when_the_new_slave_dies() {
    let mut t = Test::moving(2);
    t.gone(NEW);
    t.wait(RETURN).sends(&[]);
    t.stopped(OLD, 0, "a", 1)
        .sends(&["1: 5 0 a 1", "1: 4 1  0"]);
    t.stopped(OLD, 1, "b", 2).sends(&["1: 5 1 b 2"]);
}

#[test]
fn a_new_slave_that_only_lost_its_connection_goes_on() {
    let mut t = Test::moving(2);
    t.stopped(OLD, 0, "a", 1);
    t.gone(NEW);
    t.hello(Peer(7), true).sends(&["7: 5 0 a 1"]);
    t.resumed(Peer(7), 0, "a", 1).sends(&["1: 4 1  0"]);
}

#[test]
fn an_old_slave_that_only_lost_its_connection_goes_on() {
    let mut t = Test::moving(2);
    t.gone(OLD);
    t.hello(Peer(7), true).sends(&["7: 4 0  0"]);
    t.stopped(Peer(7), 0, "a", 1).sends(&["2: 5 0 a 1"]);
}

#[test]
fn an_old_slave_that_dies_leaves_new_sessions_for_what_it_still_had() {
    let mut t = Test::moving(3);
    t.stopped(OLD, 0, "a", 1);
    t.resumed(NEW, 0, "a", 1);
    t.gone(OLD);
    t.wait(RETURN).sends(&["2: 5 1  0", "2: 5 2  0"]);
    assert!(t.flow.is_served());
}

#[test]
fn an_old_slave_that_dies_before_a_shard_moved_costs_a_cold_start() {
    let mut t = Test::moving(3);
    t.gone(OLD);
    t.wait(RETURN).sends(&["2: 6"]);
    assert!(!t.flow.is_served());
}

#[test]
fn frames_out_of_a_send_queue_change_nothing() {
    let mut t = Test::moving(2);
    t.resumed(NEW, 0, "old", 9).sends(&[]);
    t.stopped(OLD, 1, "old", 9).sends(&[]);
    t.stopped(NEW, 0, "old", 9).sends(&[]);
    t.stopped(OLD, 0, "a", 1).sends(&["2: 5 0 a 1"]);
    t.stopped(OLD, 0, "a", 1).sends(&[]);
    t.resumed(OLD, 0, "a", 1).sends(&[]);
    t.start(OLD, true, 5).sends(&[]);
}

#[test]
fn a_frame_of_anybody_before_anything_began_is_ignored() {
    let mut t = Test::new();
    t.start(OLD, true, 2).sends(&[]);
    t.start(OLD, false, 2).sends(&[]);
    t.stopped(OLD, 0, "a", 1).sends(&[]);
    t.resumed(OLD, 0, "a", 1).sends(&[]);
    t.state(OLD, b"g").sends(&[]);
}

#[test]
fn a_step_that_takes_too_long_is_rolled_back() {
    let mut t = Test::moving(1);
    t.stopped(OLD, 0, "a", 1);
    t.wait(STEP).sends(&["2: 6", "1: 5 0 a 1"]);
}

#[test]
fn two_slaves_that_both_say_running_are_an_alarm() {
    let mut t = Test::new();
    t.hello(OLD, true);
    t.hello(NEW, true).sends(&[]);
    assert!(t.last.iter().any(|order| matches!(order, Order::Alarm(_))));
}

struct Test {
    flow: Flow,
    now: Time,
    last: Vec<Order>,
}

impl Test {
    /// The master has just started.
    fn starting() -> Self {
        Self {
            flow: Flow::new(Duration::from_secs(15), GRACE, Time::default()),
            now: Time::default(),
            last: Vec::new(),
        }
    }

    /// It runs for a while, and no slave came.
    fn new() -> Self {
        let mut test = Self::starting();
        test.wait(GRACE).does(&[]);
        test
    }

    /// Both are ready; the old one was ordered to stop shard 0.
    fn moving(shards: u32) -> Self {
        let mut test = Self::new();
        test.hello(OLD, false);
        test.hello(NEW, false);
        test.start(OLD, true, shards);
        test.start(NEW, false, shards).sends(&["1: 4 0  0"]);
        test
    }

    fn hello(&mut self, peer: Peer, running: bool) -> &mut Self {
        self.said(peer, ToMaster::Hello { running })
    }

    fn start(&mut self, peer: Peer, from_this_slave: bool, num_shards: u32) -> &mut Self {
        let start = Migration {
            from_this_slave,
            num_shards,
        };
        self.said(peer, ToMaster::ShardMigrationStart(start))
    }

    fn stopped(&mut self, peer: Peer, shard: u32, session: &str, sequence: u64) -> &mut Self {
        let stop = Session {
            shard,
            session_id: session.to_owned(),
            sequence,
        };
        self.said(peer, ToMaster::StopShard(stop))
    }

    fn resumed(&mut self, peer: Peer, shard: u32, session: &str, sequence: u64) -> &mut Self {
        let resume = Session {
            shard,
            session_id: session.to_owned(),
            sequence,
        };
        self.said(peer, ToMaster::Resume(resume))
    }

    fn state(&mut self, peer: Peer, state: &'static [u8]) -> &mut Self {
        self.said(peer, ToMaster::GuildState(Bytes::from_static(state)))
    }

    fn said(&mut self, peer: Peer, message: ToMaster) -> &mut Self {
        self.flow.said(self.now, peer, message);
        self.collect()
    }

    fn gone(&mut self, peer: Peer) -> &mut Self {
        self.flow.gone(self.now, peer);
        self.collect()
    }

    fn wait(&mut self, span: Duration) -> &mut Self {
        self.now = self.now.after(span);
        self.flow.tick(self.now);
        self.collect()
    }

    fn collect(&mut self) -> &mut Self {
        self.last = std::iter::from_fn(|| self.flow.poll_order()).collect();
        self
    }

    #[track_caller]
    fn sends(&mut self, expected: &[&str]) {
        let sent: Vec<String> = self.last.iter().filter_map(show).collect();
        assert_eq!(sent, expected);
    }

    #[track_caller]
    fn does(&mut self, expected: &[Order]) {
        assert_eq!(self.last, expected);
    }
}

fn show(order: &Order) -> Option<String> {
    let Order::Send(peer, message) = order else {
        return None;
    };
    let text = match message {
        ToSlave::FullStart => "full start".to_owned(),
        ToSlave::ShardMigrationStart(start) => {
            format!("3 {} {}", start.from_this_slave, start.num_shards)
        }
        ToSlave::StopShard(stop) => {
            format!("4 {} {} {}", stop.shard, stop.session_id, stop.sequence)
        }
        ToSlave::Resume(resume) => {
            format!(
                "5 {} {} {}",
                resume.shard, resume.session_id, resume.sequence
            )
        }
        ToSlave::Shutdown => "6".to_owned(),
        ToSlave::GuildState(state) => format!("7 {}", String::from_utf8_lossy(state)),
        ToSlave::SoftStart => panic!("no Go master says it"),
    };
    Some(format!("{}: {text}", peer.0))
}
