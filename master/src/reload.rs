//! `SIGHUP`: the configuration is read again, and what a running master can take
//! up counts from then on. What changed is in the log, key by key. A file that is
//! wrong changes nothing.

use std::{fmt, path::PathBuf, sync::Arc};

use baton_core::event::DeployOrder;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::{
    config::{Change, Config, Effect, Mistake, Options, examine, in_order},
    notice::Notice,
    peer::Context,
    process::we_are_on,
};

/// Has something else logged; says why not.
pub type SetLog = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// Where the configuration of this process comes from.
pub struct Source {
    /// Its file, if there is one.
    pub file: Option<PathBuf>,
    /// What flags and the environment said, which win over it.
    pub given: Options,
    /// The first slot's command, if the command line gave one.
    pub command: Option<Vec<String>>,
    /// What is logged now.
    pub log: String,
    /// Has something else logged; says why not.
    pub set_log: SetLog,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("file", &self.file)
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}

/// What a `SIGHUP` needs.
#[derive(Debug)]
pub(crate) struct Reloader {
    pub(crate) source: Source,
    /// What counts now.
    pub(crate) config: Config,
    pub(crate) shard_count: u32,
    pub(crate) notices: mpsc::Sender<Notice>,
    /// The default options of a deploy.
    pub(crate) defaults: watch::Sender<DeployOrder>,
    /// Whoever dials from now on is let in by the certificate that was read last.
    pub(crate) peers: Arc<Context>,
}

impl Reloader {
    /// Says in one line what came of it; the log has every change.
    pub(crate) async fn reload(&mut self) -> String {
        let file = match &self.source.file {
            Some(file) => file.display().to_string(),
            None => "no file".to_owned(),
        };
        // Files are read, and programs looked for: the other tasks of this thread move to
        // another one meanwhile.
        let (next, log) = match tokio::task::block_in_place(|| self.read()) {
            Ok(read) => read,
            Err(mistakes) => {
                for mistake in &in_order(mistakes) {
                    error!(%mistake, "SIGHUP: the configuration is wrong");
                }
                return format!(
                    "{file} is wrong, nothing was changed: repair it and send it again"
                );
            }
        };
        let changes = self.config.changes(&next);
        let log_changed = log != self.source.log;
        if changes.is_empty() && !log_changed {
            return format!("{file} says nothing new");
        }
        if log_changed {
            match (self.source.set_log)(&log) {
                Ok(()) => {
                    info!(
                        key = "log",
                        from = self.source.log,
                        to = log,
                        "SIGHUP: changed, counts from now on"
                    );
                    self.source.log = log;
                }
                Err(reason) => {
                    error!(key = "log", to = log, reason, "SIGHUP: not changed");
                }
            }
        }
        let (slots, rest): (Vec<_>, Vec<_>) = changes
            .iter()
            .partition(|change| change.key == "slot" && change.effect == Effect::Now);
        rest.into_iter().for_each(say);
        self.config.take_up(&next);
        let certificate = self.config.certificate.clone();
        we_are_on(certificate.as_ref().map(|held| held.host()));
        self.peers.secure.take_up(certificate);
        let refused = match slots.first() {
            Some(_) => self.recut(&next).await.err(),
            None => None,
        };
        match &refused {
            Some(reason) => error!(key = "slot", reason, "SIGHUP: not changed"),
            None => slots.into_iter().for_each(say),
        }
        let settings = Box::new(self.config.settings(self.shard_count));
        // It fails only when the master is leaving.
        let _ = self.notices.send(Notice::Settings(settings)).await;
        self.defaults.send_replace(self.config.usual_deploy());
        if refused.is_some() {
            return format!("{file}: the slots stay as they are, see the log for the reason");
        }
        let late = changes
            .iter()
            .filter(|change| change.effect == Effect::Restart);
        match late.count() {
            0 => format!("{file}: every change counts from now on"),
            1 => format!(
                "{file}: one change needs a restart of the master, the others count from now on"
            ),
            late => format!(
                "{file}: {late} changes need a restart of the master, the others count from now on"
            ),
        }
    }

    /// Which slots there are, and with which shards: the fleet takes it up, or says why not.
    async fn recut(&mut self, next: &Config) -> Result<(), String> {
        let config = Config {
            slots: self.config.recut(next),
            ..self.config.clone()
        };
        config
            .check_shards(self.shard_count)
            .map_err(|error| error.line())?;
        let leaving = || "the master is leaving".to_owned();
        let (answer, answered) = oneshot::channel();
        let notice = Notice::Slots {
            settings: config.settings(self.shard_count).slots,
            slots: config.slots.clone(),
            answer,
        };
        let sent = self.notices.send(notice).await;
        sent.map_err(|_| leaving())?;
        answered.await.map_err(|_| leaving())??;
        self.config = config;
        Ok(())
    }

    fn read(&self) -> Result<(Config, String), Vec<Mistake>> {
        let Source {
            file,
            given,
            command,
            ..
        } = &self.source;
        let examined = examine(file.as_deref(), given.clone());
        let (options, mut mistakes) = examined.map_err(|error| {
            vec![Mistake {
                place: None,
                reason: error.line(),
            }]
        })?;
        let log = log_filter(&options);
        match Config::check_all(options, command.clone()) {
            Ok(config) if mistakes.is_empty() => Ok((config, log)),
            Ok(_) => Err(mistakes),
            Err(more) => {
                mistakes.extend(more);
                Err(mistakes)
            }
        }
    }
}

/// What is to be logged.
pub(crate) fn log_filter(options: &Options) -> String {
    let filter = options.log.clone();
    let filter = filter.or_else(|| std::env::var("RUST_LOG").ok());
    filter.unwrap_or_else(|| "info".to_owned())
}

fn say(change: &Change) {
    let Change {
        key,
        from,
        to,
        effect,
    } = change;
    match effect {
        Effect::Now => info!(key, from, to, "SIGHUP: changed, counts from now on"),
        Effect::Restart => {
            warn!(
                key,
                from,
                to,
                "SIGHUP: changed, needs a restart of the master; the slaves keep serving meanwhile"
            );
        }
    }
}
