//! An agent that starts one slave by itself.

use baton_protocol::message::agent::Stands;

use super::*;

/// Its slave writes down as what it came, and then does this.
fn writing(dir: &Path, then: &str) -> String {
    format!(
        "echo $BATON_ROLE $BATON_SLOT $BATON_HOST >>{}/came; {then}",
        dir.display()
    )
}

/// As what the slaves came, one after another.
fn came(dir: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join("came")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

impl Linked {
    /// Its slave was started, and comes to the master.
    async fn meets(&mut self, slave: u128) -> Launched {
        let launched = self.launched().await;
        let FromAgent::Watched(watched) = self.watches(slave, &launched.process).await else {
            panic!("it lives");
        };
        assert_eq!(watched.sight, Sight::Watched);
        launched
    }

    /// Its question is answered.
    async fn stands(&mut self, owner: bool, deploying: bool, serving: u32) {
        let FromAgent::Ask(of) = self.hears().await else {
            panic!("it was to ask");
        };
        let slave = of.slave;
        let stands = Stands {
            slave,
            owner,
            deploying,
            shards: 4,
            serving,
        };
        self.says(ToAgent::Stands(stands)).await;
        self.pings().await;
    }

    async fn notes(&mut self) -> Ended {
        let ended = self.ended().await;
        let launch = ended.launch;
        self.says(ToAgent::Noted(OfLaunch { launch })).await;
        ended
    }
}

/// Until the agent has written down what it knows.
async fn written(dir: &Path, is: impl Fn(&str) -> bool) {
    let file = dir.join("agent.json");
    until(|| std::fs::read_to_string(&file).is_ok_and(|text| is(&text))).await;
}

async fn until(is: impl Fn() -> bool) {
    let wait = async {
        while !is() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, wait).await.unwrap();
}

async fn code(running: AbortOnDropHandle<u8>) -> u8 {
    timeout(LONG, running).await.unwrap().unwrap()
}

#[tokio::test]
async fn it_ends_with_its_slave_and_the_next_one_takes_its_place_instead_of_beginning_a_deploy() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::new(dir.path());
    let script = writing(dir.path(), "exec sleep 60");
    let running = agent_of(dir.path(), &master.secret, Some(&script));
    let mut link = master.accepts().await;
    link.meets(5).await;
    until(|| came(dir.path()).len() == 1).await;
    link.says(ToAgent::Kill(OfSlave { slave: SlaveId(5) }))
        .await;
    assert_eq!(link.notes_in_the_end().await.signal, Some(9));
    assert_eq!(code(running).await, 128 + 9);
    drop(link);

    let script = writing(dir.path(), "exit 7");
    let running = agent_of(dir.path(), &master.secret, Some(&script));
    let mut link = master.accepts().await;
    assert!(link.launches.is_empty());
    link.launched().await;
    assert_eq!(link.notes().await.code, Some(7));
    assert_eq!(code(running).await, 7);
    assert_eq!(
        came(dir.path()),
        ["candidate main east", "relaunch main east"]
    );
}

#[tokio::test]
async fn a_slave_that_found_the_master_busy_comes_again_as_what_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::new(dir.path());
    let script = writing(dir.path(), "sleep 0.2; exit 75");
    let _running = agent_of(dir.path(), &master.secret, Some(&script));
    let mut link = master.accepts().await;
    link.meets(5).await;
    assert_eq!(link.notes_in_the_end().await.code, Some(75));
    link.launched().await;
    assert_eq!(came(dir.path()).last().unwrap(), "candidate main east");
}

#[tokio::test]
async fn nothing_is_started_before_a_master_knows_how_the_slave_before_ended() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::new(dir.path());
    let script = writing(dir.path(), "exit 3");
    let running = agent_of(dir.path(), &master.secret, Some(&script));
    let mut link = master.accepts().await;
    link.launched().await;
    let ended = link.ended().await;
    written(dir.path(), |text| text.contains("\"ended\"")).await;
    // Killed before that was noted.
    drop((running, link));
    let running = agent_of(dir.path(), &master.secret, Some(&script));
    let mut link = master.accepts().await;
    assert_eq!(link.ended().await.launch, ended.launch);
    link.pings().await;
    assert_eq!(came(dir.path()).len(), 1);
    let launch = ended.launch;
    link.says(ToAgent::Noted(OfLaunch { launch })).await;
    link.launched().await;
    link.notes().await;
    assert_eq!(code(running).await, 3);
}

#[tokio::test]
async fn an_agent_that_comes_after_one_that_was_killed_alone_is_the_parent_of_its_slave() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::new(dir.path());
    let script = writing(dir.path(), "exec sleep 60");
    let running = agent_of(dir.path(), &master.secret, Some(&script));
    let mut link = master.accepts().await;
    let launched = link.meets(5).await;
    let pid = format!("\"pid\":{}", launched.process.pid);
    written(dir.path(), |text| {
        text.contains(&pid) && text.contains("came")
    })
    .await;
    until(|| came(dir.path()).len() == 1).await;
    drop((running, link));
    let running = agent_of(dir.path(), &master.secret, Some(&script));
    let mut link = master.accepts().await;
    link.watches(5, &launched.process).await;
    link.says(ToAgent::Kill(OfSlave { slave: SlaveId(5) }))
        .await;
    link.notes_in_the_end().await;
    // Nobody of this agent is its parent, so only that it ended is known.
    assert_eq!(code(running).await, 1);
    assert_eq!(came(dir.path()).len(), 1);
}

#[tokio::test]
async fn it_is_ready_when_its_slave_has_served_everything_and_no_deploy_can_take_that_back() {
    let dir = tempfile::tempdir().unwrap();
    let master = Master::new(dir.path());
    let running = agent_of(dir.path(), &master.secret, Some("exec sleep 60"));
    let is = async || {
        let status = ask(dir.path()).await.unwrap();
        (status.ready, status.why)
    };
    assert_eq!(
        is().await,
        (false, "no master accepted this agent yet".to_owned())
    );
    let mut link = master.accepts().await;
    let launched = link.launched().await;
    assert_eq!(
        is().await,
        (false, "no master accepted its slave yet".to_owned())
    );
    link.watches(5, &launched.process).await;
    let deploys = "a deploy of slot \"main\" is not committed yet";
    let others = "another slave fills slot \"main\", or none does";
    for (owner, deploying, serving, why) in [
        (false, true, 4, deploys),
        (true, true, 4, deploys),
        (true, false, 3, "3 of 4 shards serve"),
        (true, false, 4, ""),
        // A shard reconnects, then the next build comes.
        (true, false, 3, ""),
        (true, true, 4, ""),
        (false, false, 0, others),
    ] {
        link.stands(owner, deploying, serving).await;
        assert_eq!(is().await, (why.is_empty(), why.to_owned()));
    }
    // Without a master it is as it was.
    link.stands(true, false, 4).await;
    drop(link);
    let _link = master.accepts().await;
    assert_eq!(is().await, (true, String::new()));
    drop(running);
    let why = ask(dir.path()).await.unwrap_err();
    assert!(why.contains("no agent answers"), "{why}");
}

impl Linked {
    /// Its slave ends, whatever else is told before.
    async fn notes_in_the_end(&mut self) -> Ended {
        loop {
            if let FromAgent::Ended(ended) = self.hears().await {
                let launch = ended.launch;
                self.says(ToAgent::Noted(OfLaunch { launch })).await;
                return *ended;
            }
        }
    }
}
