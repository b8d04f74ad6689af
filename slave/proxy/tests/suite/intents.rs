//! A client that asks for fewer intents than the session has.

use serde_json::{Value, json};

use crate::common::{Client, Rig, identify, resume};

/// With these intents; it has read what greets it.
async fn client(rig: &Rig, intents: u64, guilds: usize) -> (Client, Vec<Value>) {
    let mut client = rig.hello().await;
    let mut identify = identify();
    identify["d"]["intents"] = intents.into();
    client.send(identify).await;
    let greeting = client.greeting_of(guilds).await;
    (client, greeting)
}

/// The types of what comes next.
async fn types(client: &mut Client, count: usize) -> Vec<(u64, String)> {
    let mut types = Vec::new();
    for _ in 0..count {
        let payload = client.payload().await;
        let kind = payload["t"].as_str().unwrap().to_owned();
        types.push((payload["s"].as_u64().unwrap(), kind));
    }
    types
}

#[tokio::test]
async fn it_gets_their_events_and_its_sequences_have_no_gap_and_everything_is_acknowledged() {
    let rig = Rig::new().await;
    let (mut client, greeting) = client(&rig, 1, 2).await;
    let in_guild = || json!({"guild_id": "1", "id": "1", "user": {"id": "5"}});
    rig.say(101, "MESSAGE_CREATE", in_guild()).await;
    rig.say(102, "GUILD_UPDATE", in_guild()).await;
    rig.say(103, "GUILD_MEMBER_ADD", in_guild()).await;
    rig.say(104, "INTERACTION_CREATE", in_guild()).await;
    let named = |kinds: [&str; 4], first: u64| {
        let numbered = (first..).zip(kinds);
        numbered
            .map(|(number, kind)| (number, kind.to_owned()))
            .collect::<Vec<_>>()
    };
    let filler = "BATON_FILLER";
    let expected = [filler, "GUILD_UPDATE", filler, "INTERACTION_CREATE"];
    assert_eq!(types(&mut client, 4).await, named(expected, 4));
    client.beat().await;
    rig.until_finished(104).await;
    // It is the same session when it comes back.
    drop(client);
    rig.say(105, "MESSAGE_CREATE", in_guild()).await;
    rig.say(106, "CHANNEL_UPDATE", in_guild()).await;
    let mut client = rig.hello().await;
    client.send(resume(&greeting[0], 7)).await;
    let came = types(&mut client, 3).await;
    let expected = [(8, filler), (9, "CHANNEL_UPDATE"), (9, "RESUMED")];
    let expected = expected.map(|(number, kind)| (number, kind.to_owned()));
    assert_eq!(came, expected);
}

#[tokio::test]
async fn without_the_intent_guilds_is_named_them_in_ready_and_told_nothing_more_of_them() {
    let rig = Rig::new().await;
    let (mut client, greeting) = client(&rig, 512, 0).await;
    assert_eq!(greeting[0]["d"]["guilds"].as_array().unwrap().len(), 2);
    rig.say(101, "MESSAGE_CREATE", json!({"guild_id": "1", "n": 101}))
        .await;
    assert_eq!(client.numbers(1).await, [(2, Some(101))]);
}

#[tokio::test]
async fn its_guilds_and_messages_are_without_what_it_did_not_ask_for() {
    let rig = Rig::new().await;
    let text = json!({"id": "1", "presences": [{}], "voice_states": [{}], "odd": [1.50]});
    rig.above.inner().guilds = vec![(1, Some(text.to_string()))];
    let (mut client, greeting) = client(&rig, 1 | 512, 1).await;
    let guild = &greeting[1]["d"];
    let expected = json!({"id": "1", "presences": [], "voice_states": [], "odd": [1.50]});
    assert_eq!(*guild, expected);
    let message = json!({"guild_id": "1", "content": "hello", "author": {"id": "5"}});
    rig.say(101, "MESSAGE_CREATE", message).await;
    assert_eq!(client.payload().await["d"]["content"], "");
}
