//! A unit of a conduit with the simulated Twitch, in memory and in stepped time.

use std::sync::atomic::{AtomicBool, Ordering};

use baton_protocol::ShardId;
use baton_slave::unit::Rehearsal;
use tokio::time::{interval, timeout};
use twitch_mock::{Config, Fault, FaultName, Kind, Twitch};

use super::*;
use crate::helix::{Condition, PERMIT, tests as plays};

const SECOND: Duration = Duration::from_secs(1);

/// One process with one unit, a master that gives leave or is away, and Twitch.
struct Scene {
    twitch: Arc<Twitch>,
    has_master: Arc<AtomicBool>,
    transport: Conduits,
    link: Link,
}

impl Scene {
    /// The unit has its session, and not its shard.
    async fn start() -> Self {
        let config = Config {
            channels: 1,
            ..Config::default()
        };
        let twitch = Arc::new(Twitch::without_network(config).unwrap());
        let helix = plays::of(&twitch);
        let conduit = helix.create_conduit(1).await.unwrap().id;
        let condition: Condition = [("broadcaster_user_id", "100001"), ("user_id", "1")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        let chat = helix.subscribe(&conduit, "channel.chat.message", "1", &condition);
        chat.await.unwrap();
        Self::of(twitch, &conduit)
    }

    fn of(twitch: Arc<Twitch>, conduit: &str) -> Self {
        let office = Office::new();
        let has_master = Arc::new(AtomicBool::new(true));
        {
            let (office, has_master) = (office.clone(), Arc::clone(&has_master));
            tokio::spawn(async move {
                let mut looks = interval(SECOND / 10);
                loop {
                    looks.tick().await;
                    if has_master.load(Ordering::SeqCst) {
                        Rehearsal::leases(&office, PERMIT, 10);
                    }
                }
            });
        }
        let opens: Opens = {
            let twitch = Arc::clone(&twitch);
            Arc::new(move || {
                let twitch = Arc::clone(&twitch);
                Box::pin(async move { Stream::over(&twitch).await })
            })
        };
        let transport = Conduits::of(plays::of(&twitch), conduit, opens, office);
        let link = transport.open(Opened {
            unit: ShardId(0),
            units: 1,
            channels: None,
        });
        Self {
            twitch,
            has_master,
            transport,
            link,
        }
    }

    async fn live() -> Self {
        let mut scene = Self::start().await;
        scene.is(|item| matches!(item, Item::Ready)).await;
        scene.link.tell(Order::Take);
        scene.is(|item| matches!(item, Item::Live)).await;
        scene
    }

    fn master(&self, is_there: bool) {
        self.has_master.store(is_there, Ordering::SeqCst);
    }

    fn happens(&self, fault: Fault) {
        self.twitch.fault(fault).unwrap();
    }

    fn says(&self, text: &str) {
        let said = self
            .twitch
            .happen(Kind::Message, "channel1", "viewer", text);
        said.unwrap();
    }

    async fn next(&mut self, within: Duration) -> Item {
        let item = timeout(within, self.link.next()).await;
        item.expect("something comes")
    }

    async fn is(&mut self, wanted: impl Fn(&Item) -> bool) {
        let item = self.next(100 * SECOND).await;
        assert!(wanted(&item), "{item:?}");
    }

    /// This is the next that is heard, within two seconds.
    async fn hears(&mut self, text: &str) {
        let item = self.next(2 * SECOND).await;
        let Item::Event(event) = item else {
            panic!("{text}: {item:?}");
        };
        assert!(event.text.contains(text), "{text}: {}", event.text);
    }

    /// It ends: why, and whether for good.
    async fn ended(&mut self) -> (String, bool) {
        match self.next(100 * SECOND).await {
            Item::Ended { why, fatal } => (why, fatal),
            item => panic!("{item:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_unit_of_a_conduit_hears_on_while_there_is_no_master() {
    let mut scene = Scene::live().await;
    scene.master(false);
    for number in 0..30 {
        sleep(20 * SECOND).await;
        let text = format!("message-{number}");
        scene.says(&text);
        scene.hears(&text).await;
    }
    // What the work says of the conduit is read, too.
    let letter = serde_json::to_vec(&ToUnit::Are(1)).unwrap();
    scene.link.tell(Order::Letter(letter.into()));
    let tell = serde_json::to_vec(&ToUnit::Tell).unwrap();
    scene.link.tell(Order::Letter(tell.into()));
    scene.is(|item| matches!(item, Item::Letter(_))).await;
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_comes_back_to_its_session_hears_while_leave_for_that_is_waited_for() {
    let mut scene = Scene::live().await;
    scene.master(false);
    scene.link.tell(Order::Take);
    for number in 0..10 {
        sleep(20 * SECOND).await;
        let text = format!("message-{number}");
        scene.says(&text);
        scene.hears(&text).await;
    }
    scene.master(true);
    scene.is(|item| matches!(item, Item::Live)).await;
    assert_eq!(scene.twitch.counters().shards_set, 2);
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_gets_leave_late_gives_its_shard_to_a_session_that_is_open() {
    let mut scene = Scene::start().await;
    scene.is(|item| matches!(item, Item::Ready)).await;
    scene.master(false);
    scene.link.tell(Order::Take);
    sleep(63 * SECOND).await;
    scene.master(true);
    let begun = Instant::now();
    scene.is(|item| matches!(item, Item::Live)).await;
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
    scene.says("hello");
    scene.hears("hello").await;
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_to_take_a_unit_over_has_a_session_at_any_time() {
    let mut scene = Scene::start().await;
    scene.is(|item| matches!(item, Item::Ready)).await;
    sleep(127 * SECOND).await;
    scene.link.tell(Order::Take);
    scene.is(|item| matches!(item, Item::Live)).await;
    scene.says("hello");
    scene.hears("hello").await;
}

#[tokio::test(start_paused = true)]
async fn each_close_of_twitch_ends_the_connection_with_its_code_and_not_for_good() {
    for code in 4000..=4007 {
        let mut scene = Scene::live().await;
        scene.happens(Fault {
            code: Some(code),
            ..Fault::new(FaultName::SessionClose)
        });
        let (why, fatal) = scene.ended().await;
        assert!(why.contains(&code.to_string()) && !fatal, "{code}: {why}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_cannot_be_had_now_is_tried_again_and_one_that_never_can_is_not() {
    for (code, is_fatal, waits) in [
        (403, true, 0),
        (404, true, 0),
        (429, false, 1),
        (500, false, 0),
        (503, false, 0),
    ] {
        let mut scene = Scene::start().await;
        scene.is(|item| matches!(item, Item::Ready)).await;
        scene.happens(Fault {
            code: Some(code),
            request: Some("PATCH /helix/eventsub/conduits/shards".to_owned()),
            ..Fault::new(FaultName::HelixStatus)
        });
        let begun = Instant::now();
        scene.link.tell(Order::Take);
        let (why, fatal) = scene.ended().await;
        assert_eq!(fatal, is_fatal, "{code}: {why}");
        assert!(begun.elapsed() >= waits * SECOND, "{code}");
    }
    let mut scene = Scene::start().await;
    scene.is(|item| matches!(item, Item::Ready)).await;
    scene.happens(Fault::new(FaultName::ShardError));
    scene.link.tell(Order::Take);
    let (why, fatal) = scene.ended().await;
    assert!(why.contains("shard 0") && !fatal, "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_conduit_that_is_none_is_said_and_final() {
    let twitch = Arc::new(Twitch::without_network(Config::default()).unwrap());
    let mut scene = Scene::of(twitch, "no-such-conduit");
    let (why, fatal) = scene.ended().await;
    assert!(why.contains("no such conduit") && fatal, "{why}");
    assert_eq!(scene.transport.cut(), Cut::One);
}
