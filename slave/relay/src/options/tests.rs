//! What is read from the command line, the environment and the file, and what is refused.

use baton_proxy::ProxyConfig;
use baton_slave::{OnDeadlyEvent, SlaveConfig, Snapshots, StateCompression};

use super::{values::token, *};
use crate::sink::Target;

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let (line, reason) = parse("slot = \"main\"\ncolour = 1\n")
        .err()
        .expect("unknown");
    assert_eq!(line, 2);
    assert!(reason.contains("unknown key `colour`"), "{reason}");
}

#[test]
fn what_is_given_wins_over_the_file() {
    let Ok(file) = parse("slot = \"a\"\nwindow = 9\n") else {
        panic!("a file");
    };
    let given = Keys {
        slot: Some("b".to_owned()),
        ..Keys::default()
    };
    let keys = given.or(file);
    assert_eq!((keys.slot.as_deref(), keys.window), (Some("b"), Some(9)));
}

#[test]
fn copies_are_as_many_as_are_given_and_what_nobody_confirms_is_a_copy() {
    let of = |flags: &[&str]| {
        let flags = [&["baton-slave", "--master", "unix:/run/socket"], flags].concat();
        let given = Arguments::try_parse_from(&flags).map_err(|error| error.to_string())?;
        let settings = given.keys.check(with_token());
        let settings = settings.map_err(|error| error.to_string())?;
        let copies = settings.copies.iter().map(|place| format!("{place:?}"));
        Ok::<_, String>((settings.sink, copies.collect::<Vec<_>>()))
    };
    let (sink, copies) = of(&["--copy", "stdout", "--copy", "zmq://a:1,file:/b"]).expect("copies");
    assert_eq!(sink, Target::Stdout);
    let all = ["Lines(Stdout)", "Zmq(zmq://a:1)", "Lines(File(\"/b\"))"];
    assert_eq!(copies, all);
    let (sink, copies) = of(&["--sink", "zmq://a:1"]).expect("a sink");
    assert_eq!((sink, copies), (Target::None, vec![all[1].to_owned()]));
    for wrong in ["nats://a", "none", "zmq://a/b", "zmq://me:secret@a"] {
        let error = of(&["--copy", wrong]).expect_err(wrong);
        assert!(
            error.contains("copy: ") && !error.contains("secret"),
            "{error}"
        );
    }
}

#[test]
fn intents_are_a_number_or_names() {
    assert_eq!(intents("513"), Ok(513));
    assert_eq!(intents("GUILDS, guild_messages"), Ok(513));
    assert!(
        intents("GUILDS,MOON")
            .expect_err("unknown")
            .contains("`MOON`")
    );
    for text in ["intents = 513", "intents = \"GUILDS|GUILD_MESSAGES\""] {
        let Ok(keys) = parse(text) else {
            panic!("{text}");
        };
        assert_eq!(keys.intents, Some(513));
    }
    let (line, reason) = parse("intents = -1").err().expect("wrong");
    assert_eq!(line, 1);
    assert!(reason.contains("a number, or names"), "{reason}");
}

fn with_token() -> Tokens {
    Tokens {
        bot: Some("token".to_owned()),
        proxy: None,
    }
}

/// What a file makes of a slave.
fn of_file(text: &str) -> Result<SlaveConfig, String> {
    let keys = parse(text).map_err(|(_, reason)| reason)?;
    let master = Some("unix:/run/socket".to_owned());
    let keys = Keys { master, ..keys };
    let settings = keys.check(with_token());
    settings
        .map(|settings| settings.slave)
        .map_err(|error| error.to_string())
}

#[test]
fn state_is_packed_between_hosts_or_as_it_is_asked_for() {
    let packing = |text| of_file(text).map(|slave| slave.state_compression);
    assert_eq!(packing(""), Ok(StateCompression::BetweenHosts));
    let zstd = "state_compression = \"zstd\"";
    assert_eq!(packing(zstd), Ok(StateCompression::Zstd));
    let wrong = packing("state_compression = \"zip\"").expect_err("unknown");
    assert!(
        wrong.contains("`zip`") && wrong.contains("none or zstd"),
        "{wrong}"
    );
}

#[test]
fn a_limit_of_memory_is_an_amount_or_refused() {
    let limit = |text| of_file(text).map(|slave| slave.memory_limit);
    assert_eq!(limit(""), Ok(0));
    assert_eq!(limit("memory_limit = \"512M\""), Ok(512 << 20));
    let wrong = limit("memory_limit = \"much\"").expect_err("no amount");
    assert!(wrong.contains("memory_limit: `much`"), "{wrong}");
}

