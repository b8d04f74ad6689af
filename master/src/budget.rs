//! `GET /gateway/bot`: how many shards Discord wants, and how many IDENTIFYs are
//! left.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};
use twilight_http::{Client, error::ErrorType};

use crate::{
    config::{Config, DEFAULT_API_URL, MAX_SHARDS},
    core::event::IdentifyBudget,
    driver::Notice,
    error::Error,
};

/// One request ends within this time.
const DEADLINE: Duration = Duration::from_secs(10);

/// The budget is asked for again this often: other programs may spend it too.
const AGAIN: Duration = Duration::from_secs(600);

/// First and longest wait after a request that failed.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What Discord said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayBot {
    /// Where the gateway is.
    pub url: String,
    /// Shards that Discord recommends, at least 1.
    pub shards: u32,
    /// The identify budget; a configured `max_concurrency` wins over Discord's.
    pub budget: IdentifyBudget,
}

/// Why Discord did not say it.
#[derive(Debug)]
enum Trouble {
    /// The token is wrong: asking again is of no use.
    Token,
    /// For a person.
    Passing(String),
}

/// Asks Discord with one bot's token.
#[derive(Clone, Debug)]
pub struct Asker {
    client: Arc<Client>,
    max_concurrency: Option<u32>,
}

impl Asker {
    /// `None` where no token is configured.
    #[must_use]
    pub fn new(config: &Config) -> Option<Self> {
        let token = config.token.as_ref()?;
        let mut client = Client::builder()
            .token(token.reveal().to_owned())
            .timeout(DEADLINE);
        if config.api_url != DEFAULT_API_URL {
            let plain = config.api_url.strip_prefix("http://");
            let host = plain.or_else(|| config.api_url.strip_prefix("https://"));
            // Somebody else's limits are not Discord's.
            client = client
                .proxy(host.unwrap_or_default().to_owned(), plain.is_some())
                .ratelimiter(None);
        }
        Some(Self {
            client: Arc::new(client.build()),
            max_concurrency: config.max_concurrency,
        })
    }

    /// Asks until there is an answer.
    ///
    /// # Errors
    /// [`Error::Configuration`]: Discord refuses the token.
    pub async fn insist(&self) -> Result<GatewayBot, Error> {
        let mut backoff = BACKOFF.0;
        loop {
            match self.ask().await {
                Ok(answer) => return Ok(answer),
                Err(Trouble::Token) => return Err(refused()),
                Err(Trouble::Passing(reason)) => {
                    warn!(reason, again = ?backoff, "it is not known how many shards there are");
                }
            }
            sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF.1);
        }
    }

    /// Asks once.
    ///
    /// # Errors
    /// [`Error::Configuration`]: Discord refuses the token.
    pub async fn attempt(&self) -> Result<Option<GatewayBot>, Error> {
        match self.ask().await {
            Ok(answer) => Ok(Some(answer)),
            Err(Trouble::Token) => Err(refused()),
            Err(Trouble::Passing(reason)) => {
                warn!(reason, "the identify budget is not known yet");
                Ok(None)
            }
        }
    }

    /// Asks once, for somebody who waits.
    ///
    /// # Errors
    /// [`Error::Configuration`]: Discord refuses the token. [`Error::Failed`]: it did
    /// not answer.
    pub async fn answer(&self) -> Result<GatewayBot, Error> {
        self.ask().await.map_err(|trouble| match trouble {
            Trouble::Token => refused(),
            Trouble::Passing(reason) => Error::Failed(reason),
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
        let mut backoff = BACKOFF.0;
        let mut wait = if known { AGAIN } else { Duration::ZERO };
        loop {
            tokio::select! {
                () = closing.cancelled() => return,
                () = sleep(wait) => {}
            }
            match self.ask().await {
                Ok(answer) => {
                    if notices.send(Notice::Budget(answer.budget)).await.is_err() {
                        return;
                    }
                    (wait, backoff) = (AGAIN, BACKOFF.0);
                }
                Err(Trouble::Token) => {
                    error!("Discord refuses the token; give master and slaves the current one");
                    wait = AGAIN;
                }
                Err(Trouble::Passing(reason)) => {
                    warn!(reason, again = ?backoff, "the identify budget is not known");
                    wait = backoff;
                    backoff = (backoff * 2).min(BACKOFF.1);
                }
            }
        }
    }

    async fn ask(&self) -> Result<GatewayBot, Trouble> {
        let response = self.client.gateway().authed().await.map_err(|error| {
            let status = if let ErrorType::Response { status, .. } = error.kind() {
                status.get()
            } else {
                0
            };
            if status == 401 || matches!(error.kind(), ErrorType::Unauthorized) {
                Trouble::Token
            } else if status > 0 {
                Trouble::Passing(format!("GET /gateway/bot: status {status}"))
            } else {
                Trouble::Passing(causes(&error))
            }
        })?;
        let answer = response
            .model()
            .await
            .map_err(|error| Trouble::Passing(causes(&error)))?;
        if answer.shards == 0 || answer.shards > MAX_SHARDS {
            return Err(Trouble::Passing(format!(
                "GET /gateway/bot: {} shards",
                answer.shards
            )));
        }
        let limit = answer.session_start_limit;
        let discords = u32::from(limit.max_concurrency).max(1);
        Ok(GatewayBot {
            url: answer.url,
            shards: answer.shards,
            budget: IdentifyBudget {
                total: limit.total,
                remaining: limit.remaining,
                reset_after: Duration::from_millis(limit.reset_after),
                max_concurrency: self.max_concurrency.unwrap_or(discords),
            },
        })
    }
}

fn refused() -> Error {
    Error::Configuration(
        "Discord refuses the token: set DISCORD_TOKEN or token_file to the bot's current token"
            .to_owned(),
    )
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}
