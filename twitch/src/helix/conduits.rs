//! Conduits and their shards.

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Error, Helix,
    request::{Ask, encoded},
};
use crate::json;

/// Shards in one request, at most.
const AT_ONCE: usize = 100;

/// Pages that are read of a list. A conduit has at most 20,000 shards.
const PAGES: usize = 1000;

/// A conduit of the application.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Conduit {
    /// Its id.
    pub id: String,
    /// How many shards it has.
    pub shard_count: u32,
}

/// A shard of a conduit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its number.
    pub number: u32,
    /// `enabled`, or why it gets nothing.
    pub status: String,
}

/// A shard that could not be given to its session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("shard {shard} cannot be given to this session: {why}")]
pub struct Refused {
    /// Which.
    pub shard: u32,
    /// What Twitch says.
    pub why: String,
}

impl Helix {
    /// The conduits of the application.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn conduits(&self) -> Result<Vec<Conduit>, Error> {
        let answer = self.ask(&Ask::get("/eventsub/conduits")).await?;
        data(&answer)
    }

    /// Makes one.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn create_conduit(&self, shards: u32) -> Result<Conduit, Error> {
        let body = Some(json!({ "shard_count": shards }));
        self.one_conduit(Method::POST, body).await
    }

    /// Gives it another number of shards. Those above it get nothing any more.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn resize_conduit(&self, id: &str, shards: u32) -> Result<Conduit, Error> {
        let body = Some(json!({ "id": id, "shard_count": shards }));
        self.one_conduit(Method::PATCH, body).await
    }

    async fn one_conduit(&self, method: Method, body: Option<Value>) -> Result<Conduit, Error> {
        let ask = Ask {
            method,
            path: "/eventsub/conduits",
            body,
        };
        let made: Vec<Conduit> = data(&self.ask(&ask).await?)?;
        let none = || Error::Unreachable("the answer names no conduit".to_owned());
        made.into_iter().next().ok_or_else(none)
    }

    /// Every shard of a conduit: a request for each page.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn shards(&self, conduit: &str) -> Result<Vec<Shard>, Error> {
        #[derive(Deserialize)]
        struct Row {
            id: String,
            status: String,
        }
        let path = format!("/eventsub/conduits/shards?conduit_id={}", encoded(conduit));
        let rows: Vec<Row> = self.pages(&path, PAGES).await?;
        let shard = |row: Row| {
            Some(Shard {
                number: row.id.parse().ok()?,
                status: row.status,
            })
        };
        Ok(rows.into_iter().filter_map(shard).collect())
    }

    /// Gives shards to sessions: a request for each 100. What could not be given.
    ///
    /// # Errors
    /// See [`Error`]. Requests before may have been carried out.
    pub async fn assign(
        &self,
        conduit: &str,
        shards: &[(u32, &str)],
    ) -> Result<Vec<Refused>, Error> {
        #[derive(Deserialize)]
        struct Failed {
            id: String,
            message: Option<String>,
        }
        let mut refused = Vec::new();
        for some in shards.chunks(AT_ONCE) {
            let shards: Vec<Value> = some
                .iter()
                .map(|(shard, session)| {
                    json!({
                        "id": shard.to_string(),
                        "transport": { "method": "websocket", "session_id": session },
                    })
                })
                .collect();
            let ask = Ask {
                method: Method::PATCH,
                path: "/eventsub/conduits/shards",
                body: Some(json!({ "conduit_id": conduit, "shards": shards })),
            };
            let answer = self.ask(&ask).await?;
            // An error that cannot be read is no success: who did not get its shard is not told.
            let failed: Option<Vec<Failed>> =
                serde_json::from_value(answer["errors"].clone()).map_err(|error| odd(&error))?;
            for failed in failed.unwrap_or_default() {
                let unknown = || Error::Unreachable("it refuses a shard without number".to_owned());
                refused.push(Refused {
                    shard: failed.id.parse().map_err(|_| unknown())?,
                    why: failed.message.unwrap_or_else(|| "no reason".to_owned()),
                });
            }
        }
        Ok(refused)
    }

    /// All pages of a list.
    pub(super) async fn pages<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        most: usize,
    ) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        let mut after = String::new();
        for _ in 0..most {
            let answer = self.ask(&Ask::get(&format!("{path}{after}"))).await?;
            all.extend(data::<T>(&answer)?);
            match answer["pagination"]["cursor"].as_str() {
                Some(cursor) if !cursor.is_empty() => {
                    let next = format!("&after={}", encoded(cursor));
                    if next == after {
                        let why = "a page of the list leads to itself".to_owned();
                        return Err(Error::Unreachable(why));
                    }
                    after = next;
                }
                Some(_) | None => return Ok(all),
            }
        }
        Err(Error::Unreachable(format!(
            "the list has more than {most} pages"
        )))
    }
}

/// What an answer names.
pub(super) fn data<T: serde::de::DeserializeOwned>(answer: &Value) -> Result<Vec<T>, Error> {
    serde_json::from_value(answer["data"].clone()).map_err(|error| odd(&error))
}

fn odd(error: &serde_json::Error) -> Error {
    Error::Unreachable(format!("the answer is odd: {}", json::odd(error)))
}
