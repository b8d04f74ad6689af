//! `GET /gateway/bot`: how many shards Discord wants, and how many IDENTIFYs are
//! left.
//!
//! Every asker goes by one pace (`pace`): a master that has to wait
//! waits, at its start and afterwards. How one question is asked is in `ask`.

mod ask;
mod pace;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

pub use self::ask::GatewayBot;
use self::{
    ask::{Question, Trouble},
    pace::{AGAIN, Pace},
};
use crate::{config::Config, error::Error, notice::Notice};

/// Asks Discord with one bot's token. Clones go by the same pace.
#[derive(Clone, Debug)]
pub struct Asker {
    question: Arc<Question>,
    pace: Arc<Mutex<Pace>>,
    max_concurrency: Option<u32>,
}

impl Asker {
    /// `None` where no token is configured.
    #[must_use]
    pub fn new(config: &Config) -> Option<Self> {
        let token = config.token.as_ref()?;
        Some(Self {
            question: Arc::new(Question::new(&config.api_url, token)),
            pace: Arc::default(),
            max_concurrency: config.max_concurrency,
        })
    }

    /// Asks until there is an answer.
    ///
    /// # Errors
    /// [`Error::Configuration`]: Discord refuses the token.
    pub async fn insist(&self) -> Result<GatewayBot, Error> {
        loop {
            match self.ask().await {
                Ok(answer) => return Ok(answer),
                Err((Trouble::Token, _)) => return Err(refused()),
                Err((trouble, again)) => {
                    let reason = trouble.reason();
                    warn!(reason, ?again, "it is not known how many shards there are");
                }
            }
        }
    }

    /// Asks once.
    ///
    /// # Errors
    /// [`Error::Configuration`]: Discord refuses the token.
    pub async fn attempt(&self) -> Result<Option<GatewayBot>, Error> {
        match self.ask().await {
            Ok(answer) => Ok(Some(answer)),
            Err((Trouble::Token, _)) => Err(refused()),
            Err((trouble, again)) => {
                let reason = trouble.reason();
                warn!(reason, ?again, "the identify budget is not known yet");
                Ok(None)
            }
        }
    }

    /// Asks once, for a waiting task.
    ///
    /// # Errors
    /// [`Error::Configuration`]: Discord refuses the token. [`Error::Failed`]: it did
    /// not answer.
    pub async fn answer(&self) -> Result<GatewayBot, Error> {
        self.ask().await.map_err(|(trouble, again)| match trouble {
            Trouble::Token => refused(),
            Trouble::Limited { reason, .. } | Trouble::Passing(reason) => Error::Failed(format!(
                "{reason}; ask again in {again:.0?} at the earliest"
            )),
        })
    }

    /// Keeps the core informed until `closing`, after a first wait where an
    /// answer is `known`.
    pub async fn keep_asking(
        self,
        known: bool,
        notices: mpsc::Sender<Notice>,
        closing: CancellationToken,
    ) {
        let asking = async {
            let mut wait = if known { AGAIN } else { Duration::ZERO };
            loop {
                sleep(wait).await;
                wait = Duration::ZERO;
                match self.ask().await {
                    Ok(answer) => {
                        if notices.send(Notice::Budget(answer.budget)).await.is_err() {
                            return;
                        }
                        wait = AGAIN;
                    }
                    Err((Trouble::Token, again)) => {
                        error!(
                            ?again,
                            "Discord refuses the token; give master and slaves the current one"
                        );
                    }
                    Err((trouble, again)) => {
                        let reason = trouble.reason();
                        warn!(reason, ?again, "the identify budget is not known");
                    }
                }
            }
        };
        tokio::select! {
            () = closing.cancelled() => {}
            () = asking => {}
        }
    }

    /// Asks once, when that may be; else why not, and how long the next one waits.
    async fn ask(&self) -> Result<GatewayBot, (Trouble, Duration)> {
        let not_before = self.pace(|pace| pace.not_before());
        if let Some(at) = not_before {
            sleep_until(at).await;
        }
        match self.question.ask().await {
            Ok(mut answer) => {
                self.pace(Pace::answered);
                let configured = self.max_concurrency;
                let discords = answer.budget.at_once;
                answer.budget.at_once = configured.unwrap_or(discords);
                Ok(answer)
            }
            Err(trouble) => {
                let now = Instant::now();
                let again = self.pace(|pace| pace.failed(&trouble, now, random()));
                Err((trouble, again))
            }
        }
    }

    fn pace<T>(&self, look: impl FnOnce(&mut Pace) -> T) -> T {
        look(&mut self.pace.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Evenly between 0 and 1. Without randomness from the operating system: 0.5.
fn random() -> f64 {
    getrandom::u32().map_or(0.5, |bits| f64::from(bits) / f64::from(u32::MAX))
}

fn refused() -> Error {
    Error::Configuration(
        "Discord refuses the token: set DISCORD_TOKEN or token_file to the bot's current token"
            .to_owned(),
    )
}
