//! A Discord that says nothing where something is due.

use baton_protocol::message::ResumeAfter;
use tokio::time::timeout;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resume_url_that_is_dead_gives_way_to_the_plain_one() {
    let mut scene = scene().await;
    scene
        .discord
        .fault(Fault::new(FaultName::ResumeUrlDead).lasting(Duration::from_secs(60)))
        .unwrap();
    scene.survives(Fault::new(FaultName::Reset)).await;
    scene.peer.serving(0).await;
    scene.flows().await;
    scene.all_handled_once().await;
    assert_eq!(scene.discord.counters().total.resumes_at_plain_url, 1);
    assert_eq!(scene.discord.counters().total.identifies, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_that_never_comes_is_given_up_and_dialled_anew() {
    let mut scene = scene_with(
        |config| config.timings.hello = Duration::from_millis(300),
        Recorder::default(),
    )
    .await;
    scene.discord.fault(Fault::new(FaultName::NoHello)).unwrap();
    scene.survives(Fault::new(FaultName::Reset)).await;
    scene.peer.serving(0).await;
    scene.flows().await;
    scene.all_handled_once().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resumed_that_never_comes_holds_no_event_back_and_is_asked_for_again() {
    let mut scene = scene_with(
        // Of one RESUME only: the next is answered.
        |config| config.timings.replay = Duration::from_secs(3),
        Recorder::default(),
    )
    .await;
    scene
        .discord
        .fault(Fault::new(FaultName::NoResumed))
        .unwrap();
    scene.survives(Fault::new(FaultName::Reset)).await;
    scene.flows().await;
    scene.peer.serving(0).await;
    assert_eq!(scene.discord.counters().total.resumes, 2);
    scene.flows().await;
    scene.all_handled_once().await;
    assert_eq!(scene.discord.counters().total.identifies, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resumed_that_was_not_heard_is_no_hole_in_the_next_replay() {
    let mut scene = scene().await;
    // Nothing happens until it is said: traffic that was on would end a while later.
    scene.all_handled_once().await;
    let fault = |fault| scene.discord.fault(fault).unwrap();
    fault(Fault::new(FaultName::NoResumed));
    fault(Fault::new(FaultName::Reset));
    let resumes = || scene.discord.counters().total.resumes;
    until("a RESUME", || resumes() == 1).await;
    // What the next connection replays lies behind the RESUMED of this one.
    fault(Fault::new(FaultName::RefuseConnect).lasting(Duration::from_millis(300)));
    fault(Fault::new(FaultName::Reset));
    // On this one nothing may come behind what it missed.
    let lost = || logged(&scene.discord, What::Lost).len();
    until("the end of both", || lost() == 2).await;
    crate::common::traffic(&scene.discord, 500.0);
    scene.peer.serving(0).await;
    scene.flows().await;
    scene.all_handled_once().await;
    assert_eq!((resumes(), scene.slave.counts().await.holes), (2, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_ends_without_a_word_is_dialled_by_us_with_our_deadlines() {
    // Of one dial only: the others are answered.
    let (relay, mut scene) = relayed(|config| config.timings.hello = Duration::from_secs(3)).await;
    scene.discord.fault(Fault::new(FaultName::NoHello)).unwrap();
    relay.end_all();
    scene.peer.serving(0).await;
    scene.flows().await;
    scene.all_handled_once().await;
    let counts = scene.slave.counts().await;
    assert_eq!(counts.dials, 3, "the first, the one without HELLO, another");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_the_socket_does_not_take_is_not_sent_and_can_be_taken_back() {
    let (relay, mut scene) = relayed(|_| {}).await;
    let handle = scene.slave.bot.handle.lock().unwrap().clone().unwrap();
    let asks = |guild: &str| serde_json::json!({"op": 31, "d": {"guild_ids": [guild]}});
    let came = |scene: &Scene, guild: &str| {
        let commands = scene.discord.commands(0).into_iter();
        let of_it = commands.filter(|one| one.op == 31 && one.data.contains(guild));
        of_it.count()
    };
    handle.command(&asks("1001")).unwrap().sent().await.unwrap();
    until("it is there", || came(&scene, "1001") == 1).await;

    relay.stops(true);
    // More than a socket has room for. One that the shard did not come to yet is taken back.
    let written = async {
        loop {
            let large = handle.command(&asks(&"x".repeat(64 << 20))).unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            if !large.withdraw() {
                return large;
            }
        }
    };
    let large = timeout(LONG, written).await.expect("it is being written");
    let mut behind = handle.command(&asks("1002")).unwrap();
    let sent = timeout(Duration::from_millis(400), behind.sent()).await;
    assert!(sent.is_err(), "{sent:?}");
    assert!(!large.withdraw(), "it is being written");
    let ticket = scene.peer.seal(0, 1, LONG).await;
    assert!(behind.withdraw());
    relay.stops(false);
    scene.peer.resume(2, ResumeAfter::Seal, ticket).await;
    handle.command(&asks("1003")).unwrap().sent().await.unwrap();
    until("the next is there", || came(&scene, "1003") == 1).await;
    assert_eq!(came(&scene, "1002"), 0);
}

/// Events come to its shard through a relay.
async fn relayed(change: impl FnOnce(&mut baton_slave::SlaveConfig)) -> (Relay, Scene) {
    let relay = Relay::new().await;
    let between = |config: &mut baton_slave::SlaveConfig| {
        let target = config
            .gateway_url
            .replace(format!("ws://{}", relay.address));
        relay.lead_to(&target.unwrap());
        change(config);
    };
    let scene = scene_with(between, Recorder::default()).await;
    crate::common::traffic(&scene.discord, 500.0);
    scene.flows().await;
    (relay, scene)
}

/// Between a slave and Discord, to end TCP without a word of the websocket.
struct Relay {
    address: std::net::SocketAddr,
    target: Arc<Mutex<String>>,
    end: watch::Sender<()>,
    stopped: watch::Sender<bool>,
}

impl Relay {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Arc::new(Mutex::new(String::new()));
        let (end, ended) = watch::channel(());
        let (stopped, stops) = watch::channel(false);
        let known = target.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut ended = ended.clone();
                ended.mark_unchanged();
                let target = known.lock().unwrap().clone();
                let mut stops = stops.clone();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(target).await.unwrap();
                    loop {
                        tokio::select! {
                            _ = copy_bidirectional(&mut client, &mut server), if !*stops.borrow() => return,
                            _ = ended.changed() => return,
                            _ = stops.changed() => {}
                        }
                    }
                });
            }
        });
        Self {
            address,
            target,
            end,
            stopped,
        }
    }

    /// Takes nothing, and its connections stay.
    fn stops(&self, it_does: bool) {
        self.stopped.send(it_does).unwrap();
    }

    fn lead_to(&self, url: &str) {
        *self.target.lock().unwrap() = url.trim_start_matches("ws://").to_owned();
    }

    fn end_all(&self) {
        self.end.send(()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_heartbeat_ack_is_a_dead_connection_that_is_resumed() {
    let discord = discord(|config| config.heartbeat_interval = Duration::from_millis(200)).await;
    let master = FakeMaster::new(1).await;
    let _slave = run(config(&master, &discord), Recorder::default());
    let mut peer = master.accept().await;
    peer.start(&[0], 1, 1).await;
    discord
        .fault(Fault::new(FaultName::NoAck).lasting(Duration::from_secs(60)))
        .unwrap();
    peer.serving(0).await;
    assert_eq!(discord.counters().total.identifies, 1);
}
