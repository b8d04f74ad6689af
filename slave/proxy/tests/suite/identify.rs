//! IDENTIFY: its checks, READY and the guilds.

use baton_proxy::{Begin, Sequence, Token};
use serde_json::{Value, json};

use crate::common::{BOT, INTENTS, Manner, Rig, TOKEN, config, identify};

#[tokio::test]
async fn each_check_has_its_code_and_says_why() {
    let rig = Rig::before_it_begins(config(), 2).await;
    let wrong = [
        ("/token", json!("other"), 4004, "another token"),
        ("/token", json!(7), 4002, "IDENTIFY needs"),
        ("/properties", json!(null), 4002, "IDENTIFY needs"),
        ("/shard", json!(null), 4011, "there are 2 shards"),
        ("/shard", json!([2, 2]), 4010, "there are 2 shards"),
        ("/shard", json!([0, 1]), 4010, "there are 2 shards"),
        ("/shard", json!([0]), 4002, "IDENTIFY needs"),
        ("/intents", json!(null), 4013, "invalid intents"),
        ("/intents", json!(-1), 4013, "invalid intents"),
        ("/intents", json!(1u64 << 40), 4013, "invalid intents"),
        (
            "/intents",
            json!(INTENTS | 256),
            4014,
            "have no GUILD_PRESENCES",
        ),
    ];
    for (field, value, code, why) in wrong {
        let mut identify = identify();
        identify["d"]["shard"] = json!([0, 2]);
        *identify.pointer_mut(&format!("/d{field}")).unwrap() = value.clone();
        let mut client = rig.hello().await;
        client.send(identify).await;
        let (closed, reason) = client.closed().await;
        assert_eq!(closed, code, "{field} {value}: {reason}");
        assert!(reason.contains(why), "{field} {value}: {reason}");
    }
}

#[tokio::test]
async fn what_discord_tolerates_is_tolerated() {
    let rig = Rig::new().await;
    let odd = [
        ("token", json!(TOKEN)),
        ("shard", json!([0, 1])),
        ("intents", json!(1 | 512)),
        ("compress", json!(null)),
        ("compress", json!(false)),
        ("large_threshold", json!(250)),
        ("presence", json!(null)),
        ("guild_subscriptions", json!(true)),
        (
            "properties",
            json!({"$os": "linux", "$browser": "x", "$device": "x", "more": [1]}),
        ),
    ];
    for (field, value) in odd {
        let mut identify = identify();
        identify["d"][field] = value.clone();
        identify["s"] = Value::Null;
        let mut client = rig.hello().await;
        client.beat().await;
        client.send(identify).await;
        client.greeting().await;
        client.close(1000).await;
    }
}

#[tokio::test]
async fn ready_is_the_shard_s_own_with_what_is_the_client_s_and_the_guilds_are_whole() {
    let rig = Rig::new().await;
    rig.above.inner().guilds.push((3, None));
    let mut client = rig.hello().await;
    client.send(identify()).await;
    let greeting = client.greeting().await;
    let ready = &greeting[0]["d"];
    assert_eq!(greeting[0]["s"], 1);
    assert_eq!((&ready["v"], &ready["shard"]), (&json!(10), &json!([0, 1])));
    assert_eq!(ready["user"]["id"], BOT.to_string());
    assert_eq!(
        (&ready["user"]["odd"], &ready["odd"]["new"]),
        (&json!(1), &json!([1.5]))
    );
    assert_eq!(ready["application"]["id"], "901");
    assert_eq!(ready["resume_gateway_url"], rig.url());
    assert_eq!(ready["session_id"].as_str().unwrap().len(), 40);
    let named = ready["guilds"].as_array().unwrap();
    let unavailable = |id: &str| json!({"id": id, "unavailable": true});
    assert_eq!(*named, ["1", "2", "3"].map(unavailable));
    for (at, guild) in [(1, "1"), (2, "2")] {
        let create = &greeting[at];
        assert_eq!(
            (&create["t"], &create["s"]),
            (&json!("GUILD_CREATE"), &json!(at + 1))
        );
        assert_eq!(
            (&create["d"]["id"], &create["d"]["odd"]),
            (&json!(guild), &json!([1.5]))
        );
        assert_eq!(create["d"]["members"].as_array().unwrap().len(), 2);
    }
    client.nothing().await;
    client.send(identify()).await;
    assert_eq!(client.closed().await.0, 4005);
}

#[tokio::test]
async fn an_own_token_is_the_only_one() {
    let mut config = config();
    config.own_token = Token::new("own");
    let rig = Rig::with(config).await;
    let mut client = rig.hello().await;
    client.send(identify()).await;
    assert_eq!(client.closed().await.0, 4004);
    let mut own = identify();
    own["d"]["token"] = json!("Bot own");
    let mut client = rig.hello().await;
    client.send(own).await;
    client.greeting().await;
}

