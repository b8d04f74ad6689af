//! The voice gateway, version 8, at `/voice`: whoever plays into a channel identifies there
//! with what the bot was told of it, and stays as long as the bot is in the channel by the
//! same session. No sound is taken.

use std::{sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, interval, timeout},
};
use tokio_websockets::{CloseCode, Message, WebSocketStream};

use crate::{server::Shared, wire::websocket, world::guild::BOT_ID};

/// The path of its websocket.
pub(crate) const PATH: &str = "/voice";
/// How often it looks whether the bot is still there.
const LOOK: Duration = Duration::from_millis(50);
const HEARTBEAT_MS: u64 = 13_750;
/// A client that says nothing for so long is gone.
const SILENT: Duration = Duration::from_secs(30);
/// How long a client may take to identify.
const IDENTIFY: Duration = Duration::from_secs(10);

/// Why it closes: a code of the documentation, and its words.
type Close = (u16, &'static str);

const UNDECODED: Close = (4002, "Failed to decode payload.");
const NOT_IDENTIFIED: Close = (4003, "Not authenticated.");
const WRONG_TOKEN: Close = (4004, "Authentication failed.");
const AGAIN: Close = (4005, "Already authenticated.");
const WRONG_SESSION: Close = (4006, "Session is no longer valid.");
const TIMED_OUT: Close = (4009, "Session timeout.");
const NO_SERVER: Close = (4011, "Server not found.");
const UNKNOWN_OPCODE: Close = (4001, "Unknown opcode.");
const UNKNOWN_PROTOCOL: Close = (4012, "Unknown protocol.");
const DISCONNECTED: Close = (4014, "Disconnected.");
const UNKNOWN_MODE: Close = (4016, "Unknown encryption mode.");

const MODES: [&str; 2] = ["aead_aes256_gcm_rtpsize", "aead_xchacha20_poly1305_rtpsize"];

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Identify {
    server_id: String,
    user_id: String,
    session_id: String,
    token: String,
}

#[derive(Debug, Deserialize)]
struct Payload {
    op: u64,
    #[serde(default)]
    d: Value,
}

/// Serves one websocket whose query is this.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    shared: Arc<Shared>,
    stream: S,
    query: &str,
) {
    let mut websocket = websocket::serve(stream);
    let closes = match query.split('&').any(|pair| pair == "v=8") {
        true => converse(&shared, &mut websocket).await,
        false => Some(UNKNOWN_PROTOCOL),
    };
    if let Some((code, reason)) = closes
        && let Ok(code) = CloseCode::try_from(code)
    {
        let _ = websocket.send(Message::close(Some(code), reason)).await;
        let _ = timeout(Duration::from_secs(1), websocket.close()).await;
    }
}

/// `None`: the client left.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    shared: &Shared,
    websocket: &mut WebSocketStream<S>,
) -> Option<Close> {
    say(websocket, 8, &json!({ "heartbeat_interval": HEARTBEAT_MS })).await?;
    let mut identified: Option<Identify> = None;
    let (began, mut heard) = (Instant::now(), Instant::now());
    let mut looks = interval(LOOK);
    loop {
        let message = tokio::select! {
            message = websocket.next() => message?.ok()?,
            _ = looks.tick() => {
                match &identified {
                    None if began.elapsed() > IDENTIFY => return Some(TIMED_OUT),
                    None => {}
                    Some(who) if shared.is_in_voice(who).is_err() => return Some(DISCONNECTED),
                    Some(_) if heard.elapsed() > SILENT => return Some(TIMED_OUT),
                    Some(_) => {}
                }
                continue;
            }
            () = shared.stop.cancelled() => return Some((1001, "")),
        };
        let Some(text) = message.as_text() else {
            if message.is_close() {
                return None;
            }
            continue;
        };
        heard = Instant::now();
        let Ok(Payload { op, d }) = serde_json::from_str(text) else {
            return Some(UNDECODED);
        };
        match op {
            0 if identified.is_some() => return Some(AGAIN),
            0 => {
                let Ok(who) = serde_json::from_value::<Identify>(d) else {
                    return Some(UNDECODED);
                };
                if let Err(close) = shared.is_in_voice(&who) {
                    return Some(close);
                }
                identified = Some(who);
                let ready = json!({
                    "ssrc": 1, "ip": "127.0.0.1", "port": 1, "modes": MODES, "experiments": [],
                });
                say(websocket, 2, &ready).await?;
            }
            // The version 8 wants an object with `t`.
            3 if d["t"].is_null() => return Some(UNDECODED),
            3 => say(websocket, 6, &json!({ "t": d["t"] })).await?,
            1 | 5 | 7 if identified.is_none() => return Some(NOT_IDENTIFIED),
            1 if d["protocol"] != "udp" => return Some(UNKNOWN_PROTOCOL),
            1 => {
                let mode = d["data"]["mode"].as_str().unwrap_or_default();
                if !MODES.contains(&mode) {
                    return Some(UNKNOWN_MODE);
                }
                let described = json!({ "mode": mode, "secret_key": vec![0; 32] });
                say(websocket, 4, &described).await?;
            }
            5 => {}
            // RESUME: a session of voice is not kept here.
            7 => return Some(WRONG_SESSION),
            _ => return Some(UNKNOWN_OPCODE),
        }
    }
}

/// `None`: the client is gone.
async fn say<S: AsyncRead + AsyncWrite + Unpin>(
    websocket: &mut WebSocketStream<S>,
    op: u64,
    d: &Value,
) -> Option<()> {
    let text = json!({ "op": op, "d": d }).to_string();
    websocket.send(Message::text(text)).await.ok()
}

impl Shared {
    /// Where the bot is told to connect.
    pub(crate) fn voice_endpoint(&self) -> String {
        format!("{}{PATH}", self.address())
    }

    /// Whether the bot is in a channel with exactly this.
    fn is_in_voice(&self, who: &Identify) -> Result<(), Close> {
        let guild = who.server_id.parse::<u64>().map_err(|_| NO_SERVER)?;
        if who.user_id != BOT_ID.to_string() {
            return Err(WRONG_SESSION);
        }
        let cell = (guild >> 22) % self.cells.len() as u64;
        let cell = self.cell(usize::try_from(cell).map_err(|_| NO_SERVER)?);
        let guild = cell.guilds.get(&guild).ok_or(NO_SERVER)?;
        let bot = guild.members.get(&BOT_ID).ok_or(NO_SERVER)?;
        let voice = bot.voice.as_ref().ok_or(WRONG_SESSION)?;
        if who.session_id != format!("{:032x}", voice.session) {
            return Err(WRONG_SESSION);
        }
        if who.token != format!("{:016x}", voice.token) {
            return Err(WRONG_TOKEN);
        }
        Ok(())
    }
}
