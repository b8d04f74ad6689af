//! What a master and an agent say to each other.

use std::collections::BTreeMap;

use baton_protocol::{
    AgentId, DecodeError, DeployId, Frame, HostName, LaunchId, ProcessIdentity, SlaveId, Term,
    ToMaster, ToSlave, Trust, Version,
    host_name::MAX_HOST_NAME,
    message::{
        Ping, Proof, Refused, RefusedReason, Role, Welcome,
        agent::{
            AgentAccepted, AgentHello, AgentReport, Ended, FromAgent, Launch, Launched, OfLaunch,
            OfSlave, Sight, Stands, ToAgent, Watch, Watched,
        },
    },
};

fn process() -> ProcessIdentity {
    ProcessIdentity {
        pid: 7,
        start_time: 99,
        boot_id: "boot".to_owned(),
        pid_namespace: 5,
        ..ProcessIdentity::default()
    }
}

fn hello(host: &str) -> AgentHello {
    AgentHello {
        version: Version::NEWEST,
        lowest: Version::OLDEST,
        term: Term::default(),
        agent: AgentId(3),
        host: host.to_owned(),
        process: process(),
        program: "0.1.0".to_owned(),
        nonce: "0123456789abcdef".into(),
    }
}

fn launch() -> Launch {
    Launch {
        launch: LaunchId(9),
        slot: "main".to_owned(),
        role: Role::Standby,
        deploy: DeployId(4),
        command: vec!["/bin/bot".to_owned(), "--flag".to_owned()],
        env: BTreeMap::from([("KEY".to_owned(), "a secret".to_owned())]),
        log: "/var/log/bot".to_owned(),
        listen: "127.0.0.1:7878".to_owned(),
        api_url: "http://127.0.0.1:1".to_owned(),
    }
}

#[test]
fn every_message_to_an_agent_survives_the_wire() {
    let of_launch = OfLaunch {
        launch: LaunchId(9),
    };
    let of_slave = OfSlave { slave: SlaveId(8) };
    for message in [
        ToAgent::Welcome(Welcome::default()),
        ToAgent::Refused(Refused {
            reason: RefusedReason::Taken,
            detail: "why".to_owned(),
        }),
        ToAgent::Accepted(AgentAccepted { ping_ms: 5000 }),
        ToAgent::Ping(Ping {
            number: 3,
            heard: 0,
        }),
        ToAgent::Launch(Box::new(launch())),
        ToAgent::GiveUp(of_launch),
        ToAgent::Noted(of_launch),
        ToAgent::Watch(Watch {
            slave: SlaveId(8),
            process: process(),
        }),
        ToAgent::Kill(of_slave),
        ToAgent::Unwatch(of_slave),
        ToAgent::Stands(Stands {
            slave: SlaveId(8),
            owner: true,
            deploying: true,
            shards: 4,
            serving: 3,
        }),
    ] {
        let frame = message.to_frame();
        assert!(frame.body.len() <= Trust::Known.limit(frame.id));
        assert_eq!(ToAgent::from_frame(frame).expect("ours"), message);
    }
}

#[test]
fn every_message_of_an_agent_survives_the_wire() {
    let of_launch = OfLaunch {
        launch: LaunchId(9),
    };
    let of_slave = OfSlave { slave: SlaveId(8) };
    for message in [
        FromAgent::Hello(Box::new(hello("host-1"))),
        FromAgent::Proof(Proof::default()),
        FromAgent::Report(AgentReport {
            launches: vec![of_launch],
        }),
        FromAgent::Pong(Ping {
            number: 3,
            heard: 0,
        }),
        FromAgent::Launched(Launched {
            launch: LaunchId(9),
            process: process(),
            failed: "why".to_owned(),
        }),
        FromAgent::Ended(Box::new(Ended {
            launch: LaunchId(9),
            slot: "main".to_owned(),
            pid: 7,
            code: Some(-1),
            signal: Some(9),
            lived_ms: Some(12),
            last_lines: vec!["the end".to_owned()],
        })),
        FromAgent::Ended(Box::default()),
        FromAgent::Watched(Watched {
            slave: SlaveId(8),
            sight: Sight::Watched,
            may_kill: true,
        }),
        FromAgent::Died(of_slave),
        FromAgent::Ask(of_slave),
    ] {
        let frame = message.to_frame();
        assert!(frame.body.len() <= Trust::Known.limit(frame.id));
        assert_eq!(FromAgent::from_frame(frame).expect("ours"), message);
    }
}

#[test]
fn a_hello_of_the_longest_name_is_short_enough_for_a_stranger() {
    let frame = FromAgent::Hello(Box::new(hello(&"a".repeat(MAX_HOST_NAME)))).to_frame();
    assert!(frame.body.len() <= Trust::Stranger.limit(frame.id));
}

#[test]
fn a_slave_says_nothing_that_an_agent_says_and_hears_nothing_that_it_hears() {
    let out_of_place =
        |read: Result<(), DecodeError>| matches!(read, Err(DecodeError::OutOfPlace { .. }));
    let of_agent = FromAgent::Died(OfSlave::default()).to_frame();
    assert!(out_of_place(ToMaster::from_frame(of_agent).map(drop)));
    let to_agent = ToAgent::Kill(OfSlave::default()).to_frame();
    assert!(out_of_place(ToSlave::from_frame(to_agent).map(drop)));
    let of_slave = ToMaster::Shutdown.to_frame();
    assert!(out_of_place(FromAgent::from_frame(of_slave).map(drop)));
    let to_slave = ToSlave::Shutdown.to_frame();
    assert!(out_of_place(ToAgent::from_frame(to_slave).map(drop)));
    let later = Frame {
        id: 99,
        body: bytes::Bytes::new(),
    };
    let unknown = FromAgent::from_frame(later);
    assert!(matches!(unknown, Err(DecodeError::UnknownId { id: 99 })));
}

#[test]
fn how_well_a_process_is_seen_in_words_of_a_later_version_is_that_it_is_not() {
    let body = b"\x81\xa5sight\xa5later".as_slice();
    let frame = Frame {
        id: 71,
        body: body.into(),
    };
    let read = FromAgent::from_frame(frame).expect("it is skipped");
    assert_eq!(read, FromAgent::Watched(Watched::default()));
}

#[test]
fn the_values_of_an_environment_are_not_shown() {
    let shown = format!("{:?}", launch());
    assert!(
        shown.contains("KEY") && !shown.contains("secret"),
        "{shown}"
    );
}

#[test]
fn what_an_agent_says_is_made_readable_and_cut() {
    let ended = Ended {
        slot: "a\u{1b}b".to_owned(),
        last_lines: vec!["x\u{7}".to_owned(); 100],
        ..Ended::default()
    };
    let FromAgent::Ended(ended) = FromAgent::Ended(Box::new(ended)).readable() else {
        panic!("another message");
    };
    assert_eq!(ended.slot, "a\\u001bb");
    assert_eq!(ended.last_lines, vec!["x\\u0007"; Ended::MAX_LINES]);
}

#[test]
fn a_host_has_a_name_of_few_letters() {
    for good in ["a", "host-1", "h2.example.org", &"a".repeat(MAX_HOST_NAME)] {
        assert!(good.parse::<HostName>().is_ok(), "{good}");
    }
    for bad in [
        "",
        "-a",
        ".a",
        "A",
        "a b",
        "a/b",
        "é",
        &"a".repeat(MAX_HOST_NAME + 1),
    ] {
        assert!(bad.parse::<HostName>().is_err(), "{bad}");
    }
}
