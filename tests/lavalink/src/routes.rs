//! The REST of version 4.

use std::{sync::Arc, time::Instant};

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    Shared,
    answer::{self, Answer, Wrong},
    discord,
    session::{self, Session},
    track::Track,
    update::{PlayerUpdate, Plays, SessionUpdate, object},
};

/// A request whose sender knows the password.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    /// Names and values, decoded.
    pub(crate) query: Vec<(String, String)>,
    pub(crate) body: &'a [u8],
}

impl Asked<'_> {
    fn query(&self, name: &str) -> Option<&str> {
        let mut found = self.query.iter().filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value.as_str())
    }

    fn body<T: serde::de::DeserializeOwned>(&self) -> Result<T, Wrong> {
        serde_json::from_slice(self.body).map_err(|error| Wrong::bad(error.to_string()))
    }
}

pub(crate) async fn answer(shared: &Arc<Shared>, asked: &Asked<'_>) -> Result<Answer, Wrong> {
    let parts: Vec<&str> = asked.path.trim_matches('/').split('/').collect();
    let method = asked.method.as_str();
    match (method, &parts[..]) {
        ("GET", ["version"]) => Ok(answer::text(VERSION)),
        ("GET", ["v4", "info"]) => Ok(answer::json(&info())),
        ("GET", ["v4", "stats"]) => Ok(answer::json(&stats(shared))),
        ("GET", ["v4", "loadtracks"]) => {
            let wanted = asked.query("identifier");
            let wanted = wanted.ok_or_else(|| Wrong::bad("identifier is missing"))?;
            Ok(answer::json(&match Track::find(wanted) {
                Some(track) => json!({"loadType": "track", "data": track.to_json(0)}),
                None => json!({"loadType": "empty", "data": null}),
            }))
        }
        ("GET", ["v4", "decodetrack"]) => {
            let encoded = asked.query("encodedTrack").unwrap_or_default();
            Ok(answer::json(&decoded(encoded)?))
        }
        ("POST", ["v4", "decodetracks"]) => {
            let encoded: Vec<String> = asked.body()?;
            let tracks: Result<Vec<Value>, Wrong> =
                encoded.iter().map(|encoded| decoded(encoded)).collect();
            Ok(answer::json(&Value::Array(tracks?)))
        }
        ("PATCH", ["v4", "sessions", id]) => {
            let update: SessionUpdate = object(asked.body)?;
            let mut sessions = shared.sessions();
            let session = sessions.get(id)?;
            session.update(update.resuming, update.timeout);
            let timeout = session.timeout.as_secs();
            Ok(answer::json(
                &json!({"resuming": session.resuming, "timeout": timeout}),
            ))
        }
        ("GET", ["v4", "sessions", id, "players"]) => {
            let mut sessions = shared.sessions();
            let players = sessions.get(id)?.players.iter();
            let now = Instant::now();
            let players: Vec<Value> = players.map(|(id, it)| it.to_json(*id, now)).collect();
            Ok(answer::json(&Value::Array(players)))
        }
        ("GET", ["v4", "sessions", id, "players", guild]) => {
            let guild = guild_of(guild)?;
            let mut sessions = shared.sessions();
            let player = sessions.get(id)?.players.get(&guild);
            let player = player.ok_or_else(|| Wrong::not_found("Player"))?;
            Ok(answer::json(&player.to_json(guild, Instant::now())))
        }
        ("PATCH", ["v4", "sessions", id, "players", guild]) => {
            let no_replace = asked.query("noReplace") == Some("true");
            let player = patch(shared, id, guild_of(guild)?, asked.body, no_replace).await?;
            Ok(answer::json(&player))
        }
        ("DELETE", ["v4", "sessions", id, "players", guild]) => {
            let guild = guild_of(guild)?;
            let mut sessions = shared.sessions();
            let session = sessions.get(id)?;
            if let Some(mut player) = session.players.remove(&guild)
                && let Some(track) = player.stop()
            {
                session.track_ended(shared, guild, &track, "stopped");
            }
            Ok(answer::empty(StatusCode::NO_CONTENT))
        }
        (
            _,
            ["version"]
            | [
                "v4",
                "info" | "stats" | "loadtracks" | "decodetrack" | "decodetracks",
            ],
        )
        | (_, ["v4", "sessions", _] | ["v4", "sessions", _, "players"])
        | (_, ["v4", "sessions", _, "players", _]) => Err(Wrong::new(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("Request method '{method}' is not supported"),
        )),
        _ => Err(Wrong::not_found("Path")),
    }
}

