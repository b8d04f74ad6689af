//! A line of a shard, with a broker that does what a test says, in stepped time.

use std::{sync::Mutex, time::Duration};

use baton_slave::{Epoch, Sequence, Settling, ShardId};
use bytes::Bytes;
use tokio::time::sleep;

use super::*;
use crate::{dispatch::Dispatch, receipt::tests::Fate};

/// Answers as it is told, and takes everything where it is told nothing.
#[derive(Default)]
struct Told {
    answers: Mutex<VecDeque<Result<Answer, Refused>>>,
    /// The sequences of each batch, and what came before them.
    came: Mutex<Vec<(Vec<u64>, u64)>>,
}

impl PublishInOrder for Told {
    async fn publish(&self, batch: &[Arc<Message>], before: u64) -> Result<Answer, Refused> {
        let sequences = batch.iter().map(|message| message.event.sequence.get());
        self.came
            .lock()
            .unwrap()
            .push((sequences.collect(), before));
        sleep(Duration::from_millis(10)).await;
        let answer = self.answers.lock().unwrap().pop_front();
        answer.unwrap_or_else(|| taken(batch.len(), Ended::Done))
    }
}

fn taken(taken: usize, ended: Ended) -> Result<Answer, Refused> {
    Ok(Answer {
        taken,
        repeats: 0,
        ended,
    })
}

fn away() -> Result<Answer, Refused> {
    Err(Refused {
        in_doubt: true,
        reason: "away".to_owned(),
    })
}

/// A line with this broker.
struct Rig {
    told: Arc<Told>,
    inbox: Arc<Inbox<Waiting>>,
    health: Arc<Health>,
}

impl Rig {
    fn new(answers: impl IntoIterator<Item = Result<Answer, Refused>>) -> Self {
        let told = Arc::new(Told::default());
        told.answers.lock().unwrap().extend(answers);
        let rig = Self {
            told,
            inbox: Arc::new(Inbox::new()),
            health: Arc::new(Health::new("a test".to_owned())),
        };
        let (inbox, told) = (Arc::clone(&rig.inbox), Arc::clone(&rig.told));
        tokio::spawn(run(inbox, told, Arc::clone(&rig.health)));
        rig
    }

    fn put(&self, epoch: u64, session: &str, sequence: u64) -> Fate {
        let event = Dispatch {
            shard: ShardId(0),
            shards: 1,
            epoch: Epoch(epoch),
            session: session.to_owned(),
            sequence: Sequence(sequence),
            kind: "MESSAGE_CREATE".to_owned(),
            may_repeat: false,
            guild: Some(sequence),
            payload: Bytes::new(),
        };
        let fate = Fate::default();
        self.health.takes();
        let message = Message { event, created: 0 };
        self.inbox.put(Waiting::new(message, fate.receipt()));
        fate
    }

    fn came(&self) -> Vec<(Vec<u64>, u64)> {
        self.told.came.lock().unwrap().clone()
    }
}

fn finished(fates: &[Fate]) -> Vec<bool> {
    fates.iter().map(Fate::is_finished).collect()
}

#[tokio::test(start_paused = true)]
async fn one_batch_is_under_way_and_the_next_names_what_was_before_it() {
    let rig = Rig::new([]);
    let first = [1, 2].map(|sequence| rig.put(7, "a", sequence));
    sleep(Duration::from_millis(5)).await;
    let second = [3, 4].map(|sequence| rig.put(7, "a", sequence));
    assert_eq!(rig.came(), [(vec![1, 2], 0)]);
    assert_eq!(finished(&first), [false, false]);
    sleep(Duration::from_millis(20)).await;
    assert_eq!(rig.came(), [(vec![1, 2], 0), (vec![3, 4], 2)]);
    assert_eq!(
        (finished(&first), finished(&second)),
        (vec![true; 2], vec![true; 2])
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_comes_first_again_and_nothing_overtakes_it() {
    let full = Ended::Refused("full".to_owned());
    let rig = Rig::new([away(), taken(1, full)]);
    let kept = [1, 2, 3].map(|sequence| rig.put(7, "a", sequence));
    sleep(Duration::from_millis(50)).await;
    assert_eq!(finished(&kept), [false; 3]);
    let reason = rig.health.status().trouble.expect("trouble").reason;
    assert_eq!(reason, "away");
    sleep(Duration::from_millis(80)).await;
    assert_eq!(finished(&kept), [true, false, false]);
    sleep(Duration::from_secs(1)).await;
    let all = vec![1, 2, 3];
    assert_eq!(rig.came(), [(all.clone(), 0), (all, 0), (vec![2, 3], 1)]);
    assert_eq!(finished(&kept), [true; 3]);
    let status = rig.health.status();
    assert_eq!((status.trouble, status.waiting), (None, 0));
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_of_one_session_and_one_epoch() {
    let rig = Rig::new([]);
    rig.put(7, "a", 8);
    rig.put(7, "a", 9);
    rig.put(8, "a", 10);
    rig.put(8, "b", 1);
    sleep(Duration::from_secs(1)).await;
    let expected = [(vec![8, 9], 0), (vec![10], 9), (vec![1], 0)];
    assert_eq!(rig.came(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_lost_what_it_had_confirmed_holds_nothing_up() {
    let rig = Rig::new([taken(1, Ended::Done), taken(0, Ended::Hole { last: 0 })]);
    let first = rig.put(7, "a", 1);
    sleep(Duration::from_millis(20)).await;
    let second = rig.put(7, "a", 2);
    sleep(Duration::from_millis(50)).await;
    assert_eq!(rig.came(), [(vec![1], 0), (vec![2], 1), (vec![2], 0)]);
    assert_eq!(finished(&[first, second]), [true, true]);
}

#[tokio::test(start_paused = true)]
async fn what_a_newer_owner_has_in_hand_stays_unfinished_and_holds_nothing_up() {
    let rig = Rig::new([away(), taken(1, Ended::Fenced)]);
    let old = [1, 2, 3].map(|sequence| rig.put(7, "a", sequence));
    sleep(Duration::from_millis(20)).await;
    // The shard comes back.
    let new = rig.put(9, "a", 5);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(finished(&old), [true, false, false]);
    assert_eq!(finished(&[new]), [true]);
    let status = rig.health.status();
    assert_eq!(
        (status.confirmed, status.waiting, status.trouble),
        (2, 0, None)
    );
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_leaves_gives_back_at_once_what_is_not_confirmed() {
    let rig = Rig::new([]);
    let first = rig.put(7, "a", 1);
    sleep(Duration::from_millis(20)).await;
    let under_way = [2, 3].map(|sequence| rig.put(7, "a", sequence));
    sleep(Duration::from_millis(5)).await;
    let waits = rig.put(7, "a", 4);
    rig.inbox.leave(Settling::detached());
    // The shard comes back at once.
    let back = rig.put(9, "a", 2);
    sleep(Duration::from_millis(1)).await;
    assert!(under_way.iter().all(Fate::is_given_back) && waits.is_given_back());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(finished(&[first, back]), [true, true]);
    let expected = [(vec![1], 0), (vec![2, 3], 1), (vec![2], 1)];
    assert_eq!(rig.came(), expected);
    assert_eq!(rig.health.status().waiting, 0);
}
