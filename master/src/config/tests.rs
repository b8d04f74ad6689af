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
        "baton.toml:20: slot[1].shards: [5, 1] is no range",
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
    assert_eq!(options.limits.soak, Some(Duration::from_millis(250)));
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
            soak: Some(Duration::from_secs(9)),
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
    let long = format!("runtime_dir = \"/{}\"", "x".repeat(100));
    let cases: [(&str, &str); 38] = [
        ("log = \"debgu\"", "did you mean `debug`"),
        ("log = \"baton_master=wran\"", "did you mean `warn`"),
        ("log = \"loud\"", "there are off, error"),
        ("[limits]\nerror_gate = 101", "0 to 100"),
        ("[limits]\nbehind_gate = 500", "0 to 100"),
        ("[limits]\nsilent = \"1s\"", "every 41 s"),
        (&long, "at most 107"),
        (
            "listen = \"127.0.0.1:7\"\nadmin_listen = \"127.0.0.1:7\"",
            "admin_listen: 127.0.0.1:7 is where slaves dial",
        ),
        ("admin_listen = \"here\"", "admin_listen: `here`"),
        ("admin_listen = \"0.0.0.0:7\"", "set tls_dir"),
        (
            "admin_listen = \"127.0.0.1:8\"\nadmin_token_file = \"/nonexistent/token\"",
            "admin_token_file: /nonexistent/token",
        ),
        ("listen = \"nowhere\"", "listen: `nowhere`"),
        ("listen = \"0.0.0.0:7\"", "baton-master certs init"),
        (
            "tls_dir = \"/nonexistent\"",
            "tls_dir: /nonexistent/ca.pem: it does not exist: issue a certificate",
        ),
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
            "shard_count = 2\n[[slot]]\nname = \"a\"\nshards = [0, 1]\n[[slot]]\nname = \"b\"\nshards = [1, 1]",
            "both have shard 1",
        ),
        (
            "shard_count = 3\n[[slot]]\nname = \"a\"\nshards = [0, 1]",
            "shard 2 has no slot",
        ),
        (
            "shard_count = 2\n[[slot]]\nname = \"a\"\n[[slot]]\nname = \"b\"",
            "slots `a` and `b` both have no `shards`",
        ),
        (
            "shard_count = 4\n[[slot]]\nname = \"a\"\nshards = \"0-2,9\"",
            "shard 9 of shards = \"0-2,9\" is none of the shards 0 to 3",
        ),
        (
            "shard_count = 4\n[[slot]]\nname = \"a\"\nshards = { count = 5 }",
            "only 4 are left",
        ),
        (
            "shard_count = 4\n[[slot]]\nname = \"a\"\nshards = { buckets = [0] }",
            "set max_concurrency",
        ),
        (
            "shard_count = 4\nmax_concurrency = 2\n[[slot]]\nname = \"a\"\nshards = { buckets = [2] }",
            "there is no bucket 2: with max_concurrency = 2 they are 0 to 1",
        ),
        (
            "[[slot]]\nname = \"a\"\nlisten = \"7878\"",
            "slot `a`: listen: `7878` is not an address with a port",
        ),
        (
            "[[slot]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"",
            "is not an address with a port",
        ),
        (
            "[[slot]]\nname = \"a\"\nlisten = \"127.0.0.1:1\"\n[[slot]]\nname = \"b\"\nlisten = \"127.0.0.1:1\"",
            "slots `a` and `b` both listen on 127.0.0.1:1",
        ),
        (
            "[[slot]]\nname = \"a\"\nhost = \"East 1\"",
            "slot `a`: host: `East 1` is no name",
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
fn operators_are_served_beyond_loopback_by_tls_and_in_clear_one_only_looks() {
    let dir = tempfile::tempdir().unwrap();
    let (path, tls) = (dir.path().join("token"), dir.path().join("tls"));
    fs::write(&path, "hush\n").unwrap();
    fs::create_dir(&tls).unwrap();
    crate::certs::testing::Issuer::new().write("baton://f/master/home", &tls);
    let open = "admin_listen = \"0.0.0.0:7448\"\n";
    let (operators, readers, tls) = (
        format!("admin_token_file = {path:?}\n"),
        format!("admin_read_token_file = {path:?}\n"),
        format!("tls_dir = {tls:?}\n"),
    );
    for (with, good) in [
        (String::new(), false),
        (operators.clone(), false),
        (readers.clone(), true),
        (tls.clone(), true),
        (operators + &tls, true),
        (readers + &tls, true),
    ] {
        let checked = Config::check(parse(&format!("{open}{with}")), None);
        let listens = checked.as_ref().ok().and_then(|config| config.admin_listen);
        match good {
            true => assert_eq!(listens, "0.0.0.0:7448".parse().ok(), "{with}"),
            false => {
                let why = checked.unwrap_err().to_string();
                assert!(why.contains("set tls_dir"), "{with}: {why}");
            }
        }
    }
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
fn a_token_that_others_can_read_or_guess_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    fs::write(&path, "hush").unwrap();
    let text = format!("admin_token_file = {path:?}\n");
    let worries = |mode| {
        let mode = PermissionsExt::from_mode(mode);
        fs::set_permissions(&path, mode).unwrap();
        Config::check(parse(&text), None).unwrap().worries()
    };
    let said = worries(0o644);
    assert!(said[0].contains("other users can read"), "{said:?}");
    assert!(said[1].contains("4 characters"), "{said:?}");
    // A group of its own may read it: that is how a service gets it.
    assert_eq!(worries(0o640).len(), 1);
    fs::write(&path, "0123456789abcdef").unwrap();
    assert_eq!(worries(0o600), [""; 0]);
}

#[test]
fn one_token_for_two_purposes_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let [one, other] = ["one", "other"].map(|name| dir.path().join(name));
    fs::write(&one, "0123456789abcdef").unwrap();
    let mistakes = |text: &str| {
        fs::write(&other, text).unwrap();
        let text = format!("admin_token_file = {one:?}\nadmin_read_token_file = {other:?}\n");
        Config::check(parse(&text), None).map(|_| ())
    };
    let refused = mistakes("TOKEN=0123456789abcdef\n").unwrap_err().line();
    assert!(
        refused.contains("admin_read_token_file: its token is the one of admin_token_file"),
        "{refused}"
    );
    assert!(!refused.contains("0123456789"), "{refused}");
    assert!(mistakes("fedcba9876543210").is_ok());
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

#[test]
fn what_a_filter_may_say_is_taken() {
    for good in [
        "info",
        "DEBUG",
        "off",
        "baton_master=debug,info",
        "baton_master",
        "a::b",
        "warn,x[s{f=1}]=trace",
        "",
    ] {
        assert_eq!(ruin::log(good), Ok(()), "{good}");
    }
    let text = "[limits]\nsilent = \"1s\"\nerror_gate = 100\n";
    let elsewhere = format!("api_url = \"http://127.0.0.1:1\"\n{text}");
    assert!(
        Config::check(parse(&elsewhere), None).is_ok(),
        "not Discord's own"
    );
}

#[test]
fn what_is_of_another_kind_is_said_with_what_to_write() {
    for (text, expected) in [
        (
            "[[slot]]\nname = \"a\"\ncommand = \"a b\"",
            "baton.toml:3: slot[0].command: \"a b\" is one text; write its words as a list: [\"a\", \"b\"]",
        ),
        (
            "listen = 7447",
            "listen: 7447 stands without quotes; write it with quotes: \"7447\"",
        ),
        (
            "late_seal = \"yes\"",
            "late_seal: \"yes\" is one text; write true or false, without quotes",
        ),
        (
            "shard_count = \"4\"",
            "shard_count: \"4\" is one text; write a whole number without quotes",
        ),
        (
            "[[slot]]\nname = \"a\"\nenv = 3",
            "slot[0].env: 3 stands without quotes; write a table",
        ),
        (
            "[[slot]]\nname = \"a\"\nshards = [3, 1]",
            "slot[0].shards: [3, 1] is no range: write the first and the last",
        ),
        (
            "[[slot]]\nname = \"a\"\nshards = \"0-x\"",
            "slot[0].shards: `0-x` is no range of shards: write them as 0-31,40",
        ),
        (
            "[[slot]]\nname = \"a\"\nshards = 3",
            "slot[0].shards: 3 stands without quotes; write shards as [0, 15]",
        ),
        (
            "limits = 3",
            "limits: 3 stands without quotes; write a table",
        ),
    ] {
        let (_, mistakes) = file::parse("baton.toml", text);
        let said = mistakes[0].to_string();
        assert!(said.contains(expected), "{text}: {said}");
    }
}

#[test]
fn mistakes_are_named_in_the_order_of_their_lines() {
    let text = "admin_listen = \"here\"\nshard_count = 0\nlisten = \"nowhere\"\nlog = \"debgu\"\n\
                [limits]\nwidth = 0\n";
    let mistakes = Config::check_all(parse(text), None).unwrap_err();
    let lines: Vec<_> = mistakes
        .iter()
        .map(|mistake| mistake.place.clone().unwrap())
        .collect();
    let expected = [1, 2, 3, 4, 6].map(|line| format!("baton.toml:{line}"));
    assert_eq!(lines, expected);
}

#[test]
fn of_a_broken_file_the_rest_still_tells_where_the_master_is() {
    for broken in [
        "oops oops",
        "nonsense = = 1",
        "[limits]\nnonsense = = 1",
        "[[slot]]\nname = ",
        "[[slot]\nname = \"main\"",
        "token_file = \"/token",
        "width = 3 4",
        "listen = [1,",
    ] {
        let text = format!("runtime_dir = \"/here\"\n{broken}\n");
        let (options, mistakes) = file::parse("baton.toml", &text);
        assert!(!mistakes.is_empty(), "{broken}");
        let dir = options.runtime_dir.as_deref();
        assert_eq!(dir, Some(Path::new("/here")), "{broken}");
    }
}

#[test]
fn the_once_per_bot_work_is_of_a_slot_that_there_is() {
    let two = "[[slot]]\nname = \"a\"\nshards = [0, 1]\n[[slot]]\nname = \"b\"\nshards = [2, 3]\n";
    let fleet = |key: &str| format!("shard_count = 4\n{key}\n{two}");
    let config = Config::check(parse(&fleet("work_slot = \"b\"")), None).unwrap();
    assert_eq!(config.settings(4).work_slot.as_deref(), Some("b"));
    let wrong = Config::check_all(parse(&fleet("work_slot = \"c\"")), None);
    let said = wrong.unwrap_err()[0].to_string();
    assert!(
        said.contains("work_slot: there is no slot `c`; name one of `a`, `b`"),
        "{said}"
    );
}

#[test]
fn a_slot_begins_with_the_shards_that_it_names_counts_or_leaves_to_no_other() {
    let text = "shard_count = 16\nmax_concurrency = 4\n\
                [[slot]]\nname = \"rest\"\n\
                [[slot]]\nname = \"some\"\nshards = { count = 3 }\n\
                [[slot]]\nname = \"bucket\"\nshards = { buckets = [3] }\n\
                [[slot]]\nname = \"named\"\nshards = \"0-1,9\"\n\
                [[slot]]\nname = \"range\"\nshards = [12, 14]\n\
                [[slot]]\nname = \"none\"\nshards = { count = 0 }\n";
    let config = Config::check(parse(text), None).unwrap();
    let slots = config.settings(16).slots.into_iter();
    let shards = slots.map(|slot| slot.shards.unwrap().to_string());
    assert!(shards.eq(["6,8,10", "2,4-5", "3,7,11,15", "0-1,9", "12-14", ""]));
}

#[test]
fn a_master_that_nobody_names_is_called_as_its_certificate_says() {
    let dir = crate::certs::testing::Issuer::new().folder("baton://f/master/home");
    let tls = format!("tls_dir = {:?}\n", dir.path());
    let named = |text: &str| Config::check(parse(text), None).map(|config| config.host_name());
    assert_eq!(named(&tls).unwrap(), "home");
    assert_eq!(named("host = \"east\"").unwrap(), "east");
    assert!(named(&format!("{tls}host = \"east\"\n")).is_err());
}