#[test]
fn a_deadly_event_is_skipped_or_handed_out_once_more_where_that_is_asked_for() {
    let choice = |text: &str| of_file(text).map(|slave| slave.on_deadly_event);
    assert_eq!(choice(""), Ok(OnDeadlyEvent::Skip));
    for (text, expected) in [
        ("skip", OnDeadlyEvent::Skip),
        ("hand-out", OnDeadlyEvent::HandOut),
    ] {
        let of_file = choice(&format!("on_deadly_event = {text:?}"));
        assert_eq!(of_file, Ok(expected));
        let flags = ["baton-slave", "--on-deadly-event", text];
        let Ok(given) = Arguments::try_parse_from(flags) else {
            panic!("{flags:?}");
        };
        let keys = Keys {
            master: Some("unix:/run/socket".to_owned()),
            ..given.keys
        };
        let Ok(settings) = keys.check(with_token()) else {
            panic!("{flags:?}");
        };
        assert_eq!(settings.slave.on_deadly_event, expected);
    }
    let wrong = choice("on_deadly_event = \"drop\"").expect_err("unknown");
    assert!(
        wrong.contains("skip") && wrong.contains("hand-out"),
        "{wrong}"
    );
}

/// What flags make of the gateway for local clients, with the state that is kept.
fn proxy_of(flags: &[&str]) -> Result<(Kept, Option<ProxyConfig>), String> {
    let flags = [&["baton-slave", "--master", "unix:/run/socket"], flags].concat();
    let given = Arguments::try_parse_from(&flags).map_err(|error| error.to_string())?;
    let settings = given.keys.check(with_token());
    settings
        .map(|settings| (settings.state, settings.proxy))
        .map_err(|error| error.to_string())
}

#[test]
fn clients_are_served_where_an_address_is_given_and_from_the_store() {
    assert!(matches!(proxy_of(&[]), Ok((Kept::Cache, None))));
    for (given, address) in [
        ("127.0.0.1:7878", "127.0.0.1:7878"),
        ("localhost:1", "127.0.0.1:1"),
        ("7878", "127.0.0.1:7878"),
        ("[::1]:7", "[::1]:7"),
    ] {
        let (state, proxy) = proxy_of(&["--proxy", given]).expect(given);
        assert_eq!(state, Kept::Store);
        assert_eq!(proxy.expect(given).listen.to_string(), address);
    }
    for (flags, said) in [
        (
            &["--proxy", "discord.gg"][..],
            "give IP:PORT, as in 127.0.0.1:7878",
        ),
        (
            &["--proxy", "1", "--state", "cache"],
            "leave --state cache out",
        ),
        (&["--proxy", "0.0.0.0:1"], "--proxy-token-file"),
        (&["--proxy", "1", "--proxy-cert", "c"], "needs --proxy-key"),
        (&["--proxy-mirrors", "a"], "--proxy is not"),
        (&["--proxy-ring", "1MiB"], "--proxy is not"),
        (
            &["--proxy", "1", "--proxy-mirrors", "a/b"],
            "proxy-mirrors: \"a/b\"",
        ),
        (
            &["--proxy", "1", "--proxy-commands", "120"],
            "proxy-commands: 1 to 118",
        ),
        (&["--proxy", "1", "--proxy-rings", "1MiB"], "proxy-ring: "),
        (
            &["--proxy", "1", "--proxy-token-file", "/nowhere"],
            "proxy_token_file: /nowhere cannot",
        ),
    ] {
        let refused = proxy_of(flags).err();
        let refused = refused.unwrap_or_else(|| panic!("{flags:?} is taken"));
        assert!(refused.contains(said), "{flags:?}: {refused}");
    }
}

#[test]
fn every_setting_of_the_gateway_for_clients_has_a_flag() {
    let flags = [
        "--proxy=9",
        "--proxy-mirrors=a, b",
        "--proxy-ring=2MiB",
        "--proxy-rings=3MiB",
        "--proxy-history=4MiB",
        "--proxy-keep=5s",
        "--proxy-hold=6s",
        "--proxy-drain=7s",
        "--proxy-ask=8s",
        "--proxy-connections=9",
        "--proxy-commands=10",
        "--proxy-heartbeat=11s",
        "--proxy-settle=12s",
        "--proxy-arrival=13s",
        "--proxy-head=14s",
        "--proxy-write=15s",
        "--proxy-nameless=16s",
    ];
    let (_, proxy) = proxy_of(&flags).expect("good flags");
    let proxy = proxy.expect("an address");
    let file = "[proxy]\nlisten = \"9\"\nmirrors = [\"a\", \"b\"]\nring = \"2MiB\"\nrings = \"3MiB\"\n\
                history = \"4MiB\"\nkeep = \"5s\"\nhold = \"6s\"\ndrain = \"7s\"\nask = \"8s\"\n\
                connections = 9\ncommands = 10\nheartbeat = \"11s\"\nsettle = \"12s\"\n\
                arrival = \"13s\"\nhead = \"14s\"\nwrite = \"15s\"\nnameless = \"16s\"\n";
    let keys = parse(file).map_err(|(line, reason)| format!("{line}: {reason}"));
    let of_file = keys.expect("a good file").proxy.check("token", None);
    let of_file = of_file.ok().flatten().expect("an address");
    let shown = format!("{proxy:?}");
    assert_eq!(shown, format!("{of_file:?}"));
    // One that is added later is missed here.
    let seconds = Duration::from_secs;
    let baton_proxy::Limits {
        ring,
        rings,
        history,
        connections,
        commands,
    } = proxy.limits;
    let limits = [ring, rings, history, connections, commands];
    assert_eq!(limits, [2 << 20, 3 << 20, 4 << 20, 9, 10]);
    let baton_proxy::Timings {
        heartbeat,
        ask,
        settle,
        drain,
        hold,
        keep,
        arrival,
        head,
        write,
        nameless,
    } = proxy.timings;
    let timings = [
        keep, hold, drain, ask, heartbeat, settle, arrival, head, write, nameless,
    ];
    let expected = [5, 6, 7, 8, 11, 12, 13, 14, 15, 16];
    assert_eq!(timings, expected.map(seconds));
    assert_eq!(Vec::from_iter(&proxy.mirrors), ["a", "b"]);
}

