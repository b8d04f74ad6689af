//! The disk is full; the master leaves.

use super::*;

impl Rig {
    /// The driver at a failed save: it polls no further.
    fn fail_saves(&mut self, input: Input) -> Vec<Action> {
        self.core.handle(self.now, input);
        self.fail_queued()
    }

    fn fail_queued(&mut self) -> Vec<Action> {
        let mut done = Vec::new();
        while let Some(action) = self.core.poll_action() {
            if matches!(action, Action::Save(..)) {
                let reason = "no space left".to_owned();
                self.core.handle(self.now, Input::SaveFailed { reason });
            } else {
                done.push(action);
            }
        }
        done
    }
}

impl Rig {
    /// A round of the driver: everything that came is heard, then it acts.
    fn hear(&mut self, said: [(SlaveId, ToMaster); 2]) {
        for (slave, message) in said {
            self.core.handle(self.now, Input::Said { slave, message });
        }
    }
}

#[test]
fn shards_that_are_sealed_in_one_round_are_reserved_in_one_save() {
    let (mut rig, _) = Rig::moving(settings(3));
    rig.move_shard(A, B, 0, 1);
    rig.hear([(B, state_ready(1, 1, 90)), (B, state_ready(2, 1, 90))]);
    assert_eq!(
        orders(&rig.drain()),
        [
            "save now 1@2 Reserved b, 2@2 Reserved b",
            "a Seal 1@1",
            "a Seal 2@1"
        ]
    );
}

#[test]
fn where_the_one_save_of_a_round_fails_none_of_its_shards_is_sealed() {
    let (mut rig, _) = Rig::moving(settings(3));
    rig.move_shard(A, B, 0, 1);
    rig.hear([(B, state_ready(1, 1, 90)), (B, state_ready(2, 1, 90))]);
    assert_eq!(orders(&rig.fail_queued()), [""; 0]);
    for shard in [1, 2] {
        assert_eq!(rig.shard(shard), (Some(A.to_string()), "serving"));
    }
}

#[test]
fn a_save_that_may_be_lost_takes_no_reservation_along() {
    let (mut rig, _) = Rig::moving(settings(3));
    rig.move_shard(A, B, 0, 1);
    rig.say(B, state_ready(1, 1, 90));
    rig.say(A, sealed(1, 1, 100));
    rig.hear([(B, resumed(1, 2)), (B, state_ready(2, 1, 90))]);
    assert_eq!(
        orders(&rig.drain()),
        [
            "save soon 1@2 Owned b",
            "save now 2@2 Reserved b",
            "a Seal 2@1"
        ]
    );
}

#[test]
fn of_two_words_on_a_slave_in_one_round_the_last_one_is_saved_last() {
    let mut rig = Rig::new(settings(1));
    let hello = Box::new(hello(B, Role::Relaunch));
    // It is noted that this master runs, which may be lost.
    rig.now = rig.now.after(rig.core.settings.seen);
    for input in [
        Input::Tick,
        Input::Joined {
            hello,
            report: Report::default(),
        },
        Input::Died {
            slave: B,
            evidence: Evidence::Process,
        },
    ] {
        rig.core.handle(rig.now, input);
    }
    let actions = rig.drain();
    let saves = actions.iter().filter_map(|action| match action {
        Action::Save(entries, durability) => Some((entries, *durability)),
        _ => None,
    });
    let saves: Vec<_> = saves.collect();
    assert_eq!(saves[0], (&vec![Entry::Seen], Durability::Soon));
    let words = saves.iter().flat_map(|(entries, _)| *entries);
    let words: Vec<_> = words
        .filter_map(|entry| match entry {
            Entry::Slave(hello) => Some((hello.slave, "comes")),
            Entry::Gone(slave) => Some((*slave, "is gone")),
            _ => None,
        })
        .collect();
    assert_eq!(words, [(B, "comes"), (B, "is gone")]);
}

#[test]
fn a_seal_whose_reservation_was_not_saved_is_not_sent_and_ends_the_deploy() {
    let (mut rig, _) = Rig::moving(settings(2));
    let actions = rig.fail_saves(Input::Said {
        slave: B,
        message: state_ready(0, 1, 90),
    });
    assert_eq!(orders(&actions), ["b Shutdown"]);
    assert!(matches!(ended(&actions), Some(Outcome::Aborted { .. })));
    assert_eq!(alarms(&actions), 1);
    assert!(rig.all_served_by(A));
}

