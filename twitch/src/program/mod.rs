//! The program: its settings, its output, and how it is run.

mod options;
mod output;
mod probe;

use std::{
    cell::OnceCell,
    io::{self, IsTerminal},
    sync::Arc,
    time::Duration,
};

use baton_slave::{Error, Slave, unit::Office};
use baton_twitch::{
    self as twitch, Bot, ChannelWork, Conduits, Consumers, Hook, Irc, PageConfig, Speaks, Units,
    UserId, WorkConfig,
    helix::{Config, Helix},
    invite::Settings,
    outbox::By,
};
use clap::Parser;
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use self::output::Sink;
use self::{
    options::{Options, SayBy, Verb, Way, wanted},
    output::Lines,
};

/// Blocking work that is still under way at the end gets so long.
const AT_THE_END: Duration = Duration::from_secs(1);

/// Reads the settings and serves, until a master or a signal ends it.
pub(crate) fn run() -> Result<(), Error> {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) if error.use_stderr() => {
            let text = error.render().to_string();
            let first = text.split("\n\n").next().unwrap_or_default();
            return Err(Error::Config(
                first.trim_start_matches("error: ").to_owned(),
            ));
        }
        // Help and version.
        Err(error) => error.exit(),
    };
    start_logging(&options.log)?;
    let runtime = runtime()?;
    let ended = match options.verb {
        Some(Verb::Probe) => runtime.block_on(probe::run(&options)),
        None => runtime.block_on(serve(options)),
    };
    // A disk that hangs under a task must not hold the process.
    runtime.shutdown_timeout(AT_THE_END);
    ended
}

async fn serve(options: Options) -> Result<(), Error> {
    let config = options.slave()?;
    let stop = stop_at_signals()?;
    let sink = sink(&options).await?;
    let bot = bot(&options, sink.clone(), stop.clone())?;
    let office = Office::new();
    let api = Api::of(&options);
    let units = match options.transport {
        Way::Conduit => Units::new(conduits(&api, office.clone())?, bot),
        Way::Irc => Units::new(irc(&options, office.clone())?, bot),
    };
    let work = work(&api, &office, sink.map(Consumers::new))?;
    let mut slave = Slave::serving(units, office).config(config).stop(stop);
    if let Some(work) = work {
        slave = slave.work(work);
    }
    slave.run().await
}

/// What events are handed to.
fn bot(
    options: &Options,
    sink: Option<Arc<baton_sink::Sink>>,
    stop: CancellationToken,
) -> Result<Arc<dyn Bot>, Error> {
    if let Some(sink) = sink {
        return Ok(Arc::new(twitch::Publisher::new(sink)));
    }
    let lines = Lines::start(&options.sink, stop);
    let lines = lines.map_err(|error| Error::Config(format!("sink: {error}")))?;
    Ok(Arc::new(lines))
}

/// The broker, where events go to one.
async fn sink(options: &Options) -> Result<Option<Arc<baton_sink::Sink>>, Error> {
    let Sink::Broker(address) = &options.sink else {
        return Ok(None);
    };
    let address = address.clone();
    let wrong = |error: String| Error::Config(format!("sink: {error}"));
    let mut config = baton_sink::SinkConfig::new(address);
    config.name.clone_from(&options.sink_name);
    if let Some(file) = &options.sink_credentials {
        let text = std::fs::read_to_string(file)
            .map_err(|error| wrong(format!("{}: {error}", file.display())))?;
        let read = baton_sink::Credentials::new(&text);
        config.credentials = Some(read.map_err(|error| wrong(error.to_string()))?);
    }
    let sink = baton_sink::Sink::start(config).await;
    let sink = sink.map_err(|error| wrong(error.to_string()))?;
    Ok(Some(Arc::new(sink)))
}

/// The shards of the conduit.
fn conduits(api: &Api<'_>, office: Office) -> Result<Conduits, Error> {
    let conduit = wanted(api.options.conduit.as_ref(), "--conduit")?;
    let eventsub = &api.options.eventsub_url;
    Ok(Conduits::new(api.helix()?, conduit, eventsub, office))
}

/// Helix for everything in this process that asks it: with one token, made where it is needed.
struct Api<'a> {
    options: &'a Options,
    helix: OnceCell<Helix>,
}

impl<'a> Api<'a> {
    const fn of(options: &'a Options) -> Self {
        let helix = OnceCell::new();
        Self { options, helix }
    }

    fn helix(&self) -> Result<Helix, Error> {
        if let Some(made) = self.helix.get() {
            return Ok(made.clone());
        }
        let made = helix(self.options)?;
        Ok(self.helix.get_or_init(|| made).clone())
    }
}

