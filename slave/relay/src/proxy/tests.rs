//! A shard and its proxy, without a gateway on either side.

use baton_slave::Commands;

use super::*;

fn joined(change: impl FnOnce(&mut ProxyConfig)) -> Joined {
    let mut config = ProxyConfig::default();
    config.listen.set_port(0);
    config.bot_token = baton_proxy::Token::new("a.b.c");
    change(&mut config);
    Joined::start(config, None, Guilds::new(), 0).unwrap()
}

fn event(sequence: u64, text: &str) -> Event {
    let json = format!(r#"{{"t":"MOON_RISE","s":{sequence},"op":0,"d":"{text}"}}"#);
    Event::for_test(ShardId(0), Sequence(sequence), "MOON_RISE", &json)
}

impl Joined {
    /// The session goes on behind this event, as the slave says it.
    fn resumes(&self, of: (&ShardHandle, &Commands), session: &str, handled: u64) {
        of.1.resumes(session, Sequence(handled));
        self.state_changed(of.0, StateStatus::Complete);
    }

    fn takes(&self, shard: &ShardHandle, sequence: u64, text: &str) {
        self.handle(event(sequence, text), Ack::detached(), shard);
    }

    /// Sequences that are not finished.
    fn open(&self) -> Vec<u64> {
        let here = self.above.here(ShardId(0)).unwrap();
        let now = lock(&here.now);
        now.acks.keys().map(|sequence| sequence.get()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_is_held_as_long_as_its_proxy_has_no_room_and_every_event_is_taken() {
    let joined = joined(|config| {
        config.limits.ring = 4000;
        config.timings.hold = Duration::from_millis(300);
    });
    let (shard, commands) = ShardHandle::for_test();
    joined.resumes((&shard, &commands), "a", 10);
    let text = "x".repeat(800);
    joined.takes(&shard, 11, &text);
    joined.takes(&shard, 12, &text);
    assert!(!commands.is_held());
    joined.takes(&shard, 13, &text);
    assert!(commands.is_held());
    // One that the shard had in hand already.
    joined.takes(&shard, 14, &text);
    assert_eq!(joined.open(), [11, 12, 13, 14]);
    assert!(commands.is_held(), "once is enough");
    // Nobody comes, and Discord does not wait longer.
    while commands.is_held() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(joined.open(), [0; 0]);
    joined.takes(&shard, 15, &text);
    assert!(!commands.is_held());
}

#[tokio::test]
async fn a_shard_that_comes_back_while_there_is_no_room_is_held_at_once() {
    let joined = joined(|config| config.limits.ring = 1);
    let (before, commands) = ShardHandle::for_test();
    joined.resumes((&before, &commands), "a", 10);
    joined.takes(&before, 11, "");
    assert!(commands.is_held());
    let (after, of_after) = ShardHandle::for_test();
    joined.resumes((&after, &of_after), "a", 10);
    assert!(of_after.is_held() && !commands.is_held());
}

#[tokio::test]
async fn a_shard_that_comes_back_with_another_session_has_its_events_whatever_their_numbers() {
    let joined = joined(|_| {});
    let (shard, commands) = ShardHandle::for_test();
    joined.resumes((&shard, &commands), "a", 1000);
    joined.takes(&shard, 1001, "");
    // The same session once more: what it has is nothing new.
    joined.resumes((&shard, &commands), "a", 1000);
    joined.takes(&shard, 1001, "");
    assert_eq!(joined.open(), [1001]);
    joined.resumes((&shard, &commands), "b", 40);
    joined.takes(&shard, 41, "");
    assert_eq!(
        joined.open(),
        [41],
        "of the one before nothing is told any more"
    );
    let totals = joined.proxy.status().shards[0].totals;
    assert_eq!((totals.events, totals.lost), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn of_a_shard_that_has_left_nothing_is_kept_but_the_ready_with_which_it_may_come_back() {
    let joined = joined(|_| {});
    let (shard, commands) = ShardHandle::for_test();
    joined.resumes((&shard, &commands), "a", 0);
    let json = r#"{"t":"READY","s":1,"op":0,"d":{"user":{"id":"9"},"guilds":[]}}"#;
    let ready = Event::for_test(ShardId(0), Sequence(1), "READY", json);
    joined.handle(ready, Ack::detached(), &shard);
    joined.takes(&shard, 2, "");
    assert!(joined.proxy.status().open_bytes > 0);
    let said = joined.above.ready(ShardId(0)).unwrap();
    joined.shard_leaves(&shard, Settling::detached());
    assert!(joined.proxy.status().shards.is_empty());
    // Whoever looks after it sees that it has left.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let status = joined.proxy.status();
    assert_eq!((status.ring_bytes, status.totals.events), (0, 1));
    assert_eq!(joined.above.ready(ShardId(0)), None, "it is another's");
    joined.resumes((&shard, &commands), "a", 1);
    assert_eq!(joined.above.ready(ShardId(0)), Some(said));
    joined.resumes((&shard, &commands), "b", 1);
    assert_eq!(joined.above.ready(ShardId(0)), None, "another session's");
}

#[tokio::test]
async fn what_is_said_of_clients_as_their_shard_leaves_is_not_said_of_whoever_has_it_then() {
    let joined = joined(|_| {});
    let (shard, commands) = ShardHandle::for_test();
    joined.resumes((&shard, &commands), "a", 10);
    let here = joined.above.here(ShardId(0)).unwrap();
    lock(&here.now).has_left = true;
    let parting = here.input.parts();
    // The shard was away, and comes back, before its clients have said what they have.
    let theirs = r#"{"replaced":["its owner's in between"]}"#;
    shard.set_luggage(theirs).unwrap();
    joined.above.has_left(&here, parting, Settling::detached());
    assert_eq!(&*shard.luggage(), theirs);
    joined.resumes((&shard, &commands), "a", 20);
    let goes_on = shard.luggage();
    assert!(goes_on.contains("its owner's in between"), "{goes_on}");
}
