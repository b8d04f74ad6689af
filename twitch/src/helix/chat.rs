//! Chat messages that are sent.

use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::{Error, Helix, conduits::data, request::Ask};

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is in the chat.
    Said {
        /// Its id.
        id: String,
    },
    /// Twitch took it and did not say it.
    Dropped {
        /// Why, as a name.
        code: String,
        /// Why, for a person.
        why: String,
    },
}

impl Helix {
    /// Says something in a channel, once: an error that
    /// [may be done](Error::may_be_done) all the same is not tried again.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn say(
        &self,
        broadcaster: &str,
        sender: &str,
        text: &str,
        reply_to: Option<&str>,
    ) -> Result<Sent, Error> {
        #[derive(Deserialize)]
        struct Row {
            #[serde(default)]
            message_id: String,
            is_sent: bool,
            drop_reason: Option<Reason>,
        }
        #[derive(Default, Deserialize)]
        struct Reason {
            #[serde(default)]
            code: String,
            #[serde(default)]
            message: String,
        }
        let mut body = json!({
            "broadcaster_id": broadcaster,
            "sender_id": sender,
            "message": text,
        });
        if let Some(parent) = reply_to {
            body["reply_parent_message_id"] = parent.into();
        }
        let ask = Ask {
            method: Method::POST,
            path: "/chat/messages",
            body: Some(body),
        };
        let rows: Vec<Row> = data(&self.ask(&ask).await?)?;
        let none = || Error::Unreachable("the answer names no message".to_owned());
        let row = rows.into_iter().next().ok_or_else(none)?;
        let reason = row.drop_reason.unwrap_or_default();
        Ok(match row.is_sent {
            true => Sent::Said { id: row.message_id },
            false => Sent::Dropped {
                code: reason.code,
                why: reason.message,
            },
        })
    }
}
