//! A broker of a test hands out what it is told to, on one connection after the other.

use std::{collections::VecDeque, sync::Mutex};

use baton_slave::Epoch;

use super::*;
use crate::commands::Wishes;

/// In stepped time.
const PATIENCE: Duration = Duration::from_secs(20);

/// What became of a letter.
#[derive(Debug, PartialEq)]
enum Became {
    Answered(u32, String),
    Refused(u32, String),
    Back(u32),
    /// The queue was left with these in hand.
    Left(Vec<u32>),
}

struct Numbered(u32, mpsc::Sender<Became>);

impl Letter for Numbered {
    async fn settle(self, how: Settlement) -> Result<Keep, String> {
        let answer = how.answer();
        let _ = self.1.try_send(match how.refused {
            None => Became::Answered(self.0, answer),
            Some(_) => Became::Refused(self.0, answer),
        });
        Ok(Keep::Id)
    }

    async fn keep(&self) {}

    async fn give_back(self) {
        let _ = self.1.try_send(Became::Back(self.0));
    }
}

type Handed = Result<Taken<Numbered>, String>;

/// One connection.
struct Line(mpsc::Receiver<Handed>, mpsc::Sender<Became>);

impl Queue for Line {
    type Letter = Numbered;

    const KEPT: Option<Duration> = None;

    async fn next(&mut self) -> Handed {
        match self.0.recv().await {
            Some(handed) => handed,
            None => std::future::pending().await,
        }
    }

    async fn leave(self, held: Vec<Numbered>) {
        let held = held.into_iter().map(|letter| letter.0).collect();
        let _ = self.1.try_send(Became::Left(held));
    }
}

#[derive(Default)]
struct Lines {
    lines: Mutex<VecDeque<Line>>,
    opened: Mutex<Vec<(String, Epoch)>>,
}

impl Queues for Lines {
    type Queue = Line;

    async fn claim(&self, _: WorkQueue) -> Result<Epoch, String> {
        Ok(Epoch(7))
    }

    async fn open(self: &Arc<Self>, place: Place, epoch: Epoch) -> Result<Line, String> {
        self.opened.lock().unwrap().push((place.to_string(), epoch));
        let next = self.lines.lock().unwrap().pop_front();
        next.ok_or_else(|| "away".to_owned())
    }

    async fn sort(self: Arc<Self>, _: u32) {}
}

/// A queue with two connections, one after the other.
struct Scene {
    questions: Questions,
    queues: Arc<Lines>,
    lines: [mpsc::Sender<Handed>; 2],
    tells: mpsc::Sender<Became>,
    became: mpsc::Receiver<Became>,
}

impl Scene {
    fn start() -> Self {
        let queues = Arc::new(Lines::default());
        let (tells, became) = mpsc::channel(64);
        let lines = [(); 2].map(|()| {
            let (hands, handed) = mpsc::channel(64);
            let line = Line(handed, tells.clone());
            queues.lines.lock().unwrap().push_back(line);
            hands
        });
        let ttl = Duration::from_secs(30);
        Self {
            questions: Questions::start(&queues, WorkQueue::Control, ttl, &Arc::default()),
            queues,
            lines,
            tells,
            became,
        }
    }

    fn hands(&self, line: usize, number: u32, change: impl FnOnce(&mut Taken<Numbered>)) {
        let mut taken = Taken {
            letter: Numbered(number, self.tells.clone()),
            id: Some(format!("id-{number}")),
            is_named: true,
            is_again: false,
            age: Duration::ZERO,
            payload: Bytes::from(number.to_string()),
            wishes: Wishes::default(),
        };
        change(&mut taken);
        self.lines[line].try_send(Ok(taken)).unwrap();
    }

    async fn asked(&mut self) -> Question {
        let asked = timeout(PATIENCE, self.questions.next()).await;
        asked.expect("a question comes")
    }

