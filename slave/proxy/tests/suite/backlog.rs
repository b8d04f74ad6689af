//! What comes, what is acknowledged, and what a client that comes back gets.

use std::time::Duration;

use baton_proxy::{Begin, Reason, Sequence};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::common::{Manner, Rig, config, guild, identify, in_a_row};

#[tokio::test]
async fn events_are_finished_when_the_client_has_them_and_not_before() {
    let rig = Rig::new().await;
    let (mut client, _) = rig.client().await;
    client.manner = Manner::Silent;
    rig.events(101..=103).await;
    assert_eq!(client.numbers(3).await, in_a_row(4, 101..=103));
    client.manner = Manner::Raw;
    // It is asked, says less than it has, is asked again, says more than it has.
    assert_eq!(client.payload().await["op"], 1);
    assert!(rig.above.finished().is_empty());
    client.send(json!({"op": 1, "d": 5})).await;
    rig.until_finished(102).await;
    while client.payload().await["op"] != 11 {}
    assert_eq!(client.payload().await["op"], 1);
    client.send(json!({"op": 1, "d": 5000})).await;
    rig.until_finished(103).await;
    assert_eq!(rig.above.finished(), [101, 102, 103]);
    client.manner = Manner::Silent;
    client.send(json!({"op": 1, "d": 3})).await;
    rig.event(104).await;
    assert_eq!(client.numbers(1).await, [(7, Some(104))]);
    client.send(json!({"op": 1, "d": 6})).await;
    client.nothing().await;
    assert_eq!(rig.above.finished(), [101, 102, 103], "104 was not said");
    rig.acknowledged(&mut client, 104).await;
}

#[tokio::test]
async fn a_hole_in_discord_s_sequences_is_none_for_a_client() {
    let rig = Rig::new().await;
    let (mut client, _) = rig.client().await;
    rig.event(101).await;
    rig.event(104).await;
    assert_eq!(
        client.numbers(4).await,
        [(4, Some(101)), (5, None), (6, None), (7, Some(104))]
    );
    rig.acknowledged(&mut client, 104).await;
    assert_eq!(rig.above.finished(), [101, 102, 103, 104]);
}

#[tokio::test]
async fn an_event_that_comes_again_goes_out_once_and_is_finished_again() {
    let rig = Rig::new().await;
    let (mut client, _) = rig.client().await;
    rig.event(101).await;
    client.numbers(1).await;
    rig.acknowledged(&mut client, 101).await;
    rig.resumed(100);
    rig.event(101).await;
    rig.event(102).await;
    assert_eq!(client.numbers(1).await, [(5, Some(102))]);
    let again = rig.above.inner().finished.clone();
    assert_eq!(again[..2], [(101, 101), (101, 101)]);
}

#[tokio::test]
async fn a_client_that_was_killed_gets_what_it_did_not_acknowledge_and_what_came_since() {
    let rig = Rig::new().await;
    let (mut client, _) = rig.client().await;
    rig.event(101).await;
    client.numbers(1).await;
    rig.acknowledged(&mut client, 101).await;
    client.manner = Manner::Silent;
    rig.event(102).await;
    client.numbers(1).await;
    drop(client);
    rig.events(103..=105).await;
    rig.until("gone", |rig| !rig.status().shards[0].clients[0].connected)
        .await;
    let (mut again, _) = rig.client().await;
    assert_eq!(again.numbers(4).await, in_a_row(4, 102..=105));
    rig.acknowledged(&mut again, 105).await;
    assert_eq!(rig.above.finished(), [101, 102, 103, 104, 105]);
    assert_eq!(rig.status().shards[0].totals.lost, 0);
}

