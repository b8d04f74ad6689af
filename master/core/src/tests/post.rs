//! Letters between the work, the units and operators.

use baton_protocol::message::{Correspondent, Post};

use super::{moves::refused, *};

fn post(from: Correspondent, to: Correspondent) -> ToMaster {
    ToMaster::Post(Post {
        from,
        to,
        body: b"hello"[..].into(),
    })
}

const UNIT: Correspondent = Correspondent::Unit(ShardId(0));

/// Two slots: A has the work and unit 0, B has unit 2.
fn two() -> Rig {
    moves::two_served(slots::two_slots())
}

#[test]
fn the_work_and_a_unit_write_to_each_other_wherever_they_are() {
    let mut rig = two();
    let unit = Correspondent::Unit(ShardId(2));
    let out = rig.say(A, post(Correspondent::Work, unit));
    assert_eq!(orders(&out), ["b Post Work"]);
    let back = rig.say(B, post(unit, Correspondent::Work));
    assert_eq!(orders(&back), ["a Post Unit(ShardId(2))"]);
}

#[test]
fn nobody_writes_in_the_name_of_another() {
    let mut rig = two();
    for from in [Correspondent::Work, UNIT, Correspondent::Operator(1)] {
        let sent = rig.say(B, post(from, UNIT));
        assert_eq!(orders(&sent), [""; 0], "{from:?}");
    }
    let long = Post {
        from: Correspondent::Work,
        to: UNIT,
        body: vec![0; Post::MAX_BYTES + 1].into(),
    };
    assert_eq!(orders(&rig.say(A, ToMaster::Post(long))), [""; 0]);
}

#[test]
fn an_operator_is_answered_by_the_work_or_told_that_nobody_is_there() {
    let mut rig = two();
    let ask = |request| Input::Ask {
        request: RequestId(request),
        body: b"list"[..].into(),
    };
    assert_eq!(orders(&rig.input(ask(7))), ["a Post Operator(7)"]);
    let answer = rig.say(A, post(Correspondent::Work, Correspondent::Operator(7)));
    let told = answer.iter().any(|action| {
        matches!(action, Action::Tell(News::Answered { request, body })
            if *request == RequestId(7) && body == &b"hello"[..])
    });
    assert!(told, "{answer:?}");
    rig.input(Input::Left { slave: A });
    let nobody = rig.input(ask(8));
    assert!(refused(&nobody).contains("no slave"), "{nobody:?}");
}
