//! `baton-twitch probe`: what only a real account can answer, listed, and asked as far as the
//! settings reach. It changes nothing at Twitch but that it logs in.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use baton_slave::Error;
use baton_twitch::{eventsub::Session, irc::Connection};

use super::{helix, options::Options};

/// Each question has so long.
const WITHIN: Duration = Duration::from_secs(15);

/// What nothing but Twitch can answer, and what hangs on it.
const QUESTIONS: [(&str, &str); 8] = [
    (
        "does a channel that one account joined on two connections count twice for its cap of 100?",
        "Baton assumes that it does: a unit over the cap joins the rest once it is live",
    ),
    (
        "is tmi-sent-ts of a CLEARCHAT the same on two connections?",
        "Baton takes it for the same; if not, a CLEARCHAT comes once more at a move",
    ),
    (
        "what does the session get whose shard another one takes, and for how long do messages still come there?",
        "Baton hands out what comes there until it is quiet for 3 s",
    ),
    (
        "is the order of a channel kept when its shard moves to another session?",
        "Baton does not wait for it: messages that were on their way may come behind later ones",
    ),
    (
        "may a reconnect_url be opened from another host?",
        "Baton opens it in the same process",
    ),
    (
        "how many JOINs in 10 s does Twitch take of this account?",
        "Baton sends 20; limits.twitch_joins of the master says otherwise",
    ),
    (
        "how long is a message on its way on one connection and not yet on another?",
        "Baton waits 4 s before it cuts a unit of IRC over: --settle",
    ),
    (
        "does Twitch deliver a message again that a session got, and to which shard?",
        "Baton hands a message out once in each unit; two units do not compare",
    ),
];

pub(crate) async fn run(options: &Options) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    let mut say = |line: &str| {
        // Whoever does not read it does not miss it.
        let _ = writeln!(out, "{line}");
    };
    say("Only Twitch can answer these. Nothing of Baton was tried on Twitch itself.\n");
    for (number, (question, consequence)) in (1..).zip(QUESTIONS) {
        say(&format!("{number}. {question}\n   {consequence}"));
    }
    say("\nAsked now, as far as the settings reach:");
    let mut failed = 0;
    let mut asked = |what: &str, began: Instant, answer: Result<String, String>| {
        let ms = began.elapsed().as_millis();
        match answer {
            Ok(answer) => say(&format!("  {what}: {answer} ({ms} ms)")),
            Err(why) => {
                failed += 1;
                say(&format!("  {what}: {why}"));
            }
        }
    };
    if options.client_id.is_some() {
        let began = Instant::now();
        let answer = of_conduit(options).await;
        asked("Helix", began, answer);
        let began = Instant::now();
        let opened = Session::open(&options.eventsub_url, WITHIN).await;
        let answer = opened.map(|_| "a session said Welcome".to_owned());
        asked("EventSub", began, answer.map_err(|error| error.to_string()));
    }
    let began = Instant::now();
    asked("IRC", began, of_irc(options).await);
    match failed {
        0 => Ok(()),
        _ => Err(Error::Config(format!(
            "{failed} of these could not be asked"
        ))),
    }
}

async fn of_conduit(options: &Options) -> Result<String, String> {
    let helix = helix(options).map_err(|error| error.to_string())?;
    let conduits = helix.conduits().await.map_err(|error| error.to_string())?;
    let Some(wanted) = &options.conduit else {
        return Ok(format!("the application has {} conduits", conduits.len()));
    };
    let own = conduits.iter().find(|one| one.id == *wanted);
    let own = own.ok_or_else(|| format!("the application has no conduit {wanted}"))?;
    let shards = helix
        .shards(wanted)
        .await
        .map_err(|error| error.to_string())?;
    let enabled = shards
        .iter()
        .filter(|shard| shard.status == "enabled")
        .count();
    Ok(format!(
        "the conduit has {} shards, {enabled} of which have a session",
        own.shard_count
    ))
}

async fn of_irc(options: &Options) -> Result<String, String> {
    let address = options.irc.parse()?;
    let accounts = options.accounts().map_err(|error| error.to_string())?;
    let account = options.account.as_ref();
    let account = account.and_then(|login| Some((login, accounts.get(login)?.as_str())));
    let opened = Connection::open(&address, account, WITHIN).await;
    let opened = opened.map_err(|error| error.to_string())?;
    Ok(format!("logged in as {}", opened.me()))
}
