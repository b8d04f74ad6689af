//! A line, with a broker that does what a test says, in stepped time.

use std::{collections::VecDeque, sync::Mutex, time::Duration};

use baton_slave::{Epoch, Sequence, ShardId};
use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::*;
use crate::{dispatch::Dispatch, receipt::tests::Fate};

/// Answers as it is told, and confirms where it is told nothing.
struct Told {
    answers: Mutex<VecDeque<Result<Confirmed, Refused>>>,
    /// Sequence of what was published, whether it was marked, and after how long.
    came: Mutex<Vec<(u64, bool, u128)>>,
    began: Instant,
    takes: Duration,
    known_for: Duration,
}

impl Publish for Told {
    fn knows_repeats_for(&self) -> Duration {
        self.known_for
    }

    async fn publish(&self, message: Arc<Message>, may_repeat: bool) -> Result<Confirmed, Refused> {
        let after = self.began.elapsed().as_millis();
        let sequence = message.event.sequence.get();
        self.came
            .lock()
            .unwrap()
            .push((sequence, may_repeat, after));
        let answer = self.answers.lock().unwrap().pop_front();
        sleep(self.takes).await;
        answer.unwrap_or(Ok(Confirmed::Added))
    }
}

/// A line with this broker, and what its events leave behind.
struct Rig {
    told: Arc<Told>,
    inbox: Arc<Inbox<Waiting>>,
    health: Arc<Health>,
}

fn rig(answers: impl IntoIterator<Item = Result<Confirmed, Refused>>) -> Rig {
    let told = Arc::new(Told {
        answers: Mutex::new(answers.into_iter().collect()),
        came: Mutex::default(),
        began: Instant::now(),
        takes: Duration::from_millis(10),
        known_for: Duration::from_millis(250),
    });
    let inbox = Arc::new(Inbox::new());
    let health = Arc::new(Health::new("a test".to_owned()));
    let line = run(Arc::clone(&inbox), Arc::clone(&told), Arc::clone(&health));
    tokio::spawn(line);
    Rig {
        told,
        inbox,
        health,
    }
}

impl Rig {
    fn put(&self, guild: u64, sequence: u64) -> Fate {
        let event = Dispatch {
            shard: ShardId(0),
            shards: 1,
            epoch: Epoch(1),
            session: "00".to_owned(),
            sequence: Sequence(sequence),
            kind: "MESSAGE_CREATE".to_owned(),
            may_repeat: false,
            guild: Some(guild),
            payload: Bytes::new(),
        };
        let fate = Fate::default();
        self.health.takes();
        let message = Message { event, created: 0 };
        self.inbox.put(Waiting::new(message, fate.receipt()));
        fate
    }

    fn came(&self) -> Vec<(u64, bool, u128)> {
        self.told.came.lock().unwrap().clone()
    }
}

fn is_finished(fate: &Fate) -> bool {
    fate.is_finished()
}

fn refused(in_doubt: bool) -> Result<Confirmed, Refused> {
    let reason = "told to".to_owned();
    Err(Refused { in_doubt, reason })
}

