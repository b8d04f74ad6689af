//! The program, its listeners and its control port: the only tests with a network. They
//! wait for what must come, and for nothing else.

use std::{net::SocketAddr, process::Stdio};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
};
use tokio_websockets::ClientBuilder;
use twitch_mock::{Config, Fault, FaultName, Twitch};

/// A request by HTTP: status and body.
pub(crate) async fn http(base: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let host = base
        .trim_start_matches("http://")
        .split('/')
        .next()
        .unwrap();
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         Authorization: Bearer user-channel1\r\nClient-Id: client\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(host).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    (
        status,
        serde_json::from_str(body).unwrap_or(Value::String(body.to_owned())),
    )
}

/// A client that has logged in by TCP and is in `channel1`.
async fn joined(address: SocketAddr) -> BufReader<TcpStream> {
    let mut irc = BufReader::new(TcpStream::connect(address).await.unwrap());
    let words =
        "CAP REQ :twitch.tv/tags twitch.tv/commands\r\nNICK justinfan1\r\nJOIN #channel1\r\n";
    irc.get_mut().write_all(words.as_bytes()).await.unwrap();
    until(&mut irc, "ROOMSTATE").await;
    irc
}

async fn until(irc: &mut BufReader<TcpStream>, word: &str) -> String {
    let mut line = String::new();
    while !line.contains(word) {
        line.clear();
        assert_ne!(
            irc.read_line(&mut line).await.unwrap(),
            0,
            "closed before {word}"
        );
    }
    line
}

async fn program(arguments: &[&str]) -> (Child, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twitch-mock"));
    command
        .args(arguments)
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).await.unwrap();
    (child, serde_json::from_str(&line).unwrap())
}

#[tokio::test]
async fn the_program_says_in_one_line_where_it_listens_and_is_steered_by_its_control_port() {
    let (mut child, addresses) = program(&["--channels", "3"]).await;
    let control = addresses["control"].as_str().unwrap().to_owned();
    let post = async |path: &str, body: Value| http(&control, "POST", path, &body).await;
    let mut irc = joined(addresses["irc"].as_str().unwrap().parse().unwrap()).await;

    let said = json!({ "kind": "message", "channel": "channel1", "author": "me", "text": "hello" });
    let (status, message) = post("/happen", said).await;
    assert_eq!((status, &message["seq"]), (200, &json!(1)));
    assert!(until(&mut irc, "PRIVMSG").await.contains("hello"));

    let id = message["id"].as_str().unwrap();
    let (_, verdict) = post("/verdict", json!({ "seen": [id] })).await;
    assert_eq!((&verdict["seen"], &verdict["lost"]), (&json!(1), &json!(0)));
    let (_, verdict) = post("/verdict", json!({ "seen": [], "scope": { "from": 1 } })).await;
    assert_eq!(verdict["lost_ids"], json!([id]));

    for (path, length) in [
        ("/messages", 1),
        ("/deliveries", 1),
        ("/deliveries?from=1", 0),
    ] {
        let (_, list) = http(&control, "GET", path, &Value::Null).await;
        assert_eq!(list["items"].as_array().unwrap().len(), length, "{path}");
        assert_eq!(list["overflow"], 0);
    }
    let (_, log) = http(&control, "GET", "/log", &Value::Null).await;
    assert!(
        log["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|line| line["what"] == "join")
    );

    assert_eq!(
        post("/channels/channel2", json!({ "suspended": true }))
            .await
            .0,
        200
    );
    irc.get_mut()
        .write_all(b"JOIN #channel2\r\n")
        .await
        .unwrap();
    until(&mut irc, "msg_channel_suspended").await;

    assert_eq!(post("/traffic", json!({ "rate": 1000.0 })).await.0, 200);
    until(&mut irc, "PRIVMSG #channel1").await;
    assert_eq!(post("/traffic", json!({})).await.0, 200);
    let (_, hit) = post("/faults", json!({ "name": "irc_reconnect" })).await;
    assert_eq!(hit["hit"], 1);
    until(&mut irc, "RECONNECT").await;

    let (_, status) = http(&control, "GET", "/status", &Value::Null).await;
    assert_eq!(status["counters"]["joins"], 1);
    assert_eq!(status["addresses"], addresses);

    for (path, body) in [
        ("/faults", json!({ "name": "session_close", "code": 1 })),
        ("/channels/nowhere", json!({})),
        ("/traffic", json!({ "rate": -1.0 })),
        (
            "/happen",
            json!({ "kind": "message", "channel": "channel1", "author": "me", "text": "a\r\nb" }),
        ),
    ] {
        let (status, answer) = post(path, body).await;
        assert_eq!(status, 400, "{path}");
        assert!(answer["error"].is_string());
    }
    let (status, _) = post("/faults", json!({ "name": "made_up" })).await;
    assert_eq!(status, 422);
    child.start_kill().unwrap();
}

#[tokio::test]
async fn a_program_that_is_told_to_end_ends_and_a_wrong_setting_is_said() {
    let (mut child, _) = program(&[]).await;
    let id = i32::try_from(child.id().unwrap()).unwrap();
    let id = rustix::process::Pid::from_raw(id).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().await.unwrap().success());
    let mut command = Command::new(env!("CARGO_BIN_EXE_twitch-mock"));
    let out = command.args(["--channels", "0"]).output().await.unwrap();
    assert_eq!(out.status.code(), Some(2));
    assert_eq!(
        String::from_utf8(out.stderr).unwrap(),
        "twitch-mock: channels: 1 to 1000000\n"
    );
}

