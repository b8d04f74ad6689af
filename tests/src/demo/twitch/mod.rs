//! A fleet on the simulated Twitch: a deploy, a killed process, more units and fewer, and what
//! came of every message.

mod verdict;

use std::{
    cell::Cell,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::time::sleep;
use twitch_mock::{Config, EventSub, Helix, Limit, Traffic, Twitch};

pub use self::verdict::TwitchVerdict;
use super::now_us;
use crate::{
    error::{Error, Result},
    twitch::{TwitchFleet, TwitchOptions, conduit, enabled_shards},
};

/// How the demo is played.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Units that are used: shards of the conduit.
    pub units: u32,
    /// Channels.
    pub channels: u32,
    /// Messages a second, in all channels together.
    pub rate: f64,
    /// How much later than another one a message may come.
    pub jitter: Duration,
    /// From a byte to the answer to it, to Twitch and back.
    pub round_trip: Duration,
    /// How long everything is left alone before and after each thing that happens.
    pub calm: Duration,
    /// Whether the folder stays.
    pub keep: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            units: 20,
            channels: 10_000,
            rate: 1000.0,
            jitter: Duration::from_secs(3),
            round_trip: Duration::ZERO,
            calm: Duration::from_secs(5),
            keep: false,
        }
    }
}

/// Units by which the fleet is scaled out, and in again.
const MORE: u32 = 4;

/// Longest wait for anything.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs the demo; `say` gets one line for each thing that a watcher should know.
///
/// # Errors
/// The run could not be judged. A run that was judged and found wanting is a
/// [`TwitchVerdict`].
pub async fn run(options: Options, say: impl Fn(&str)) -> Result<TwitchVerdict> {
    // The conduit is there before the master is started.
    let began = Cell::new(Instant::now());
    let mut fleet = TwitchFleet::start_in(
        TwitchOptions {
            twitch: twitch(options),
            units: options.units + MORE,
            standbys: 1,
            limits: "contact = \"300ms\"\nsoak = \"2s\"\ncanary_time = \"0s\"\n".to_owned(),
            arguments: Vec::new(),
            keep: options.keep,
        },
        |folder, twitch| {
            let prepared = prepare(folder, twitch, options, &say);
            began.set(Instant::now());
            prepared
        },
    )
    .await?;
    if options.keep {
        say(&format!(
            "logs and events are in {}",
            fleet.folder().display()
        ));
    }
    fleet.all_serving(LIMIT).await?;
    let cold = began.get().elapsed();
    say(&format!(
        "{} units of a conduit serve {} channels {:.1} s after the master was started",
        options.units,
        options.channels,
        cold.as_secs_f64()
    ));
    traffic(&fleet, options.rate)?;
    sleep(options.calm).await;

    say("deploying build v2: baton-master deploy");
    let deployed = fleet.deploy("v2", LIMIT).await?;
    let moved = units(&deployed);
    say(&format!(
        "{moved} units moved; every message so far was for somebody"
    ));
    sleep(options.calm).await;
    let before = dropped(&fleet);

    say("killing the process: kill -9");
    let alive = now_us();
    fleet.kill_owner().await?;
    let kill = alive..now_us();
    sleep(Duration::from_millis(100)).await;
    fleet.all_serving(LIMIT).await?;
    sleep(options.calm).await;

    let by_the_kill = dropped(&fleet);

    let (few, many) = (options.units, options.units + MORE);
    say(&format!(
        "scaling out to {many} units, and in to {few} again"
    ));
    scale(&fleet, many).await?;
    sleep(options.calm).await;
    scale(&fleet, few).await?;
    // What was on its way to a shard that is no more.
    sleep(options.calm + Duration::from_secs(12)).await;

    traffic(&fleet, 0.0)?;
    sleep(options.jitter + Duration::from_secs(2)).await;
    let news = fleet.news.all();
    let counts = verdict::Counts {
        before,
        kill,
        by_the_kill,
        moved,
        cold,
    };
    verdict::judge(options, &fleet, &news, &counts)
}

fn twitch(options: Options) -> Config {
    Config {
        channels: options.channels,
        round_trip: options.round_trip,
        helix: Helix {
            // Whoever sets the conduit up asks once for each channel.
            points: Limit::new(1_000_000, 60),
            max_total_cost: options.channels.saturating_add(1),
            ..Helix::default()
        },
        eventsub: EventSub {
            jitter: options.jitter,
            ..EventSub::default()
        },
        irc: twitch_mock::Irc {
            channel_cap: 0,
            ..twitch_mock::Irc::default()
        },
        ..Config::default()
    }
}

fn prepare(
    folder: &Path,
    twitch: &Twitch,
    options: Options,
    say: &impl Fn(&str),
) -> Result<Vec<String>> {
    let id = conduit(twitch, options.units, options.channels)?;
    say(&format!(
        "a conduit with {} shards has the chat of {} channels",
        options.units, options.channels
    ));
    let list = folder.join("channels").display().to_string();
    let arguments = [
        "--conduit",
        &id,
        "--account-id",
        "1",
        "--channels",
        &list,
        "--anybody",
    ];
    Ok(arguments.map(str::to_owned).to_vec())
}

fn traffic(fleet: &TwitchFleet, rate: f64) -> Result<()> {
    let set = fleet.twitch.set_traffic(Traffic {
        others: 0,
        ..Traffic::at_rate(rate)
    });
    set.map_err(|error| Error::answer("the simulated Twitch", error))
}

/// Has the conduit get another number of shards, and waits until each has a session.
async fn scale(fleet: &TwitchFleet, units: u32) -> Result<()> {
    let question = json!({ "verb": "units", "units": units });
    let end = Instant::now() + LIMIT;
    loop {
        let answer: Result<Value> = fleet.admin.ask("/v1/work", &question).await;
        match answer {
            Ok(answer) if answer["error"].is_null() => break,
            Ok(answer) => return Err(Error::answer("the once-per-bot work", answer)),
            // It may be on its way from one process to another.
            Err(error) if Instant::now() > end => return Err(error),
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
    while enabled_shards(&fleet.twitch)? < units as usize {
        if Instant::now() > end {
            return Err(Error::Late("a shard has no session".to_owned()));
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Messages that the simulated Twitch gave up.
fn dropped(fleet: &TwitchFleet) -> u64 {
    fleet.twitch.extents().dropped
}

fn units(deployed: &Value) -> u64 {
    deployed["moved"].as_u64().unwrap_or(0)
}
