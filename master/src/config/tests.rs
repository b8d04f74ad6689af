#![allow(clippy::unwrap_used)]

use std::fs;

use super::*;

#[test]
fn everything_that_is_wrong_is_named_with_its_line() {
    let text = "
listen = \"nowhere\"
lsiten = \"x\"
soak = \"1s\"
shard_count = \"many\"

[limits]
soka = \"1s\"
drain = 10
seal = \"soon\"
width = 0

[[slot]]
name = \"a\"
commmand = []
command = [\"/no/such/bot\"]

[[slot]]
name = \"a\"
shards = [5, 1]
";
    let (options, mistakes) = file::parse("baton.toml", text);
    let mut found: Vec<String> = mistakes.iter().map(Mistake::to_string).collect();
    let checked = Config::check_all(options, None).unwrap_err();
    found.extend(checked.iter().map(Mistake::to_string));
    found.sort();
    let expected = [
        "baton.toml:10: limits.seal: `soon` is not a time",
        "baton.toml:11: limits.width is zero",
        "baton.toml:15: unknown key `commmand`; did you mean `command`?",
        "baton.toml:16: slot `a`: command `/no/such/bot`",
        "baton.toml:19: slot `a`: two slots have this name",
        "baton.toml:2: listen: `nowhere` is not an address",
        "baton.toml:3: unknown key `lsiten`; did you mean `listen`?",
        "baton.toml:4: unknown key `soak`: it is a limit, write it under [limits]",
        "baton.toml:5: shard_count: ",
        "baton.toml:8: unknown key `soka`; did you mean `soak`?",
        "baton.toml:9: limits.drain: `10` is not a time with its unit, such as 15s",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}: {expected}");
    }
}

#[test]
fn a_file_that_is_not_toml_is_said_line_by_line() {
    let (_, mistakes) = file::parse("baton.toml", "listen = \nshard_count = 1\n[limits\n");
    assert_eq!(mistakes[0].place.as_deref(), Some("baton.toml:1"));
    assert!(mistakes.len() >= 2, "{mistakes:?}");
}

#[test]
fn a_key_that_is_like_no_other_comes_with_those_that_there_are() {
    let (_, mistakes) = file::parse("f", "[[slot]]\nname = \"a\"\nzzz = 1\n");
    let [mistake] = &mistakes[..] else {
        panic!("{mistakes:?}");
    };
    assert!(
        mistake.reason.contains("known here: name, command"),
        "{mistake}"
    );
}

#[test]
fn what_a_flag_says_is_not_blamed_on_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("baton.toml");
    fs::write(&path, "listen = \"127.0.0.1:1\"\n[limits]\nwidth = 1\n").unwrap();
    let given = Options {
        listen: Some("nowhere".to_owned()),
        ..Options::default()
    };
    let options = read(Some(&path), given).unwrap();
    let error = Config::check(options, None).unwrap_err().line();
    assert!(error.starts_with("listen: `nowhere`"), "{error}");
}

#[test]
fn one_line_tells_the_first_mistake_and_how_many_more_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("baton.toml");
    fs::write(&path, "a = 1\nb = 1\nc = 1\n").unwrap();
    let error = read(Some(&path), Options::default()).unwrap_err().line();
    assert!(error.contains("baton.toml:1: unknown key `a`"), "{error}");
    assert!(error.contains("2 more mistakes"), "{error}");
}

#[test]
fn a_time_needs_its_unit() {
    let options = parse("[limits]\nsoak = \"250ms\"\nwidth = 4\n");
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
    let cases: [(&str, &str); 20] = [
        ("admin_listen = \"here\"", "admin_listen: `here`"),
        ("admin_listen = \"0.0.0.0:7\"", "set admin_token_file"),
        (
            "admin_listen = \"0.0.0.0:7\"\nadmin_token_file = \"/nonexistent/token\"",
            "admin_token_file: /nonexistent/token",
        ),
        ("listen = \"nowhere\"", "listen: `nowhere`"),
        ("listen = \"0.0.0.0:7\"", "allow_remote = true"),
        ("shard_count = 0", "shard_count"),
        ("shard_count = 99999", "shard_count"),
        ("max_concurrency = 0", "max_concurrency"),
        ("name = \"\"", "name must have 1 to 64 characters"),
        (
            "name = \"a\\u001b[2Jb\"",
            "none of them a control character",
        ),
        ("api_url = \"discord.com\"", "api_url"),
        ("token_file = \"/nonexistent/token\"", "token_file"),
        ("[limits]\nwidth = 0", "limits.width"),
        ("[limits]\nhang = \"1s\"", "limits.hang"),
        (
            "[[slot]]\nname = \"a\"\ncommand = [\"./my-bot\"]",
            "give its whole path",
        ),
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
        let error = Config::check(parse(text), None).unwrap_err();
        let line = error.line();
        assert!(line.contains(expected), "{text}: {line}");
        assert!(!line.contains('\n'));
        assert_eq!(error.exit_code(), 2);
    }
}

#[test]
fn operators_are_served_beyond_loopback_with_a_token_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    fs::write(&path, "hush\n").unwrap();
    let text = format!("admin_listen = \"0.0.0.0:7448\"\nadmin_token_file = {path:?}\n");
    let config = Config::check(parse(&text), None).unwrap();
    assert_eq!(config.admin_listen, "0.0.0.0:7448".parse().ok());
    assert_eq!(config.admin_token, Token::new("hush"));
    let loopback = parse("admin_listen = \"[::1]:7448\"");
    let config = Config::check(loopback, None).unwrap();
    assert_eq!(config.admin_token, None);
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

fn parse(text: &str) -> Options {
    let (options, mistakes) = file::parse("baton.toml", text);
    assert!(mistakes.is_empty(), "{mistakes:?}");
    options
}
