//! What is said in channels, and who hears it.

use twitch_mock::{Kind, Scope};

use crate::common::{A_WHILE, Irc, seconds, speak, tag, twitch};

#[tokio::test(start_paused = true)]
async fn a_message_has_a_number_a_unique_id_and_its_tags() {
    let twitch = twitch(|_| {});
    let mut irc = Irc::joined(&twitch, "bot", "#channel1,#channel2").await;
    let mut ids = Vec::new();
    for (channel, seq) in [("channel1", 1), ("channel2", 1), ("channel1", 2)] {
        let id = speak(&twitch, channel, "hello there");
        let line = irc.next().await.unwrap();
        assert_eq!(tag(&line, "id"), id);
        assert!(tag(&line, "tmi-sent-ts").parse::<u64>().unwrap() > 1_600_000_000_000);
        assert!(line.ends_with(&format!("PRIVMSG #{channel} :hello there")));
        let last = twitch.messages(0, 9).pop().unwrap();
        assert_eq!(
            (&*last.channel, last.seq, last.deliveries),
            (channel, seq, 1)
        );
        ids.push(id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn others_hear_a_privmsg_and_other_connections_of_the_account_but_not_its_own() {
    let twitch = twitch(|_| {});
    let mut own = Irc::joined(&twitch, "bot", "#channel1").await;
    let mut second = Irc::joined(&twitch, "bot", "#channel1").await;
    let mut other = Irc::joined(&twitch, "other", "#channel1").await;
    own.rest(A_WHILE).await;
    second.rest(A_WHILE).await;
    let answer = own.ask("PRIVMSG #channel1 :hello").await;
    assert_eq!(answer.len(), 1);
    assert!(answer[0].contains("USERSTATE #channel1"));
    assert!(
        second
            .next()
            .await
            .unwrap()
            .ends_with("PRIVMSG #channel1 :hello")
    );
    assert!(
        other
            .next()
            .await
            .unwrap()
            .ends_with("PRIVMSG #channel1 :hello")
    );
}

#[tokio::test(start_paused = true)]
async fn a_line_break_in_a_text_would_be_a_second_command() {
    let twitch = twitch(|_| {});
    let mut irc = Irc::login(&twitch, "bot").await;
    let lines = irc.ask("PRIVMSG #channel1 :hello\r\nJOIN #channel2").await;
    assert!(lines.iter().any(|line| line.contains("JOIN #channel2")));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_said_is_answered_with_its_reason() {
    let twitch = twitch(|_| {});
    let mut irc = Irc::joined(&twitch, "bot", "#channel1").await;
    irc.ask("PRIVMSG #channel1 :hello").await;
    let again = irc.ask("PRIVMSG #channel1 :hello").await;
    assert_eq!(tag(&again[0], "msg-id"), "msg_duplicate");
    irc.rest(seconds(30)).await;
    assert!(irc.ask("PRIVMSG #channel1 :hello").await[0].contains("USERSTATE"));
    let long = irc
        .ask(&format!("PRIVMSG #channel1 :{}", "x".repeat(501)))
        .await;
    assert_eq!(tag(&long[0], "msg-id"), "msg_rejected_mandatory");
    assert_eq!(twitch.counters().unsaid, 2);
}

#[tokio::test(start_paused = true)]
async fn subs_raids_and_clearing_come_with_their_tags() {
    let twitch = twitch(|_| {});
    let mut irc = Irc::joined(&twitch, "bot", "#channel1").await;
    let said = speak(&twitch, "channel1", "bad");
    irc.next().await;
    let mut next = async |kind| {
        twitch.happen(kind, "channel1", "viewer1", "text").unwrap();
        irc.next().await.unwrap()
    };
    let sub = next(Kind::Sub).await;
    assert!(sub.contains("USERNOTICE #channel1 :text"));
    assert_eq!(tag(&sub, "msg-id"), "sub");
    assert_eq!(
        tag(&sub, "system-msg"),
        "viewer1\\ssubscribed\\sat\\sTier\\s1."
    );
    assert_eq!(tag(&next(Kind::Raid).await, "msg-id"), "raid");
    let clear = next(Kind::ClearChat).await;
    assert!(clear.ends_with("CLEARCHAT #channel1 :viewer1"));
    assert_eq!(tag(&clear, "ban-duration"), "60");
    let deleted = next(Kind::ClearMsg).await;
    assert_eq!(tag(&deleted, "target-msg-id"), said);
}

#[tokio::test(start_paused = true)]
async fn whether_a_clearchat_has_one_time_everywhere_is_a_switch() {
    for same in [true, false] {
        let twitch = twitch(|config| config.unknown.clearchat_same_time = same);
        let mut one = Irc::joined(&twitch, "bot", "#channel1").await;
        let mut two = Irc::joined(&twitch, "bot", "#channel1").await;
        twitch
            .happen(Kind::ClearChat, "channel1", "viewer1", "")
            .unwrap();
        let (one, two) = (one.next().await.unwrap(), two.next().await.unwrap());
        assert_eq!(tag(&one, "tmi-sent-ts") == tag(&two, "tmi-sent-ts"), same);
    }
}

#[tokio::test(start_paused = true)]
async fn a_consumer_is_judged_by_what_it_read() {
    let twitch = twitch(|_| {});
    let mut irc = Irc::joined(&twitch, "bot", "#channel1").await;
    let mut seen = Vec::new();
    for number in 0..10 {
        speak(&twitch, "channel1", &format!("n{number}"));
        seen.push(tag(&irc.next().await.unwrap(), "id").to_owned());
    }
    assert!(twitch.judge(&seen, &Scope::default()).is_clean());
    seen.swap(3, 4);
    let last = seen.pop().unwrap();
    seen.push(seen[0].clone());
    let verdict = twitch.judge(&seen, &Scope::default());
    assert_eq!(
        (verdict.lost, verdict.repeated, verdict.out_of_order),
        (1, 1, 1)
    );
    assert_eq!(verdict.lost_ids, [last]);
}
