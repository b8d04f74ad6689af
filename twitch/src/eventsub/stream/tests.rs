//! A stream on the simulated Twitch, in memory and in stepped time.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use twitch_mock::{Config, Fault, FaultName, Kind, Reply, Request, Twitch};

use super::*;

/// In stepped time.
const PATIENCE_OF_TEST: Duration = Duration::from_secs(300);

/// A shard of a conduit that hears the chat of one channel.
struct Scene {
    twitch: Arc<Twitch>,
    token: String,
    conduit: String,
    stream: Stream,
    /// So many of the next sessions cannot be opened.
    refused: Arc<AtomicU32>,
    /// So many were opened.
    opened: Arc<AtomicU32>,
    /// The Welcome of the next sessions takes so many seconds.
    late: Arc<AtomicU32>,
}

/// Where a session is opened that Twitch names by this address.
fn path(url: &str) -> String {
    let query = url.split_once('?').expect("it names the session").1;
    format!("/ws?{query}")
}

impl Scene {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            channels: 1,
            ..Config::default()
        };
        change(&mut config);
        let twitch = Arc::new(Twitch::without_network(config).unwrap());
        let (refused, opened) = (Arc::<AtomicU32>::default(), Arc::<AtomicU32>::default());
        let late = Arc::<AtomicU32>::default();
        let opens: Opens = {
            let shared = (
                Arc::clone(&twitch),
                Arc::clone(&refused),
                Arc::clone(&opened),
                Arc::clone(&late),
            );
            Arc::new(move |url| {
                let (twitch, refused, opened, late) = shared.clone();
                Box::pin(async move {
                    let left = |left: u32| left.checked_sub(1);
                    if refused
                        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, left)
                        .is_ok()
                    {
                        return Err(Error::Unreachable("refused by the test".to_owned()));
                    }
                    let session = Session::over(twitch.eventsub(), &path(&url)).await?;
                    sleep(Duration::from_secs(late.load(Ordering::SeqCst).into())).await;
                    opened.fetch_add(1, Ordering::SeqCst);
                    Ok(session)
                })
            })
        };
        let first = Session::over(twitch.eventsub(), "/ws").await.unwrap();
        let mut scene = Self {
            token: String::new(),
            conduit: String::new(),
            stream: Stream::of(first, opens),
            twitch,
            refused,
            opened,
            late,
        };
        scene.sets_up();
        scene
    }

    fn sets_up(&mut self) {
        let reply = self.twitch.helix(&Request {
            method: "POST".to_owned(),
            path: "/oauth2/token".to_owned(),
            body: "client_id=client&client_secret=secret&grant_type=client_credentials".to_owned(),
            ..Request::default()
        });
        self.token = reply.body["access_token"].as_str().unwrap().to_owned();
        let made = self.asks(
            "POST",
            "/helix/eventsub/conduits",
            &json!({ "shard_count": 1 }),
        );
        self.conduit = made.body["data"][0]["id"].as_str().unwrap().to_owned();
        let session = self.stream.id();
        self.asks(
            "PATCH",
            "/helix/eventsub/conduits/shards",
            &json!({
                "conduit_id": self.conduit,
                "shards": [{ "id": "0", "transport": { "method": "websocket", "session_id": session } }],
            }),
        );
        self.asks(
            "POST",
            "/helix/eventsub/subscriptions",
            &json!({
                "type": "channel.chat.message",
                "version": "1",
                "condition": { "broadcaster_user_id": "100001", "user_id": "1" },
                "transport": { "method": "conduit", "conduit_id": self.conduit },
            }),
        );
    }

    fn asks(&self, method: &str, target: &str, body: &Value) -> Reply {
        let reply = self
            .twitch
            .helix(&Request::new(method, target, &self.token, body));
        assert!((200..300).contains(&reply.status), "{reply:?}");
        reply
    }

    fn says(&self, text: &str) {
        let said = self
            .twitch
            .happen(Kind::Message, "channel1", "somebody", text);
        said.unwrap();
    }

    fn happens(&self, fault: Fault) {
        self.twitch.fault(fault).unwrap();
    }

    /// What comes on the session of now is so much later from now on.
    fn delays(&self, duration_ms: u64) {
        self.happens(Fault {
            duration_ms,
            ..Fault::new(FaultName::SessionDelay)
        });
    }

    /// The text of the next message, or why it ended.
    async fn heard(&mut self) -> Result<String, String> {
        let heard = timeout(PATIENCE_OF_TEST, self.stream.next()).await;
        match heard.expect("something is heard") {
            Incoming::Event(event) => {
                let whole: Value = serde_json::from_str(&event.text).unwrap();
                let text = &whole["payload"]["event"]["message"]["text"];
                Ok(text.as_str().unwrap_or_default().to_owned())
            }
            Incoming::Ended { why, .. } => Err(why),
            Incoming::Revoked(revoked) => Err(revoked.status),
        }
    }

    /// Nothing is heard for so long, while it is listened to.
    async fn is_quiet(&mut self, span: Duration) {
        let heard = timeout(span, self.stream.next()).await;
        assert!(heard.is_err(), "{heard:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_next_session_that_cannot_be_opened_at_first_is_tried_again_and_nothing_is_missed() {
    let mut scene = Scene::start().await;
    scene.refused.store(5, Ordering::SeqCst);
    scene.happens(Fault::new(FaultName::SessionReconnect));
    for number in 0..20 {
        scene.says(&number.to_string());
        assert_eq!(scene.heard().await, Ok(number.to_string()));
        scene.is_quiet(Duration::from_millis(700)).await;
    }
    assert_eq!(
        scene.opened.load(Ordering::SeqCst),
        1,
        "the next one serves"
    );
    scene.is_quiet(Duration::from_secs(40)).await;
    scene.says("later");
    assert_eq!(scene.heard().await, Ok("later".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn without_a_next_session_the_one_before_is_read_until_twitch_ends_it() {
    let mut scene = Scene::start().await;
    scene.refused.store(u32::MAX, Ordering::SeqCst);
    scene.happens(Fault::new(FaultName::SessionReconnect));
    scene.is_quiet(Duration::from_secs(28)).await;
    scene.says("late");
    assert_eq!(scene.heard().await, Ok("late".to_owned()));
    assert!(scene.heard().await.is_err(), "Twitch closes it after 30 s");
}

#[tokio::test(start_paused = true)]
async fn two_reconnects_soon_after_one_another_miss_and_repeat_nothing() {
    let mut scene = Scene::start().await;
    scene.happens(Fault::new(FaultName::SessionReconnect));
    scene.says("a");
    assert_eq!(scene.heard().await, Ok("a".to_owned()));
    scene.is_quiet(Duration::from_millis(900)).await;
    assert_eq!(scene.opened.load(Ordering::SeqCst), 1);
    scene.says("b");
    scene.happens(Fault::new(FaultName::SessionReconnect));
    scene.says("c");
    let mut heard = vec![scene.heard().await, scene.heard().await];
    heard.sort();
    assert_eq!(heard, [Ok("b".to_owned()), Ok("c".to_owned())]);
    scene.is_quiet(Duration::from_secs(5)).await;
    assert_eq!(scene.opened.load(Ordering::SeqCst), 2);
    scene.says("d");
    assert_eq!(scene.heard().await, Ok("d".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_says_nothing_has_ended_whether_its_connection_is_there_or_not() {
    for fault in [FaultName::SessionSilence, FaultName::SessionHalfOpen] {
        let mut scene = Scene::start().await;
        scene.happens(Fault {
            duration_ms: 600_000,
            ..Fault::new(fault)
        });
        let why = scene.heard().await.unwrap_err();
        assert!(why.contains("said nothing"), "{fault:?}: {why}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_closed_or_cut_has_ended() {
    for fault in [FaultName::SessionClose, FaultName::SessionReset] {
        let mut scene = Scene::start().await;
        scene.happens(Fault {
            code: (fault == FaultName::SessionClose).then_some(4005),
            ..Fault::new(fault)
        });
        assert!(scene.heard().await.is_err(), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_late_on_each_of_several_sessions_before_is_heard_at_once() {
    let mut scene = Scene::start().await;
    scene.happens(Fault::new(FaultName::SessionReconnect));
    scene.is_quiet(Duration::from_secs(3)).await;
    // On its way to the second session while the third one is opened.
    scene.happens(Fault::new(FaultName::SessionReconnect));
    scene.delays(4_000);
    scene.says("late");
    scene.is_quiet(Duration::from_millis(3_500)).await;
    let begun = Instant::now();
    assert_eq!(scene.heard().await, Ok("late".to_owned()));
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    scene.is_quiet(Duration::from_secs(60)).await;
    scene.says("later");
    assert_eq!(scene.heard().await, Ok("later".to_owned()));
    assert_eq!(scene.opened.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_reconnect_that_is_said_again_leaves_the_next_session_that_twitch_has_taken() {
    let mut scene = Scene::start().await;
    scene.late.store(3, Ordering::SeqCst);
    scene.happens(Fault::new(FaultName::SessionReconnect));
    // It comes a second later, when Twitch has given the session to the next socket.
    scene.delays(1_000);
    scene.happens(Fault::new(FaultName::SessionReconnect));
    scene.is_quiet(Duration::from_secs(4)).await;
    for number in 0..60 {
        scene.says(&number.to_string());
        assert_eq!(scene.heard().await, Ok(number.to_string()));
        scene.is_quiet(Duration::from_millis(900)).await;
    }
    assert_eq!(scene.opened.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_next_session_whose_welcome_never_comes_is_tried_again() {
    let mut scene = Scene::start().await;
    scene.refused.store(2, Ordering::SeqCst);
    scene.late.store(2, Ordering::SeqCst);
    scene.happens(Fault::new(FaultName::SessionReconnect));
    for number in 0..40 {
        scene.says(&number.to_string());
        assert_eq!(scene.heard().await, Ok(number.to_string()));
        scene.is_quiet(Duration::from_millis(900)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_sent_again_is_handed_on_once_for_a_minute_in_quiet_times_too() {
    let config = |config: &mut Config| config.eventsub.resend_every = 1;
    let mut scene = Scene::with(config).await;
    for number in 0..5 {
        scene.says(&number.to_string());
        assert_eq!(scene.heard().await, Ok(number.to_string()));
        scene.is_quiet(Duration::from_secs(90)).await;
    }
}