const VERSION: &str = "4.0.8";

fn info() -> Value {
    json!({
        "version": {
            "semver": VERSION, "major": 4, "minor": 0, "patch": 8, "preRelease": null,
            "build": null,
        },
        "buildTime": 0,
        "git": {"branch": "stand-in", "commit": "0000000", "commitTime": 0},
        "jvm": "none",
        "lavaplayer": "none",
        "sourceManagers": ["silence"],
        "filters": [],
        "plugins": [],
    })
}

fn stats(shared: &Shared) -> Value {
    let (players, playing) = shared.sessions().counts();
    let mut stats = session::stats(shared, players, playing, false);
    if let Value::Object(stats) = &mut stats {
        stats.remove("op");
    }
    stats
}

fn decoded(encoded: &str) -> Result<Value, Wrong> {
    let track = Track::decode(encoded);
    let track = track.ok_or_else(|| Wrong::bad("the encoded track is none"))?;
    Ok(track.to_json(0))
}

fn guild_of(text: &str) -> Result<u64, Wrong> {
    let guild = text.parse().ok().filter(|guild| *guild > 0);
    guild.ok_or_else(|| Wrong::bad(format!("{text} is no guild")))
}

async fn patch(
    shared: &Arc<Shared>,
    id: &str,
    guild: u64,
    body: &[u8],
    no_replace: bool,
) -> Result<Value, Wrong> {
    let update = PlayerUpdate::read(body)?;
    let user = shared.sessions().get(id)?.user;
    if let Some(voice) = &update.voice {
        let is_connected = {
            let mut sessions = shared.sessions();
            let player = sessions.get(id)?.player(guild);
            let is_connected = player.is_connected_with(voice);
            if !is_connected {
                player.voice = voice.clone();
                player.connected(Instant::now(), None);
            }
            is_connected
        };
        if !is_connected {
            let connected = discord::connect(shared, (id, guild), user, voice).await;
            let mut sessions = shared.sessions();
            let session = sessions.get(id)?;
            match connected {
                Ok(link) => session.is_connected(shared, guild, link),
                Err(closed) => {
                    session.not_connected(shared, guild, &closed);
                    return Err(Wrong::new(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "Failed to connect to voice server",
                    ));
                }
            }
        }
    }
    let mut sessions = shared.sessions();
    let session = sessions.get(id)?;
    apply(shared, session, guild, update, no_replace);
    Ok(session.player(guild).to_json(guild, Instant::now()))
}

fn apply(
    shared: &Shared,
    session: &mut Session,
    guild: u64,
    update: PlayerUpdate,
    no_replace: bool,
) {
    let now = Instant::now();
    let player = session.player(guild);
    if let Some(volume) = update.volume {
        player.volume = volume;
    }
    let mut moved = update.filters.is_some();
    if let Some(filters) = update.filters {
        player.filters = filters;
    }
    let replaced = match update.plays {
        Plays::Same => {
            if let Some(paused) = update.paused {
                player.set_paused(now, paused);
            }
            if let Some(data) = update.user_data {
                player.set_user_data(data);
            }
            if let Some(to) = update.position.filter(|_| player.plays()) {
                player.seek(now, to);
                moved = true;
            }
            if let Some(ends) = update.end_time {
                player.ends_at(ends);
            }
            if moved {
                session.say_where(guild);
            }
            return;
        }
        Plays::Nothing | Plays::Track(_) if no_replace && player.plays() => return,
        Plays::Nothing => {
            player.set_paused(now, update.paused.unwrap_or(false));
            let stopped = player.stop();
            if let Some(track) = stopped {
                session.track_ended(shared, guild, &track, "stopped");
            }
            return;
        }
        Plays::Track(mut track) => {
            if let Some(data) = update.user_data {
                track.user_data = data;
            }
            player.paused = update.paused.unwrap_or(false);
            let before = player.play(now, track.clone(), update.position.unwrap_or(0));
            player.ends_at(update.end_time.flatten());
            if moved {
                session.say_where(guild);
            }
            (before, track)
        }
    };
    if let Some(before) = replaced.0 {
        session.track_ended(shared, guild, &before, "replaced");
    }
    session.track_started(shared, guild, &replaced.1);
}
