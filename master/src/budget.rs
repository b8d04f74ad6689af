//! What `GET /gateway/bot` says: how many shards, and how many IDENTIFYs are
//! left.

use std::time::Duration;

use tokio::time::timeout;

use crate::{
    config::{Config, Token},
    core::event::IdentifyBudget,
    error::Error,
};

/// Discord answers within this time or is taken not to.
const DEADLINE: Duration = Duration::from_secs(15);

/// Shards that Discord recommends, and the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayBot {
    /// Recommended shards.
    pub shards: u32,
    /// IDENTIFYs.
    pub budget: IdentifyBudget,
}

/// Asks Discord.
///
/// # Errors
/// One line: no answer, or the token is refused.
pub async fn ask(config: &Config, token: &Token) -> Result<GatewayBot, Error> {
    let mut builder = twilight_http::Client::builder().token(token.reveal().to_owned());
    if config.api_url != crate::config::DEFAULT_API_URL {
        let plain = config.api_url.starts_with("http://");
        let host = config.api_url.trim_start_matches("https://").trim_start_matches("http://");
        builder = builder.proxy(host.to_owned(), plain).ratelimiter(None);
    }
    let client = builder.build();
    let failed = |detail: &dyn std::fmt::Display| {
        Error::Failed(format!("{}: GET /gateway/bot: {detail}", config.api_url))
    };
    let info = timeout(DEADLINE, async {
        let answer = client.gateway().authed().await.map_err(|error| match error.kind() {
            twilight_http::error::ErrorType::Response { status, .. } if status.get() == 401 => {
                Error::Configuration(
                    "the token is refused: set DISCORD_TOKEN or token_file to the bot's token".to_owned(),
                )
            }
            twilight_http::error::ErrorType::Unauthorized => Error::Configuration(
                "the token is refused: set DISCORD_TOKEN or token_file to the bot's token".to_owned(),
            ),
            _ => failed(&error),
        })?;
        answer.model().await.map_err(|error| failed(&error))
    })
    .await
    .map_err(|_| failed(&format_args!("no answer in {}", humantime::format_duration(DEADLINE))))??;
    let limit = info.session_start_limit;
    Ok(GatewayBot {
        shards: info.shards,
        budget: IdentifyBudget {
            total: limit.total.into(),
            remaining: limit.remaining.into(),
            reset_after: Duration::from_millis(limit.reset_after),
            max_concurrency: limit.max_concurrency.into(),
        },
    })
}
