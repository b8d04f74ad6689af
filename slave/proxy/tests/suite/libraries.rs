//! Real libraries. `scripts/clients` installs them; `BATON_CLIENTS` names another folder of
//! its. Where they are not, a test says so and passes over; in CI it fails.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::{
    common::{PATIENCE, Rig, TOKEN, config},
    moves::{comes, leaves, two_with},
};

/// What a client does: its program, and what comes before it.
struct Library {
    program: PathBuf,
    script: &'static str,
    environment: Vec<(&'static str, String)>,
}

/// Where they are; `None`: it was said, past the harness, that they are not there.
fn installed() -> Option<PathBuf> {
    let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/clients");
    let folder = std::env::var_os("BATON_CLIENTS").map_or_else(usual, PathBuf::from);
    if folder.join("done").is_file() {
        return Some(folder);
    }
    let what = format!("{} is missing: scripts/clients", folder.display());
    assert!(std::env::var_os("CI").is_none(), "{what}");
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(std::io::stderr(), "{test}: PASSED OVER: {what}");
    None
}

fn python(script: &'static str) -> Option<Library> {
    Some(Library {
        program: installed()?.join("python/bin/python"),
        script,
        environment: Vec::new(),
    })
}

fn node(script: &'static str, compress: bool) -> Option<Library> {
    let modules = installed()?.display().to_string();
    let mut environment = vec![("MODULES", modules)];
    if compress {
        environment.push(("COMPRESSION", "zlib-stream".to_owned()));
    }
    Some(Library {
        program: "node".into(),
        script,
        environment,
    })
}

/// A process of a bot, and what it said.
struct Bot {
    child: Child,
    said: Arc<Mutex<Vec<Value>>>,
}

impl Bot {
    fn start(library: &Library, rig: &Rig) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
        let mut command = Command::new(&library.program);
        command.arg(folder.join(library.script));
        command.env("GATEWAY", rig.url() + "/").env("TOKEN", TOKEN);
        command.envs(library.environment.iter().cloned());
        command.stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&said);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Ok(word) = serde_json::from_str(&line) {
                    all.lock().unwrap().push(word);
                }
            }
        });
        Self { child, said }
    }

    fn said(&self) -> Vec<Value> {
        self.said.lock().unwrap().clone()
    }

    /// The numbers of the events that it received, in its order.
    fn numbers(&self) -> Vec<u64> {
        let said = self.said();
        said.iter().filter_map(|word| word["n"].as_u64()).collect()
    }

    /// Waits until it says that it has both guilds.
    async fn until_ready(&self) {
        let is_ready = |said: &[Value]| said.iter().any(|word| word["ready"] == 2);
        self.until("ready", is_ready).await;
    }

    /// Waits until it has received something above this.
    async fn until_above(&self, number: u64) {
        let is_above = |said: &[Value]| {
            let mut numbers = said.iter().filter_map(|word| word["n"].as_u64());
            numbers.any(|got| got > number)
        };
        self.until("as far", is_above).await;
    }

    async fn until(&self, what: &str, condition: impl Fn(&[Value]) -> bool) {
        let began = Instant::now();
        while !condition(&self.said()) {
            let said = self.said();
            let last = &said[said.len().saturating_sub(5)..];
            assert!(began.elapsed() < PATIENCE, "not {what}: {last:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A bot under traffic: started, killed, started again, and replaced by a second one.
async fn lives(library: Option<Library>) {
    let Some(library) = library else {
        return;
    };
    let mut config = config();
    config.timings.ask = Duration::from_millis(200);
    config.timings.drain = Duration::from_millis(500);
    let rig = Arc::new(Rig::with(config).await);
    rig.above.inner().guilds = [1, 2].map(|id| (id, Some(whole_guild(id)))).to_vec();
    let (last, one) = (Arc::new(AtomicU64::new(100)), Arc::clone(&rig));
    let next = Arc::clone(&last);
    let traffic = tokio::spawn(async move {
        loop {
            let sequence = next.load(Ordering::SeqCst) + 1;
            one.say(sequence, "MESSAGE_CREATE", message(sequence)).await;
            next.store(sequence, Ordering::SeqCst);
            sleep(Duration::from_millis(3)).await;
        }
    });
    let now = || last.load(Ordering::SeqCst);

    let mut first = Bot::start(&library, &rig);
    first.until_ready().await;
    first.until_above(now() + 200).await;
    first.child.kill().await.unwrap();
    sleep(Duration::from_millis(200)).await;
    let acknowledged = rig.above.finished().last().copied().unwrap_or(100);
    let second = Bot::start(&library, &rig);
    second.until_ready().await;
    second.until_above(now() + 200).await;
    let third = Bot::start(&library, &rig);
    third.until_ready().await;
    third.until_above(now() + 200).await;
    traffic.abort();
    let end = now();
    rig.until_finished(end).await;
    third.until_above(end - 1).await;

    let mut received: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (at, bot) in [&first, &second, &third].into_iter().enumerate() {
        let numbers = bot.numbers();
        assert!(
            numbers.is_sorted_by(|a, b| a < b),
            "bot {at}: order kept, nothing twice"
        );
        for number in numbers {
            received.entry(number).or_default().push(at);
        }
        let said = bot.said();
        assert!(
            said.iter().any(|word| word["ready"] == 2),
            "bot {at}: two guilds"
        );
        assert!(
            said.iter().all(|word| word["joined"].is_null()),
            "bot {at}: none is new"
        );
    }
    // A library acknowledges what it received. What it then had not handed to its bot's code
    // when it was killed is the one thing that is gone, as `docs/proxy.md` says.
    let said_last = first.numbers().last().copied().unwrap_or(100);
    let lost: Vec<u64> = (101..=end)
        .filter(|number| !received.contains_key(number))
        .filter(|number| *number <= said_last || *number > acknowledged)
        .collect();
    assert!(
        lost.is_empty(),
        "lost: {lost:?}; the first bot came to {said_last} and acknowledged {acknowledged}"
    );
    let again: Vec<_> = received.iter().filter(|(_, bots)| bots.len() > 1).collect();
    for (number, bots) in &again {
        assert!(
            **number > acknowledged,
            "{number} was acknowledged and came again"
        );
        assert_eq!(
            **bots,
            [0, 1],
            "{number}: a repeat follows the kill, and nothing else"
        );
    }
    let status = rig.status();
    let shard = &status.shards[0];
    let totals = shard.totals;
    assert_eq!((totals.lost, totals.unattended), (0, 0), "{status:?}");
    assert_eq!(totals.takeovers, 1, "{status:?}");
    let (events, repeated) = (end - 100, again.len());
    eprintln!(
        "{}: {events} events, lost 0, repeated {repeated} after the kill, {}",
        library.script, shard.clients[0].library,
    );
}

/// A bot under traffic whose shard goes to another process, and back.
async fn moves(library: Option<Library>) {
    let Some(library) = library else {
        return;
    };
    let mut config = config();
    // Libraries count what they send, answers too.
    config.timings.ask = Duration::from_millis(200);
    let (mut old, mut new) = two_with(config).await;
    for rig in [&old, &new] {
        rig.above.inner().guilds = [1, 2].map(|id| (id, Some(whole_guild(id)))).to_vec();
    }
    let bot = Bot::start(&library, &old);
    let mut last = 100;
    let mut say = async |rig: &Rig, events: u64| {
        for _ in 0..events {
            last += 1;
            rig.say(last, "MESSAGE_CREATE", message(last)).await;
            sleep(Duration::from_millis(3)).await;
        }
        last
    };
    bot.until_ready().await;
    for _ in 0..2 {
        say(&old, 200).await;
        bot.until_above(100).await;
        let last = say(&old, 20).await;
        let (above, next) = (Arc::clone(&old.above), old.sibling());
        let clients = leaves(old).await;
        let handled = above.finished().last().copied().unwrap_or(100);
        comes(&new, handled, clients);
        // What Discord replays.
        for sequence in handled + 1..=last {
            new.say(sequence, "MESSAGE_CREATE", message(sequence)).await;
        }
        (old, new) = (new, next);
    }
    let end = say(&old, 200).await;
    bot.until_above(end - 1).await;
    let all: Vec<u64> = (101..=end).collect();
    assert_eq!(bot.numbers(), all, "nothing lost, nothing twice, in order");
    let readies = bot
        .said()
        .iter()
        .filter(|word| word["t"] == "READY")
        .count();
    assert_eq!(readies, 1, "its session went along");
}

#[tokio::test]
async fn a_bot_in_discord_py_moves() {
    moves(python("discordpy.py")).await;
}

#[tokio::test]
async fn a_bot_in_hikari_moves() {
    moves(python("hikari_bot.py")).await;
}

#[tokio::test]
async fn a_bot_on_discordjs_ws_moves() {
    moves(node("discordjs.mjs", true)).await;
}

#[tokio::test]
async fn a_bot_in_discord_py_lives() {
    lives(python("discordpy.py")).await;
}

#[tokio::test]
async fn a_bot_in_hikari_lives() {
    lives(python("hikari_bot.py")).await;
}

#[tokio::test]
async fn a_bot_on_discordjs_ws_lives() {
    lives(node("discordjs.mjs", false)).await;
}

#[tokio::test]
async fn a_bot_on_discordjs_ws_lives_with_compression() {
    lives(node("discordjs.mjs", true)).await;
}

#[tokio::test]
async fn a_bot_in_nextcord_lives() {
    lives(python("nextcord_bot.py")).await;
}

#[tokio::test]
async fn a_bot_in_nextcord_moves() {
    moves(python("nextcord_bot.py")).await;
}

#[tokio::test]
async fn a_bot_in_discord_js_lives() {
    lives(node("discordjs_whole.mjs", false)).await;
}

#[tokio::test]
async fn a_bot_in_discord_js_moves() {
    moves(node("discordjs_whole.mjs", false)).await;
}

#[tokio::test]
async fn a_bot_in_eris_lives() {
    lives(node("eris.mjs", false)).await;
}

#[tokio::test]
async fn a_bot_in_eris_moves() {
    moves(node("eris.mjs", false)).await;
}

#[tokio::test]
async fn a_bot_in_oceanic_lives() {
    lives(node("oceanic.mjs", false)).await;
}

#[tokio::test]
async fn a_bot_in_oceanic_moves() {
    moves(node("oceanic.mjs", false)).await;
}

#[tokio::test]
async fn a_bot_in_cloudstorm_lives() {
    lives(node("cloudstorm.mjs", false)).await;
}

#[tokio::test]
async fn a_bot_in_cloudstorm_moves() {
    moves(node("cloudstorm.mjs", false)).await;
}

#[tokio::test]
async fn a_bot_in_cloudstorm_lives_with_compression() {
    lives(node("cloudstorm.mjs", true)).await;
}

fn message(number: u64) -> Value {
    json!({
        "n": number, "id": (1_000_000 + number).to_string(), "channel_id": "5", "guild_id": "1",
        "author": {"id": "11", "username": "u", "discriminator": "0", "avatar": null, "global_name": null},
        "member": {"roles": [], "joined_at": "2020-01-01T00:00:00+00:00", "deaf": false, "mute": false, "flags": 0},
        "content": number.to_string(), "timestamp": "2020-01-01T00:00:00+00:00",
        "edited_timestamp": null, "tts": false, "mention_everyone": false, "mentions": [],
        "mention_roles": [], "attachments": [], "embeds": [], "pinned": false, "type": 0,
    })
}

/// A guild with all that a strict library looks for.
fn whole_guild(id: u64) -> String {
    let guild = include_str!("../clients/guild.json");
    let channel = (id + 4).to_string();
    guild
        .replace("GUILD", &id.to_string())
        .replace("CHANNEL", &channel)
}
