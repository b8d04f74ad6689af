//! How an agent runs.

use std::{path::PathBuf, time::Duration};

use crate::error::Error;

/// What becomes of slaves when the agent is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum OnExit {
    /// They serve on, and the next agent knows them.
    Leave,
    /// They are asked to end, and killed when the grace is over.
    Stop,
}

/// How an agent runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of its host.
    pub host: String,
    /// Where the masters are, as it was given.
    pub join: String,
    /// The same, for the slaves that it launches; `None`: as for itself.
    pub slaves_join: Option<String>,
    /// The folder with the agent's certificate.
    pub tls_dir: Option<PathBuf>,
    /// The folder with the certificate of the host's slaves.
    pub slaves_tls_dir: Option<PathBuf>,
    /// Its folder.
    pub runtime_dir: PathBuf,
    /// The file with the fleet's secret; `None`: it is in the environment, or in its folder.
    pub secret_file: Option<PathBuf>,
    /// What becomes of slaves at its end; `None`: they are left, unless it is process 1.
    pub on_exit: Option<OnExit>,
    /// How long slaves have to end, where they are stopped.
    pub grace: Duration,
    /// The file with the bot's token; `None`: it is in the agent's environment.
    pub token_file: Option<PathBuf>,
    /// The one slave that it starts by itself: its slot, and its command. `None`: it starts
    /// what masters order.
    pub slave: Option<(String, Vec<String>)>,
}

impl Options {
    /// What becomes of slaves at the end of the agent.
    ///
    /// # Errors
    /// It cannot be as it was asked for.
    pub(super) fn on_exit(&self, is_init: bool) -> Result<OnExit, Error> {
        let why = match (self.on_exit, is_init, &self.slave) {
            (Some(OnExit::Leave), true, _) => {
                "as process 1, the end of the agent ends every process of its container: leave \
                 --on-exit out, or run the agent under another process 1"
            }
            (Some(OnExit::Leave), false, Some(_)) => {
                "the agent of one slave ends with it: leave --on-exit out, or COMMAND"
            }
            (None, false, None) => return Ok(OnExit::Leave),
            (None, true, _) | (None, _, Some(_)) => return Ok(OnExit::Stop),
            (Some(given), ..) => return Ok(given),
        };
        Err(Error::Configuration(format!("--on-exit leave: {why}")))
    }
}
