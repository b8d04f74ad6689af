//! What is said by IRC, with a desk that answers as it is told.

use super::*;
use crate::outbox::Outcome;

/// A speech, and where its utterances come.
struct Scene {
    _folder: tempfile::TempDir,
    speech: Speech,
    utterances: mpsc::Receiver<Utterance>,
}

impl Scene {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let speaks = Speaks {
            account: "bot".parse().unwrap(),
            helix: None,
            by: By::Irc,
        };
        let (says, utterances) = mpsc::channel(1);
        let path = folder.path().join("outbox");
        let (office, standings) = (Office::new(), Standings::default());
        let speech = Speech::open(path, speaks, office, standings, says).await;
        let speech = speech.unwrap();
        tokio::spawn(speech.clone().run(CancellationToken::new(), Ids::default()));
        Self {
            _folder: folder,
            speech,
            utterances,
        }
    }

    async fn put(&self, id: &str, channel: &str) {
        let message = Message {
            id: id.to_owned(),
            account: "bot".parse().unwrap(),
            channel: channel.parse().unwrap(),
            text: "hello".to_owned(),
            reply_to: None,
            ttl: Some(Duration::from_secs(600)),
            by: By::Irc,
        };
        assert_eq!(self.speech.put(message).await, Ok(Put::Taken));
    }

    async fn uttered(&mut self) -> Utterance {
        let uttered = timeout(Duration::from_secs(60), self.utterances.recv()).await;
        uttered.expect("something is said").unwrap()
    }

    /// How a message ended.
    async fn ended(&self, id: &str) -> Outcome {
        loop {
            let fates = self.speech.fates(vec![id.to_owned()]).await.unwrap();
            if let Some(Fate::Ended(outcome)) = fates.into_iter().flatten().next() {
                return outcome;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

const SENT: Outcome = Outcome::Sent { message_id: None };

#[tokio::test(start_paused = true)]
async fn what_a_unit_has_written_is_sent() {
    let mut scene = Scene::start().await;
    scene.put("a", "one").await;
    let uttered = scene.uttered().await;
    assert_eq!(uttered.message.id, "a");
    uttered.came.send(Spoken::Came(Came::Written)).unwrap();
    assert_eq!(scene.ended("a").await, SENT);
}

#[tokio::test(start_paused = true)]
async fn what_a_unit_does_not_answer_is_unknown_and_never_said_again() {
    let mut scene = Scene::start().await;
    scene.put("a", "one").await;
    let uttered = scene.uttered().await;
    assert_eq!(scene.ended("a").await, Outcome::Unknown);
    scene.put("b", "one").await;
    let next = scene.uttered().await;
    assert_eq!(next.message.id, "b");
    // Its answer comes late, and is the truth.
    scene.speech.late(uttered.lease, Came::Written).await;
    assert_eq!(scene.ended("a").await, SENT);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_in_the_middle_leaves_it_unknown() {
    let mut scene = Scene::start().await;
    scene.put("a", "one").await;
    let uttered = scene.uttered().await;
    uttered.came.send(Spoken::Came(Came::Unknown)).unwrap();
    assert_eq!(scene.ended("a").await, Outcome::Unknown);
}

#[tokio::test(start_paused = true)]
async fn what_certainly_was_not_written_waits_and_holds_up_its_own_channel_alone() {
    let mut scene = Scene::start().await;
    scene.put("a", "one").await;
    scene.put("b", "two").await;
    let not = || Spoken::Came(Came::Not("it is being joined".to_owned()));
    let uttered = scene.uttered().await;
    assert_eq!(uttered.message.id, "a");
    uttered.came.send(not()).unwrap();
    let uttered = scene.uttered().await;
    assert_eq!(uttered.message.id, "b");
    uttered.came.send(Spoken::Came(Came::Written)).unwrap();
    assert_eq!(scene.ended("b").await, SENT);
    let uttered = scene.uttered().await;
    assert_eq!(uttered.message.id, "a");
    uttered.came.send(Spoken::Came(Came::Written)).unwrap();
    assert_eq!(scene.ended("a").await, SENT);
}

#[tokio::test(start_paused = true)]
async fn where_nobody_can_say_it_it_is_refused_with_the_reason() {
    let mut scene = Scene::start().await;
    scene.put("a", "one").await;
    let uttered = scene.uttered().await;
    let refused = Spoken::Refused("the bot is not in one: have it join first".to_owned());
    uttered.came.send(refused).unwrap();
    let Outcome::Refused { why, .. } = scene.ended("a").await else {
        panic!("it is refused");
    };
    assert!(why.contains("have it join"), "{why}");
}
