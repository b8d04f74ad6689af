//! The log of a master: lines on standard error, as text or JSON, with the journal of systemd
//! as its reader or another one.

use std::{
    io::{self, IsTerminal},
    os::fd::AsFd,
};

use tracing_subscriber::{EnvFilter, layer::SubscriberExt, reload, util::SubscriberInitExt};

use crate::{
    config::{LogFormat, Options},
    error::Error,
    reload::SetLog,
};

/// Begins; gives what changes the filter later.
///
/// # Errors
/// [`Error::Configuration`]: the filter makes no sense.
pub(super) fn start(options: &Options, filter: &str) -> Result<SetLog, Error> {
    let parse = |filter: &str| EnvFilter::try_new(filter).map_err(|error| error.to_string());
    let first =
        parse(filter).map_err(|error| Error::Configuration(format!("log: `{filter}`: {error}")))?;
    let (filter, handle) = reload::Layer::new(first);
    let journal = is_journal(&io::stderr());
    let lines = tracing_subscriber::fmt::layer()
        // A log whose reader is gone is no reason to end: what was reported there
        // would panic.
        .log_internal_errors(false)
        .with_writer(|| baton_log::stderr().writer())
        .with_ansi(io::stderr().is_terminal() && !journal);
    let registry = tracing_subscriber::registry().with(filter);
    match options.log_format.unwrap_or_default() {
        LogFormat::Text if journal => registry.with(lines.without_time()).init(),
        LogFormat::Text => registry.with(lines).init(),
        LogFormat::Json => registry.with(lines.json()).init(),
    }
    Ok(Box::new(move |filter| {
        let next = EnvFilter::try_new(filter).map_err(|error| error.to_string())?;
        handle.reload(next).map_err(|error| error.to_string())
    }))
}

/// Whether this goes to the journal of systemd, which has times of its own and no
/// colours. A process that a service started may have inherited the variable alone.
fn is_journal(stream: &impl AsFd) -> bool {
    let named = std::env::var("JOURNAL_STREAM").ok();
    let named = named.as_deref().and_then(|named| {
        let (device, inode) = named.split_once(':')?;
        Some((device.parse().ok()?, inode.parse().ok()?))
    });
    let found = rustix::fs::fstat(stream).ok();
    named.is_some() && named == found.map(|found| (found.st_dev, found.st_ino))
}
