//! Three processes that say all there is to say, to a Twitch that ignores whoever says too
//! much.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tokio::time::{Instant, advance};
use twitch_mock::{Account, Config, Request, Twitch};

use super::*;

const CHANNELS: u32 = 12;
const MODERATED: u32 = 3;

fn twitch() -> Twitch {
    let bot = Account {
        login: "bot".to_owned(),
        token: "the-bots-token".to_owned(),
        moderates: (1..=MODERATED).map(|n| format!("channel{n}")).collect(),
        ..Account::default()
    };
    let config = Config {
        channels: CHANNELS,
        accounts: vec![bot],
        ..Config::default()
    };
    Twitch::without_network(config).expect("it is in range")
}

fn helix(twitch: &Twitch, method: &str, path: &str, body: &serde_json::Value) -> serde_json::Value {
    let request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        authorization: Some("Bearer the-bots-token".to_owned()),
        client_id: Some(Config::default().client_id),
        body: body.to_string(),
        ..Request::default()
    };
    let reply = twitch.helix(&request);
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.body["data"][0].clone()
}

fn standing(_: &Login, channel: &Login) -> Standing {
    let number = channel
        .as_str()
        .trim_start_matches("channel")
        .parse::<u32>();
    match number.is_ok_and(|number| number <= MODERATED) {
        true => Standing::Moderator,
        false => Standing::Plain,
    }
}

/// What happens to a message between its lease and its answer.
struct Flight {
    lease: Lease,
    arrives: UnixMs,
    answered: UnixMs,
    said: Option<Said>,
}

#[tokio::test(start_paused = true)]
async fn twitch_ignores_no_account_however_late_messages_and_answers_are() {
    for seed in 0..3 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let twitch = twitch();
        let bot = helix(&twitch, "GET", "/helix/users", &json!({}));
        let mut place = Place::new();
        let start = Instant::now();
        let mut flights: Vec<Flight> = Vec::new();
        let mut put = 0;
        while put < 150 || !flights.is_empty() || place.outbox.waits().expect("read").waiting > 0 {
            let ms = i64::try_from(start.elapsed().as_millis()).expect("short");
            if put < 150 && random.random_bool(0.5) {
                let channel = format!("channel{}", random.random_range(1..=CHANNELS));
                assert_eq!(place.put(&format!("{put:05}"), &channel, ms), Put::Taken);
                put += 1;
            }
            while let Leased::Message(lease) = place
                .outbox
                .lease(
                    "slave",
                    |account, channel| Some(standing(account, channel)),
                    at(ms),
                )
                .expect("written")
            {
                let arrives = at(ms + random.random_range(0..4_000));
                let answered = at(arrives.0 + random.random_range(0..4_000));
                flights.push(Flight {
                    lease: *lease,
                    arrives,
                    answered,
                    said: None,
                });
            }
            for flight in &mut flights {
                if flight.said.is_none() && flight.arrives.0 <= ms {
                    let message = &flight.lease.message;
                    let number: u32 = message.channel.as_str()[7..].parse().expect("a number");
                    let sent = helix(
                        &twitch,
                        "POST",
                        "/helix/chat/messages",
                        &json!({
                            "broadcaster_id": (100_000 + number).to_string(),
                            "sender_id": bot["id"],
                            "message": message.text,
                        }),
                    );
                    assert_eq!(sent["is_sent"], true, "seed {seed}, {ms} ms: {sent}");
                    let message_id = sent["message_id"].as_str().map(ToOwned::to_owned);
                    flight.said = Some(Said::Sent { message_id });
                }
            }
            for flight in flights.extract_if(.., |flight| flight.answered.0 <= ms) {
                let said = flight.said.expect("it arrived before");
                let done = place.outbox.done(flight.lease.lease, said, at(ms));
                assert_eq!(done.expect("written"), Done::Recorded);
            }
            advance(Duration::from_millis(250)).await;
        }
        let counters = twitch.counters();
        assert_eq!(
            (counters.said, counters.unsaid, counters.ignored),
            (150, 0, 0)
        );
        let outcomes = place.outcomes();
        let sent = |(_, outcome): &(String, Outcome)| matches!(outcome, Outcome::Sent { .. });
        assert!(
            outcomes.len() == 150 && outcomes.iter().all(sent),
            "seed {seed}"
        );
        twitch.shutdown().await;
    }
}