#[test]
fn a_deploy_that_moved_something_waits_for_the_disk() {
    let (mut rig, _) = Rig::moving(settings(2));
    rig.move_shard(A, B, 0, 1);
    let actions = rig.fail_saves(Input::Said {
        slave: B,
        message: state_ready(1, 1, 90),
    });
    assert_eq!(orders(&actions), [""; 0]);
    rig.now = rig.now.after(SECOND);
    assert_eq!(orders(&rig.fail_saves(Input::Tick)), [""; 0], "still full");
    let actions = rig.wait(2 * SECOND);
    assert_eq!(
        orders(&actions),
        ["save now 1@2 Reserved b", "a CopyState 1@1"],
        "then it goes on, with a copy that is not as old as the trouble"
    );
    assert_eq!(
        orders(&rig.say(B, state_ready(1, 1, 95))),
        ["save now 1@3 Reserved b", "a Seal 1@1"],
        "and with an epoch that was never used"
    );
    assert_eq!(
        orders(&rig.say(A, sealed(1, 1, 100))),
        ["b Resume 1@3 after Seal from 95"]
    );
}

#[test]
fn a_shard_that_was_reserved_before_goes_on_without_the_disk() {
    let (mut rig, _) = Rig::moving(settings(2));
    rig.say(B, state_ready(0, 1, 90));
    rig.say(A, checkpoint(1, 1, 110));
    rig.now = rig.now.after(SECOND);
    rig.fail_saves(Input::Tick);
    let actions = rig.fail_saves(Input::Said {
        slave: A,
        message: sealed(0, 1, 100),
    });
    assert_eq!(orders(&actions), ["b Resume 0@2 after Seal from 90"]);
}

#[test]
fn a_start_whose_reservation_was_not_saved_is_owed_until_it_is() {
    let mut rig = Rig::new(settings(2));
    let hello = Box::new(hello(A, Role::Relaunch));
    let report = Report::default();
    let actions = rig.fail_saves(Input::Joined { hello, report });
    assert_eq!(orders(&actions), ["a Accepted"]);
    let actions = rig.wait(2 * SECOND);
    let orders = orders(&actions);
    assert_eq!(
        orders[orders.len() - 2..],
        ["a FullStart 0@1", "a FullStart 1@1"]
    );
    let saved = orders
        .iter()
        .position(|o| o.contains("0@1 Reserved a, 1@1 Reserved a"));
    assert!(saved.is_some(), "{orders:?}");
}

#[test]
fn no_deploy_starts_while_the_journal_cannot_be_written() {
    let mut rig = Rig::serving(1);
    let actions = rig.fail_saves(Input::Deploy {
        request: RequestId(1),
        order: order(Some("v2")),
    });
    assert!(matches!(ended(&actions), Some(Outcome::Aborted { .. })));
    assert_eq!(orders(&actions), ["give up main"], "nothing is launched");
    let actions = rig.fail_saves(Input::Deploy {
        request: RequestId(2),
        order: order(Some("v2")),
    });
    assert!(matches!(
        actions[..],
        [Action::Tell(News::RequestRefused { .. })]
    ));
}

#[test]
fn nobody_is_started_while_nothing_can_be_saved_and_then_the_slot_is_filled() {
    let launches = |actions: &[Action]| {
        let all = orders(actions);
        all.iter().filter(|it| it.starts_with("launch")).count()
    };
    let mut rig = Rig::serving(1);
    rig.die(A);
    // The launch comes behind a save that fails.
    rig.now = rig.now.after(rig.core.settings.seen);
    assert_eq!(launches(&rig.fail_saves(Input::Tick)), 0);
    for _ in 0..120 {
        rig.now = rig.now.after(SECOND);
        assert_eq!(launches(&rig.fail_saves(Input::Tick)), 0);
    }
    let actions = rig.wait(30 * SECOND);
    assert_eq!(launches(&actions), 1, "{:?}", orders(&actions));
}

