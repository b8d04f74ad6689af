//! Agents of other hosts: whose word counts for whom.

use baton_core::{Members, event::Evidence, settings::SlotSettings, view::View};
use baton_protocol::{
    AgentId, Connection, LaunchId,
    message::{
        Ping, Proof,
        agent::{
            AgentHello, AgentReport, Ended, FromAgent, Launched, OfLaunch, OfSlave, Sight, ToAgent,
            Watched,
        },
    },
};
use tokio::io::duplex;

use super::{rig::Slave, *};
use crate::{
    config::Slot,
    doors::Places,
    peer::{Origin, serve},
};

fn elsewhere(command: Option<&str>) -> Rig {
    let command = command.map(|command| vec![command.to_owned()]);
    Rig::of(Stage::at(Some("east"), command))
}

/// An agent that the master accepted.
struct Agent(Connection);

impl Agent {
    async fn joins(rig: &Rig, host: &str, agent: u128, launches: &[u128]) -> Self {
        let (ours, theirs) = duplex(64 * 1024);
        tokio::spawn(serve(
            Arc::clone(&rig.context),
            ours,
            Origin::Tcp,
            Places::new(1).take().0.expect("a place"),
        ));
        let mut joining = Self(Connection::new(theirs));
        let agent = AgentId(agent);
        let hello = AgentHello {
            version: baton_protocol::Version::NEWEST,
            lowest: baton_protocol::Version::OLDEST,
            agent,
            host: host.to_owned(),
            nonce: "0123456789abcdef".into(),
            ..AgentHello::default()
        };
        joining.says(FromAgent::Hello(Box::new(hello))).await;
        let ToAgent::Welcome(welcome) = joining.hears().await else {
            panic!("a welcome was to come");
        };
        let secret = &rig.context.secret;
        let proof = secret.agent_proof(&welcome.challenge, agent, host);
        joining.says(FromAgent::Proof(Proof { proof })).await;
        let launches = launches.iter().map(|&launch| OfLaunch {
            launch: LaunchId(launch),
        });
        let report = AgentReport {
            launches: launches.collect(),
        };
        joining.says(FromAgent::Report(report)).await;
        let accepted = joining.hears().await;
        assert!(matches!(accepted, ToAgent::Accepted(_)), "{accepted:?}");
        joining
    }

    async fn says(&mut self, message: FromAgent) {
        self.0.send(&message.to_frame()).await.unwrap();
    }

    /// What it is told, but for pings.
    async fn hears(&mut self) -> ToAgent {
        loop {
            let frame = timeout(LONG, self.0.recv()).await.unwrap();
            let message = ToAgent::from_frame(frame.unwrap().expect("a message")).unwrap();
            if !matches!(message, ToAgent::Ping(_)) {
                return message;
            }
        }
    }

    /// It is told to watch a slave, and sees it.
    async fn sees(&mut self, slave: u128) {
        let ToAgent::Watch(watch) = self.hears().await else {
            panic!("it was to be asked");
        };
        assert_eq!(watch.slave, SlaveId(slave));
        self.says(FromAgent::Watched(Watched {
            slave: watch.slave,
            sight: Sight::Watched,
            may_kill: true,
        }))
        .await;
    }

    async fn says_dead(&mut self, slave: u128) {
        let slave = SlaveId(slave);
        self.says(FromAgent::Died(OfSlave { slave })).await;
    }

    /// It is told to launch; gives which launch.
    async fn is_to_launch(&mut self) -> LaunchId {
        let heard = self.hears().await;
        let ToAgent::Launch(order) = heard else {
            panic!("a launch was to be ordered: {heard:?}");
        };
        order.launch
    }
}

async fn serving(rig: &mut Rig, hello: Hello) -> Slave {
    let mut slave = rig.join(hello).await;
    slave
        .until(|message| matches!(message, ToSlave::FullStart(_)))
        .await;
    slave
}

fn is_here(view: &View) -> bool {
    view.hosts
        .iter()
        .any(|host| host.host == "east" && host.connected)
}

#[tokio::test]
async fn a_slave_of_another_host_is_dead_by_its_agents_word_alone() {
    let mut rig = elsewhere(None);
    let (mut child, process) = process();
    let mut east = Agent::joins(&rig, "east", 1, &[]).await;
    let mut west = Agent::joins(&rig, "west", 2, &[]).await;
    let slave = serving(
        &mut rig,
        Hello {
            process,
            ..hello(1)
        },
    )
    .await;
    east.sees(1).await;
    // Its process ends here, where the master could see it, and the agent of another host
    // speaks of it: neither counts.
    child.kill().await.unwrap();
    child.wait().await.unwrap();
    west.says_dead(1).await;
    drop(slave);
    rig.until(|view| view.slaves.iter().all(|slave| !slave.connected))
        .await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(rig.look().await.slaves.len(), 1, "it may live");
    east.says_dead(1).await;
    rig.until(|view| view.slaves.is_empty()).await;
}

