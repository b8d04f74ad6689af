//! A shard that restarts at its owner.

use super::*;

fn restart(shard: u32) -> Input {
    Input::Restart {
        request: RequestId(4),
        shard: ShardId(shard),
    }
}

#[test]
fn a_shard_that_is_restarted_is_sealed_and_resumed_by_its_owner_at_the_next_epoch() {
    let mut rig = Rig::serving(2);
    assert_eq!(
        orders(&rig.input(restart(1))),
        ["save now 1@2 Reserved a", "a Seal 1@1"]
    );
    assert_eq!(
        orders(&rig.say(A, sealed(1, 1, 100))),
        ["a Resume 1@2 after Seal from 100"]
    );
    assert_eq!(
        orders(&rig.say(A, resumed(1, 2))),
        ["save soon 1@2 Owned a"]
    );
    assert!(rig.all_served_by(A));
}

#[test]
fn a_shard_whose_owner_dies_while_it_is_restarted_is_resumed_by_the_next_slave() {
    let mut rig = Rig::serving(1);
    rig.input(restart(0));
    rig.die(A);
    let actions = orders(&rig.join(B, Role::Relaunch));
    let resumed = |order: &String| order.starts_with("b Resume 0@3 after Death");
    assert!(actions.iter().any(resumed), "{actions:?}");
}

#[test]
fn what_cannot_be_restarted_is_refused_with_the_reason() {
    let mut rig = Rig::serving(1);
    assert!(refusal(&rig.input(restart(9))).contains("no shard 9: they are 0 to 0"));
    rig.input(restart(0));
    assert!(refusal(&rig.input(restart(0))).contains("does not serve"));
    let (mut rig, _) = Rig::moving(settings(1));
    assert!(refusal(&rig.input(restart(0))).contains("under way"));
    let mut rig = Rig::serving(1);
    rig.input(Input::Left { slave: A });
    assert!(refusal(&rig.input(restart(0))).contains("not connected"));
}

#[test]
fn a_shard_that_hears_nothing_on_an_open_connection_is_restarted_once() {
    let silent = |ms, shard| {
        ToMaster::Pong(Pong {
            number: 7,
            silent_ms: ms,
            silent_shard: ShardId(shard),
            ..Pong::default()
        })
    };
    let mut rig = Rig::serving(2);
    assert_eq!(orders(&rig.say(A, silent(149_999, 1))), [""; 0]);
    let actions = rig.say(A, silent(150_000, 1));
    assert_eq!(orders(&actions), ["save now 1@2 Reserved a", "a Seal 1@1"]);
    assert_eq!(alarms(&actions), 1, "and an alarm says so");
    rig.say(A, sealed(1, 1, 100));
    rig.say(A, resumed(1, 2));
    assert_eq!(
        orders(&rig.say(A, silent(600_000, 1))),
        [""; 0],
        "once is enough"
    );
    assert_eq!(
        orders(&rig.say(A, silent(600_000, 7))),
        [""; 0],
        "no such shard"
    );
    rig.wait(600 * SECOND);
    assert_eq!(
        orders(&rig.say(A, silent(150_000, 1))).len(),
        2,
        "and later again"
    );
}

fn refused(shard: u32, epoch: u64, close_code: u16) -> ToMaster {
    ToMaster::Failed(Failed {
        shard: ShardId(shard),
        epoch: Epoch(epoch),
        close_code,
        detail: "Discord closed with it".to_owned(),
    })
}

fn alarm(actions: &[Action]) -> &str {
    let mut alarms = actions.iter().filter_map(|action| match action {
        Action::Tell(News::Alarm { detail }) => Some(detail.as_str()),
        _ => None,
    });
    alarms.next().unwrap_or("no alarm")
}

#[test]
fn a_token_that_served_a_moment_ago_and_is_refused_is_tried_once_more_slowly() {
    let mut rig = Rig::serving(1);
    let actions = rig.say(A, refused(0, 1, 4004));
    assert!(orders(&actions).is_empty());
    let said = alarm(&actions);
    assert!(said.contains("refused with 4004"), "{said}");
    assert!(said.contains("tried once more in 60 s"), "{said}");
    let asked = rig.input(restart(0));
    let answer = refusal(&asked);
    assert_eq!(answer, said, "restart-shard says the same");
    let view = rig.core.view(rig.now);
    let trouble = view.shards[0].reason.clone().unwrap();
    assert!(said.ends_with(&trouble), "{trouble}");
    let actions = rig.wait(Duration::from_secs(60));
    assert!(
        orders(&actions)
            .iter()
            .any(|order| order.starts_with("a Resume 0@2"))
    );
    let actions = rig.say(A, refused(0, 2, 4004));
    assert!(
        alarm(&actions).contains("waits for another build"),
        "{actions:?}"
    );
    assert!(orders(&rig.wait(Duration::from_secs(3600))).is_empty());
}

#[test]
fn which_close_code_is_the_tokens_the_service_says() {
    let mut rig = Rig::serving(1);
    const SERVICE: Gateway = Gateway {
        token_refused: 4014,
        ..GATEWAY
    };
    rig.core.settings.service = &SERVICE;
    let actions = rig.say(A, refused(0, 1, 4014));
    assert!(alarm(&actions).contains("tried once more in 60 s"));
}

#[test]
fn what_the_service_refuses_for_good_is_said_in_its_words_and_not_tried_again() {
    let mut rig = Rig::serving(1);
    let actions = rig.say(A, refused(0, 1, 4014));
    let said = alarm(&actions);
    assert!(
        said.contains("refused with 4014") && said.contains("waits for another build"),
        "{said}"
    );
    rig.die(A);
    rig.join(B, Role::Relaunch);
    let view = rig.core.view(rig.now);
    assert!(view.shards[0].reason.is_some(), "until it serves");
    rig.say(B, resumed(0, 2));
    assert_eq!(rig.core.view(rig.now).shards[0].reason, None);
}

#[test]
fn what_a_slave_said_last_of_its_store_is_in_the_picture() {
    let mut rig = Rig::serving(1);
    let mut shown = |store: Option<StoreRoom>| {
        let store = ToMaster::Pong(Pong {
            store: store.map(Box::new),
            ..Pong::default()
        });
        rig.say(A, store);
        rig.core.view(rig.now).slaves[0].store.clone()
    };
    let store = StoreRoom {
        free: 5,
        held_up: 1,
        ..StoreRoom::default()
    };
    assert_eq!(shown(Some(store.clone())), Some(store));
    assert_eq!(shown(None), None);
}
