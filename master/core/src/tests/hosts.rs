//! Slots whose slaves the agent of another host starts.

use super::*;
use crate::event::AgentIs;

fn elsewhere(shards: u32) -> Settings {
    let mut settings = settings(shards);
    settings.slots[0].host = Some("east".to_owned());
    settings
}

fn agent(rig: &mut Rig, host: &str, is: AgentIs) -> Vec<Action> {
    let host = host.to_owned();
    rig.input(Input::Agent { host, is })
}

fn launched(actions: &[Action]) -> usize {
    let is_launch = |action: &&Action| matches!(action, Action::Launch { .. });
    actions.iter().filter(is_launch).count()
}

fn failed(rig: &Rig) -> u32 {
    rig.core.view(rig.now).slots[0].failed_launches
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn nothing_is_started_while_the_agent_is_away_and_no_start_is_counted_as_failed() {
    let mut rig = Rig::new(elsewhere(1));
    rig.input(Input::Tick);
    assert_eq!(launched(&rig.wait(HOUR)), 0);
    let waits = rig.core.view(rig.now).slots[0].cannot_start.clone();
    assert!(waits.unwrap().contains("agent of host \"east\""));
    agent(&mut rig, "west", AgentIs::Here);
    assert_eq!(launched(&rig.wait(HOUR)), 0, "it is another host's");
    agent(&mut rig, "east", AgentIs::Here);
    assert_eq!(rig.core.view(rig.now).slots[0].cannot_start, None);
    assert_eq!(launched(&rig.wait(15 * SECOND)), 1, "contact is over");
    // The agent goes away with the order: what it started may join yet.
    agent(&mut rig, "east", AgentIs::Away);
    assert_eq!(launched(&rig.wait(HOUR)), 0);
    assert_eq!(failed(&rig), 0);
    let launch = rig.launch_of(Role::Relaunch);
    agent(&mut rig, "east", AgentIs::Here);
    let mut hello = hello(A, Role::Relaunch);
    hello.launch = launch;
    rig.comes(hello, Report::default());
    assert_eq!(launched(&rig.wait(HOUR)), 0, "it did");
}

#[test]
fn a_slave_that_dies_while_its_agent_is_away_is_followed_when_the_agent_is_back() {
    let mut rig = Rig::new(elsewhere(1));
    agent(&mut rig, "east", AgentIs::Here);
    rig.join(A, Role::Candidate);
    agent(&mut rig, "east", AgentIs::Away);
    rig.die(A);
    assert_eq!(launched(&rig.wait(HOUR)), 0);
    agent(&mut rig, "east", AgentIs::Here);
    assert_eq!(launched(&rig.wait(15 * SECOND)), 1);
}

#[test]
fn a_deploy_is_refused_while_nothing_can_be_started() {
    let mut rig = Rig::serving_with(elsewhere(1));
    let deploy = Input::Deploy {
        request: RequestId(1),
        order: order(Some("v2")),
    };
    let actions = rig.input(deploy.clone());
    let refused = actions.iter().any(|action| {
        matches!(action, Action::Tell(News::RequestRefused { reason, .. }) if reason.contains("\"east\""))
    });
    assert!(refused && launched(&actions) == 0, "{actions:?}");
    assert_eq!(rig.step(), None);
    agent(&mut rig, "east", AgentIs::Here);
    assert_eq!(launched(&rig.input(deploy)), 1);
}

#[test]
fn standbys_wait_for_the_agent_too() {
    let mut settings = elsewhere(1);
    settings.standbys = 1;
    let mut rig = Rig::serving_with(settings);
    assert_eq!(launched(&rig.wait(HOUR)), 0);
    agent(&mut rig, "east", AgentIs::Here);
    assert_eq!(launched(&rig.wait(2 * SECOND)), 1);
}

#[test]
fn a_slave_is_at_the_host_that_it_says_or_else_at_that_of_its_slot() {
    let mut rig = Rig::new(elsewhere(1));
    let mut west = hello(B, Role::Standby);
    west.host = "west".to_owned();
    rig.join(A, Role::Candidate);
    let actions = rig.comes(west, Report::default());
    let joined = actions.iter().find_map(|action| match action {
        Action::Tell(News::SlaveJoined { host, .. }) => Some(host.clone()),
        _ => None,
    });
    assert_eq!(joined, Some(Some("west".to_owned())));
    let slaves = rig.core.view(rig.now).slaves;
    let hosts: Vec<_> = slaves.iter().map(|slave| slave.host.as_deref()).collect();
    assert_eq!(hosts, [Some("east"), Some("west")]);
}

/// `A` serves one shard at the host of an agent that is heard.
fn seen() -> Rig {
    let mut rig = Rig::serving_with(elsewhere(1));
    agent(&mut rig, "east", AgentIs::Here);
    rig
}

/// The slave answers no ping, for so long, and its agent answers each or none.
fn silent_for(rig: &mut Rig, pings: u32, agent_answers: bool) -> Vec<Action> {
    let mut actions = Vec::new();
    for _ in 0..pings {
        actions.extend(rig.wait(5 * SECOND));
        if agent_answers {
            actions.extend(agent(rig, "east", AgentIs::Here));
        }
        actions.extend(rig.input(Input::Silent { slave: A }));
    }
    actions
}

fn hung_up(actions: &[Action]) -> bool {
    actions.contains(&Action::HangUp(A))
}

#[test]
fn a_slave_is_killed_for_its_silence_only_if_its_host_is_heard_meanwhile() {
    let mut rig = seen();
    let actions = silent_for(&mut rig, 1, true);
    assert_eq!(
        orders(&actions),
        [""; 0],
        "its host may have been cut off just now"
    );
    let actions = silent_for(&mut rig, 1, true);
    assert_eq!(orders(&actions), ["kill a"]);
    assert!(!hung_up(&actions));
    assert_eq!(orders(&silent_for(&mut rig, 3, true)), [""; 0], "once");
}

#[test]
fn a_slave_of_a_host_that_is_cut_off_is_out_of_reach_and_not_killed() {
    let mut rig = seen();
    let actions = silent_for(&mut rig, 3, false);
    assert_eq!(orders(&actions), ["hang up a"]);
    rig.input(Input::Left { slave: A });
    agent(&mut rig, "east", AgentIs::Away);
    assert_eq!(orders(&rig.wait(HOUR)), [""; 0]);
    agent(&mut rig, "east", AgentIs::Here);
    rig.join_with(
        A,
        Role::Relaunch,
        report(vec![held(0, 1, Holding::Serving)]),
    );
    assert!(rig.all_served_by(A));
    let actions = silent_for(&mut rig, 1, true);
    assert!(!orders(&actions).contains(&"kill a".to_owned()));
}

#[test]
fn while_no_agent_is_there_nobody_is_killed_for_silence() {
    let mut rig = seen();
    agent(&mut rig, "east", AgentIs::Away);
    assert_eq!(orders(&silent_for(&mut rig, 1, false)), ["hang up a"]);
}

#[test]
fn a_host_that_is_heard_again_in_between_gives_its_slave_the_whole_time_once_more() {
    let mut rig = seen();
    rig.wait(20 * SECOND);
    agent(&mut rig, "east", AgentIs::Here);
    assert_eq!(orders(&rig.input(Input::Silent { slave: A })), [""; 0]);
    // Doubted, and cut off for twelve seconds: its connection may need longer than the agent's.
    rig.wait(12 * SECOND);
    agent(&mut rig, "east", AgentIs::Here);
    assert_eq!(
        orders(&rig.input(Input::Silent { slave: A })),
        ["hang up a"]
    );
}

#[test]
fn a_seal_that_is_not_answered_condemns_nobody_whose_host_is_cut_off() {
    for (is_cut, expected) in [(true, &[][..]), (false, &["kill a"])] {
        let mut settings = elsewhere(1);
        settings.seal = 10 * SECOND;
        let (mut rig, _) = Rig::moving(settings);
        agent(&mut rig, "east", AgentIs::Here);
        assert_eq!(
            orders(&rig.say(B, state_ready(0, 1, 90))),
            ["save now 0@2 Reserved b", "a Seal 0@1"]
        );
        let mut actions = Vec::new();
        for _ in 0..5 {
            if !is_cut {
                agent(&mut rig, "east", AgentIs::Here);
            }
            actions.extend(rig.wait(5 * SECOND));
        }
        let kills: Vec<_> = orders(&actions)
            .into_iter()
            .filter(|order| order.starts_with("kill"))
            .collect();
        assert_eq!(kills, expected, "cut off: {is_cut}");
    }
}

#[test]
fn a_host_that_was_heard_once_and_is_cut_off_then_is_unseen() {
    let mut rig = seen();
    silent_for(&mut rig, 1, true);
    rig.wait(SECOND);
    agent(&mut rig, "east", AgentIs::Here);
    // Doubted, heard a second later, and never again.
    rig.wait(12 * SECOND);
    assert_eq!(
        orders(&rig.input(Input::Silent { slave: A })),
        ["hang up a"]
    );
}

#[test]
fn nobody_is_killed_for_silence_at_a_host_that_a_certificate_names_and_that_has_no_agent() {
    let mut rig = Rig::new(settings(1));
    let mut away = hello(A, Role::Candidate);
    away.process.host_name = "east".parse().ok();
    rig.comes(away, Report::default());
    assert_eq!(
        orders(&rig.input(Input::Silent { slave: A })),
        ["hang up a"]
    );
}