    async fn became(&mut self) -> Became {
        let became = timeout(PATIENCE, self.became.recv()).await;
        became.expect("a letter is settled").unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn questions_come_in_their_order_and_each_gets_its_answer() {
    let mut scene = Scene::start();
    scene.hands(0, 1, |taken| taken.wishes.id = Some("mine".to_owned()));
    scene.hands(0, 2, |_| {});
    let (first, second) = (scene.asked().await, scene.asked().await);
    assert_eq!((&*first.body, &*second.body), (&b"1"[..], &b"2"[..]));
    assert_eq!(first.key.as_deref(), Some("id-1"));
    second.refuse(json!({"sent": false}), "no");
    let refused = r#"{"reason":"no","sent":false}"#.to_owned();
    assert_eq!(scene.became().await, Became::Refused(2, refused));
    first.answer(json!({"ready": true}));
    let answered = r#"{"id":"mine","ready":true}"#.to_owned();
    assert_eq!(scene.became().await, Became::Answered(1, answered));
    let opened = scene.queues.opened.lock().unwrap().clone();
    assert_eq!(opened, [("control".to_owned(), Epoch(7))]);
}

#[tokio::test(start_paused = true)]
async fn one_that_nobody_answers_is_given_back() {
    let mut scene = Scene::start();
    scene.hands(0, 1, |_| {});
    drop(scene.asked().await);
    assert_eq!(scene.became().await, Became::Back(1));
}

#[tokio::test(start_paused = true)]
async fn one_that_comes_again_while_it_is_answered_is_asked_once_and_settled_as_it_came_last() {
    let mut scene = Scene::start();
    scene.hands(0, 1, |_| {});
    let asked = scene.asked().await;
    scene.lines[0].try_send(Err("lost".to_owned())).unwrap();
    assert_eq!(scene.became().await, Became::Back(1));
    scene.hands(1, 2, |taken| {
        taken.id = Some("id-1".to_owned());
        taken.is_again = true;
    });
    scene.hands(1, 3, |_| {});
    let next = scene.asked().await;
    assert_eq!(&*next.body, b"3", "the other one is known");
    asked.answer(json!({}));
    assert_eq!(scene.became().await, Became::Answered(2, "{}".to_owned()));
    // The queue of the work was claimed once.
    assert_eq!(scene.queues.opened.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn two_that_look_the_same_and_have_no_name_are_both_asked_without_a_key() {
    let mut scene = Scene::start();
    for number in [1, 2] {
        scene.hands(0, number, |taken| {
            taken.id = Some("sum".to_owned());
            taken.is_named = false;
        });
    }
    assert_eq!(scene.asked().await.key, None);
    assert_eq!(&*scene.asked().await.body, b"2");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_too_long_or_of_another_version_is_refused_with_the_reason() {
    let mut scene = Scene::start();
    scene.hands(0, 1, |taken| taken.age = Duration::from_secs(30));
    scene.hands(0, 2, |taken| taken.payload = vec![b' '; LONGEST + 1].into());
    scene.hands(0, 3, |taken| taken.wishes.version = Some("2".to_owned()));
    scene.hands(0, 4, |taken| taken.wishes.ttl = Some("0".to_owned()));
    for (number, why) in [
        (1, "within its 30s"),
        (2, "may have 1048576"),
        (3, "baton-command is 2"),
        (4, "baton-ttl"),
    ] {
        let Became::Refused(which, said) = scene.became().await else {
            panic!("it is refused");
        };
        assert!(which == number && said.contains(why), "{which}: {said}");
    }
    // The next one has the rest of its time.
    scene.hands(0, 5, |taken| {
        taken.wishes.ttl = Some("5000".to_owned());
        taken.age = Duration::from_secs(2);
    });
    let left = scene.asked().await.until - Instant::now();
    assert!(left <= Duration::from_secs(3) && left > Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn no_more_are_handed_out_than_are_answered_soon() {
    let mut scene = Scene::start();
    for number in 0..20 {
        scene.hands(0, number, |_| {});
    }
    let mut asked = Vec::new();
    for _ in 0..HELD {
        asked.push(scene.asked().await);
    }
    let more = timeout(PATIENCE, scene.questions.next()).await;
    assert!(more.is_err(), "the others wait at the broker");
    asked.remove(0).answer(json!({}));
    assert_eq!(&*scene.asked().await.body, b"16");
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_settles_what_is_answered_and_gives_the_rest_back() {
    let mut scene = Scene::start();
    for number in 1..=3 {
        scene.hands(0, number, |_| {});
    }
    let (first, second) = (scene.asked().await, scene.asked().await);
    first.answer(json!({}));
    scene.questions.leave().await;
    drop(second);
    let became = scene.became.try_recv().unwrap();
    assert_eq!(became, Became::Answered(1, "{}".to_owned()));
    assert_eq!(scene.became.try_recv().unwrap(), Became::Left(vec![2, 3]));
    assert!(scene.became.try_recv().is_err());
}
