//! A complete gateway process: what it knows of guilds moves with its shards, its events go to
//! a sink. See `baton-slave --help`.

mod chosen;
mod copies;
#[cfg(feature = "redis")]
mod guilds;
mod inspect;
mod letters;
mod options;
mod passed;
mod proxy;
mod relay;
mod sink;
mod store;

use std::{
    io::{self, IsTerminal},
    net::TcpListener,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use baton_sink::{Sink, SinkConfig};
use baton_slave::{Bot, Error, Slave, store::Guilds};
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;

use self::{
    chosen::Chosen,
    copies::{Copies, Copying},
    options::{Asked, Format, Kept, Settings},
    proxy::Joined,
    relay::{Habits, Known, Relay},
};

/// Blocking work that is still under way at the end gets so long.
const AT_THE_END: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let _flush_at_the_end = baton_slave::log::catch_panics();
    let ended = options::read().and_then(|asked| match asked {
        Asked::Serve(settings) => start(*settings).map(|()| ExitCode::SUCCESS),
        Asked::Store(verb) => Ok(store::run(&verb)),
        Asked::Letters(verb, broker) => letters::run(&verb, *broker),
    });
    match ended {
        Ok(code) => code,
        Err(error) => {
            let line = error
                .to_string()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            baton_slave::log::line(&format!("baton-slave: {line}"));
            ExitCode::from(error.exit_code())
        }
    }
}

fn start(settings: Settings) -> Result<(), Error> {
    start_logging(&settings)?;
    // Before anything else is opened.
    let listener = settings.proxy.as_ref();
    let listener = listener.and_then(|proxy| passed::take(proxy.listen));
    if let Some(listener) = &listener {
        passed::give_back(listener, &settings.runtime_dir);
    }
    let runtime = runtime(tokio::runtime::Builder::new_multi_thread())?;
    let ended = runtime.block_on(run(settings, listener));
    // A disk that hangs under a task must not hold the process.
    runtime.shutdown_timeout(AT_THE_END);
    ended
}

fn runtime(mut builder: tokio::runtime::Builder) -> Result<Runtime, Error> {
    let built = builder.enable_all().build();
    built.map_err(|source| Error::System {
        what: "start the runtime",
        source,
    })
}

async fn run(settings: Settings, listener: Option<TcpListener>) -> Result<(), Error> {
    let sink = sink::open(&settings.sink)?;
    let habits = Habits {
        handler: settings.handler,
        body: settings.body,
        dies_of: settings.dies_of.map(Chosen::new),
        keeps: settings.keeps.map(Chosen::new),
    };
    let known = match settings.state {
        Kept::Cache => Known::Cache(Arc::default()),
        Kept::Store => {
            let store = Guilds::new();
            Known::Store(match settings.store_limit {
                Some(limit) => store.with_limit(limit),
                None => store,
            })
        }
    };
    let relay = Arc::new(Relay::new(known, sink.clone(), habits));
    let broker = match settings.broker {
        Some(config) => Some(Arc::new(broker(config).await?)),
        None => None,
    };
    let copies = Arc::new(Copies::open(settings.copies, &settings.names)?);
    let body = settings.body;
    let mut bot: Arc<dyn Bot> = match &broker {
        Some(broker) => Arc::clone(broker) as _,
        None => relay.clone(),
    };
    let mut joined = None;
    if let (Some(proxy), Known::Store(store)) = (settings.proxy, relay.known()) {
        let intents = settings.slave.intents.bits();
        tracing::info!(
            window = settings.slave.window,
            "events that wait for a client are in this process, and Discord replays the last \
             ones only: if it is killed while a client is away for long, older ones are lost \
             (baton-master doctor warns before)"
        );
        let clients = Arc::new(Joined::start(proxy, listener, store.clone(), intents)?);
        joined = Some(Arc::clone(&clients));
        bot = clients;
    }
    if let (Some(config), Known::Store(store)) = (settings.guilds, relay.known()) {
        bot = with_guilds(bot, store.clone(), config)?;
    }
    let mut builder = Slave::builder(Copying::new(bot, Arc::clone(&copies), body));
    if let Some(sink) = broker.clone() {
        builder = builder.sink(move || sink.status().report());
    }
    if let Some(joined) = joined {
        builder = builder.clients(move || joined.report());
    }
    let builder = builder.config(settings.slave);
    let builder = relay.known().given_to(builder);
    let _socket = match &settings.inspect {
        Some(address) => {
            inspect::serve(address, relay, builder.monitor(), broker, copies.clone()).await?
        }
        None => None,
    };
    let ended = builder.run().await;
    // What was finished is written before the process ends.
    sink.finish().await;
    copies.finish().await;
    ended
}

/// The bot, with copies of its guilds.
#[cfg(feature = "redis")]
fn with_guilds(
    bot: Arc<dyn Bot>,
    store: Guilds,
    config: SinkConfig,
) -> Result<Arc<dyn Bot>, Error> {
    let copies = baton_sink::GuildCopies::new(config);
    let copies = copies.map_err(|error| Error::Config(format!("guilds: {error}")))?;
    Ok(Arc::new(guilds::Copied::start(bot, store, copies)))
}

/// The options refuse it.
#[cfg(not(feature = "redis"))]
fn with_guilds(bot: Arc<dyn Bot>, _: Guilds, _: SinkConfig) -> Result<Arc<dyn Bot>, Error> {
    Ok(bot)
}

/// What publishes events to a broker.
async fn broker(config: SinkConfig) -> Result<Sink, Error> {
    let started = Sink::start(config).await;
    started.map_err(|error| Error::Config(format!("sink: {error}")))
}

/// A path in which `%p` stands for the process id.
fn with_pid(path: &str) -> PathBuf {
    path.replace("%p", &std::process::id().to_string()).into()
}

fn start_logging(settings: &Settings) -> Result<(), Error> {
    let filter = EnvFilter::try_new(&settings.log)
        .map_err(|error| Error::Config(format!("log: `{}`: {error}", settings.log)))?;
    // The client of RabbitMQ logs whole messages that come back, and events are never logged.
    let filter = match "lapin::returned_messages=off".parse() {
        Ok(silent) => filter.add_directive(silent),
        Err(_) => filter,
    };
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // A log whose reader is gone is no reason to end: what was reported there
        // would panic.
        .log_internal_errors(false)
        .with_writer(baton_slave::log::writer)
        .with_ansi(io::stderr().is_terminal());
    match settings.log_format {
        Format::Text => logs.init(),
        Format::Json => logs.json().init(),
    }
    Ok(())
}
