//! Login, joins, and the connection itself.

use std::time::Duration;

use twitch_mock::{Account, ChannelChange, Fault, FaultName};

use crate::common::{A_WHILE, Irc, seconds, speak, tag, twitch};

#[tokio::test(start_paused = true)]
async fn a_login_is_welcomed_as_twitch_does() {
    let twitch = twitch(|_| {});
    let mut irc = Irc::new(twitch.irc());
    let ack = irc.ask("CAP REQ :twitch.tv/tags twitch.tv/commands").await;
    assert_eq!(
        ack,
        [":tmi.twitch.tv CAP * ACK :twitch.tv/tags twitch.tv/commands"]
    );
    irc.say("PASS oauth:any").await;
    let lines = irc.ask("NICK bot").await;
    let commands: Vec<&str> = lines
        .iter()
        .map(|line| {
            let line = line
                .strip_prefix('@')
                .map_or(line.as_str(), |rest| rest.split_once(' ').unwrap().1);
            line.split(' ').nth(1).unwrap()
        })
        .collect();
    assert_eq!(
        commands,
        [
            "001",
            "002",
            "003",
            "004",
            "375",
            "372",
            "376",
            "GLOBALUSERSTATE"
        ]
    );
    assert_eq!(tag(&lines[7], "display-name"), "bot");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_capability_is_refused() {
    let twitch = twitch(|_| {});
    let mut irc = Irc::new(twitch.irc());
    let nak = irc.ask("CAP REQ :twitch.tv/tags other").await;
    assert_eq!(nak, [":tmi.twitch.tv CAP * NAK :twitch.tv/tags other"]);
    let mut ls = Irc::new(twitch.irc());
    assert!(ls.ask("CAP LS 302").await[0].contains("twitch.tv/membership"));
}

#[tokio::test(start_paused = true)]
async fn without_tags_no_line_has_any() {
    let twitch = twitch(|_| {});
    let mut irc = Irc::new(twitch.irc());
    irc.ask("PASS oauth:x").await;
    irc.ask("NICK bot").await;
    irc.ask("JOIN #channel1").await;
    speak(&twitch, "channel1", "hello");
    let line = irc.next().await.unwrap();
    assert_eq!(
        line,
        ":viewer1!viewer1@viewer1.tmi.twitch.tv PRIVMSG #channel1 :hello"
    );
}

#[tokio::test(start_paused = true)]
async fn an_anonymous_login_reads_without_a_token_and_cannot_speak() {
    let twitch = twitch(|_| {});
    let mut irc = Irc::new(twitch.irc());
    assert!(irc.ask("NICK justinfan123").await.len() > 5);
    irc.ask("JOIN #channel1").await;
    irc.ask("PRIVMSG #channel1 :hello").await;
    assert_eq!(twitch.counters().said, 0);
    speak(&twitch, "channel1", "hello");
    assert!(irc.next().await.unwrap().ends_with(":hello"));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_login_gets_its_notice_and_the_end() {
    let twitch = twitch(|config| {
        config.accounts = vec![Account {
            login: "bot".to_owned(),
            token: "right".to_owned(),
            ..Account::default()
        }];
    });
    for (pass, expected) in [
        ("PASS oauth:wrong", "Login authentication failed"),
        ("PASS right", "Improperly formatted auth"),
        ("PING", "Improperly formatted auth"),
    ] {
        let mut irc = Irc::new(twitch.irc());
        irc.ask(pass).await;
        let lines = irc.ask("NICK bot").await;
        assert_eq!(lines, [format!(":tmi.twitch.tv NOTICE * :{expected}")]);
        assert!(irc.is_closed().await);
    }
    let mut irc = Irc::new(twitch.irc());
    irc.say("PASS oauth:right").await;
    assert!(irc.ask("NICK bot").await.len() > 5);
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_log_in_in_time_is_closed() {
    let twitch = twitch(|_| {});
    let mut irc = Irc::new(twitch.irc());
    assert!(irc.ask("JOIN #channel1").await[0].contains(" 451 "));
    irc.rest(seconds(9)).await;
    assert!(irc.rest(seconds(2)).await.is_empty());
    assert!(irc.is_closed().await);
}

#[tokio::test(start_paused = true)]
async fn a_join_is_echoed_with_names_user_state_and_room_state() {
    let twitch = twitch(|_| {});
    let mut irc = Irc::login(&twitch, "bot").await;
    let lines = irc.ask("JOIN #Channel1,#channel2").await;
    assert_eq!(lines.len(), 10);
    assert_eq!(lines[0], ":bot!bot@bot.tmi.twitch.tv JOIN #channel1");
    assert_eq!(lines[1], ":bot.tmi.twitch.tv 353 bot = #channel1 :bot");
    assert_eq!(
        lines[2],
        ":bot.tmi.twitch.tv 366 bot #channel1 :End of /NAMES list"
    );
    assert!(lines[3].contains("USERSTATE #channel1"));
    assert!(lines[4].contains("ROOMSTATE #channel1"));
    assert_eq!(tag(&lines[4], "room-id"), "100001");
    assert!(irc.ask("JOIN #channel1").await.is_empty(), "once is enough");
}

#[tokio::test(start_paused = true)]
async fn a_part_is_echoed_and_ends_the_messages() {
    let twitch = twitch(|_| {});
    let mut irc = Irc::joined(&twitch, "bot", "#channel1").await;
    let lines = irc.ask("PART #channel1").await;
    assert_eq!(lines, [":bot!bot@bot.tmi.twitch.tv PART #channel1"]);
    speak(&twitch, "channel1", "hello");
    assert!(irc.rest(A_WHILE).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_asked_for_membership_hears_of_others() {
    let twitch = twitch(|_| {});
    let mut irc = Irc::joined(&twitch, "bot", "#channel1").await;
    let mut other = Irc::joined(&twitch, "other", "#channel1").await;
    assert_eq!(
        irc.next().await.unwrap(),
        ":other!other@other.tmi.twitch.tv JOIN #channel1"
    );
    other.ask("PART #channel1").await;
    assert_eq!(
        irc.next().await.unwrap(),
        ":other!other@other.tmi.twitch.tv PART #channel1"
    );
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_banned_suspended_or_missing_says_so() {
    let twitch = twitch(|_| {});
    let ban = ChannelChange {
        ban: vec!["bot".to_owned()],
        ..ChannelChange::default()
    };
    let suspend = ChannelChange {
        suspended: Some(true),
        ..ChannelChange::default()
    };
    twitch.change_channel("channel1", &ban).unwrap();
    twitch.change_channel("channel2", &suspend).unwrap();
    let mut irc = Irc::login(&twitch, "bot").await;
    for (channel, id) in [
        ("#channel1", "msg_banned"),
        ("#channel2", "msg_channel_suspended"),
        ("#nowhere", "msg_channel_suspended"),
    ] {
        let lines = irc.ask(&format!("JOIN {channel}")).await;
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(tag(&lines[0], "msg-id"), id);
        assert!(lines[0].contains(&format!("NOTICE {channel} ")));
    }
    assert_eq!(twitch.counters().refused_joins["msg_channel_suspended"], 2);
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_both_ways_or_the_connection_ends() {
    let twitch = twitch(|_| {});
    let mut irc = Irc::login(&twitch, "bot").await;
    assert_eq!(
        irc.ask("PING :word").await,
        [":tmi.twitch.tv PONG tmi.twitch.tv :word"]
    );
    assert_eq!(irc.next().await.unwrap(), "PING :tmi.twitch.tv");
    irc.say("PONG :tmi.twitch.tv").await;
    assert_eq!(irc.next().await.unwrap(), "PING :tmi.twitch.tv");
    assert_eq!(irc.next().await, None, "no PONG: the end");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_command_is_answered() {
    let twitch = twitch(|_| {});
    let mut irc = Irc::login(&twitch, "bot").await;
    assert_eq!(
        irc.ask("FOO x").await,
        [":tmi.twitch.tv 421 bot FOO :Unknown command"]
    );
}

#[tokio::test(start_paused = true)]
async fn reconnect_comes_before_the_end() {
    let twitch = twitch(|_| {});
    let mut irc = Irc::joined(&twitch, "bot", "#channel1").await;
    twitch.fault(Fault::new(FaultName::IrcReconnect)).unwrap();
    assert_eq!(irc.next().await.unwrap(), ":tmi.twitch.tv RECONNECT");
    irc.rest(seconds(25)).await;
    speak(&twitch, "channel1", "still here");
    assert!(irc.next().await.unwrap().ends_with("still here"));
    assert_eq!(irc.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_half_open_connection_is_silent_and_what_it_missed_was_dropped() {
    let twitch = twitch(|_| {});
    let mut irc = Irc::joined(&twitch, "bot", "#channel1").await;
    twitch.fault(Fault::new(FaultName::IrcHalfOpen)).unwrap();
    tokio::time::sleep(A_WHILE).await;
    speak(&twitch, "channel1", "lost");
    assert!(irc.ask("PING").await.is_empty());
    assert!(!irc.is_closed().await, "and no FIN");
    assert_eq!(twitch.messages(0, 9)[0].dropped, 1);
    assert_eq!(twitch.extents().dropped, 1);
    // Twitch gives it up when the PONG is late.
    tokio::time::sleep(seconds(320)).await;
    speak(&twitch, "channel1", "to nobody");
    assert_eq!(twitch.messages(1, 9)[0].dropped, 0);
    assert!(!irc.is_closed().await);
}

#[tokio::test(start_paused = true)]
async fn events_come_late_by_delay_and_jitter_and_in_order() {
    let twitch = twitch(|config| {
        config.irc.delay = seconds(1);
        config.irc.jitter = seconds(3);
    });
    let mut irc = Irc::joined(&twitch, "bot", "#channel1").await;
    let start = tokio::time::Instant::now();
    for number in 0..20 {
        speak(&twitch, "channel1", &format!("n{number}"));
    }
    for number in 0..20 {
        assert!(irc.next().await.unwrap().ends_with(&format!(":n{number}")));
        assert!(start.elapsed() >= seconds(1));
    }
    assert!(start.elapsed() <= seconds(4) + Duration::from_millis(5));
    assert!(
        start.elapsed() > seconds(2),
        "some are much later than others"
    );
}

#[tokio::test(start_paused = true)]
async fn segments_may_end_anywhere_also_within_a_character() {
    use tokio::io::AsyncReadExt;
    let twitch = twitch(|config| config.irc.split = 1);
    let irc = Irc::joined(&twitch, "bot", "#channel1").await;
    drop(irc);
    let mut stream = twitch.irc();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"NICK justinfan1\r\nJOIN #channel1\r\n")
        .await
        .unwrap();
    tokio::time::sleep(A_WHILE).await;
    let mut buffer = vec![0; 4096];
    let _ = stream.read(&mut buffer).await.unwrap();
    speak(&twitch, "channel1", "é");
    // The first byte is there by itself before the rest.
    assert_eq!(stream.read_u8().await.unwrap(), b':');
}

#[tokio::test(start_paused = true)]
async fn a_line_of_a_client_may_come_in_pieces_and_several_at_once() {
    use tokio::io::AsyncWriteExt;
    let twitch = twitch(|_| {});
    let mut stream = twitch.irc();
    for piece in ["NI", "CK justinfan1\r\nJO", "IN #channel1\r\nPING :a\r\n"] {
        stream.write_all(piece.as_bytes()).await.unwrap();
        tokio::time::sleep(A_WHILE).await;
    }
    let text = Irc::new(stream).rest(A_WHILE).await.join("\n");
    assert!(text.contains("JOIN #channel1") && text.ends_with("PONG tmi.twitch.tv :a"));
}

#[tokio::test(start_paused = true)]
async fn a_login_and_a_join_can_be_made_to_fail_by_name() {
    let twitch = twitch(|_| {});
    twitch.fault(Fault::new(FaultName::RefuseLogin)).unwrap();
    let mut irc = Irc::new(twitch.irc());
    irc.say("PASS oauth:x").await;
    assert!(irc.ask("NICK bot").await[0].contains("Login authentication failed"));
    let mut irc = Irc::login(&twitch, "bot").await;
    let fault = Fault {
        channel: Some("channel2".to_owned()),
        ..Fault::new(FaultName::IgnoreJoin)
    };
    twitch.fault(fault).unwrap();
    assert!(!irc.ask("JOIN #channel1").await.is_empty());
    assert!(irc.ask("JOIN #channel2").await.is_empty());
    assert!(!irc.ask("JOIN #channel2").await.is_empty(), "once only");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_ended() {
    let twitch = twitch(|config| config.backlog = 10);
    let _irc = Irc::joined(&twitch, "bot", "#channel1").await;
    for _ in 0..100 {
        speak(&twitch, "channel1", &"x".repeat(400));
    }
    tokio::time::sleep(A_WHILE).await;
    assert!(
        twitch
            .log(0, 99)
            .iter()
            .any(|line| line.detail == "too slow")
    );
}
