//! What is read from the command line, the environment and the file, and what is refused.

use baton_slave::StateCompression;

use super::*;

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

/// What a file makes of a slave.
fn of_file(text: &str) -> Result<SlaveConfig, String> {
    let keys = parse(text).map_err(|(_, reason)| reason)?;
    let master = Some("unix:/run/socket".to_owned());
    let keys = Keys { master, ..keys };
    let settings = keys.check(Some("token".to_owned()));
    settings
        .map(|settings| settings.slave)
        .map_err(|error| error.to_string())
}

#[test]
fn state_is_packed_where_it_is_asked_for() {
    let packing = |text| of_file(text).map(|slave| slave.state_compression);
    assert_eq!(packing(""), Ok(StateCompression::None));
    let zstd = "state_compression = \"zstd\"";
    assert_eq!(packing(zstd), Ok(StateCompression::Zstd));
    let wrong = packing("state_compression = \"zip\"").expect_err("unknown");
    assert!(
        wrong.contains("`zip`") && wrong.contains("none or zstd"),
        "{wrong}"
    );
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
        let Ok(settings) = keys.check(Some("token".to_owned())) else {
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
