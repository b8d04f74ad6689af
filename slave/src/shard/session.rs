//! Discord's session of one shard, and what READY says about it.

use std::{sync::Arc, time::SystemTime};

use baton_protocol::{SessionParameters, ShardId, Ticket};
use serde::{Deserialize, de::IgnoredAny};

use super::dispatch::Window;
use crate::{bot::data, sha256::Sha256};

/// A session that can be resumed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) id: String,
    /// Names the session without giving it away.
    pub(crate) tag: Arc<str>,
    pub(crate) resume_url: String,
    pub(crate) user_id: u64,
    pub(crate) application_id: u64,
    pub(crate) parameters: SessionParameters,
    /// Guilds that READY named; zero: not known.
    pub(crate) guilds: u32,
    /// When READY came, in milliseconds since 1970; zero: not known.
    pub(crate) began_unix_ms: u64,
}

impl Session {
    /// What a READY says.
    pub(crate) fn of_ready(json: &str, parameters: SessionParameters) -> Option<Self> {
        #[derive(Deserialize)]
        struct Ready {
            session_id: String,
            resume_gateway_url: String,
            user: Named,
            application: Named,
            #[serde(default)]
            guilds: Vec<IgnoredAny>,
        }
        #[derive(Deserialize)]
        struct Named {
            id: String,
        }
        let ready: Ready = data(json).ok()?;
        Some(Self {
            tag: tag(&ready.session_id),
            id: ready.session_id,
            resume_url: ready.resume_gateway_url,
            user_id: ready.user.id.parse().ok()?,
            application_id: ready.application.id.parse().ok()?,
            parameters,
            guilds: u32::try_from(ready.guilds.len()).unwrap_or(u32::MAX),
            began_unix_ms: unix_ms(),
        })
    }

    /// The session of a ticket; `None` if it has none.
    pub(crate) fn of_ticket(ticket: &Ticket) -> Option<Self> {
        (!ticket.session_id.is_empty()).then(|| Self {
            tag: tag(&ticket.session_id),
            id: ticket.session_id.clone(),
            resume_url: ticket.resume_url.clone(),
            user_id: ticket.user_id,
            application_id: ticket.application_id,
            parameters: ticket.parameters.clone(),
            guilds: ticket.guilds,
            began_unix_ms: ticket.began_unix_ms,
        })
    }

    /// Three quarters of what Discord replays, as far as is known: a connection
    /// that was dialled further back than this is not resumed on.
    pub(crate) fn reach(&self) -> u64 {
        let replays = match self.guilds {
            0 => 1000,
            guilds => (u64::from(guilds) * 75).clamp(100, 3500),
        };
        replays / 4 * 3
    }

    /// What another process needs to go on from `window`.
    pub(crate) fn ticket(session: Option<&Self>, shard: ShardId, window: &Window) -> Ticket {
        let mut ticket = Ticket {
            shard,
            handled: window.handled(),
            finished_above: window.finished_above().clone(),
            in_doubt: window.in_doubt(),
            state_at: window.handled(),
            ..Ticket::default()
        };
        if let Some(session) = session {
            ticket.session_id.clone_from(&session.id);
            ticket.resume_url.clone_from(&session.resume_url);
            ticket.user_id = session.user_id;
            ticket.application_id = session.application_id;
            ticket.parameters = session.parameters.clone();
            ticket.guilds = session.guilds;
            ticket.began_unix_ms = session.began_unix_ms;
        }
        ticket
    }
}

impl std::fmt::Debug for Session {
    /// Leaves the id out: with the token it takes the session over.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

/// The first 16 hex digits of the SHA-256 of a session id.
pub(crate) fn tag(session_id: &str) -> Arc<str> {
    let digest = Sha256::of(session_id.as_bytes());
    let hex: String = digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    hex.into()
}
