//! Discord's session of one shard, and what READY says about it.

use std::{sync::Arc, time::SystemTime};

use baton_protocol::{
    ShardId, Ticket,
    discord::{self, SessionParameters},
};
use serde::{Deserialize, de::IgnoredAny};

use super::dispatch::Window;
use crate::{bot::data, sha256::Sha256};

/// A session that can be resumed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Session {
    /// What READY said of it.
    pub(crate) said: discord::Session,
    /// Names the session without giving it away.
    pub(crate) tag: Arc<str>,
    /// As it goes into tickets.
    sealed: baton_protocol::Session,
}

impl Session {
    fn new(said: discord::Session) -> Self {
        Self {
            tag: tag(&said.id),
            sealed: said.seal(),
            said,
        }
    }

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
        Some(Self::new(discord::Session {
            id: ready.session_id,
            resume_url: ready.resume_gateway_url,
            user_id: ready.user.id.parse().ok()?,
            application_id: ready.application.id.parse().ok()?,
            parameters,
            guilds: u32::try_from(ready.guilds.len()).unwrap_or(u32::MAX),
            began_unix_ms: unix_ms(),
        }))
    }

    /// The session of a ticket; `None` if it has none.
    pub(crate) fn of_ticket(ticket: &Ticket) -> Option<Self> {
        let opened = || Self::new(discord::Session::open(&ticket.session));
        ticket.has_session().then(opened)
    }

    /// Whether a ticket is of this session.
    pub(crate) fn is_of(&self, ticket: &Ticket) -> bool {
        self.sealed.is_same(&ticket.session)
    }

    /// Three quarters of what Discord replays, as far as is known: a connection
    /// that was dialled further back than this is not resumed on.
    pub(crate) fn reach(&self) -> u64 {
        let replays = match self.said.guilds {
            0 => 1000,
            guilds => discord::replayed(guilds.into()),
        };
        replays / 4 * 3
    }

    /// What another process needs to go on from `window`.
    pub(crate) fn ticket(session: Option<&Self>, shard: ShardId, window: &Window) -> Ticket {
        Ticket {
            shard,
            session: session
                .map(|session| session.sealed.clone())
                .unwrap_or_default(),
            handled: window.handled(),
            finished_above: window.finished_above().clone(),
            in_doubt: window.in_doubt(),
            state_at: window.handled(),
            ..Ticket::default()
        }
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