/// Helix, by the application.
fn helix(options: &Options) -> Result<Helix, Error> {
    let id = wanted(options.client_id.as_ref(), "--client-id")?;
    let config = Config::new(id, &options.client_secret()?)
        .with_api(&options.helix_url)
        .with_oauth(&options.oauth_url);
    Helix::new(config).map_err(|error| Error::Config(error.to_string()))
}

/// What is once per bot, where there is a list of channels.
fn work(
    api: &Api<'_>,
    office: &Office,
    consumers: Option<Consumers>,
) -> Result<Option<ChannelWork>, Error> {
    let options = api.options;
    let Some(list) = options.channels.clone() else {
        return Ok(None);
    };
    let account = options.account.clone();
    let id = options.account_id.as_deref().map(UserId::from);
    let way = match options.transport {
        Way::Conduit => twitch::Way::Conduit {
            helix: api.helix()?,
            conduit: wanted(options.conduit.as_ref(), "--conduit")?.clone(),
            reader: wanted(id.as_ref(), "--account-id, with --channels")?.clone(),
            rules: options.rules()?,
        },
        Way::Irc => twitch::Way::Irc {
            account: account.clone(),
            cap: Some(options.channel_cap).filter(|cap| *cap > 0),
            rules: options.rules()?,
        },
    };
    let helix = match (id, options.client_id.is_some()) {
        (Some(id), true) => Some((api.helix()?, id)),
        (_, _) => None,
    };
    let is_by_irc = options.say_by == SayBy::Irc;
    if is_by_irc && options.transport == Way::Conduit {
        return Err(Error::Config(
            "say_by: a conduit has no connection of IRC: give helix".to_owned(),
        ));
    }
    let speaks = account.filter(|_| helix.is_some() || is_by_irc);
    let speaks = speaks.map(|account| Speaks {
        account,
        helix,
        by: match is_by_irc {
            true => By::Irc,
            false => By::Helix,
        },
    });
    let page = match (&options.invite, &options.account) {
        (Some(listen), Some(bot)) => Some(PageConfig {
            listen: *listen,
            settings: Settings {
                bot: bot.clone(),
                client_id: wanted(options.client_id.as_ref(), "--client-id")?.clone(),
                redirect: wanted(options.invite_redirect.as_ref(), "--invite-redirect")?.clone(),
                authorise: options.authorise_url.clone(),
            },
            helix: api.helix()?,
        }),
        (Some(_), None) => {
            return Err(Error::Config(
                "invite: give --account, whom the page names".to_owned(),
            ));
        }
        (None, _) => None,
    };
    if let Some(page) = &page
        && !page.listen.ip().is_loopback()
    {
        return Err(Error::Config(format!(
            "invite: {} can be reached from other hosts in clear: give 127.0.0.1:PORT, and a proxy \
             with a certificate in front of it",
            page.listen
        )));
    }
    let hook =
        match &options.webhook_file {
            Some(file) => {
                let hook = Hook::read(file, "baton-twitch", api.helix()?);
                Some(hook.map_err(|why| {
                    Error::Config(format!("webhook_file: {}: {why}", file.display()))
                })?)
            }
            None => None,
        };
    let config = WorkConfig {
        list,
        anybody: options.anybody,
        way,
        speaks,
        page,
        hook,
        consumers,
    };
    Ok(Some(ChannelWork::new(config, office.clone())))
}

/// Connections of IRC.
fn irc(options: &Options, office: Office) -> Result<Irc, Error> {
    let address = options.irc.parse();
    let address = address.map_err(|why| Error::Config(format!("irc: {why}")))?;
    Ok(Irc::new(
        address,
        options.accounts()?,
        options.settle,
        office,
    ))
}

fn runtime() -> Result<Runtime, Error> {
    let built = Builder::new_multi_thread().enable_all().build();
    built.map_err(|source| Error::System {
        what: "start the runtime",
        source,
    })
}

fn stop_at_signals() -> Result<CancellationToken, Error> {
    let listen = |kind| {
        signal(kind).map_err(|source| Error::System {
            what: "listen for signals",
            source,
        })
    };
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let asked = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        asked.cancel();
    });
    Ok(stop)
}

fn start_logging(filter: &str) -> Result<(), Error> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| Error::Config(format!("log: `{filter}`: {error}")))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        // A log whose reader is gone is no reason to end.
        .log_internal_errors(false)
        .with_writer(baton_slave::log::writer)
        .with_ansi(io::stderr().is_terminal())
        .init();
    Ok(())
}