#[tokio::test]
async fn an_agent_that_comes_back_is_asked_about_every_slave_and_what_it_missed_it_is_told() {
    let mut rig = elsewhere(Some("true"));
    rig.until(|view| view.hosts.len() == 1 && !view.hosts[0].connected)
        .await;
    let mut east = Agent::joins(&rig, "east", 1, &[]).await;
    let launch = east.is_to_launch().await;
    // The order, or its answer, was lost with the link.
    drop(east);
    rig.until(|view| !is_here(view)).await;
    let mut east = Agent::joins(&rig, "east", 1, &[]).await;
    assert_eq!(east.is_to_launch().await, launch);
    drop(east);
    rig.until(|view| !is_here(view)).await;
    let mut east = Agent::joins(&rig, "east", 1, &[launch.0]).await;
    assert_eq!(
        east.is_to_launch().await,
        launch,
        "it is known, and not answered"
    );
    let process = ProcessIdentity::current().unwrap();
    east.says(FromAgent::Launched(Launched {
        launch,
        process,
        ..Launched::default()
    }))
    .await;
    let _slave = serving(&mut rig, Hello { launch, ..hello(1) }).await;
    east.sees(1).await;
    drop(east);
    rig.until(|view| !is_here(view)).await;
    let view = rig.look().await;
    assert!(view.slots[0].cannot_start.is_some() && view.slaves[0].connected);
    // What was answered is not ordered again.
    let mut east = Agent::joins(&rig, "east", 1, &[launch.0]).await;
    east.sees(1).await;
    rig.until(is_here).await;
}

#[tokio::test]
async fn an_end_is_told_once_with_its_cause_whichever_word_of_it_comes_first() {
    for ended_first in [true, false] {
        let mut rig = elsewhere(None);
        let (_child, process) = process();
        let launch = LaunchId(7);
        let mut east = Agent::joins(&rig, "east", 1, &[launch.0]).await;
        let of_launch = Hello {
            process,
            launch,
            ..hello(1)
        };
        let pid = of_launch.process.pid;
        let slave = serving(&mut rig, of_launch).await;
        east.sees(1).await;
        drop(slave);
        let ended = FromAgent::Ended(Box::new(Ended {
            launch,
            slot: "main".to_owned(),
            pid,
            code: Some(7),
            last_lines: vec!["the end".to_owned()],
            ..Ended::default()
        }));
        if ended_first {
            east.says(ended.clone()).await;
        }
        east.says_dead(1).await;
        if !ended_first {
            east.says(ended).await;
        }
        assert_eq!(east.hears().await, ToAgent::Noted(OfLaunch { launch }));
        rig.until(|view| view.slaves.is_empty()).await;
        let mut ends = Vec::new();
        while let Ok(told) = rig.news.try_recv() {
            if let News::SlaveEnded(death) = &told.news {
                ends.push((death.ending, death.host.clone(), death.slave));
            }
        }
        let (host, slave) = (Some("east".to_owned()), Some(SlaveId(1)));
        assert_eq!(ends, [(EndedBy::Code(7), host, slave)], "{ended_first}");
    }
}

#[tokio::test]
async fn of_two_agents_with_one_name_the_first_one_counts_while_it_answers() {
    let rig = &mut elsewhere(None);
    let mut first = Agent::joins(rig, "east", 1, &[]).await;
    rig.until(is_here).await;
    let mut second = Agent::joins(rig, "east", 2, &[]).await;
    // The first one is asked.
    let number = loop {
        let frame = timeout(LONG, first.0.recv()).await.unwrap();
        let asked = ToAgent::from_frame(frame.unwrap().expect("a question")).unwrap();
        if let ToAgent::Ping(Ping { number, .. }) = asked
            && number > 1 << 32
        {
            break number;
        }
    };
    first.says(FromAgent::Pong(Ping { number, heard: 0 })).await;
    let ToAgent::Refused(refused) = second.hears().await else {
        panic!("a refusal was to come");
    };
    assert!(
        refused.detail.contains("two hosts cannot have one name"),
        "{}",
        refused.detail
    );
    assert_eq!(refused.reason, RefusedReason::Taken);
    rig.until(is_here).await;
    // One that does not answer has lost its place.
    let mut third = Agent::joins(rig, "east", 3, &[]).await;
    let _slave = serving(rig, hello(1)).await;
    third.sees(1).await;
}

