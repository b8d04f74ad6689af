//! Questions for the once-per-bot work, the same for each broker: answered, refused with a
//! reason, and not lost with whoever runs the work.

use std::time::Duration;

use baton_brokers::{Rabbit, Redis, or_pass_over};
use baton_sink::{Question, Questions, Sink, WorkQueue};
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::{
    commands::{self, Office, until_answers},
    common::PATIENCE,
};

/// How long a question is waited for before something else is looked at.
const A_LOOK: Duration = Duration::from_millis(300);

/// A process that runs the work.
struct Worker {
    _sink: Sink,
    control: Questions,
}

impl Worker {
    async fn start(office: &impl Office) -> Self {
        let sink = Sink::start(office.config()).await.unwrap();
        let control = sink.questions(WorkQueue::Control).unwrap();
        Self {
            _sink: sink,
            control,
        }
    }

    async fn asked(&mut self) -> Question {
        let asked = timeout(PATIENCE, self.control.next()).await;
        asked.expect("a question comes")
    }
}

fn asks(number: u32) -> String {
    json!({ "number": number }).to_string()
}

/// Whoever runs the work next goes on where the one before was.
pub(crate) async fn move_with_the_work(office: &impl Office) {
    let mut old = Worker::start(office).await;
    let place = office.place();
    let beside = [("baton-answer", &*place), ("baton-id", "mine")];
    for number in 1..=4 {
        office.send("control", &asks(number), &beside).await;
    }
    let (first, second) = (old.asked().await, old.asked().await);
    assert_eq!(first.body, asks(1));
    first.answer(json!({"ready": true}));
    let told = until_answers(office, 1).await;
    assert_eq!(told, [json!({"id": "mine", "ready": true})]);
    let key = second.key.clone();
    assert!(key.is_some());
    old.control.leave().await;

    let mut new = Worker::start(office).await;
    let again = new.asked().await;
    assert_eq!((&again.key, &again.body[..]), (&key, asks(2).as_bytes()));
    again.refuse(json!({}), "it cannot be done");
    for number in 3..=4 {
        let next = new.asked().await;
        assert_eq!(next.body, asks(number));
        next.answer(json!({}));
    }
    let told = until_answers(office, 4).await;
    let refused = told.iter().any(|one| one["reason"] == "it cannot be done");
    assert!(refused, "{told:?}");
    let dead = office.dead().await;
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert!(dead[0].1.contains("control"), "{dead:?}");
    new.control.leave().await;
}

/// What the broker did not hear of is asked again, with its key; one that it heard of is not.
async fn survive_the_broker(office: &mut impl Office) {
    let mut worker = Worker::start(office).await;
    let place = office.place();
    office
        .send("control", &asks(1), &[("baton-answer", &*place)])
        .await;
    let asked = worker.asked().await;
    let key = asked.key.clone();
    office.kill();
    tokio::time::sleep(Duration::from_millis(200)).await;
    asked.answer(json!({"heard": "before"}));
    office.start_again();
    office.send("control", &asks(2), &[]).await;
    let (mut others, end) = (0, Instant::now() + PATIENCE);
    let told = loop {
        if let Ok(next) = timeout(A_LOOK, worker.control.next()).await {
            if next.body == asks(2) {
                others += 1;
            } else {
                assert_eq!((&next.key, &next.body[..]), (&key, asks(1).as_bytes()));
            }
            next.answer(json!({"heard": "again"}));
        } else if others > 0 {
            let told = office.answers().await;
            if !told.is_empty() {
                break told;
            }
        }
        assert!(Instant::now() < end, "{others}");
    };
    assert!(told.len() == 1 && told[0]["heard"].is_string(), "{told:?}");
    assert_eq!(others, 1);
}

#[tokio::test]
async fn questions_by_nats_move_with_the_work() {
    let Some(place) = commands::nats::Place::start().await else {
        return;
    };
    move_with_the_work(&place).await;
}

#[tokio::test]
async fn questions_by_nats_survive_the_broker() {
    let Some(mut place) = commands::nats::Place::start().await else {
        return;
    };
    survive_the_broker(&mut place).await;
}

#[tokio::test]
async fn questions_by_redis_move_with_the_work() {
    let Some(redis) = or_pass_over(Redis::start()) else {
        return;
    };
    move_with_the_work(&redis).await;
}

#[tokio::test]
async fn questions_by_redis_survive_the_broker() {
    let Some(mut redis) = or_pass_over(Redis::start()) else {
        return;
    };
    survive_the_broker(&mut redis).await;
}

/// Who ran the work before and was stopped in the middle takes nothing more.
#[tokio::test]
async fn of_two_that_take_questions_by_redis_the_older_one_gets_no_more() {
    let Some(redis) = or_pass_over(Redis::start()) else {
        return;
    };
    let mut old = Worker::start(&redis).await;
    redis.send("control", &asks(1), &[]).await;
    old.asked().await.answer(json!({}));
    let mut new = Worker::start(&redis).await;
    redis.send("control", &asks(2), &[]).await;
    let asked = new.asked().await;
    assert_eq!(asked.body, asks(2));
    asked.answer(json!({}));
    redis.send("control", &asks(3), &[]).await;
    assert_eq!(new.asked().await.body, asks(3));
    let nothing = timeout(Duration::from_secs(1), old.control.next()).await;
    assert!(nothing.is_err());
}

/// RabbitMQ starts slowly: one server for all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_by_rabbitmq_move_with_the_work_and_survive_the_broker() {
    let Some(mut rabbit) = or_pass_over(Rabbit::start()) else {
        return;
    };
    move_with_the_work(&commands::rabbit::Place::at(&mut rabbit, "moves").await).await;
    survive_the_broker(&mut commands::rabbit::Place::at(&mut rabbit, "broker").await).await;
}