#[test]
fn saves_that_fail_are_an_alarm_once_they_have_failed_for_as_long_as_they_may() {
    let mut settings = settings(1);
    settings.save_alarm = 10 * SECOND;
    let mut rig = Rig::serving_with(settings);
    let told = |rig: &mut Rig, seconds: u32| -> usize {
        let mut told = 0;
        for _ in 0..seconds {
            rig.now = rig.now.after(SECOND);
            rig.say(A, checkpoint(0, 1, 101 + u64::from(seconds)));
            let died = Input::Tick;
            told += alarms(&rig.fail_saves(died));
        }
        told
    };
    rig.fail_saves(Input::Died {
        slave: A,
        evidence: Evidence::Process,
    });
    assert_eq!(told(&mut rig, 8), 0);
    assert_eq!(told(&mut rig, 8), 1);
    assert_eq!(told(&mut rig, 60), 0, "once");
}

#[test]
fn a_leaving_master_finishes_the_shard_in_hand_and_starts_no_other() {
    let mut settings = settings(4);
    settings.width = 1;
    let (mut rig, _) = Rig::moving(settings);
    rig.move_shard(A, B, 0, 1);
    rig.say(B, state_ready(1, 1, 90));
    assert_eq!(orders(&rig.input(Input::Leave)), [""; 0]);
    rig.say(A, sealed(1, 1, 100));
    let actions = rig.say(B, resumed(1, 2));
    assert_eq!(orders(&actions).last().unwrap(), "exit");
    assert_eq!(ended(&actions), Some(&Outcome::HandedOn));
    assert!(
        !orders(&actions)
            .iter()
            .any(|order| order.contains("CopyState"))
    );
}

#[test]
fn a_leaving_master_waits_for_the_shard_in_hand_only_so_long() {
    let (mut rig, _) = Rig::moving(settings(1));
    rig.say(B, state_ready(0, 1, 90));
    rig.input(Input::Left { slave: A });
    rig.input(Input::Leave);
    assert_eq!(orders(&rig.wait(9 * SECOND)), [""; 0]);
    assert_eq!(orders(&rig.wait(SECOND)), ["exit"]);
}

#[test]
fn a_leaving_master_with_nothing_in_hand_leaves_at_once_and_writes_the_checkpoints() {
    let mut rig = Rig::serving(1);
    rig.wait(SECOND);
    rig.say(A, checkpoint(0, 1, 130));
    let actions = rig.input(Input::Leave);
    assert_eq!(actions.last(), Some(&Action::Exit));
    assert!(actions.iter().any(|action| matches!(
        action,
        Action::Save(entries, Durability::Soon)
            if matches!(&entries[..], [Entry::Ticket { ticket, .. }] if ticket.handled.get() == 130)
    )));
}

#[test]
fn the_first_ticket_of_a_session_is_on_the_disk_before_the_next_is_written() {
    let mut rig = Rig::serving(2);
    let durability = |actions: &[Action]| -> Vec<_> {
        actions
            .iter()
            .filter_map(|action| {
                let Action::Save(entries, durability) = action else {
                    return None;
                };
                matches!(entries[..], [Entry::Ticket { .. }, ..]).then_some(*durability)
            })
            .collect()
    };
    assert_eq!(durability(&rig.wait(SECOND)), [Durability::Now]);
    rig.say(A, checkpoint(0, 1, 130));
    assert_eq!(durability(&rig.wait(SECOND)), [Durability::Soon]);
    // Discord ended the session.
    let mut other = ticket(1, 2);
    other.session = session("another");
    let entry = CheckpointEntry {
        shard: ShardId(1),
        epoch: Epoch(1),
        handled: Sequence(2),
        finished_above: SequenceRanges::new(),
        received: Sequence(0),
        session: Some(other),
    };
    let shards = vec![entry];
    rig.say(A, ToMaster::Checkpoint(Checkpoint { shards }));
    assert_eq!(durability(&rig.wait(SECOND)), [Durability::Now]);
}

#[test]
fn checkpoints_are_written_together_once_a_second() {
    let mut rig = Rig::serving(8);
    rig.wait(2 * SECOND);
    for round in 0..50 {
        for shard in 0..8 {
            assert_eq!(rig.say(A, checkpoint(shard, 1, 101 + round)), []);
        }
    }
    let actions = rig.wait(SECOND);
    let [Action::Save(entries, Durability::Soon)] = &actions[..] else {
        panic!("{actions:?}");
    };
    assert_eq!(entries.len(), 8);
    let seen = [Action::Save(vec![Entry::Seen], Durability::Soon)];
    let quiet = rig.wait(60 * SECOND);
    assert!(quiet.chunks(1).all(|action| action == seen), "{quiet:?}");
}
