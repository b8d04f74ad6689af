//! The operator's word that a slave is dead.

use super::*;

const REQUEST: RequestId = RequestId(7);

fn fence(rig: &mut Rig, slave: SlaveId) -> Vec<Action> {
    rig.input(Input::Fence {
        request: REQUEST,
        slave,
    })
}

fn refusal(actions: &[Action]) -> Option<&str> {
    actions.iter().find_map(|action| match action {
        Action::Tell(News::RequestRefused { request, reason }) if *request == REQUEST => {
            Some(reason.as_str())
        }
        _ => None,
    })
}

/// `A` served two shards, is cut off and said to be dead.
fn fenced() -> (Rig, Vec<Action>) {
    let mut rig = Rig::serving(2);
    rig.input(Input::Left { slave: A });
    let actions = fence(&mut rig, A);
    (rig, actions)
}

#[test]
fn a_slave_that_answers_is_not_fenced() {
    let mut rig = Rig::serving(1);
    let actions = fence(&mut rig, A);
    assert!(
        refusal(&actions)
            .unwrap()
            .contains("is connected and answers")
    );
    assert_eq!(orders(&actions), [""; 0]);
    let actions = fence(&mut rig, B);
    assert!(refusal(&actions).unwrap().contains("no slave"));
    assert!(rig.all_served_by(A));
}

#[test]
fn a_slave_that_is_connected_and_says_nothing_hangs_and_the_operator_is_believed() {
    let mut rig = Rig::serving(1);
    let answers = rig.core.settings.answers;
    rig.wait(answers);
    let refused = fence(&mut rig, A);
    assert!(
        refusal(&refused)
            .unwrap()
            .contains("the last time 11000 ms ago")
    );
    rig.say(A, pong(1, 0));
    rig.wait(answers + Duration::from_millis(1));
    let view = rig.core.view(rig.now);
    let slave = &view.slaves[0];
    assert_eq!((slave.answered_ms_ago, slave.hangs), (Some(11_001), true));
    let actions = fence(&mut rig, A);
    assert_eq!(refusal(&actions), None);
    assert_eq!(orders(&actions), ["save now fenced a"]);
}

#[test]
fn a_master_that_was_paused_takes_nobody_for_hanging() {
    let mut rig = Rig::serving(1);
    rig.wait(Duration::from_secs(3600));
    rig.input(Input::Resumed);
    assert!(!rig.core.view(rig.now).slaves[0].hangs);
    assert!(refusal(&fence(&mut rig, A)).is_some());
}

#[test]
fn a_fenced_slaves_shards_go_on_elsewhere_once_the_word_is_on_the_disk() {
    let (mut rig, actions) = fenced();
    assert_eq!(orders(&actions), ["save now fenced a"]);
    assert_eq!(refusal(&actions), None);
    let saved = actions.iter().any(|action| {
        matches!(action, Action::Save(rows, Durability::Now) if rows.contains(&Entry::Fenced(A)))
    });
    assert!(saved);
    let actions = rig.join(B, Role::Relaunch);
    assert_eq!(
        orders(&actions),
        [
            "save now 0@2 Reserved b, 1@2 Reserved b",
            "b Accepted",
            "b Resume 0@2 after Death from 100",
            "b Resume 1@2 after Death from 100",
        ]
    );
}

#[test]
fn a_slave_that_hangs_and_was_killed_in_vain_can_be_fenced_while_connected() {
    let mut rig = Rig::serving(1);
    rig.input(Input::Silent { slave: A });
    assert!(rig.core.fence_refused(A, rig.now).is_none());
    let actions = fence(&mut rig, A);
    assert_eq!(orders(&actions), ["save now fenced a"]);
}

