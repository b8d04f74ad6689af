//! A slave that knows the secret and says what is not true: it changes nothing but
//! a count, and what is its own.

use super::*;

/// `A` serves both shards at epoch 1 and does the work; `B` is there and owns nothing.
fn fleet() -> Rig {
    let mut rig = Rig::serving(2);
    rig.join(B, Role::Standby);
    rig
}

/// Comes back with this report, on another connection.
fn back(rig: &mut Rig, slave: SlaveId, shards: Vec<Held>) -> Vec<Action> {
    rig.input(Input::Left { slave });
    rig.join_with(slave, Role::Standby, report(shards))
}

fn disbelieved(actions: &[Action]) -> Vec<&str> {
    let lies = actions.iter().filter_map(|action| match action {
        Action::Tell(News::Disbelieved { detail, .. }) => Some(detail.as_str()),
        _ => None,
    });
    lies.collect()
}

/// Everything is as before: `A` serves, and what it would be resumed from is its own
/// checkpoint.
fn is_unharmed(rig: &mut Rig) {
    assert!(rig.all_served_by(A));
    rig.say(A, ToMaster::StartWork(work(1, b"")));
    assert_eq!(rig.core.view(rig.now).work, Some(A.to_string()));
    let mut copy = Rig {
        core: rig.core.clone(),
        now: rig.now,
        launches: Vec::new(),
    };
    let actions = copy.die(A);
    let resumes: Vec<_> = orders(&actions)
        .into_iter()
        .filter(|order| order.contains("Resume"))
        .collect();
    assert_eq!(
        resumes,
        [
            "b Resume 0@2 after Death from 100",
            "b Resume 1@2 after Death from 100"
        ]
    );
}

#[test]
fn an_epoch_that_no_master_gave_takes_no_shard_from_its_owner() {
    let claims = [
        Holding::Serving,
        Holding::Starting,
        Holding::Resuming,
        Holding::Sealed,
        Holding::Failed,
    ];
    for holding in claims {
        for epoch in [2, 3, 1 << 60, (1 << 63) - 1, u64::MAX] {
            let mut rig = fleet();
            let mut lie = held(0, epoch, holding);
            // What a resume from it would lose.
            lie.ticket = ticket(0, 1 << 40);
            lie.ticket.session = session("another");
            let actions = back(&mut rig, B, vec![lie]);
            let forget = format!("b Forget 0@{}", epoch.saturating_add(1));
            assert_eq!(orders(&actions), ["b Accepted", &forget], "{holding:?}");
            let said = disbelieved(&actions);
            assert!(said[0].contains("no master gave it"), "{said:?}");
            is_unharmed(&mut rig);
        }
    }
}

#[test]
fn the_epoch_of_another_slave_is_no_claim() {
    for holding in [Holding::Serving, Holding::Sealed, Holding::Failed] {
        let mut rig = fleet();
        let actions = back(&mut rig, B, vec![held(0, 1, holding)]);
        assert_eq!(disbelieved(&actions).len(), 1, "{holding:?}");
        is_unharmed(&mut rig);
    }
}

#[test]
fn the_epoch_of_a_slave_that_died_is_not_its_heirs() {
    let mut rig = Rig::serving(2);
    rig.join(C, Role::Standby);
    rig.die(C);
    rig.die(A);
    // Nobody is there to take the shards: they are free, at the epoch of the dead.
    let mut lie = held(0, 1, Holding::Serving);
    lie.ticket = ticket(0, 1 << 40);
    let actions = rig.join_with(B, Role::Relaunch, report(vec![lie]));
    assert_eq!(disbelieved(&actions).len(), 1);
    assert!(
        orders(&actions).contains(&"b Resume 0@2 after Death from 100".to_owned()),
        "{:?}",
        orders(&actions)
    );
}

#[test]
fn epoch_zero_a_shard_of_no_fleet_and_a_shard_that_is_named_twice_are_no_claims() {
    let mut rig = fleet();
    let claims = vec![
        held(0, 0, Holding::Serving),
        held(7, 1, Holding::Serving),
        held(u32::MAX, u64::MAX, Holding::Sealed),
    ];
    let actions = back(&mut rig, B, claims);
    assert_eq!(disbelieved(&actions).len(), 1, "one word for one report");
    assert_eq!(orders(&actions), ["b Accepted", "b Forget 0@1"]);
    is_unharmed(&mut rig);

    // Its own shards are: one is confirmed once.
    let twice = vec![
        held(0, 1, Holding::Serving),
        held(1, 1, Holding::Serving),
        held(0, 9, Holding::Failed),
    ];
    let mut all = report(twice);
    all.work = Epoch(1);
    rig.input(Input::Left { slave: A });
    let actions = rig.join_with(A, Role::Relaunch, all);
    assert_eq!(disbelieved(&actions).len(), 1);
    assert!(rig.all_served_by(A));
}