#[tokio::test]
async fn a_connection_can_end_with_a_rst() {
    let twitch = Twitch::start(Config::default()).await.unwrap();
    let mut irc = joined(twitch.addresses().unwrap().irc).await;
    twitch.fault(Fault::new(FaultName::IrcReset)).unwrap();
    let end = irc.read_u8().await.unwrap_err();
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
    twitch.shutdown().await;
}

#[tokio::test]
async fn irc_comes_by_websocket_and_helix_and_eventsub_by_their_ports() {
    use futures_util::{SinkExt, StreamExt};
    use tokio_websockets::Message;
    let twitch = Twitch::start(Config::default()).await.unwrap();
    let addresses = twitch.addresses().unwrap();

    let builder = ClientBuilder::new().uri(&addresses.irc_ws).unwrap();
    let (mut irc, _) = builder.connect().await.unwrap();
    for words in ["NICK justinfan1", "JOIN #channel1\r\n"] {
        irc.send(Message::text(words)).await.unwrap();
    }
    loop {
        let message = irc.next().await.unwrap().unwrap();
        if message.as_text().unwrap().contains("366") {
            break;
        }
    }

    let builder = ClientBuilder::new().uri(&addresses.eventsub).unwrap();
    let (mut session, _) = builder.connect().await.unwrap();
    let welcome = session.next().await.unwrap().unwrap();
    assert!(welcome.as_text().unwrap().contains("session_welcome"));

    let (status, users) = http(&addresses.helix, "GET", "/helix/users", &Value::Null).await;
    assert_eq!(
        (status, &users["data"][0]["login"]),
        (200, &json!("channel1"))
    );
    let (status, _) = http(&addresses.oauth, "GET", "/oauth2/validate", &Value::Null).await;
    assert_eq!(status, 200);
    twitch.shutdown().await;
}

#[tokio::test]
async fn an_address_that_is_taken_or_no_loopback_is_refused() {
    let first = Twitch::start(Config::default()).await.unwrap();
    let taken = Config {
        irc_listen: first.addresses().unwrap().irc,
        ..Config::default()
    };
    let error = Twitch::start(taken).await.unwrap_err().to_string();
    assert!(error.contains("choose another port"), "{error}");
    let open = Config {
        helix_listen: "0.0.0.0:0".parse().unwrap(),
        ..Config::default()
    };
    assert!(
        Twitch::start(open)
            .await
            .unwrap_err()
            .to_string()
            .contains("loopback")
    );
}

#[tokio::test]
async fn whether_a_reconnect_url_may_be_used_from_another_address_is_a_switch() {
    use futures_util::StreamExt;
    for may in [true, false] {
        let mut config = Config::default();
        config.unknown.reconnect_from_elsewhere = may;
        let twitch = Twitch::start(config).await.unwrap();
        let url = &twitch.addresses().unwrap().eventsub;
        let (mut old, _) = ClientBuilder::new()
            .uri(url)
            .unwrap()
            .connect()
            .await
            .unwrap();
        old.next().await.unwrap().unwrap();
        twitch
            .fault(Fault::new(FaultName::SessionReconnect))
            .unwrap();
        let told = old.next().await.unwrap().unwrap();
        let told: Value = serde_json::from_str(told.as_text().unwrap()).unwrap();
        let url = told["payload"]["session"]["reconnect_url"]
            .as_str()
            .unwrap();

        let address = url.trim_start_matches("ws://").split('/').next().unwrap();
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let stream = socket.connect(address.parse().unwrap()).await.unwrap();
        let builder = ClientBuilder::new().uri(url).unwrap();
        let (mut new, _) = builder.connect_on(stream).await.unwrap();
        let first = new.next().await.unwrap().unwrap();
        let code = first.as_close().map(|(code, _)| u16::from(code));
        assert_eq!(code, if may { None } else { Some(4007) });
        twitch.shutdown().await;
    }
}