/// How deaths were told.
fn deaths(actions: &[Action]) -> Vec<Option<Evidence>> {
    let told = actions.iter().filter_map(|action| match action {
        Action::Tell(News::SlaveGone { dead, .. }) => Some(*dead),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_death_is_told_with_its_evidence_and_only_that_of_the_process_is_final() {
    let gone = (Entry::Gone(A), Durability::Soon);
    let fenced = (Entry::Fenced(A), Durability::Now);
    for (evidence, (entry, durability)) in [
        (Evidence::Process, gone),
        (Evidence::Lease, fenced.clone()),
        (Evidence::Operator, fenced),
    ] {
        let mut rig = Rig::serving(1);
        assert_eq!(deaths(&rig.input(Input::Left { slave: A })), [None]);
        let slave = A;
        let actions = rig.input(Input::Died { slave, evidence });
        assert_eq!(deaths(&actions), [Some(evidence)]);
        let saved = actions.iter().any(|action| {
            matches!(action, Action::Save(rows, how) if *how == durability && rows.contains(&entry))
        });
        assert!(saved, "{evidence:?}: {actions:?}");
        let actions = rig.input(Input::Died { slave, evidence });
        assert_eq!(orders(&actions), [""; 0], "who is dead dies no second time");
        let back = report(vec![held(0, 1, Holding::Serving)]);
        let actions = rig.join_with(A, Role::Relaunch, back);
        let ends = orders(&actions).contains(&"a Shutdown".to_owned());
        assert_eq!(ends, evidence != Evidence::Process, "{evidence:?}");
    }
}

#[test]
fn a_fenced_slave_that_comes_back_forgets_everything_and_ends() {
    let (mut rig, _) = fenced();
    let mut back = report(vec![
        held(0, 1, Holding::Serving),
        held(1, 1, Holding::Serving),
    ]);
    back.work = Epoch(1);
    let actions = rig.join_with(A, Role::Relaunch, back);
    assert_eq!(
        orders(&actions),
        [
            "a Accepted",
            "a Forget 0@2",
            "a Forget 1@2",
            "a StopWork 1",
            "a Shutdown"
        ],
        "nobody has its shards yet, and still it lets go of them"
    );
    assert_eq!(alarms(&actions), 1);
    assert_eq!(rig.shard(0), (None, "idle"));
    let late = rig.wait(settings(1).retire);
    assert!(orders(&late).contains(&"kill a".to_owned()), "{late:?}");
}

#[test]
fn what_a_fenced_slave_says_late_changes_nothing() {
    let (mut rig, _) = fenced();
    rig.join(B, Role::Relaunch);
    for shard in 0..2 {
        rig.say(B, resumed(shard, 2));
        rig.say(B, checkpoint(shard, 2, 110));
    }
    rig.say(B, ToMaster::StartWork(work(2, b"")));
    assert!(rig.all_served_by(B));
    let back = report(vec![held(0, 1, Holding::Serving)]);
    let actions = rig.join_with(A, Role::Relaunch, back);
    assert_eq!(
        orders(&actions),
        ["a Accepted", "a Forget 0@2", "a Shutdown"]
    );
    let before = rig.core.view(rig.now);
    for message in [
        checkpoint(0, 1, 500),
        progress(0, 1, Step::SessionLost),
        progress(0, 2, Step::SessionLost),
        sealed(0, 1, 500),
        sealed(0, 2, 500),
        settled(0, 1, &[3]),
        resumed(0, 2),
        failed(0, 2),
        wants_permit(0, 2, IdentifyCause::SessionLost),
        ToMaster::StopWork(work(2, b"stolen")),
        ToMaster::Shutdown,
    ] {
        let actions = rig.say(A, message);
        assert_eq!(orders(&actions), [""; 0]);
    }
    assert_eq!(rig.core.view(rig.now), before);
    rig.die(A);
    assert!(rig.all_served_by(B));
    assert_eq!(rig.core.view(rig.now).work, Some(B.to_string()));
}

#[test]
fn a_fence_in_a_deploy_is_the_death_of_that_slave() {
    let (mut rig, _) = Rig::moving(settings(2));
    rig.say(B, state_ready(0, 1, 90));
    rig.say(A, sealed(0, 1, 100));
    rig.say(B, resumed(0, 2));
    rig.input(Input::Left { slave: A });
    fence(&mut rig, A);
    rig.say(B, resumed(1, 2));
    rig.say(B, resumed(1, 3));
    assert!(rig.all_served_by(B));
}

#[test]
fn the_next_master_does_not_wait_for_a_fenced_slave_nor_believe_it() {
    let row = |shard| {
        let row = Row {
            epoch: Epoch(1),
            owner: A,
            hold: Hold::Owned,
            basis: Basis::Cold,
        };
        (ShardId(shard), row)
    };
    let recovered = Recovered {
        pinned: Some(parameters(513)),
        shards: [row(0), row(1)].into(),
        fenced: [A].into(),
        ..Recovered::default()
    };
    let mut rig = Rig::restarted(settings(2), recovered);
    assert!(!rig.core.view(rig.now).adopting, "nobody is waited for");
    let back = report(vec![held(0, 1, Holding::Serving)]);
    let actions = rig.join_with(A, Role::Relaunch, back);
    assert_eq!(
        orders(&actions),
        ["a Accepted", "a Forget 0@2", "a Shutdown"]
    );
    let actions = rig.join(B, Role::Relaunch);
    assert!(orders(&actions).contains(&"b FullStart 0@2 1@2".to_owned()));
}