#[test]
fn a_newcomer_with_shards_that_nobody_gave_it_is_a_newcomer_without() {
    let mut rig = Rig::serving(2);
    let claims = vec![held(0, 1, Holding::Serving), held(1, 5, Holding::Sealed)];
    let actions = rig.join_with(B, Role::Relaunch, report(claims));
    assert_eq!(orders(&actions), ["refuse b Taken"], "the slot is filled");
    assert_eq!(disbelieved(&actions).len(), 1);
    assert!(rig.all_served_by(A));
}

#[test]
fn work_that_nobody_gave_is_stopped_and_stays_where_it_is() {
    for epoch in [1, 2, u64::MAX] {
        let mut rig = fleet();
        let mut lie = report(Vec::new());
        lie.work = Epoch(epoch);
        rig.input(Input::Left { slave: B });
        let actions = rig.join_with(B, Role::Standby, lie);
        assert_eq!(disbelieved(&actions).len(), 1);
        let stop = format!("b StopWork {epoch}");
        assert_eq!(orders(&actions), ["b Accepted", &stop]);
        is_unharmed(&mut rig);
    }
}

#[test]
fn what_a_slave_says_of_anothers_shard_is_not_heard() {
    let mut rig = fleet();
    for epoch in [0, 1, 2, u64::MAX] {
        for message in [
            sealed(0, epoch, 1 << 40),
            checkpoint(0, epoch, 1 << 40),
            resumed(0, epoch),
            failed(0, epoch),
            settled(0, epoch, &[1]),
            progress(0, epoch, Step::SessionLost),
            progress(0, epoch, Step::Serving),
            state_ready(0, epoch, 1 << 40),
            ToMaster::StopWork(work(epoch, b"mine")),
            ToMaster::StartWork(work(epoch, b"mine")),
        ] {
            assert_eq!(rig.say(B, message), [], "{epoch}");
        }
    }
    is_unharmed(&mut rig);
}

#[test]
fn after_a_restart_rows_that_are_lost_are_believed_of_who_was_known_and_of_nobody_else() {
    let row = |epoch| Row {
        epoch: Epoch(epoch),
        owner: A,
        hold: Hold::Owned,
        basis: Basis::Cold,
    };
    let recovered = || Recovered {
        shards: [(ShardId(0), row(1))].into(),
        slaves: [A, B]
            .map(|id| (id, hello(id, Role::Relaunch)))
            .into_iter()
            .collect(),
        ..Recovered::default()
    };
    // The end of the journal is gone, and with it that `B` was given the shard.
    let mut rig = Rig::restarted(settings(1), recovered());
    let actions = rig.join_with(
        B,
        Role::Relaunch,
        report(vec![held(0, 2, Holding::Serving)]),
    );
    assert_eq!(disbelieved(&actions), [""; 0]);
    assert!(rig.all_served_by(B));
    // Once: it has what this master knows now.
    rig.input(Input::Left { slave: B });
    let again = report(vec![held(0, 3, Holding::Serving)]);
    let actions = rig.join_with(B, Role::Relaunch, again);
    assert_eq!(disbelieved(&actions).len(), 1);

    let mut rig = Rig::restarted(settings(1), recovered());
    let actions = rig.join_with(
        C,
        Role::Relaunch,
        report(vec![held(0, 2, Holding::Serving)]),
    );
    assert_eq!(disbelieved(&actions).len(), 1, "nobody ever knew it");
    let actions = rig.join_with(
        B,
        Role::Relaunch,
        report(vec![held(0, 1, Holding::Serving)]),
    );
    assert_eq!(disbelieved(&actions).len(), 1, "that was another's");
    let beyond = report(vec![held(0, 1 << 62, Holding::Serving)]);
    let mut rig = Rig::restarted(settings(1), recovered());
    let actions = rig.join_with(B, Role::Relaunch, beyond);
    assert_eq!(disbelieved(&actions).len(), 1, "no master can have used it");
}

#[test]
fn a_bounded_number_of_slaves_is_known_whatever_ids_come() {
    let mut rig = fleet();
    let stranger = |number: u128| SlaveId(0x1000 + number);
    let mut refused = 0;
    for number in 0..2000 {
        let came = orders(&rig.join(stranger(number), Role::Standby));
        refused += usize::from(came.iter().any(|order| order.starts_with("refuse")));
        rig.input(Input::Left {
            slave: stranger(number),
        });
    }
    let known = rig.core.view(rig.now).slaves.len();
    assert_eq!((known, known + refused), (1024, 2002));
    // One that comes back is known, and a death makes room.
    let back = orders(&rig.join(stranger(0), Role::Standby));
    assert!(!back.iter().any(|order| order.starts_with("refuse")));
    rig.die(stranger(1));
    let came = orders(&rig.join(stranger(3000), Role::Standby));
    assert!(
        !came.iter().any(|order| order.starts_with("refuse")),
        "{came:?}"
    );
    is_unharmed(&mut rig);
}
