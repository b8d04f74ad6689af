#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let (line, reason) = parse("shard_count = 1\nlsiten = \"x\"\n").unwrap_err();
    assert_eq!(line, 2);
    assert!(reason.starts_with("unknown key `lsiten`"), "{reason}");
    let (line, reason) = parse("\n[limits]\nsoka = \"1s\"\n").unwrap_err();
    assert_eq!(line, 3);
    assert!(reason.contains("`soka`"), "{reason}");
}

#[test]
fn a_time_needs_its_unit() {
    let (line, reason) = parse("[limits]\nsoak = 10\n").unwrap_err();
    assert_eq!(line, 2);
    assert!(reason.contains("15s"), "{reason}");
    let options = parse("[limits]\nsoak = \"250ms\"\nwidth = 4\n").unwrap();
    assert_eq!(
        options.limits.soak,
        Some(std::time::Duration::from_millis(250))
    );
    assert_eq!(options.limits.width, Some(4));
}

#[test]
fn what_is_given_wins_over_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("baton.toml");
    fs::write(
        &path,
        "listen = \"127.0.0.1:1\"\nshard_count = 4\n[limits]\nsoak = \"1s\"\ndrain = \"2s\"\n",
    )
    .unwrap();
    let given = Options {
        listen: Some("127.0.0.1:2".to_owned()),
        limits: Limits {
            soak: Some(std::time::Duration::from_secs(9)),
            ..Limits::default()
        },
        ..Options::default()
    };
    let config = Config::check(read(Some(&path), given).unwrap(), None).unwrap();
    assert_eq!(config.listen.port(), 2);
    assert_eq!(config.shard_count, Some(4));
    assert_eq!(config.limits.soak.as_secs(), 9);
    assert_eq!(config.limits.drain.as_secs(), 2);
    assert_eq!(config.limits.seal.as_secs(), 5);
}

#[test]
fn everything_that_is_wrong_is_one_line_that_names_the_key() {
    let cases: [(&str, &str); 14] = [
        ("listen = \"nowhere\"", "listen: `nowhere`"),
        ("listen = \"0.0.0.0:7\"", "allow_remote = true"),
        ("shard_count = 0", "shard_count"),
        ("shard_count = 99999", "shard_count"),
        ("max_concurrency = 0", "max_concurrency"),
        ("api_url = \"discord.com\"", "api_url"),
        ("token_file = \"/nonexistent/token\"", "token_file"),
        ("[limits]\nwidth = 0", "limits.width"),
        ("[limits]\nhang = \"1s\"", "limits.hang"),
        (
            "[[slot]]\nname = \"a\"\ncommand = [\"no-such-program-here\"]",
            "no-such-program-here",
        ),
        (
            "[[slot]]\nname = \"a\"\ncommand = [\"/proc/version\"]",
            "not an executable",
        ),
        (
            "shard_count = 2\n[[slot]]\nname = \"a\"\n[[slot]]\nname = \"a\"",
            "two slots",
        ),
        (
            "shard_count = 2\n[[slot]]\nname = \"a\"\n[[slot]]\nname = \"b\"\nshards = [1, 1]",
            "both have shard 1",
        ),
        (
            "shard_count = 3\n[[slot]]\nname = \"a\"\nshards = [0, 1]",
            "shard 2 has no slot",
        ),
    ];
    for (text, expected) in cases {
        let error = Config::check(parse(text).unwrap(), None).unwrap_err();
        let line = error.line();
        assert!(line.contains(expected), "{text}: {line}");
        assert!(!line.contains('\n'));
        assert_eq!(error.exit_code(), 2);
    }
}

#[test]
fn without_a_slot_table_there_is_one_slot_named_main() {
    let config = Config::check(Options::default(), Some(vec!["sh".to_owned()])).unwrap();
    assert_eq!(config.slots.len(), 1);
    assert_eq!(config.slots[0].name, "main");
    assert_eq!(
        config.slots[0].command.as_deref(),
        Some(&["sh".to_owned()][..])
    );
    assert!(config.settings(3).slots[0].launches);
}

#[test]
fn the_token_is_not_shown() {
    let token = Token::new(" hush\n").unwrap();
    assert_eq!(token.reveal(), "hush");
    assert!(!format!("{token:?}").contains("hush"));
}
