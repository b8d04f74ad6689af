//! RESUME: exact, or refused.

use serde_json::json;

use crate::common::{Client, Manner, Rig, config, identify, resume};

#[tokio::test]
async fn a_resume_gets_what_was_missed_then_resumed_then_what_comes() {
    let rig = Rig::new().await;
    let (mut client, greeting) = rig.client().await;
    rig.events(101..=102).await;
    client.numbers(2).await;
    drop(client);
    rig.events(103..=104).await;
    let mut client = rig.hello().await;
    client.send(resume(&greeting[0], 4)).await;
    let missed = [(5, Some(102)), (6, Some(103)), (7, Some(104))];
    assert_eq!(client.numbers(3).await, missed);
    let resumed = client.payload().await;
    assert_eq!(
        (&resumed["t"], &resumed["s"]),
        (&json!("RESUMED"), &json!(7))
    );
    rig.event(105).await;
    assert_eq!(client.numbers(1).await, [(8, Some(105))]);
    rig.acknowledged(&mut client, 105).await;
    let totals = rig.status().shards[0].totals;
    assert_eq!(
        (totals.resumes, totals.replayed, totals.sessions),
        (1, 3, 1)
    );
}

#[tokio::test]
async fn a_resume_that_missed_nothing_is_resumed_at_once() {
    let rig = Rig::new().await;
    let (client, greeting) = rig.client().await;
    drop(client);
    let mut client = rig.hello().await;
    client.send(resume(&greeting[0], 3)).await;
    let resumed = client.payload().await;
    assert_eq!(
        (&resumed["t"], &resumed["s"]),
        (&json!("RESUMED"), &json!(3))
    );
}

#[tokio::test]
async fn a_resume_below_what_was_acknowledged_is_served_from_what_is_kept() {
    let rig = Rig::new().await;
    let (mut client, greeting) = rig.client().await;
    rig.events(101..=103).await;
    client.numbers(3).await;
    rig.acknowledged(&mut client, 103).await;
    drop(client);
    let mut client = rig.hello().await;
    client.send(resume(&greeting[0], 4)).await;
    assert_eq!(client.numbers(2).await, [(5, Some(102)), (6, Some(103))]);
    assert_eq!(rig.above.finished(), [101, 102, 103]);
}

#[tokio::test]
async fn a_resume_takes_the_session_from_a_connection_that_still_has_it() {
    let rig = Rig::new().await;
    let (mut old, greeting) = rig.client().await;
    let mut new = rig.hello().await;
    new.send(resume(&greeting[0], 3)).await;
    assert_eq!(new.payload().await["t"], "RESUMED");
    assert_eq!(old.closed().await.0, 4000);
    rig.event(101).await;
    assert_eq!(new.numbers(1).await, [(4, Some(101))]);
}

#[tokio::test]
async fn what_cannot_be_resumed_is_told_and_nothing_is_lost_by_it() {
    let mut config = config();
    config.limits.history = 0;
    let rig = Rig::with(config).await;
    let unknown = json!({"d": {"session_id": "0".repeat(40)}});
    let odd = json!({"d": {"session_id": "odd"}});
    // As discord.py resumes what it never had.
    let null = json!({"d": {"session_id": null}});
    for ready in [unknown, odd, null] {
        let mut client = rig.hello().await;
        client.send(resume(&ready, 1)).await;
        let refused = client.payload().await;
        assert_eq!((&refused["op"], &refused["d"]), (&json!(9), &json!(false)));
        // On the same connection it may begin anew.
        client.send(identify()).await;
        client.greeting().await;
        client.close(4000).await;
    }
    let (mut client, greeting) = rig.client().await;
    rig.events(101..=102).await;
    client.numbers(2).await;
    rig.acknowledged(&mut client, 102).await;
    rig.event(103).await;
    client.numbers(1).await;
    client.manner = Manner::Silent;
    drop(client);
    let mut client = rig.hello().await;
    client.send(resume(&greeting[0], 4)).await;
    assert_eq!(client.payload().await["op"], 9, "102 is not kept");
    client.send(identify()).await;
    client.greeting().await;
    assert_eq!(client.numbers(1).await, [(4, Some(103))]);
}

#[tokio::test]
async fn a_sequence_that_was_never_sent_closes_with_4007_and_a_wrong_token_with_4004() {
    let rig = Rig::new().await;
    let (client, greeting) = rig.client().await;
    drop(client);
    let mut wrong = resume(&greeting[0], 3);
    wrong["d"]["token"] = json!("other");
    let mut client = rig.hello().await;
    client.send(wrong).await;
    assert_eq!(client.closed().await.0, 4004);
    let mut client = rig.hello().await;
    client.send(resume(&greeting[0], 4)).await;
    assert_eq!(client.closed().await.0, 4007);
    let mut client = rig.hello().await;
    client
        .send(json!({"op": 6, "d": {"session_id": "", "seq": 1}}))
        .await;
    assert_eq!(client.closed().await.0, 4002);
}

#[tokio::test]
async fn a_client_that_was_cut_off_in_its_greeting_begins_anew() {
    let rig = Rig::new().await;
    // The state is ahead, so that READY is held.
    rig.above.inner().at = 101;
    let mut client = rig.hello().await;
    client.send(identify()).await;
    rig.until("greeted", |rig| rig.status().shards[0].clients.len() == 1)
        .await;
    drop(client);
    rig.event(101).await;
    let (mut client, greeting) = rig.client().await;
    assert_eq!(client.numbers(1).await, [(4, Some(101))]);
    drop(client);
    let mut client = rig.hello().await;
    client.send(resume(&greeting[0], 2)).await;
    assert_eq!(client.payload().await["op"], 9);
}

#[tokio::test]
async fn a_client_that_closes_with_1000_gives_its_session_up_but_not_its_backlog() {
    let rig = Rig::new().await;
    let (client, greeting) = rig.client().await;
    client.close(1000).await;
    rig.until("gone", |rig| rig.status().shards[0].clients.is_empty())
        .await;
    rig.event(101).await;
    let mut client = rig.hello().await;
    client.send(resume(&greeting[0], 3)).await;
    assert_eq!(client.payload().await["op"], 9);
    client.send(identify()).await;
    client.greeting().await;
    assert_eq!(client.numbers(1).await, [(4, Some(101))]);
}

#[tokio::test]
async fn each_compression_resumes_into_any_other() {
    let rig = Rig::new().await;
    let (client, greeting) = rig.client().await;
    drop(client);
    for (at, compress) in (0..).zip(["zlib-stream", "zstd-stream"]) {
        let url = format!("{}/?v=10&encoding=json&compress={compress}", rig.url());
        let mut client = Client::open(&url).await;
        client.payload().await;
        client.send(resume(&greeting[0], 3 + at)).await;
        assert_eq!(client.payload().await["t"], "RESUMED");
        rig.event(101 + at).await;
        assert_eq!(client.numbers(1).await, [(4 + at, Some(101 + at))]);
    }
}
