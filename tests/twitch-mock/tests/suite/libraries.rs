//! Real libraries of Twitch bots read the simulated Twitch, and agree with it. That in Rust
//! always does; `scripts/clients` installs those of Python and Node, and `BATON_CLIENTS`
//! names another folder of theirs. Where they are not, a test says so and passes over; in CI
//! it fails.

use std::{
    io::Write,
    path::{Path, PathBuf},
    pin::Pin,
    process::Stdio,
    sync::OnceLock,
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    net::TcpStream,
    process::{Child, ChildStdout, Command},
    time::timeout,
};
use twitch_irc::{
    ClientConfig, TwitchIRCClient,
    login::StaticLoginCredentials,
    message::{ServerMessage, UserNoticeEvent},
    transport::tcp::{MakeConnection, TCPTransport, TCPTransportConnectError},
};
use twitch_mock::{ChannelChange, Config, Fault, FaultName, Kind, Twitch};

/// How long a library may take: far more than it does, so that a hang is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the simulated Twitch of the one test in this process that needs it listens.
static IRC: OnceLock<std::net::SocketAddr> = OnceLock::new();

struct Local;

impl MakeConnection for Local {
    type Socket = TcpStream;

    fn new_socket<'a>()
    -> Pin<Box<dyn Future<Output = Result<TcpStream, TCPTransportConnectError>> + Send + 'a>> {
        Box::pin(async { Ok(TcpStream::connect(IRC.get().unwrap()).await?) })
    }
}

#[tokio::test]
async fn the_crate_twitch_irc_joins_reads_and_speaks() {
    let twitch = Twitch::start(Config::default()).await.unwrap();
    IRC.set(twitch.addresses().unwrap().irc).unwrap();
    let login = StaticLoginCredentials::new("bot".to_owned(), Some("secret".to_owned()));
    let config = ClientConfig::new_simple(login);
    let (mut incoming, client) = TwitchIRCClient::<TCPTransport<Local>, _>::new(config);
    let mut next = async |wanted: fn(&ServerMessage) -> bool| loop {
        let message = timeout(PATIENCE, incoming.recv()).await.expect("it comes");
        let message = message.unwrap();
        if wanted(&message) {
            return message;
        }
    };
    client.join("channel1".to_owned()).unwrap();
    let ServerMessage::RoomState(room) = next(|m| matches!(m, ServerMessage::RoomState(_))).await
    else {
        panic!("no ROOMSTATE");
    };
    assert_eq!(
        (room.channel_login.as_str(), room.channel_id.as_str()),
        ("channel1", "100001")
    );
    assert_eq!(
        client.get_channel_status("channel1".to_owned()).await,
        (true, true)
    );

    let message = twitch
        .happen(Kind::Message, "channel1", "viewer1", "hello")
        .unwrap();
    let ServerMessage::Privmsg(read) = next(|m| matches!(m, ServerMessage::Privmsg(_))).await
    else {
        panic!("no PRIVMSG");
    };
    assert_eq!(
        (read.message_id.as_str(), read.message_text.as_str()),
        (&*message.id, "hello")
    );
    assert_eq!(
        (read.sender.login.as_str(), read.channel_id.as_str()),
        ("viewer1", "100001")
    );

    let is_notice: fn(&ServerMessage) -> bool = |m| matches!(m, ServerMessage::UserNotice(_));
    twitch
        .happen(Kind::Sub, "channel1", "viewer1", "yes")
        .unwrap();
    let ServerMessage::UserNotice(sub) = next(is_notice).await else {
        panic!("no USERNOTICE");
    };
    assert!(matches!(
        sub.event,
        UserNoticeEvent::SubOrResub {
            is_resub: false,
            ..
        }
    ));
    twitch
        .happen(Kind::Raid, "channel1", "viewer1", "")
        .unwrap();
    let ServerMessage::UserNotice(raid) = next(is_notice).await else {
        panic!("no USERNOTICE");
    };
    assert!(matches!(
        raid.event,
        UserNoticeEvent::Raid {
            viewer_count: 5,
            ..
        }
    ));

    twitch
        .happen(Kind::ClearMsg, "channel1", "viewer1", "hello")
        .unwrap();
    let ServerMessage::ClearMsg(cleared) = next(|m| matches!(m, ServerMessage::ClearMsg(_))).await
    else {
        panic!("no CLEARMSG");
    };
    assert_eq!(cleared.message_id, *message.id);
    twitch
        .happen(Kind::ClearChat, "channel1", "viewer1", "")
        .unwrap();
    next(|m| matches!(m, ServerMessage::ClearChat(_))).await;

    client
        .say("channel1".to_owned(), "an answer".to_owned())
        .await
        .unwrap();
    next(|m| matches!(m, ServerMessage::UserState(_))).await;
    let said = twitch.messages(0, 99).pop().unwrap();
    assert_eq!(
        (said.kind, said.deliveries),
        (Kind::Message, 0),
        "to nobody but itself"
    );

    let suspend = ChannelChange {
        suspended: Some(true),
        ..ChannelChange::default()
    };
    twitch.change_channel("channel2", &suspend).unwrap();
    client.join("channel2".to_owned()).unwrap();
    let ServerMessage::Notice(notice) = next(|m| matches!(m, ServerMessage::Notice(_))).await
    else {
        panic!("no NOTICE");
    };
    assert_eq!(notice.message_id.as_deref(), Some("msg_channel_suspended"));
    twitch.fault(Fault::new(FaultName::IrcReconnect)).unwrap();
    next(|m| matches!(m, ServerMessage::Reconnect(_))).await;
}

