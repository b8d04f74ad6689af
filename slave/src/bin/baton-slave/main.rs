//! A complete gateway process: its cache moves with its shards, its events go to
//! a sink. See `baton-slave --help`.

mod inspect;
mod options;
mod relay;
mod sink;

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use baton_slave::{Error, Slave};
use tracing_subscriber::EnvFilter;

use self::{
    options::{Format, Settings},
    relay::Relay,
};

fn main() -> ExitCode {
    match options::read().and_then(start) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let line = error
                .to_string()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            let _ = writeln!(io::stderr(), "baton-slave: {line}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn start(settings: Settings) -> Result<(), Error> {
    start_logging(&settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::System {
            what: "start the runtime",
            source,
        })?;
    runtime.block_on(run(settings))
}

async fn run(settings: Settings) -> Result<(), Error> {
    let sink = sink::open(&settings.sink)?;
    let relay = Arc::new(Relay::new(sink.clone(), settings.handler, settings.body));
    let builder = Slave::builder_of(relay.clone()).config(settings.slave);
    let _socket = match &settings.inspect {
        Some(address) => inspect::serve(address, relay, builder.monitor()).await?,
        None => None,
    };
    let ended = builder.run().await;
    // What was finished is written before the process ends.
    sink.finish().await;
    ended
}

/// A path in which `%p` stands for the process id.
fn with_pid(path: &str) -> PathBuf {
    path.replace("%p", &std::process::id().to_string()).into()
}

fn start_logging(settings: &Settings) -> Result<(), Error> {
    let filter = EnvFilter::try_new(&settings.log)
        .map_err(|error| Error::Config(format!("log: `{}`: {error}", settings.log)))?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // A log that nobody reads any more is no reason to end: what was reported there
        // would panic.
        .log_internal_errors(false)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match settings.log_format {
        Format::Text => logs.init(),
        Format::Json => logs.json().init(),
    }
    Ok(())
}
