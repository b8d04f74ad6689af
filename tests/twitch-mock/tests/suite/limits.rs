//! How often what may be done, and what becomes of whoever does it more often.

use twitch_mock::{ChannelChange, Config, JoinPenalty};

use crate::common::{A_WHILE, Irc, seconds, tag, twitch};

async fn join_many(irc: &mut Irc, from: u32, count: u32) -> Vec<String> {
    let mut lines = Vec::new();
    for number in from..from + count {
        lines.extend(irc.ask(&format!("JOIN #channel{number}")).await);
    }
    lines
}

fn free(config: &mut Config) {
    config.channels = 300;
    config.irc.join = twitch_mock::Limit::NONE;
}

#[tokio::test(start_paused = true)]
async fn the_21st_join_of_an_account_in_ten_seconds_ends_its_connection() {
    let twitch = twitch(|_| {});
    // Of the account, not of the connection.
    let mut one = Irc::login(&twitch, "bot").await;
    let mut two = Irc::login(&twitch, "bot").await;
    join_many(&mut one, 1, 10).await;
    two.say("JOIN #channel11,#channel12,#channel13,#channel14,#channel15")
        .await;
    two.say("JOIN #channel16,#channel17,#channel18,#channel19,#channel20")
        .await;
    assert_eq!(two.rest(A_WHILE).await.len(), 50);
    let mut stranger = Irc::login(&twitch, "other").await;
    assert!(!stranger.ask("JOIN #channel1").await.is_empty());
    two.ask("JOIN #channel21").await;
    assert!(two.is_closed().await);
    assert!(!one.is_closed().await);
    assert_eq!(twitch.counters().kicks, 1);
}

#[tokio::test(start_paused = true)]
async fn joins_come_back_when_ten_seconds_have_passed() {
    let twitch = twitch(|config| config.irc.join_penalty = JoinPenalty::Ignore);
    let mut irc = Irc::login(&twitch, "bot").await;
    irc.ask(&format!(
        "JOIN {}",
        (1..=20)
            .map(|n| format!("#channel{n}"))
            .collect::<Vec<_>>()
            .join(",")
    ))
    .await;
    assert!(irc.ask("JOIN #channel21").await.is_empty());
    irc.rest(seconds(10)).await;
    assert_eq!(irc.ask("JOIN #channel21").await.len(), 5);
    assert_eq!(twitch.counters().kicks, 0);
}

#[tokio::test(start_paused = true)]
async fn the_21st_login_of_an_account_in_ten_seconds_is_refused() {
    let twitch = twitch(|_| {});
    let mut open = Vec::new();
    for _ in 0..20 {
        let mut irc = Irc::new(twitch.irc());
        irc.say("PASS oauth:x").await;
        irc.say("NICK bot").await;
        assert!(irc.next().await.unwrap().contains("001"));
        open.push(irc);
    }
    let mut irc = Irc::new(twitch.irc());
    irc.say("PASS oauth:x").await;
    assert!(irc.ask("NICK bot").await[0].contains("Login unsuccessful"));
    assert!(irc.is_closed().await);
    irc.rest(seconds(10)).await;
    tokio::time::sleep(seconds(10)).await;
    Irc::login(&twitch, "bot").await;
}

#[tokio::test(start_paused = true)]
async fn the_21st_message_in_30_seconds_makes_the_account_ignored_for_30_minutes() {
    let twitch = twitch(|_| {});
    let mut irc = Irc::joined(&twitch, "bot", "#channel1").await;
    for number in 0..20 {
        assert_eq!(
            irc.ask(&format!("PRIVMSG #channel1 :n{number}"))
                .await
                .len(),
            1
        );
    }
    assert!(irc.ask("PRIVMSG #channel1 :too much").await.is_empty());
    assert_eq!(twitch.counters().ignored, 1);
    tokio::time::sleep(seconds(29 * 60)).await;
    let mut irc = Irc::login(&twitch, "bot").await;
    assert!(irc.ask("PRIVMSG #channel1 :still ignored").await.is_empty());
    irc.rest(seconds(61)).await;
    assert_eq!(irc.ask("PRIVMSG #channel1 :heard").await.len(), 1);
    assert_eq!(twitch.counters().said, 21);
}

#[tokio::test(start_paused = true)]
async fn a_moderator_may_say_100_in_30_seconds_but_only_where_it_is_one() {
    let twitch = twitch(|_| {});
    let change = ChannelChange {
        moderators: vec!["bot".to_owned()],
        ..ChannelChange::default()
    };
    twitch.change_channel("channel1", &change).unwrap();
    let mut irc = Irc::login(&twitch, "bot").await;
    for number in 0..100 {
        irc.say(&format!("PRIVMSG #channel1 :n{number}")).await;
    }
    let states = irc.rest(A_WHILE).await;
    assert_eq!(states.len(), 100);
    assert_eq!(tag(&states[0], "mod"), "1");
    assert_eq!(twitch.counters().ignored, 0);
    irc.ask("PRIVMSG #channel2 :one more, as nobody").await;
    assert_eq!(twitch.counters().ignored, 1);
}

#[tokio::test(start_paused = true)]
async fn the_101st_channel_of_an_account_is_refused_unless_it_is_moderator_there() {
    let twitch = twitch(free);
    let change = ChannelChange {
        moderators: vec!["bot".to_owned()],
        ..ChannelChange::default()
    };
    twitch.change_channel("channel200", &change).unwrap();
    let mut one = Irc::login(&twitch, "bot").await;
    let mut two = Irc::login(&twitch, "bot").await;
    join_many(&mut one, 1, 60).await;
    join_many(&mut two, 61, 40).await;
    let refused = two.ask("JOIN #channel101").await;
    assert_eq!(
        tag(&refused[0], "msg-id"),
        "msg_concurrent_channel_limit_reached"
    );
    assert_eq!(two.ask("JOIN #channel200").await.len(), 5, "moderator");
    one.ask("PART #channel1").await;
    assert_eq!(
        two.ask("JOIN #channel101").await.len(),
        5,
        "a place came free"
    );
}

#[tokio::test(start_paused = true)]
async fn whether_a_channel_joined_twice_counts_twice_is_a_switch() {
    for counts in [true, false] {
        let twitch = twitch(|config| {
            free(config);
            config.irc.channel_cap = 2;
            config.unknown.double_join_counts = counts;
        });
        let mut one = Irc::joined(&twitch, "bot", "#channel1,#channel2").await;
        let mut two = Irc::login(&twitch, "bot").await;
        let again = two.ask("JOIN #channel1").await;
        assert_eq!(again.len(), if counts { 1 } else { 5 });
        assert_eq!(one.ask("JOIN #channel3").await.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn whether_the_cap_holds_for_anonymous_logins_is_a_switch() {
    for holds in [true, false] {
        let twitch = twitch(|config| {
            free(config);
            config.irc.channel_cap = 1;
            config.unknown.anonymous_cap = holds;
        });
        let mut irc = Irc::new(twitch.irc());
        irc.ask("NICK justinfan1").await;
        let lines = irc.ask("JOIN #channel1,#channel2").await;
        assert_eq!(lines.iter().any(|line| line.contains("NOTICE")), holds);
    }
}
