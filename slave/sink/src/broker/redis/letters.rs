//! Dead letters at Redis: entries of a stream.

use std::sync::Arc;

use redis::RedisError;
use tokio::time::timeout;

use super::{Redis, advice, commands::Entries, new};
use crate::{
    config::SinkConfig,
    error::Error,
    letters::{DeadLetter, OF_THE_DEAD, from_nowhere},
};

/// Connects, and declares nothing.
pub(crate) async fn visit(config: SinkConfig) -> Result<Arc<Redis>, Error> {
    let redis = Arc::new(new(config)?);
    match timeout(redis.config.timings.start, redis.look()).await {
        Ok(Ok(None)) => Ok(redis),
        Ok(Ok(Some(reason))) => Err(redis.refused(reason)),
        Ok(Err(error)) => {
            let advice = advice(&error).unwrap_or("it cannot be reached");
            Err(redis.refused(format!("{error}: {advice}")))
        }
        Err(_) => Err(redis.refused("it does not answer".to_owned())),
    }
}

impl Redis {
    fn dead(&self) -> String {
        format!("{}:dead", self.config.name)
    }

    async fn entries(&self, first: &str, last: &str, most: usize) -> Result<Entries, String> {
        let (mut connection, _) = self.connection()?;
        let mut range = redis::cmd("XRANGE");
        range.arg(self.dead()).arg(first).arg(last);
        range.arg("COUNT").arg(most.min(1_000_000));
        let found: Result<_, RedisError> = range.query_async(&mut connection).await;
        found.map_err(|error| error.to_string())
    }

    pub(crate) async fn letters(&self, most: usize) -> Result<Vec<DeadLetter>, String> {
        let all = self.entries("-", "+", most).await?;
        let read = all.into_iter().map(|(id, fields)| {
            let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            let field = |name: &str| {
                let found = fields.iter().find(|(field, _)| field == name);
                found.map(|(_, value)| value.clone()).unwrap_or_default()
            };
            let beside = fields.iter();
            let beside = beside
                .filter(|(name, _)| name != "payload" && !OF_THE_DEAD.contains(&name.as_str()));
            let mut headers: Vec<_> = beside
                .map(|(name, value)| (name.clone(), text(value)))
                .collect();
            headers.sort();
            DeadLetter {
                id,
                from: text(&field("baton-from")),
                reason: text(&field("baton-reason")),
                headers,
                payload: field("payload"),
            }
        });
        Ok(read.collect())
    }

    pub(crate) async fn sends_again(&self, id: &str) -> Result<bool, String> {
        // A word that is no id is an error of the broker's.
        let is_id = |c: char| c.is_ascii_digit() || c == '-';
        if id.is_empty() || !id.chars().all(is_id) {
            return Ok(false);
        }
        let Some((_, fields)) = self.entries(id, id, 1).await?.into_iter().next() else {
            return Ok(false);
        };
        let from = fields.iter().find(|(name, _)| name == "baton-from");
        let from = from.map(|(_, from)| String::from_utf8_lossy(from).into_owned());
        let from = from.ok_or_else(from_nowhere)?;
        if !from.starts_with(&format!("{}:commands:", self.config.name)) {
            return Err(format!(
                "it came from `{from}`, and an event has its place in the stream of its shard"
            ));
        }
        let mut all = redis::pipe();
        all.atomic();
        let add = all.cmd("XADD").arg(&from).arg("*");
        for (name, value) in &fields {
            if !OF_THE_DEAD.contains(&name.as_str()) {
                add.arg(name).arg(value);
            }
        }
        add.ignore();
        all.cmd("XDEL").arg(self.dead()).arg(id).ignore();
        let (mut connection, _) = self.connection()?;
        let sent: Result<(), RedisError> = all.query_async(&mut connection).await;
        sent.map(|()| true).map_err(|error| error.to_string())
    }
}