#[test]
fn a_file_names_the_address_alone_or_in_a_table_and_what_is_wrong_with_its_line() {
    for file in ["proxy = \"7878\"", "[proxy]\nlisten = \"7878\""] {
        let Ok(keys) = parse(file) else {
            panic!("{file}");
        };
        assert!(
            matches!(keys.proxy.check("token", None), Ok(Some(_))),
            "{file}"
        );
    }
    let (line, reason) = parse("[proxy]\nlisten = \"7878\"\ncolour = 1")
        .err()
        .expect("unknown");
    assert_eq!(line, 3);
    assert!(reason.contains("unknown key `colour`"), "{reason}");
    let (line, reason) = parse("[proxy]\nring = \"much\"").err().expect("no size");
    assert_eq!(line, 2);
    assert!(reason.contains("proxy.ring: `much` is no size"), "{reason}");
    let (_, reason) = parse("proxy = true").err().expect("no address");
    assert!(reason.contains("an address, or a table"), "{reason}");
}

#[test]
fn a_token_of_the_proxys_own_comes_from_the_environment_or_its_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("token");
    fs::write(&path, "from-file\n").expect("a file");
    let file = format!("[proxy]\nlisten = \"0.0.0.0:1\"\ntoken_file = {path:?}");
    for given in [None, Some("given")] {
        let Ok(keys) = parse(&file) else {
            panic!("{file}");
        };
        let proxy = keys.proxy.check("bot", given).ok().flatten();
        // Off loopback it is what the address is taken for.
        assert!(proxy.is_some_and(|proxy| proxy.own_token.is_some()));
    }
}

#[test]
fn snapshots_are_written_where_a_folder_is_named() {
    let settings = |text| of_file(text).expect(text).snapshots;
    assert_eq!(settings("snapshot_every = \"5s\""), None);
    assert_eq!(settings("snapshots = \"/d\""), Some(Snapshots::new("/d")));
    let given = "snapshots = \"/d\"\nsnapshot_every = \"0s\"\nsnapshot_max_age = \"2m\"\nsnapshot_max_behind = 7";
    let given = settings(given).expect("snapshots");
    assert_eq!((given.every, given.max_behind), (Duration::ZERO, 7));
    assert_eq!(given.max_age, Duration::from_secs(120));
}

#[test]
fn the_token_is_what_is_given_or_in_the_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("token");
    fs::write(&path, "from-file\n").expect("a file");
    let file = || Some(path.clone());
    let is = |given: Option<&str>, file| token(given.map(str::to_owned), file).ok();
    assert_eq!(is(Some(" given "), file()).as_deref(), Some("given"));
    assert_eq!(is(Some(""), file()).as_deref(), Some("from-file"));
    assert_eq!(is(None, file()).as_deref(), Some("from-file"));
    assert_eq!(is(None, None), None);
    fs::write(&path, "DISCORD_TOKEN=\"named\"\n").expect("a file");
    assert_eq!(is(None, file()).as_deref(), Some("named"));
    fs::write(&path, "\n").expect("a file");
    assert_eq!(is(None, file()), None);
}

#[test]
fn copies_of_guilds_are_of_a_store_and_in_redis() {
    let check = |text: &str| -> Result<Option<String>, String> {
        let keys = parse(text).map_err(|(_, reason)| reason)?;
        let master = Some("unix:/run/socket".to_owned());
        let keys = Keys { master, ..keys };
        let settings = keys.check(with_token());
        let settings = settings.map_err(|error| error.to_string())?;
        Ok(settings.guilds.map(|config| config.address.to_string()))
    };
    let refused = |text: &str| check(text).expect_err(text);
    assert_eq!(check("state = \"store\""), Ok(None));
    let of = |address: &str| format!("state = \"store\"\nguilds = \"{address}\"");
    let copies = check(&of("redis://me:secret@a:1/2")).expect("a Redis");
    let copies = copies.expect("an address");
    assert!(
        copies.contains("a:1") && !copies.contains("secret"),
        "{copies}"
    );
    let without = refused("guilds = \"redis://a:1\"");
    assert!(without.contains("--state store"), "{without}");
    let other = refused(&of("nats://a:1"));
    assert!(other.contains("give redis://"), "{other}");
    let garbage = refused(&of("redis//a"));
    assert!(garbage.starts_with("guilds: "), "{garbage}");
}