#[tokio::test(start_paused = true)]
async fn an_event_is_finished_when_the_broker_has_confirmed_it_and_not_before() {
    let rig = rig([]);
    let (first, second, other) = (rig.put(1, 1), rig.put(1, 2), rig.put(2, 3));
    sleep(Duration::from_millis(5)).await;
    assert_eq!(rig.came(), [(1, false, 0), (3, false, 0)]);
    assert!(!is_finished(&first) && !is_finished(&other));
    sleep(Duration::from_millis(10)).await;
    assert!(is_finished(&first) && is_finished(&other));
    assert_eq!(rig.came().last(), Some(&(2, false, 10)));
    assert!(!is_finished(&second));
    sleep(Duration::from_millis(10)).await;
    assert!(is_finished(&second));
    let status = rig.health.status();
    assert_eq!(
        (status.confirmed, status.waiting, status.retries),
        (3, 0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_tried_again_later_and_later_and_its_guild_waits_for_it() {
    let rig = rig([refused(false), refused(false), refused(false)]);
    let (first, second) = (rig.put(1, 1), rig.put(1, 2));
    sleep(Duration::from_millis(5)).await;
    sleep(Duration::from_secs(2)).await;
    let came: Vec<_> = rig.came().iter().map(|(sequence, ..)| *sequence).collect();
    assert_eq!(came, [1, 1, 1, 1, 2]);
    let times: Vec<_> = rig.came().iter().map(|(_, _, at)| *at).collect();
    assert_eq!(times, [0, 110, 320, 730, 740]);
    assert!(is_finished(&first) && is_finished(&second));
    let status = rig.health.status();
    assert_eq!((status.retries, status.trouble), (3, None));
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_marked_where_an_answer_was_missing_for_longer_than_the_broker_knows_repeats() {
    let rig = rig([refused(false), refused(true), refused(false)]);
    let _kept = rig.put(1, 1);
    sleep(Duration::from_secs(2)).await;
    // Not taken for certain at 0, in doubt since 110; known until 360.
    let came = rig.came();
    let marks: Vec<_> = came.iter().map(|(_, marked, _)| *marked).collect();
    assert_eq!(marks, [false, false, false, true], "{came:?}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_back_gets_at_once_what_it_refused() {
    let rig = rig((0..8).map(|_| refused(false)));
    let kept = rig.put(1, 1);
    // The eighth refusal is at 6.4 s; the next try would be 5 s later.
    sleep(Duration::from_secs(7)).await;
    assert_eq!(rig.came().len(), 7);
    let trouble = rig.health.status().trouble;
    assert_eq!(trouble.map(|trouble| trouble.events), Some(1));
    rig.health.revive();
    sleep(Duration::from_millis(400)).await;
    assert!(is_finished(&kept), "{:?}", rig.came());
    assert_eq!(rig.health.status().trouble, None);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_leaves_waits_for_what_is_under_way_and_gives_back_what_was_never_sent() {
    let rig = rig([]);
    let [first, second, other] = [rig.put(1, 1), rig.put(1, 2), rig.put(2, 3)];
    sleep(Duration::from_millis(5)).await;
    rig.inbox.leave(Settling::detached());
    // The shard is back before it has left.
    let later = rig.put(1, 4);
    sleep(Duration::from_millis(2)).await;
    assert!(!second.is_given_back(), "the one before it is under way");
    sleep(Duration::from_millis(5)).await;
    assert!(is_finished(&first) && is_finished(&other));
    assert!(second.is_given_back());
    sleep(Duration::from_secs(1)).await;
    let came: Vec<_> = rig.came().iter().map(|(sequence, ..)| *sequence).collect();
    assert_eq!(came, [1, 3, 4]);
    assert!(is_finished(&later));
    assert_eq!(rig.health.status().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_doubt_when_the_ticket_waits_no_longer_is_published_here_and_not_given_back() {
    let rig = rig([refused(true), refused(false)]);
    let [doubted, behind] = [rig.put(1, 1), rig.put(1, 2)];
    sleep(Duration::from_millis(20)).await;
    // Nothing is under way, so nothing is waited for.
    rig.inbox.leave(Settling::detached());
    sleep(Duration::from_secs(1)).await;
    assert!(is_finished(&doubted) && is_finished(&behind));
    assert!(!doubted.is_given_back() && !behind.is_given_back());
    // A broker that does not answer.
    let slow = Rig {
        told: Arc::new(Told {
            answers: Mutex::default(),
            came: Mutex::default(),
            began: Instant::now(),
            takes: Duration::from_secs(5),
            known_for: Duration::ZERO,
        }),
        inbox: Arc::new(Inbox::new()),
        health: Arc::new(Health::new("a test".to_owned())),
    };
    let (inbox, told) = (Arc::clone(&slow.inbox), Arc::clone(&slow.told));
    tokio::spawn(run(inbox, told, Arc::clone(&slow.health)));
    let [doubted, behind] = [slow.put(1, 1), slow.put(2, 2)];
    sleep(Duration::from_millis(20)).await;
    slow.inbox.leave(Settling::detached());
    let unsent = slow.put(1, 3);
    sleep(Duration::from_secs(20)).await;
    for event in [&doubted, &behind, &unsent] {
        assert!(is_finished(event) && !event.is_given_back());
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_for_certain_is_given_back_and_is_no_trouble_any_more() {
    let rig = rig((0..8).map(|_| refused(false)));
    let events = [rig.put(1, 1), rig.put(1, 2), rig.put(2, 3)];
    sleep(Duration::from_millis(20)).await;
    assert!(rig.health.status().trouble.is_some());
    rig.inbox.leave(Settling::detached());
    sleep(Duration::from_millis(1)).await;
    assert!(events.iter().all(Fate::is_given_back));
    let status = rig.health.status();
    assert_eq!((status.trouble, status.waiting), (None, 0));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.came().len(), 2, "nothing is tried again");
}
