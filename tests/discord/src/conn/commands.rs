//! The opcodes a client can send.

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::Connection;
use crate::{
    clock::monotonic_us,
    kind::{EventKind, intents},
    session::Outgoing,
    wire::end::End,
    world::{changes::MemberRequest, guild::Status},
};

/// Users of one member request. Source: "Request Guild Members".
const MAX_USERS: usize = 100;

#[derive(Deserialize)]
struct RequestMembers {
    guild_id: Snowflakes,
    query: Option<String>,
    limit: Option<usize>,
    #[serde(default)]
    presences: Option<bool>,
    user_ids: Option<Snowflakes>,
    nonce: Option<String>,
}

#[derive(Deserialize)]
struct UpdateVoice {
    guild_id: Snowflake,
    channel_id: Option<Snowflake>,
    #[serde(default)]
    self_mute: bool,
    #[serde(default)]
    self_deaf: bool,
}

#[derive(Deserialize)]
struct RequestSounds {
    guild_ids: Vec<Snowflake>,
}

#[derive(Deserialize)]
struct RequestInfo {
    guild_id: Snowflake,
}

/// An id as text or as a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Snowflake {
    Text(String),
    Number(u64),
}

/// One id or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Snowflakes {
    One(Snowflake),
    Many(Vec<Snowflake>),
}

impl Snowflake {
    fn id(&self) -> Option<u64> {
        match self {
            Self::Text(text) => text.parse().ok(),
            Self::Number(number) => Some(*number),
        }
    }
}

impl Snowflakes {
    fn ids(&self) -> Option<Vec<u64>> {
        match self {
            Self::One(id) => Some(vec![id.id()?]),
            Self::Many(ids) => ids.iter().map(Snowflake::id).collect(),
        }
    }
}

const UNDECODED: End = End::Close(4002, "data of the payload is not as documented");