#[tokio::test]
async fn guilds_are_as_they_were_where_the_backlog_begins() {
    let rig = Rig::new().await;
    let user = |id: &str| json!({"guild_id": "1", "user": {"id": id}});
    rig.say(101, "GUILD_MEMBER_ADD", user("12")).await;
    rig.say(102, "GUILD_MEMBER_REMOVE", user("13")).await;
    rig.say(103, "GUILD_DELETE", json!({"id": "4"})).await;
    rig.say(104, "GUILD_CREATE", json!({"id": "5"})).await;
    {
        // The state has all of it.
        let mut inner = rig.above.inner();
        inner.at = 104;
        inner.guilds.push((5, Some(guild(5))));
    }
    let (mut client, greeting) = rig.client().await;
    let named = greeting[0]["d"]["guilds"].as_array().unwrap().iter();
    let named: Vec<_> = named.map(|guild| guild["id"].as_str().unwrap()).collect();
    assert_eq!(named, ["1", "2", "4"], "4 was there, 5 was not");
    let first = &greeting[1]["d"];
    assert_eq!(
        (&first["id"], &first["member_count"]),
        (&json!("1"), &json!(2))
    );
    let members = first["members"].as_array().unwrap().iter();
    let members: Vec<&Value> = members.map(|member| &member["user"]["id"]).collect();
    assert_eq!(members, ["11", "13"]);
    assert_eq!(
        greeting[2]["d"],
        serde_json::from_str::<Value>(&guild(2)).unwrap()
    );
    let mut kinds = Vec::new();
    for _ in 0..4 {
        kinds.push(client.payload().await["t"].as_str().unwrap().to_owned());
    }
    let expected = [
        "GUILD_MEMBER_ADD",
        "GUILD_MEMBER_REMOVE",
        "GUILD_DELETE",
        "GUILD_CREATE",
    ];
    assert_eq!(kinds, expected);
}

#[tokio::test]
async fn a_state_that_is_ahead_of_the_events_is_held_until_they_are_there() {
    let rig = Rig::new().await;
    // The member is in the state, and its event is on its way.
    rig.above.inner().at = 101;
    let mut client = rig.hello().await;
    client.send(identify()).await;
    client.nothing().await;
    let add = json!({"guild_id": "2", "user": {"id": "12"}});
    rig.say(101, "GUILD_MEMBER_ADD", add).await;
    let greeting = client.greeting().await;
    assert_eq!(greeting[2]["d"]["member_count"], 1);
    assert_eq!(client.payload().await["t"], "GUILD_MEMBER_ADD");
}