#[tokio::test]
async fn a_client_waits_for_a_shard_that_is_on_its_way_and_not_for_ever() {
    let mut short = config();
    short.timings.arrival = std::time::Duration::from_millis(50);
    let rig = Rig::before_it_begins(short, 1).await;
    let mut client = rig.hello().await;
    client.send(identify()).await;
    let refused = client.payload().await;
    assert_eq!((&refused["op"], &refused["d"]), (&json!(9), &json!(false)));

    let rig = Rig::before_it_begins(config(), 1).await;
    let mut client = rig.hello().await;
    client.send(identify()).await;
    client.nothing().await;
    rig.resumed(100);
    client.greeting().await;
}

#[tokio::test]
async fn a_client_that_comes_before_anybody_knows_how_many_shards_there_are_waits() {
    let rig = Rig::before_it_begins(config(), 0).await;
    let shard = |shard| {
        let mut payload = identify();
        payload["d"]["shard"] = shard;
        payload
    };
    let (mut right, mut wrong) = (rig.hello().await, rig.hello().await);
    right.send(shard(json!([0, 2]))).await;
    wrong.send(shard(json!([0, 3]))).await;
    right.nothing().await;
    rig.above.fleet.lock().unwrap().shards = 2;
    rig.resumed(100);
    right.greeting().await;
    assert_eq!(wrong.closed().await.0, 4010);
}

#[tokio::test]
async fn the_guilds_of_a_new_session_come_once_however_early_the_client_is() {
    let rig = Rig::before_it_begins(config(), 1).await;
    // READY named three; the first came, the others are to come.
    rig.above.inner().guilds = vec![(1, Some(crate::common::guild(1))), (2, None), (3, None)];
    rig.above.inner().at = 2;
    let guilds = vec![1, 2, 3];
    let ready = Sequence(1);
    rig.input.begin(&Begin::New { ready, guilds });
    rig.say(2, "GUILD_CREATE", json!({"id": "1"})).await;
    rig.until_finished(2).await;
    let mut client = rig.hello().await;
    client.send(identify()).await;
    let greeting = client.greeting_of(1).await;
    let named = greeting[0]["d"]["guilds"].as_array().unwrap().len();
    assert_eq!((named, &greeting[1]["d"]["id"]), (3, &json!("1")));
    rig.say(3, "GUILD_CREATE", json!({"id": "2"})).await;
    let second = client.payload().await;
    assert_eq!((&second["s"], &second["d"]["id"]), (&json!(3), &json!("2")));
    client.beat().await;
    rig.until_finished(3).await;

    // Whoever comes while one is open is told of it by READY, and gets it once.
    client.manner = Manner::Silent;
    rig.say(4, "GUILD_CREATE", json!({"id": "3"})).await;
    client.payload().await;
    drop(client);
    rig.above.inner().guilds = [1, 2, 3]
        .map(|id| (id, Some(crate::common::guild(id))))
        .to_vec();
    rig.above.inner().at = 4;
    let mut client = rig.hello().await;
    client.send(identify()).await;
    let greeting = client.greeting().await;
    assert_eq!(greeting[0]["d"]["guilds"].as_array().unwrap().len(), 3);
    let third = client.payload().await;
    assert_eq!((&third["s"], &third["d"]), (&json!(4), &json!({"id": "3"})));
    client.nothing().await;
}

#[tokio::test]
async fn a_mirror_gets_what_comes_and_acknowledges_nothing() {
    let mut config = config();
    config.mirrors.insert("test".to_owned());
    let rig = Rig::with(config).await;
    let (mut primary, _) = rig.client().await;
    let (mut mirror, greeting) = rig.client_at("/mirror/test/?v=10").await;
    let resume = greeting[0]["d"]["resume_gateway_url"].as_str().unwrap();
    assert!(resume.ends_with("/mirror/test"), "{resume}");
    primary.manner = Manner::Silent;
    rig.event(101).await;
    assert_eq!(mirror.numbers(1).await, [(4, Some(101))]);
    mirror.beat().await;
    mirror.nothing().await;
    assert!(!rig.above.has_finished(101));
    primary.manner = Manner::Answers;
    assert_eq!(primary.numbers(1).await, [(4, Some(101))]);
    rig.event(102).await;
    assert_eq!(primary.numbers(1).await, [(5, Some(102))]);
    primary.beat().await;
    rig.until_finished(102).await;
    assert_eq!(mirror.numbers(1).await, [(5, Some(102))]);
    // Presence and voice are the primary's.
    mirror.send(json!({"op": 3, "d": {"status": "idle"}})).await;
    mirror.nothing().await;
    assert_eq!(rig.above.inner().commands.len(), 0);
}
