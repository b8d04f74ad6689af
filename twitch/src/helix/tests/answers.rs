//! Answers that are odd: no JSON, JSON of another shape, lists without end.

use serde_json::json;

use super::*;

/// No call takes any of these for success, and none panics.
#[tokio::test(start_paused = true)]
async fn an_answer_of_another_shape_is_an_error_and_nothing_of_it_is_shown() {
    let odd = [
        "",
        "null",
        "[]",
        "7",
        "\"private words\"",
        "{}",
        r#"{"data":null}"#,
        r#"{"data":"private words"}"#,
        r#"{"data":[{"private words":1}]}"#,
        r#"{"data":[7]}"#,
        r#"{"data":[{"id":["private words"]}]}"#,
        "<html>private words</html>",
        r#"{"data":["#,
    ];
    for body in odd {
        let ask = || script([Played::of(200, body)]);
        let condition = super::super::Condition::new();
        let errors = [
            ask().conduits().await.err(),
            ask().shards("c").await.err(),
            ask().create_conduit(1).await.err(),
            ask().resize_conduit("c", 2).await.err(),
            ask().users(&["one".parse().unwrap()]).await.err(),
            ask().subscriptions("channel.chat.message").await.err(),
            ask().subscribe("c", "k", "1", &condition).await.err(),
            ask().say("1", "2", "hello", None).await.err(),
        ];
        for (number, error) in errors.into_iter().enumerate() {
            let error = error.unwrap_or_else(|| panic!("{body}: call {number} took it"));
            assert!(matches!(error, Error::Unreachable(_)), "{body}: {error}");
            assert!(!format!("{error} {error:?}").contains("private"), "{error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_refused_is_never_taken_for_given() {
    let refused = |errors: serde_json::Value| {
        let body = json!({ "data": [], "errors": errors }).to_string();
        script([Played::of(202, body)])
    };
    let shards = [(3, "session")];
    let given = refused(json!([])).assign("c", &shards).await;
    assert_eq!(given, Ok(Vec::new()));
    let why = refused(json!([{ "id": "3", "message": "no such session", "code": "x" }]));
    let why = why.assign("c", &shards).await.unwrap();
    assert_eq!((why[0].shard, why[0].why.as_str()), (3, "no such session"));
    let silent = refused(json!([{ "id": "3", "message": null }]));
    assert_eq!(silent.assign("c", &shards).await.unwrap().len(), 1);
    for odd in [
        json!([{ "message": "no" }]),
        json!([{ "id": 3, "message": "no" }]),
        json!([{ "id": "three", "message": "no" }]),
        json!("no"),
        json!({ "3": "no" }),
    ] {
        let answer = refused(odd.clone()).assign("c", &shards).await;
        assert!(answer.is_err(), "{odd}: {answer:?}");
    }
}

/// Whatever comes as the answer to a PATCH, nothing panics.
#[tokio::test(start_paused = true)]
async fn an_answer_to_a_patch_that_is_no_object_is_no_panic() {
    for body in [
        "[]",
        "7",
        "\"ok\"",
        "true",
        "null",
        "{}",
        "",
        r#"[{"errors":1}]"#,
    ] {
        let helix = script([Played::of(202, body)]);
        // It names no shard that was refused.
        let _ = helix.assign("c", &[(0, "session")]).await;
        assert_eq!(helix.requests(), 1, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_whose_page_leads_to_itself_ends() {
    let page = |cursor: &str| {
        let body = json!({ "data": [], "pagination": { "cursor": cursor } });
        Played::of(200, body.to_string())
    };
    let helix = script([page("a"), page("b"), page("")]);
    assert_eq!(helix.shards("c").await, Ok(Vec::new()));
    assert_eq!(helix.requests(), 3);
    let helix = script([page("a"), page("b"), page("b")]);
    let error = helix.shards("c").await.unwrap_err();
    assert!(error.to_string().contains("itself"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_twitch_says_is_shown_in_one_line_and_not_without_end() {
    let said = format!("first\nsecond\u{1b}[31m{}", "x".repeat(10_000));
    let error = script([message(400, &said)]).conduits().await.unwrap_err();
    let text = error.to_string();
    assert!(!text.contains(char::is_control), "{text:?}");
    assert!(text.len() < 400, "{} bytes", text.len());
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_gone_is_ended_and_one_that_is_there_is_a_conflict() {
    let gone = script([message(404, "subscription not found")]);
    assert_eq!(gone.unsubscribe("s").await, Ok(()));
    let ended = script([Played::of(204, "")]);
    assert_eq!(ended.unsubscribe("s").await, Ok(()));
    let there = script([message(409, "subscription already exists")]);
    let condition = super::super::Condition::new();
    let error = there
        .subscribe("c", "k", "1", &condition)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Conflict(_)), "{error}");
}
