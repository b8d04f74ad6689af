//! What each status of Helix and of OAuth means to whoever asked.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;
use twitch_mock::{Config as MockConfig, Fault, FaultName};

use super::*;

#[tokio::test(start_paused = true)]
async fn each_status_says_whether_another_try_may_do_and_whether_it_may_be_done() {
    for (status, is_final, may_be_done) in [
        (400, true, false),
        (403, true, false),
        (404, true, false),
        (405, true, false),
        (408, false, true),
        (409, true, false),
        (422, true, false),
        (429, false, false),
        (500, false, true),
        (502, false, true),
        (503, false, true),
        (504, false, true),
    ] {
        let helix = script([message(status, "because")]);
        let error = helix.conduits().await.unwrap_err();
        assert_eq!(error.is_final(), is_final, "{status}: {error}");
        assert_eq!(error.may_be_done(), may_be_done, "{status}: {error}");
        assert!(error.to_string().contains("because"), "{status}: {error}");
        assert_eq!(helix.requests(), 1, "{status}: it is not asked again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_refused_is_replaced_once_and_a_second_refusal_is_final() {
    let helix = script([
        message(401, "Invalid OAuth token"),
        Played::of(200, r#"{"data":[]}"#),
    ]);
    assert_eq!(helix.conduits().await, Ok(Vec::new()));
    assert_eq!(helix.requests(), 2);

    let helix = script([message(401, "Invalid"), message(401, "Invalid")]);
    let error = helix.conduits().await.unwrap_err();
    assert!(matches!(error, Error::Unauthorised(_)), "{error}");
    assert_eq!(helix.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_limit_is_waited_for_until_the_points_are_back_and_never_for_longer_than_a_minute() {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let second = Duration::from_secs(1);
    for (reset, least, most) in [
        ((now - 3600).to_string(), second, second),
        ((now + 30).to_string(), 25 * second, 30 * second),
        ((now + 86_400).to_string(), 60 * second, 60 * second),
        (u64::MAX.to_string(), 60 * second, 60 * second),
        ("-5".to_owned(), second, second),
        (String::new(), second, second),
    ] {
        let helix = script([message(429, "too often").with("Ratelimit-Reset", &reset)]);
        let wait = helix.conduits().await.unwrap_err().retry_after().unwrap();
        assert!(least <= wait && wait <= most, "{reset}: {wait:?}");
    }
    let helix = script([message(429, "too often")]);
    let error = helix.conduits().await.unwrap_err();
    assert_eq!(error.retry_after(), Some(second));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_had_now_is_no_wrong_secret() {
    for (status, is_final) in [
        (400, true),
        (401, true),
        (403, true),
        (404, true),
        (408, false),
        (429, false),
        (500, false),
        (503, false),
    ] {
        let helix = played(move |_| message(status, "of the+client&secret"));
        let error = helix.conduits().await.unwrap_err();
        assert_eq!(error.is_final(), is_final, "{status}: {error}");
        assert!(!format!("{error} {error:?}").contains("secret&"), "{error}");
        assert!(!error.to_string().contains(CLIENT_SECRET), "{error}");
        assert_eq!(helix.requests(), 0, "Helix is not asked without a token");
        let is_about_credentials = matches!(error, Error::Unauthorised(_));
        assert_eq!(
            is_about_credentials,
            (400..404).contains(&status),
            "{status}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_grant_whose_code_cannot_be_traded_now_is_no_wrong_secret() {
    for (status, is_final) in [(400, true), (429, false), (500, false)] {
        let helix = played(move |_| message(status, "no"));
        let error = helix.granted("code", "http://localhost").await.unwrap_err();
        assert_eq!(error.is_final(), is_final, "{status}: {error}");
    }
    // The same for the question whose token it is.
    let helix = played(|request| match request.path.as_str() {
        "/oauth2/token" => Played::of(200, r#"{"access_token":"t"}"#),
        _ => message(503, "no"),
    });
    let error = helix.granted("code", "http://localhost").await.unwrap_err();
    assert!(!error.is_final(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_given_up_after_ten_seconds() {
    let asked = Arc::new(AtomicU32::new(0));
    let counts = Arc::clone(&asked);
    let helix = played(move |request| {
        counts.fetch_add(1, Ordering::SeqCst);
        let mut answer = match request.path.as_str() {
            "/oauth2/token" => return Played::of(200, r#"{"access_token":"t","expires_in":9}"#),
            _ => Played::of(200, "{}"),
        };
        answer.after = Duration::from_secs(3600);
        answer
    });
    let began = Instant::now();
    let error = helix.say("1", "2", "hello", None).await.unwrap_err();
    assert!(error.may_be_done(), "nobody knows: {error}");
    assert_eq!(began.elapsed(), Duration::from_secs(10));
    assert_eq!(
        asked.load(Ordering::SeqCst),
        2,
        "a message is never sent twice"
    );
}

#[tokio::test(start_paused = true)]
async fn the_faults_of_the_simulated_helix_are_told_apart() {
    let twitch = Arc::new(Twitch::without_network(MockConfig::default()).unwrap());
    let helix = of(&twitch);
    for (code, is_final) in [
        (403, true),
        (404, true),
        (409, true),
        (429, false),
        (503, false),
    ] {
        let code = Some(code);
        let fault = Fault {
            code,
            ..Fault::new(FaultName::HelixStatus)
        };
        twitch.fault(fault).unwrap();
        let error = helix.conduits().await.unwrap_err();
        assert_eq!(error.is_final(), is_final, "{error}");
    }
    let slow = Fault {
        duration_ms: 9_000,
        ..Fault::new(FaultName::HelixSlow)
    };
    twitch.fault(slow.clone()).unwrap();
    assert_eq!(helix.conduits().await, Ok(Vec::new()), "slow, but there");
    twitch
        .fault(Fault {
            duration_ms: 11_000,
            ..slow
        })
        .unwrap();
    let error = helix.conduits().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error}");
}
