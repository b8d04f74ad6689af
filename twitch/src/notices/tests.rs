use std::sync::Mutex;

use serde_json::Value;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn text(body: &str) -> String {
    let body: Value = serde_json::from_str(body).expect("JSON");
    body["text"].as_str().expect("a text").to_owned()
}

/// Sends what there is, by this webhook; the texts.
fn send(notices: &mut Notices, now: Instant) -> Vec<String> {
    let mut sent = Vec::new();
    while let Some(body) = notices.next(now) {
        sent.push(text(&body));
        notices.ended(Ok(()), now);
    }
    sent
}

#[tokio::test(start_paused = true)]
async fn of_each_kind_one_notice_in_300_seconds_is_sent_and_the_next_one_counts_the_others() {
    let mut notices = Notices::new("my_bot");
    let now = Instant::now();
    assert_eq!(
        notices.note(Kind::JoinFailed, "#a is suspended", now),
        Noted::Queued
    );
    assert_eq!(
        notices.note(Kind::JoinFailed, "#b is suspended", now),
        Noted::HeldBack
    );
    assert_eq!(notices.note(Kind::ScaledOut, "4 units", now), Noted::Queued);
    let late = now + QUIET - SECOND;
    assert_eq!(
        notices.note(Kind::JoinFailed, "#c is suspended", late),
        Noted::HeldBack
    );
    assert_eq!(
        send(&mut notices, late),
        [
            "my_bot: a channel could not be joined: #a is suspended",
            "my_bot: scaled out: 4 units",
        ]
    );
    let later = now + QUIET;
    assert_eq!(
        notices.note(Kind::JoinFailed, "#d is suspended", later),
        Noted::Queued
    );
    assert_eq!(
        send(&mut notices, later),
        [
            "my_bot: a channel could not be joined: #d is suspended (2 more like this were not sent.)"
        ]
    );
    assert_eq!(notices.wake(), None);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_does_not_answer_is_tried_five_times_and_one_that_refuses_once() {
    let mut notices = Notices::new("my_bot");
    let start = Instant::now();
    let mut now = start;
    notices.note(Kind::ScaledOut, "4 units", now);
    let mut at = Vec::new();
    while notices.next(now).is_some() {
        at.push((now - start).as_secs());
        notices.ended(Err(NotSent::Unavailable), now);
        let Some(wake) = notices.wake() else { break };
        assert_eq!(notices.next(wake - SECOND), None);
        now = wake;
    }
    assert_eq!((at, notices.lost()), (vec![0, 5, 15, 35, 75], 1));
    notices.note(Kind::ScaledIn, "3 units", now);
    notices.ended(Err(NotSent::Refused(404)), now);
    assert_eq!((notices.wake(), notices.lost()), (None, 2));
    // A word about nothing changes nothing.
    notices.ended(Ok(()), now);
}

#[tokio::test(start_paused = true)]
async fn no_more_notices_wait_than_fit() {
    let mut notices = Notices::new("my_bot");
    let mut now = Instant::now();
    let mut noted = Vec::new();
    for _ in 0..=MOST {
        noted.push(notices.note(Kind::UnitFailed, "bot/1", now));
        now += QUIET;
    }
    assert_eq!(noted.pop(), Some(Noted::Full));
    assert!(noted.iter().all(|noted| *noted == Noted::Queued));
    assert_eq!((send(&mut notices, now).len(), notices.lost()), (MOST, 1));
}

#[test]
fn a_body_is_understood_by_slack_and_discord_and_calls_nobody() {
    let body = body::of(
        "my_bot",
        Kind::JoinFailed,
        "@everyone <!here>\n<@&1> & <https://a>",
        1,
    );
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let more = "(One more like this was not sent.)";
    let start = "my_bot: a channel could not be joined:";
    let slack =
        format!("{start} @everyone &lt;!here&gt; &lt;@&amp;1&gt; &amp; &lt;https://a&gt; {more}");
    assert_eq!(body["text"], slack);
    let discord = format!("{start} @\u{200b}everyone <!here> <@\u{200b}&1> & <https://a> {more}");
    assert_eq!(body["content"], discord);
    let long = body::of("my_bot", Kind::JoinFailed, &"@".repeat(9_000), u32::MAX);
    let long: Value = serde_json::from_str(&long).expect("JSON");
    let content = long["content"].as_str().expect("a text");
    assert_eq!(content.chars().count(), 2_000);
}

/// Never answers, or takes it.
struct Fake {
    answers: bool,
    bodies: Mutex<Vec<String>>,
}

impl Webhook for Fake {
    async fn post(&self, body: String) -> Result<(), NotSent> {
        if !self.answers {
            std::future::pending::<()>().await;
        }
        self.bodies.lock().expect("nobody panicked").push(body);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_webhook_that_hangs() {
    let hangs = Fake {
        answers: false,
        bodies: Mutex::default(),
    };
    assert_eq!(
        post(&hangs, "{}".to_owned()).await,
        Err(NotSent::Unavailable)
    );
    let takes = Fake {
        answers: true,
        bodies: Mutex::default(),
    };
    assert_eq!(post(&takes, "{}".to_owned()).await, Ok(()));
    assert_eq!(*takes.bodies.lock().expect("nobody panicked"), ["{}"]);
}