/// Where the libraries are; `None`: it was said that they are not there.
fn installed() -> Option<PathBuf> {
    let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/clients");
    let folder = std::env::var_os("BATON_CLIENTS").map_or_else(usual, PathBuf::from);
    if folder.join("node_modules/tmi.js").is_dir() && folder.join("done").is_file() {
        return Some(folder);
    }
    let what = format!(
        "{} lacks tmi.js and twitchio: scripts/clients",
        folder.display()
    );
    assert!(std::env::var_os("CI").is_none(), "{what}");
    let _ = writeln!(std::io::stderr(), "PASSED OVER: {what}");
    None
}

/// A bot in another language: what it says, line by line.
struct Bot {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Bot {
    fn start(twitch: &Twitch, program: PathBuf, script: &str, modules: &Path) -> Self {
        let addresses = twitch.addresses().unwrap();
        let mut command = Command::new(program);
        command.arg(
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("tests/clients")
                .join(script),
        );
        command.env("MODULES", modules);
        command
            .env("IRC_WS", &addresses.irc_ws)
            .env("EVENTSUB", &addresses.eventsub);
        command
            .env("HELIX", &addresses.helix)
            .env("OAUTH", &addresses.oauth);
        command.stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            _child: child,
            lines,
        }
    }

    /// What it says of this; it passes over other things.
    async fn says(&mut self, of: &str) -> Value {
        loop {
            let line = timeout(PATIENCE, self.lines.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("it does not say {of}"));
            let line = line.unwrap();
            let line = line.unwrap_or_else(|| panic!("it ended before {of}"));
            let said: Value = serde_json::from_str(&line).unwrap_or_default();
            if said["of"] == of {
                return said;
            }
        }
    }
}

#[tokio::test]
async fn tmi_js_joins_and_reads() {
    let Some(folder) = installed() else { return };
    let twitch = Twitch::start(Config::default()).await.unwrap();
    let mut bot = Bot::start(&twitch, "node".into(), "tmi.mjs", &folder);
    assert_eq!(bot.says("join").await["channel"], "#channel1");
    let message = twitch
        .happen(Kind::Message, "channel1", "viewer1", "hello")
        .unwrap();
    let read = bot.says("message").await;
    assert_eq!(
        (&read["id"], &read["text"]),
        (&(&*message.id).into(), &"hello".into())
    );
    assert_eq!(read["room"], "100001");
    twitch
        .happen(Kind::Sub, "channel1", "viewer1", "yes")
        .unwrap();
    assert_eq!(bot.says("sub").await["who"], "viewer1");
    twitch
        .happen(Kind::Raid, "channel1", "viewer1", "")
        .unwrap();
    assert_eq!(bot.says("raid").await["viewers"], 5);
    twitch
        .happen(Kind::ClearMsg, "channel1", "viewer1", "hello")
        .unwrap();
    assert_eq!(bot.says("deleted").await["id"], &*message.id);
    twitch
        .happen(Kind::ClearChat, "channel1", "viewer1", "")
        .unwrap();
    assert_eq!(bot.says("timeout").await["seconds"], 60);
    assert_eq!(bot.says("said").await["text"], "an answer");
    // It shows its own message before Twitch has it.
    let said = async {
        while twitch.counters().said == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, said).await.unwrap();
    assert_eq!(twitch.counters().said, 1);
}

#[tokio::test]
async fn twitchio_subscribes_reads_and_sends() {
    let Some(folder) = installed() else { return };
    let twitch = Twitch::start(Config::default()).await.unwrap();
    let python = folder.join("python/bin/python");
    let mut bot = Bot::start(&twitch, python, "twitchio_bot.py", &folder);
    bot.says("ready").await;
    let message = twitch
        .happen(Kind::Message, "channel1", "viewer1", "hello")
        .unwrap();
    let read = bot.says("message").await;
    assert_eq!(
        (&read["id"], &read["text"]),
        (&(&*message.id).into(), &"hello".into())
    );
    assert_eq!(read["who"], "viewer1");
    let sent = bot.says("sent").await;
    assert_eq!(sent["sent"], true);
    let said = twitch.messages(0, 99).pop().unwrap();
    assert_eq!(sent["id"], &*said.id);
}
