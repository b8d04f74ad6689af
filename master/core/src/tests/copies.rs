//! State on its way from owner to reader: how much of it, and across which hosts.

use baton_protocol::{
    message::StateAck,
    state::{
        MAX_STATE_BODY, MAX_UNACKNOWLEDGED, MAX_UNACKNOWLEDGED_BETWEEN_HOSTS as FAR, StateFrame,
    },
};

use super::*;

/// A frame of the copy of shard 0 by its first owner, as long as one may be.
fn frame() -> ToMaster {
    let mut body = vec![0; MAX_STATE_BODY];
    body[8] = 1;
    ToMaster::State(StateFrame::from_body(100, body.into()).unwrap())
}

#[test]
fn an_owner_that_does_not_wait_until_its_state_is_taken_in_fails_its_deploy_and_serves_on() {
    let (mut rig, _) = Rig::moving(settings(1));
    let ack = |frames: u64| {
        ToMaster::StateAck(StateAck {
            shard: ShardId(0),
            epoch: Epoch(1),
            bytes: frames * MAX_STATE_BODY as u64,
        })
    };
    let room = MAX_UNACKNOWLEDGED / MAX_STATE_BODY as u64;
    for _ in 0..room {
        assert_eq!(orders(&rig.say(A, frame())), ["b State 0"]);
    }
    assert_eq!(orders(&rig.say(B, ack(room))).len(), 1);
    // A copy that starts again owes nothing.
    for _ in 0..room {
        assert_eq!(orders(&rig.say(A, frame())), ["b State 0"]);
    }
    rig.input(Input::Left { slave: B });
    rig.join(B, Role::Candidate);
    for _ in 0..room {
        assert_eq!(orders(&rig.say(A, frame())), ["b State 0"]);
    }
    let actions = rig.say(A, frame());
    assert_eq!(orders(&actions), ["b Shutdown"]);
    assert!(
        matches!(ended(&actions), Some(Outcome::Aborted { reason }) if reason.contains("taken in"))
    );
    assert!(rig.all_served_by(A));
}

#[test]
fn a_copy_that_crosses_the_network_is_said_to_and_may_have_more_on_its_way() {
    // The hosts of the old slave and of the new one, the master being at home.
    let cases = [
        (None, None, 0),
        (Some("home"), Some("home"), 0),
        (None, Some("east"), FAR),
        (Some("east"), None, FAR),
        // Through the master and back.
        (Some("east"), Some("east"), FAR),
    ];
    for (old, new, most) in cases {
        let mut settings = settings(1);
        settings.host = "home".to_owned();
        let mut rig = Rig::new(settings);
        let on = |slave, role, host: Option<&str>| {
            let mut hello = hello(slave, role);
            hello.process.host_name = host.map(|name| name.parse().unwrap());
            hello
        };
        rig.comes(on(A, Role::Relaunch, old), Report::default());
        rig.ready(A, 0, 1);
        rig.say(A, ToMaster::StartWork(work(1, b"")));
        rig.comes(on(B, Role::Candidate, new), Report::default());
        rig.say(A, prepared(true));
        let actions = rig.say(B, prepared(false));
        let said = actions.iter().find_map(|action| match action {
            Action::Send(_, ToSlave::CopyState(copy)) => Some(copy.unacknowledged),
            _ => None,
        });
        assert_eq!(said, Some(most), "from {old:?} to {new:?}");
        let room = most.max(MAX_UNACKNOWLEDGED) / MAX_STATE_BODY as u64;
        for _ in 0..room {
            assert_eq!(orders(&rig.say(A, frame())), ["b State 0"]);
        }
        assert_eq!(orders(&rig.say(A, frame())), ["b Shutdown"]);
    }
}
