//! The invite page, from a broadcaster's browser to a message of the channel.

use std::{collections::BTreeMap, net::TcpListener, time::Duration};

use baton_tests::twitch::{TwitchFleet, TwitchOptions, conduit};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep},
};
use twitch_mock::{ChannelChange, Config, Fault, FaultName, Kind};

use super::{LIMIT, ask, joined};

/// A browser: it keeps the cookies of each host, and goes where it is told to.
#[derive(Default)]
struct Browser(BTreeMap<String, String>);

/// What it is shown.
struct Page {
    status: u16,
    location: String,
    body: String,
}

impl Browser {
    async fn get(&mut self, url: &str) -> Page {
        self.ask("GET", url, "").await.unwrap()
    }

    async fn post(&mut self, url: &str, form: &str) -> Page {
        self.ask("POST", url, form).await.unwrap()
    }

    async fn ask(&mut self, method: &str, url: &str, form: &str) -> std::io::Result<Page> {
        let (host, path) = place(url);
        let cookie = match self.0.get(host) {
            Some(cookie) => format!("cookie: {cookie}\r\n"),
            None => String::new(),
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\norigin: http://{host}\r\n{cookie}\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{form}",
            form.len()
        );
        let mut stream = TcpStream::connect(host).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            let line = lines.find(|(key, _)| key.eq_ignore_ascii_case(name));
            line.map(|(_, value)| value.to_owned())
        };
        if let Some(cookie) = header("set-cookie") {
            let cookie = cookie.split(';').next().unwrap().to_owned();
            self.0.insert(host.to_owned(), cookie);
        }
        Ok(Page {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            location: header("location").unwrap_or_default(),
            body: body.to_owned(),
        })
    }

    /// Presses the button of the invite page, decides at Twitch, and comes back: the address to
    /// which Twitch sent it, and what it is shown there.
    async fn walks(&mut self, page: &str, login: &str, decision: &str) -> (String, Page) {
        let begun = self.post(page, "").await;
        assert_eq!(begun.status, 303, "{}", begun.body);
        let asked = self.get(&begun.location).await;
        assert_eq!(asked.status, 200, "{}", asked.body);
        assert!(asked.body.contains("channel:bot"), "{}", asked.body);
        let (at, query) = begun.location.split_once('?').unwrap();
        let form = format!("{query}&login={login}&decision={decision}");
        let decided = self.post(at, &form).await;
        assert_eq!(decided.status, 302, "{}", decided.body);
        let shown = self.get(&decided.location).await;
        (decided.location, shown)
    }
}

/// Host and path of an address.
fn place(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").unwrap();
    let at = rest.find('/').unwrap();
    (&rest[..at], &rest[at..])
}

/// A fleet whose bot nobody has let in, and its page.
async fn fleet() -> (TwitchFleet, String) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let page = format!("http://{address}/invite");
    let redirect = format!("{page}/callback");
    let options = TwitchOptions {
        twitch: Config {
            channels: 5,
            redirects: vec![redirect.clone()],
            ..Config::default()
        },
        units: 2,
        standbys: 0,
        limits: "contact = \"300ms\"\nsoak = \"1s\"\ncanary_time = \"0s\"\n".to_owned(),
        arguments: Vec::new(),
        keep: false,
    };
    let fleet = TwitchFleet::start_in(options, |folder, twitch| {
        let nobody = ChannelChange {
            grants_bot: Some(false),
            ..ChannelChange::default()
        };
        for channel in 1..=5 {
            let channel = format!("channel{channel}");
            twitch.change_channel(&channel, &nobody).unwrap();
        }
        let oauth = &twitch.addresses().unwrap().oauth;
        Ok([
            ("--conduit", conduit(twitch, 2, 0)?),
            ("--account", "bot".to_owned()),
            ("--account-id", "1".to_owned()),
            ("--channels", folder.join("channels").display().to_string()),
            ("--invite", address),
            ("--invite-redirect", redirect),
            ("--authorise-url", format!("{oauth}/authorize")),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect())
    })
    .await
    .unwrap();
    fleet.all_serving(LIMIT).await.unwrap();
    (fleet, page)
}

/// What the work says of the channel, when it says this of its authorisation.
async fn row(fleet: &TwitchFleet, authorised: bool) -> Value {
    let end = Instant::now() + LIMIT;
    loop {
        let list = ask(fleet, json!({ "verb": "list" })).await;
        let rows = list["channels"].as_array().cloned().unwrap_or_default();
        let row = rows.into_iter().find(|row| row["channel"] == "channel3");
        if let Some(row) = row
            && row["authorised"] == authorised
        {
            return row;
        }
        assert!(Instant::now() < end, "{list}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Somebody says something in the channel: whether the bot hears it.
async fn hears(fleet: &TwitchFleet) -> bool {
    let said = fleet
        .twitch
        .happen(Kind::Message, "channel3", "viewer1", "hello");
    let id = said.unwrap().id.to_string();
    for _ in 0..20 {
        let written = fleet.written().unwrap();
        if written.iter().any(|event| event.id.as_ref() == Some(&id)) {
            return true;
        }
        sleep(Duration::from_millis(50)).await;
    }
    false
}

#[tokio::test]
async fn a_broadcaster_walks_the_invite_page_and_the_bot_comes_and_goes_with_the_grant() {
    let (fleet, page) = fleet().await;
    let join = json!({ "verb": "join", "channels": ["channel3"] });
    let refused = ask(&fleet, join.clone()).await;
    assert_eq!(refused["channels"][0]["answer"], "unauthorised");

    let mut browser = Browser::default();
    let end = Instant::now() + LIMIT;
    let first = loop {
        match browser.ask("GET", &page, "").await {
            Ok(first) => break first,
            Err(error) if Instant::now() > end => panic!("{error}"),
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    };
    assert!(first.body.contains("Invite bot"), "{}", first.body);

    let (_, shown) = browser.walks(&page, "channel3", "deny").await;
    assert!(shown.body.contains("Nothing changed"), "{}", shown.body);
    let refused = ask(&fleet, join.clone()).await;
    assert_eq!(refused["channels"][0]["answer"], "unauthorised");

    let (back, shown) = browser.walks(&page, "channel3", "allow").await;
    assert_eq!(shown.status, 200, "{}", shown.body);
    assert!(shown.body.contains("bot may join channel3"));
    joined(&fleet, 1).await;
    assert_eq!(row(&fleet, true).await["state"], "joined");
    assert!(hears(&fleet).await);
    // The address of the page that was shown is worth nothing to who finds it.
    let again = Browser::default().get(&back).await;
    assert_eq!(again.status, 400, "{}", again.body);

    let disconnects = Fault {
        channel: Some("channel3".to_owned()),
        ..Fault::new(FaultName::Revoke)
    };
    assert_eq!(fleet.twitch.fault(disconnects).unwrap(), 1);
    assert_eq!(row(&fleet, false).await["state"], "unauthorised");
    let never = json!({ "verb": "where", "channels": ["channel3", "channel4"] });
    let never = ask(&fleet, never).await;
    for row in never["channels"].as_array().unwrap() {
        assert_eq!(row["state"], "left", "{never}");
    }
    assert!(!hears(&fleet).await);
    let refused = ask(&fleet, join).await;
    assert_eq!(refused["channels"][0]["answer"], "unauthorised");

    let (_, shown) = browser.walks(&page, "channel3", "allow").await;
    assert!(shown.body.contains("bot may join channel3"));
    joined(&fleet, 1).await;
    assert!(hears(&fleet).await);
}