#[tokio::test]
async fn a_state_that_stays_ahead_of_the_events_holds_a_greeting_up_once_and_not_for_each_guild() {
    let rig = Rig::new().await;
    {
        let mut inner = rig.above.inner();
        inner.guilds = (1..=20).map(|id| (id, Some(guild(id)))).collect();
        // Its last number is that of RESUMED, of which the ring does not hear.
        inner.at = 101;
    }
    let began = Instant::now();
    let mut client = rig.hello().await;
    client.send(identify()).await;
    client.greeting_of(20).await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn a_client_that_says_what_it_has_handled_is_asked_nothing() {
    let rig = Rig::new().await;
    let (mut client, _) = rig.client_at("/handled?v=10&encoding=json").await;
    rig.events(101..=106).await;
    client.numbers(6).await;
    client.beat().await;
    client.nothing().await;
    assert!(
        rig.above.finished().is_empty(),
        "a heartbeat says nothing here"
    );
    client.send(json!({"op": 1000, "d": 5})).await;
    rig.until_finished(102).await;
    client.send(json!({"op": 1000, "d": [7, 5, 1, 2000]})).await;
    rig.until_finished(104).await;
    client.send(json!({"op": 1000, "d": {"through": 4}})).await;
    rig.until_finished(101).await;
    assert_eq!(rig.above.finished(), [101, 102, 104]);
    rig.dies(client).await;

    // What was handled out of order does not come again.
    let (mut again, _) = rig.client().await;
    let expected = [(4, Some(103)), (5, None), (6, Some(105)), (7, Some(106))];
    assert_eq!(again.numbers(4).await, expected);
    rig.acknowledged(&mut again, 106).await;
    assert_eq!(rig.above.finished(), [101, 102, 103, 104, 105, 106]);
}

#[tokio::test]
async fn a_word_about_what_is_handled_that_cannot_be_read_closes() {
    let rig = Rig::new().await;
    let (mut client, _) = rig.client().await;
    client.send(json!({"op": 1000, "d": "5"})).await;
    assert_eq!(client.closed().await.0, 4002);
}

#[tokio::test]
async fn a_new_session_of_the_shard_is_a_new_session_of_the_client_behind_what_came_before() {
    let rig = Rig::new().await;
    let (mut client, _) = rig.client().await;
    rig.event(101).await;
    let (ready, guilds) = (Sequence(1), vec![1, 2]);
    rig.input.begin(&Begin::New { ready, guilds });
    rig.say(2, "GUILD_CREATE", json!({"id": "1"})).await;
    rig.say(3, "MESSAGE_CREATE", json!({"n": 3})).await;
    rig.above.inner().at = 3;
    assert_eq!(client.numbers(1).await, [(4, Some(101))]);
    // It is asked before it is sent away, and answers.
    let over = client.payload().await;
    assert_eq!((&over["op"], &over["d"]), (&json!(9), &json!(false)));
    client.sequence = None;
    client.send(identify()).await;
    let greeting = client.greeting().await;
    assert_eq!(greeting[1]["d"]["id"], "1");
    // 101 comes once, and READY's guild is not in the backlog.
    assert_eq!(client.numbers(1).await, [(4, Some(3))]);
    rig.acknowledged(&mut client, 3).await;
    assert_eq!(
        rig.above.finished(),
        [1, 2, 3],
        "of the session before nothing is said"
    );
}

#[tokio::test]
async fn who_does_not_answer_when_its_session_ends_is_sent_away_and_gets_it_once_more() {
    let mut config = config();
    config.timings.settle = Duration::from_millis(100);
    let rig = Rig::with(config).await;
    let (mut client, _) = rig.client().await;
    client.manner = Manner::Silent;
    rig.event(101).await;
    let (ready, guilds) = (Sequence(1), vec![1, 2]);
    rig.input.begin(&Begin::New { ready, guilds });
    rig.above.inner().at = 1;
    assert_eq!(client.numbers(1).await, [(4, Some(101))]);
    assert_eq!(client.payload().await["op"], 9);
    client.sequence = None;
    client.send(identify()).await;
    client.greeting().await;
    let backlog = client.numbers(2).await;
    assert_eq!(backlog, [(4, Some(101)), (5, None)]);
}

#[tokio::test]
async fn what_a_client_has_handled_counts_before_its_session_ends() {
    let rig = Rig::new().await;
    let (mut client, _) = rig.client_at("/handled?v=10&encoding=json").await;
    client.manner = Manner::Raw;
    rig.events(101..=102).await;
    client.numbers(2).await;
    let (ready, guilds) = (Sequence(1), Vec::new());
    rig.input.begin(&Begin::New { ready, guilds });
    rig.above.inner().at = 1;
    assert_eq!(client.payload().await["op"], 1, "it is asked");
    client.send(json!({"op": 1000, "d": 4})).await;
    client.beat().await;
    client.manner = Manner::Answers;
    assert_eq!(client.payload().await["op"], 9, "and no more is waited for");
    client.send(identify()).await;
    client.greeting().await;
    assert_eq!(client.numbers(2).await, [(4, Some(102)), (5, None)]);
}

#[tokio::test]
async fn an_event_that_comes_behind_later_ones_is_finished_and_told_as_lost_once() {
    let rig = Rig::new().await;
    let (mut client, _) = rig.client().await;
    rig.event(102).await;
    let behind = client.numbers(2).await;
    assert_eq!(behind, [(4, None), (5, Some(102))]);
    client.beat().await;
    rig.until_finished(102).await;
    rig.above.inner().finished.clear();
    rig.event(101).await;
    assert_eq!(rig.above.finished(), [101], "it holds nothing up");
    let lost = || rig.status().shards[0].totals.lost;
    assert_eq!(lost(), 1);
    let given_up = rig.status().shards[0].given_up.unwrap();
    assert_eq!((given_up.reason, given_up.events), (Reason::Late, 1));
    rig.event(101).await;
    rig.event(102).await;
    assert_eq!(lost(), 1, "a repeat is none");
}

#[tokio::test]
async fn the_first_client_gets_what_came_before_it() {
    let rig = Rig::with(config()).await;
    rig.events(101..=102).await;
    rig.above.inner().at = 102;
    let (mut client, _) = rig.client().await;
    assert_eq!(client.numbers(2).await, in_a_row(4, 101..=102));
}
