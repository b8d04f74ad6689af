//! A client that is served.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{At, Connection, Phase};
use crate::{
    shard::{Over, Take},
    wire::end::End,
};

/// Bytes of events that are fetched at once.
const AT_ONCE: usize = 128 * 1024;
/// How long a client may take to reconnect when it is asked to.
const RECONNECT: Duration = Duration::from_secs(5);

impl Connection {
    /// Sends what there is.
    pub(super) async fn serve(&mut self, at: At) -> Result<(), End> {
        let (take, asking) = at.shard.with(|core| {
            let take = core.take(at.key, self.id, AT_ONCE);
            (take, core.asking(at.key))
        });
        self.phase = Phase::Live(at);
        match take {
            Take::Nothing => {}
            Take::Batch { dispatches, more } => {
                let mut messages = Vec::with_capacity(dispatches.len());
                for (sequence, event) in dispatches {
                    messages.push(self.event(sequence, event.as_deref())?);
                }
                self.send(messages).await?;
                self.more = more;
            }
            Take::Resumed(sequence) => {
                let data = format!(
                    r#"{{"_trace":[{}]}}"#,
                    serde_json::json!(super::send::trace())
                );
                let resumed = self.dispatch("RESUMED", sequence, &data)?;
                self.send(vec![resumed]).await?;
                self.more = true;
            }
            Take::Over(over) => return self.is_over(over).await,
        }
        self.plan_asking(asking);
        Ok(())
    }

    /// The session is over, or not here any more.
    pub(super) async fn is_over(&mut self, over: Over) -> Result<(), End> {
        let shared = Arc::clone(&self.shared);
        match over {
            Over::Replaced => {
                self.phase = Phase::Leaving {
                    until: Instant::now() + shared.config.timings.drain,
                    end: (4000, "a newer client of this shard has taken over"),
                };
                Ok(())
            }
            Over::Elsewhere => Err(End::close(4000, "another connection resumed the session")),
            Over::Lost | Over::NewSession => {
                tracing::warn!(connection = self.id, ?over, "a client has to begin anew");
                self.invalid_session().await
            }
            Over::Moved => self.moved().await,
        }
    }

    /// The shard is at another process, which the client gets to by connecting again.
    pub(super) async fn moved(&mut self) -> Result<(), End> {
        self.phase = Phase::Leaving {
            until: Instant::now() + RECONNECT,
            end: (4000, "the shard has moved: reconnect"),
        };
        self.send_plain(7, "null").await
    }
}