#[tokio::test]
async fn a_host_is_fenced_as_a_whole_and_only_while_nothing_of_it_answers() {
    let mut rig = elsewhere(None);
    let fence = async |rig: &Rig, host: &str| {
        let (answer, answered) = oneshot::channel();
        let host = host.to_owned();
        let notice = Notice::FenceHost { host, answer };
        rig.notices.send(notice).await.unwrap();
        timeout(LONG, answered).await.unwrap().unwrap()
    };
    let mut east = Agent::joins(&rig, "east", 1, &[]).await;
    let slave = serving(&mut rig, hello(1)).await;
    east.sees(1).await;
    let unknown = fence(&rig, "north").await.unwrap_err();
    assert!(unknown.contains("known are: east"), "{unknown}");
    let refused = fence(&rig, "east").await.unwrap_err();
    assert!(
        refused.contains("is connected: the host is not gone"),
        "{refused}"
    );
    drop(east);
    rig.until(|view| !is_here(view)).await;
    let refused = fence(&rig, "east").await.unwrap_err();
    assert!(refused.contains("is connected and answers"), "{refused}");
    drop(slave);
    rig.until(|view| !view.slaves[0].connected).await;
    assert_eq!(fence(&rig, "east").await, Ok(vec![SlaveId(1)]));
    assert!(rig.look().await.slaves.is_empty());
    let mut evidence = None;
    while let Ok(told) = rig.news.try_recv() {
        if let News::SlaveGone {
            dead: Some(dead), ..
        } = told.news
        {
            evidence = Some(dead);
        }
    }
    assert_eq!(evidence, Some(Evidence::Operator));
}

#[tokio::test]
async fn an_agent_is_told_how_a_slave_of_its_host_stands_and_nothing_of_others() {
    let mut rig = elsewhere(None);
    let mut east = Agent::joins(&rig, "east", 1, &[]).await;
    let mut west = Agent::joins(&rig, "west", 2, &[]).await;
    let _slave = serving(&mut rig, hello(1)).await;
    east.sees(1).await;
    let slave = SlaveId(1);
    let mut told = Vec::new();
    for agent in [&mut east, &mut west] {
        agent.says(FromAgent::Ask(OfSlave { slave })).await;
        let ToAgent::Stands(stands) = agent.hears().await else {
            panic!("it was to be told");
        };
        assert_eq!(stands.slave, slave);
        told.push((stands.owner, stands.deploying, stands.shards > 0));
    }
    assert_eq!(told, [(true, false, true), (false, false, false)]);
}

#[tokio::test]
async fn a_host_on_which_nothing_depends_is_forgotten_with_its_agent() {
    let mut rig = elsewhere(None);
    let west = Agent::joins(&rig, "west", 1, &[]).await;
    rig.until(|view| view.hosts.len() == 2).await;
    drop(west);
    rig.until(|view| view.hosts.len() == 1).await;
    assert_eq!(rig.look().await.hosts[0].host, "east", "a slot names it");
}

#[tokio::test]
async fn a_slot_that_is_added_for_a_host_whose_agent_is_here_is_filled() {
    let rig = elsewhere(Some("bot"));
    let mut west = Agent::joins(&rig, "west", 1, &[]).await;
    let parts = [("main", "east", 0), ("rest", "west", 1)];
    let settings = parts.map(|(name, host, shard)| SlotSettings {
        name: name.to_owned(),
        shards: Some(Members::range(shard, shard)),
        launches: true,
        host: Some(host.to_owned()),
        lease: None,
    });
    let slots = parts.map(|(name, host, _)| Slot {
        name: name.to_owned(),
        command: Some(vec!["bot".to_owned()]),
        shards: None,
        host: Some(host.to_owned()),
        lease: None,
        env: BTreeMap::new(),
        log: None,
        listen: None,
    });
    let (answer, answered) = oneshot::channel();
    let notice = Notice::Slots {
        settings: settings.to_vec(),
        slots: slots.to_vec(),
        answer,
    };
    rig.notices.send(notice).await.unwrap();
    assert_eq!(timeout(LONG, answered).await.unwrap().unwrap(), Ok(()));
    west.is_to_launch().await;
}

#[tokio::test]
async fn a_leader_that_may_lead_no_more_lets_its_slaves_go_and_its_agents_too() {
    let mut rig = elsewhere(None);
    let mut agent = Agent::joins(&rig, "east", 1, &[]).await;
    let (_child, process) = process();
    let mut slave = serving(
        &mut rig,
        Hello {
            process,
            ..hello(1)
        },
    )
    .await;
    rig.notices.send(Notice::LetGo).await.unwrap();
    slave.end().await;
    while let Ok(Some(_)) = timeout(LONG, agent.0.recv()).await.unwrap() {}
}