impl<S> Connection<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    pub(super) async fn opcode(&mut self, op: u64, data: Value) -> Result<(), End> {
        match op {
            1 => self.heartbeat(&data).await,
            2 => self.identify(data).await,
            6 => self.resume(data).await,
            3 | 4 | 8 | 31 | 43 if self.session.is_none() => {
                Err(End::Close(4003, "not authenticated"))
            }
            3 => self.update_presence(&data),
            4 => self.update_voice(data),
            8 => self.request_members(data),
            31 => self.request_sounds(data),
            43 => Self::request_channel_info(data),
            _ => Err(End::Close(4001, "unknown opcode")),
        }
    }

    async fn heartbeat(&mut self, data: &Value) -> Result<(), End> {
        let seq = match data {
            Value::Null => None,
            Value::Number(number) => Some(number.as_u64().ok_or(UNDECODED)?),
            Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                return Err(UNDECODED);
            }
        };
        self.beaten();
        if let (true, Some(seq), Some(session)) = (
            self.shared.settings.get().heartbeat_trims,
            seq,
            &self.session,
        ) {
            session.trim_to(seq);
        }
        if self
            .no_ack_until
            .is_some_and(|until| Instant::now() < until)
        {
            return Ok(());
        }
        self.send_text(r#"{"t":null,"s":null,"op":11,"d":null}"#.to_owned())
            .await
    }

    fn update_presence(&mut self, data: &Value) -> Result<(), End> {
        let status = data
            .get("status")
            .and_then(Value::as_str)
            .and_then(Status::from_client);
        let Some(status) = status else {
            return Err(UNDECODED);
        };
        if let Some(session) = self.session.clone() {
            for index in self
                .shared
                .cells_of(session.params.shard, session.params.count)
            {
                self.shared.cell(index).bot_presence(&session, status);
            }
        }
        Ok(())
    }

    fn update_voice(&mut self, data: Value) -> Result<(), End> {
        let voice: UpdateVoice = serde_json::from_value(data).map_err(|_| UNDECODED)?;
        let guild = voice.guild_id.id().ok_or(UNDECODED)?;
        let channel = match &voice.channel_id {
            Some(id) => Some(id.id().ok_or(UNDECODED)?),
            None => None,
        };
        if let Some(session) = self.session.clone().filter(|s| s.params.has_guild(guild)) {
            let index = self.cell_of(guild);
            let flags = (voice.self_mute, voice.self_deaf);
            let endpoint = self.shared.voice_endpoint();
            // A channel that does not exist is answered with silence.
            let _ = self
                .shared
                .cell(index)
                .bot_voice(&session, guild, channel, flags, &endpoint);
        }
        Ok(())
    }

    fn request_members(&mut self, data: Value) -> Result<(), End> {
        let wanted: RequestMembers = serde_json::from_value(data).map_err(|_| UNDECODED)?;
        let guilds = wanted.guild_id.ids().ok_or(UNDECODED)?;
        let users = match &wanted.user_ids {
            Some(users) => users.ids().ok_or(UNDECODED)?,
            None => Vec::new(),
        };
        let by_query = wanted.query.is_some() && wanted.user_ids.is_none();
        if guilds.len() != 1 || users.len() > MAX_USERS {
            return Err(UNDECODED);
        }
        if wanted.query.is_none() && wanted.user_ids.is_none() {
            return Err(UNDECODED);
        }
        if by_query && wanted.limit.is_none() {
            return Err(UNDECODED);
        }
        let Some(session) = self.session.clone() else {
            return Ok(());
        };
        let all = wanted.query.as_deref() == Some("") && wanted.limit == Some(0);
        if all && by_query && session.params.intents & intents::GUILD_MEMBERS == 0 {
            return Err(End::Close(
                4014,
                "all members need the intent GUILD_MEMBERS",
            ));
        }
        let request = MemberRequest {
            guild: guilds[0],
            query: wanted.query.filter(|_| by_query),
            limit: match wanted.limit {
                Some(limit) if !all => limit.clamp(1, 100),
                Some(_) | None => 0,
            },
            presences: wanted.presences.unwrap_or(false)
                && session.params.intents & intents::GUILD_PRESENCES != 0,
            users,
            // Source: a nonce longer than 32 bytes is ignored.
            nonce: wanted.nonce.filter(|nonce| nonce.len() <= 32),
        };
        if all
            && by_query
            && let Err(wait) = self.shared.ask_members(request.guild)
        {
            let meta = json!({ "guild_id": request.guild.to_string(), "nonce": request.nonce });
            let body =
                json!({ "opcode": 8, "retry_after": wait.as_secs_f64(), "meta": meta }).to_string();
            let limited = Outgoing {
                kind: EventKind::RateLimited,
                guild: 0,
                body: body.into(),
                created_us: monotonic_us(),
                probe: false,
                only: None,
            };
            session.push(limited, &self.shared.ledger);
            return Ok(());
        }
        if session.params.has_guild(request.guild) {
            let index = self.cell_of(request.guild);
            self.shared.cell(index).member_chunks(&session, &request);
        }
        Ok(())
    }

    fn request_sounds(&mut self, data: Value) -> Result<(), End> {
        let wanted: RequestSounds = serde_json::from_value(data).map_err(|_| UNDECODED)?;
        let Some(session) = self.session.clone() else {
            return Ok(());
        };
        for guild in wanted.guild_ids.iter().filter_map(Snowflake::id) {
            if session.params.has_guild(guild) {
                self.shared
                    .cell(self.cell_of(guild))
                    .soundboard(&session, guild);
            }
        }
        Ok(())
    }

    /// No guild has any.
    fn request_channel_info(data: Value) -> Result<(), End> {
        let wanted: RequestInfo = serde_json::from_value(data).map_err(|_| UNDECODED)?;
        wanted.guild_id.id().map(|_| ()).ok_or(UNDECODED)
    }

    fn cell_of(&self, guild: u64) -> usize {
        ((guild >> 22) % u64::from(self.shared.config.shards)) as usize
    }
}
