//! Subscriptions of a conduit.

use std::collections::BTreeMap;

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Error, Helix,
    conduits::data,
    request::{Ask, encoded},
};

/// Pages that are read of a list.
const PAGES: usize = 10_000;

/// What a subscription is about: `broadcaster_user_id` and its like.
pub type Condition = BTreeMap<String, String>;

/// A subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Its id.
    pub id: String,
    /// `enabled`, or why it brings nothing.
    pub status: String,
    /// `channel.chat.message` say.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is about.
    pub condition: Condition,
}

impl Helix {
    /// Every subscription of the application of this type: a request for each page.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn subscriptions(&self, kind: &str) -> Result<Vec<Subscription>, Error> {
        let path = format!("/eventsub/subscriptions?type={}", encoded(kind));
        self.pages(&path, PAGES).await
    }

    /// Subscribes a conduit.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::Conflict`]: there is such a one.
    pub async fn subscribe(
        &self,
        conduit: &str,
        kind: &str,
        version: &str,
        condition: &Condition,
    ) -> Result<Subscription, Error> {
        let ask = Ask {
            method: Method::POST,
            path: "/eventsub/subscriptions",
            body: Some(json!({
                "type": kind,
                "version": version,
                "condition": condition,
                "transport": { "method": "conduit", "conduit_id": conduit },
            })),
        };
        let made: Vec<Subscription> = data(&self.ask(&ask).await?)?;
        let none = || Error::Unreachable("the answer names no subscription".to_owned());
        made.into_iter().next().ok_or_else(none)
    }

    /// Ends a subscription. One that is no more is ended.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn unsubscribe(&self, id: &str) -> Result<(), Error> {
        let ask = Ask {
            method: Method::DELETE,
            path: &format!("/eventsub/subscriptions?id={}", encoded(id)),
            body: None,
        };
        match self.ask(&ask).await {
            Ok(_) | Err(Error::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
