//! A broker of a test hands out what it is told to, on one connection after the other.

use std::{collections::VecDeque, sync::Mutex};

use baton_slave::{Commands, Epoch, Sequence};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::commands::{CommandsConfig, Wishes, WorkQueue, control::Stands};

/// In stepped time, and less than a command waits.
const PATIENCE: Duration = Duration::from_secs(20);

/// A letter with its number, which says where it was settled.
struct Numbered(u32, Sender<u32>);

impl Letter for Numbered {
    /// The broker confirms no acknowledgement.
    async fn settle(self, _: Settlement) -> Result<Keep, String> {
        let _ = self.1.try_send(self.0);
        Ok(Keep::Id)
    }

    async fn keep(&self) {}

    async fn give_back(self) {}
}

type Handed = Result<Taken<Numbered>, String>;

/// One connection.
struct Line(Receiver<Handed>);

impl Queue for Line {
    type Letter = Numbered;

    const KEPT: Option<Duration> = None;

    async fn next(&mut self) -> Handed {
        match self.0.recv().await {
            Some(handed) => handed,
            None => pending().await,
        }
    }

    async fn leave(self, _: Vec<Numbered>) {}
}

#[derive(Default)]
struct Lines(Mutex<VecDeque<Line>>);

impl Queues for Lines {
    type Queue = Line;

    async fn claim(&self, _: WorkQueue) -> Result<Epoch, String> {
        Err("not of this test".to_owned())
    }

    async fn open(self: &Arc<Self>, _: Place, _: Epoch) -> Result<Line, String> {
        let next = self.0.lock().unwrap().pop_front();
        next.ok_or_else(|| "away".to_owned())
    }

    async fn sort(self: Arc<Self>, _: u32) {}
}

/// A shard that takes commands from two connections, one after the other.
struct Scene {
    discord: Commands,
    lines: [Sender<Handed>; 2],
    settles: Sender<u32>,
    settled: Receiver<u32>,
    _leaves: oneshot::Sender<Settling>,
}

impl Scene {
    fn start() -> Self {
        let (handle, discord) = ShardHandle::for_test();
        discord.resumes("0011223344556677", Sequence(1));
        let queues = Arc::new(Lines::default());
        let lines = [(); 2].map(|()| {
            let (hands, handed) = channel(16);
            queues.0.lock().unwrap().push_back(Line(handed));
            hands
        });
        let (settles, settled) = channel(16);
        let (leaves, told) = oneshot::channel();
        let config = CommandsConfig::default();
        let desk = Desk::new(handle.shard(), config, Stands::default());
        let counts = Arc::default();
        tokio::spawn(Post::run(handle, queues, desk, counts, told));
        Self {
            discord,
            lines,
            settles,
            settled,
            _leaves: leaves,
        }
    }

    /// What is written next.
    async fn written(&mut self) -> Option<String> {
        let written = timeout(PATIENCE, self.discord.recv()).await;
        written.expect("a command is written")
    }

    /// Which letter is settled next.
    async fn settled(&mut self) -> Option<u32> {
        let settled = timeout(PATIENCE, self.settled.recv()).await;
        settled.expect("a letter is settled")
    }

    fn hands(&self, line: usize, number: u32, id: &str, is_again: bool) {
        let taken = Taken {
            letter: Numbered(number, self.settles.clone()),
            id: Some(id.to_owned()),
            is_named: false,
            is_again,
            age: Duration::ZERO,
            payload: payload(id).into(),
            wishes: Wishes::default(),
        };
        self.lines[line].try_send(Ok(taken)).unwrap();
    }
}

fn payload(id: &str) -> String {
    format!(r#"{{"op":43,"d":{{"guild_id":"7","fields":["status"],"of":"{id}"}}}}"#)
}

#[tokio::test(start_paused = true)]
async fn one_whose_acknowledgement_went_with_its_connection_is_written_once() {
    let mut scene = Scene::start();
    scene.hands(0, 1, "a", true);
    assert_eq!(scene.written().await, Some(payload("a")));
    assert_eq!(scene.settled().await, Some(1));
    scene.lines[0].try_send(Err("lost".to_owned())).unwrap();
    scene.hands(1, 2, "a", true);
    scene.hands(1, 3, "b", true);
    assert_eq!(scene.settled().await, Some(2), "it is known");
    assert_eq!(scene.written().await, Some(payload("b")));
    assert_eq!(scene.settled().await, Some(3));
}

#[tokio::test(start_paused = true)]
async fn one_that_the_shard_has_while_its_connection_is_lost_is_written_once() {
    let mut scene = Scene::start();
    scene.hands(0, 1, "a", true);
    sleep(Duration::from_millis(1)).await;
    scene.lines[0].try_send(Err("lost".to_owned())).unwrap();
    scene.hands(1, 2, "a", true);
    scene.hands(1, 3, "b", true);
    sleep(2 * AGAIN).await;
    assert_eq!(scene.written().await, Some(payload("a")));
    assert_eq!(scene.settled().await, Some(2));
    assert_eq!(scene.written().await, Some(payload("b")));
}

#[tokio::test(start_paused = true)]
async fn two_that_look_the_same_are_both_written() {
    let mut scene = Scene::start();
    // Nobody named them, so they are known by what they are.
    scene.hands(0, 1, "same", false);
    scene.hands(0, 2, "same", false);
    sleep(Duration::from_millis(1)).await;
    for number in [1, 2] {
        assert_eq!(scene.written().await, Some(payload("same")));
        assert_eq!(scene.settled().await, Some(number));
    }
}
