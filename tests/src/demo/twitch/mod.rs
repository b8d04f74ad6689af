//! A fleet on the simulated Twitch: a deploy, a killed process, more units and fewer, and what
//! came of every message.

mod verdict;

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::sleep;
use twitch_mock::{Config, EventSub, Helix, Limit, Traffic, Twitch};

pub use self::verdict::TwitchVerdict;
use crate::{
    error::{Error, Result},
    twitch::{TwitchFleet, TwitchOptions, conduit},
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
            calm: Duration::from_secs(5),
            keep: false,
        }
    }
}

/// Longest wait for anything.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs the demo; `say` gets one line for each thing that a watcher should know.
///
/// # Errors
/// The run could not be judged. A run that was judged and found wanting is a
/// [`TwitchVerdict`].
pub async fn run(options: Options, say: impl Fn(&str)) -> Result<TwitchVerdict> {
    let began = Instant::now();
    let mut fleet = TwitchFleet::start(
        TwitchOptions {
            twitch: twitch(options),
            units: options.units,
            standbys: 1,
            limits: "contact = \"300ms\"\nsoak = \"2s\"\ncanary_time = \"0s\"\n".to_owned(),
            arguments: Vec::new(),
            keep: options.keep,
        },
        |twitch| prepare(twitch, options, &say),
    )
    .await?;
    if options.keep {
        say(&format!(
            "logs and events are in {}",
            fleet.folder().display()
        ));
    }
    fleet.all_serving(LIMIT).await?;
    let cold = began.elapsed();
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
    fleet.kill_owner().await?;
    sleep(Duration::from_millis(100)).await;
    fleet.all_serving(LIMIT).await?;
    sleep(options.calm).await;

    traffic(&fleet, 0.0)?;
    sleep(options.jitter + Duration::from_secs(2)).await;
    let news = fleet.news.all();
    verdict::judge(options, &fleet, &news, before, moved, cold)
}

fn twitch(options: Options) -> Config {
    Config {
        channels: options.channels,
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

fn prepare(twitch: &Twitch, options: Options, say: &impl Fn(&str)) -> Result<Vec<String>> {
    let id = conduit(twitch, options.units, options.channels)?;
    say(&format!(
        "a conduit with {} shards has the chat of {} channels",
        options.units, options.channels
    ));
    Ok(vec!["--conduit".to_owned(), id])
}

fn traffic(fleet: &TwitchFleet, rate: f64) -> Result<()> {
    let set = fleet.twitch.set_traffic(Traffic {
        others: 0,
        ..Traffic::at_rate(rate)
    });
    set.map_err(|error| Error::answer("the simulated Twitch", error))
}

/// Messages that the simulated Twitch gave up.
fn dropped(fleet: &TwitchFleet) -> u64 {
    fleet.twitch.extents().dropped
}

fn units(deployed: &Value) -> u64 {
    deployed["moved"].as_u64().unwrap_or(0)
}
