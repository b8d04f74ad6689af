//! A small master that says what a test tells it to, and slaves in this process.

mod exact;
pub mod go;
mod master;
mod peer;
mod recorder;
mod truth;

use std::{sync::Arc, time::Duration};

use baton_discord::{Discord, DiscordConfig, LogLine, Traffic, What};
use baton_protocol::{Ticket, discord};
use baton_slave::{Error, Intents, Monitor, SecretSource, Slave, SlaveConfig, Timings};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

#[allow(unused_imports, reason = "each test file uses its own part")]
pub use self::truth::{Moment, difference, moment};
pub use self::{
    exact::{all_once, all_once_unmarked, sent},
    master::FakeMaster,
    peer::Peer,
    recorder::{Doing, Recorder, Told},
};

pub const INTENTS: Intents = Intents::from_bits_retain(53_608_447);
/// Longer than anything takes, however busy the machine is; a test that waits for it
/// fails.
pub const LONG: Duration = Duration::from_secs(60);

/// One whose sessions wait and replay for longer than any test takes, unless it is
/// changed: time goes on while a busy machine does nothing for a test.
pub async fn discord(change: impl FnOnce(&mut DiscordConfig)) -> Discord {
    let mut config = DiscordConfig::quick();
    config.resume_window = 10 * LONG;
    config.replay_buffer = Some(1_000_000);
    change(&mut config);
    Discord::start(config).await.unwrap()
}

pub fn traffic(discord: &Discord, rate: f64) {
    let traffic = Traffic {
        rate,
        ..Traffic::default()
    };
    discord.set_traffic(None, &traffic).unwrap();
}

/// Changes what a ticket says of its session.
pub fn with_session(ticket: &mut Ticket, change: impl FnOnce(&mut discord::Session)) {
    let mut session = discord::Session::open(&ticket.session);
    change(&mut session);
    ticket.session = session.seal();
}

/// How many heartbeats came in shard 0.
pub fn heartbeats(discord: &Discord) -> usize {
    let commands = discord.commands(0).into_iter();
    commands.filter(|command| command.op == 1).count()
}

/// Everything that Discord logged of one kind.
pub fn logged(discord: &Discord, what: What) -> Vec<LogLine> {
    let mut lines = discord.log(0);
    lines.retain(|line| line.what == what);
    lines
}

/// Waits until `condition` holds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = timeout(LONG, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "never came: {what}");
}

/// A slave in this process.
pub struct Running {
    pub bot: Arc<Recorder>,
    pub monitor: Monitor,
    pub stop: CancellationToken,
    pub task: JoinHandle<Result<(), Error>>,
}

pub fn config(master: &FakeMaster, discord: &Discord) -> SlaveConfig {
    let mut config = SlaveConfig::new("token");
    config.masters = vec![master.address()];
    config.secret = SecretSource::Given(master.secret.clone());
    config.gateway_url = Some(discord.url());
    config.intents = INTENTS;
    config.build = "test".to_owned();
    let timings = &mut config.timings;
    timings.redial_first = Duration::from_millis(50);
    timings.redial_max = Duration::from_millis(400);
    timings.invalid_session = Duration::from_millis(20);
    timings.retry_delay = Duration::from_millis(20);
    patient(timings);
    // Nobody follows in most tests.
    timings.followed = Duration::ZERO;
    config
}

/// What is waited for comes, be it late. A test in which it does not sets its own limit.
fn patient(timings: &mut Timings) {
    timings.hello = LONG;
    timings.progress = LONG;
    timings.replay = LONG;
    timings.hold = LONG;
    timings.handshake = LONG;
    timings.master_silence = 10 * LONG;
    timings.legacy_patience = 10 * LONG;
}

pub fn run(config: SlaveConfig, bot: Recorder) -> Running {
    let bot = Arc::new(bot);
    let stop = CancellationToken::new();
    let mut builder = Slave::builder(bot.clone())
        .work(bot.clone())
        .config(config)
        .stop(stop.clone());
    if bot.cache.is_some() {
        builder = builder.state(bot.clone());
    }
    if let Some(store) = &bot.store {
        builder = builder.store(store.clone());
    }
    Running {
        bot,
        monitor: builder.monitor(),
        stop,
        task: tokio::spawn(builder.run()),
    }
}

impl Running {
    pub async fn ends(self) -> Result<(), Error> {
        timeout(LONG, self.task).await.expect("it ends").unwrap()
    }

    pub async fn counts(&self) -> baton_slave::Counts {
        self.monitor.status().await.expect("it runs").counters
    }
}
