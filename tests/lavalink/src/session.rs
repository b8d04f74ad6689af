//! Sessions of clients, and their players.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;

use crate::{
    Shared,
    answer::Wrong,
    discord::{Closed, Link},
    ledger::What,
    player::Player,
    track::Track,
};

/// Messages that are kept for a client that is away. One more, and its session ends.
const KEPT: usize = 4096;
/// How long a session waits for its client, if nothing else was said, and at most.
const TIMEOUT: Duration = Duration::from_secs(60);
const TIMEOUT_MOST: Duration = Duration::from_secs(24 * 60 * 60);

/// All of a server.
#[derive(Debug, Default)]
pub(crate) struct Sessions(BTreeMap<String, Session>);

/// What is sent to a client.
pub(crate) type Out = Sender<String>;

/// So many messages may wait for a client that is connected.
pub(crate) const WAITING: usize = 2 * KEPT;

#[derive(Debug)]
pub(crate) struct Session {
    id: String,
    pub(crate) user: u64,
    pub(crate) resuming: bool,
    pub(crate) timeout: Duration,
    pub(crate) players: BTreeMap<u64, Player>,
    client: Client,
}

#[derive(Debug)]
enum Client {
    Here {
        out: Out,
        number: u64,
    },
    Away {
        since: Instant,
        kept: VecDeque<String>,
    },
}

impl Sessions {
    /// Whether this client could go on with this session.
    pub(crate) fn can_resume(&self, id: &str, user: u64) -> bool {
        let session = self.0.get(id);
        session.is_some_and(|it| it.user == user && matches!(it.client, Client::Away { .. }))
    }

    /// A client is connected; it goes on with a session, or begins one. Gives its id.
    pub(crate) fn connected(
        &mut self,
        shared: &Shared,
        (user, number): (u64, u64),
        before: Option<&str>,
        out: Out,
    ) -> String {
        let resumed = before.filter(|id| self.can_resume(id, user));
        if let Some(session) = resumed.and_then(|id| self.0.get_mut(id)) {
            shared.ledger.note(&session.id, 0, What::Resumed);
            session.is_back(out, number);
            return session.id.clone();
        }
        let id = new_id();
        shared.ledger.note(&id, 0, What::Connected);
        let mut session = Session {
            id: id.clone(),
            user,
            resuming: false,
            timeout: TIMEOUT,
            players: BTreeMap::new(),
            client: Client::Here { out, number },
        };
        session.send(&json!({"op": "ready", "resumed": false, "sessionId": id}));
        session.send(&stats(shared, 0, 0, false));
        self.0.insert(id.clone(), session);
        id
    }

    /// The connection with this number ended.
    pub(crate) fn disconnected(&mut self, shared: &Shared, id: &str, number: u64) {
        let Some(session) = self.0.get_mut(id) else {
            return;
        };
        if !matches!(session.client, Client::Here { number: own, .. } if own == number) {
            return;
        }
        if session.resuming {
            shared.ledger.note(id, 0, What::Away);
            session.client = Client::Away {
                since: Instant::now(),
                kept: VecDeque::new(),
            };
        } else {
            self.end(shared, id);
        }
    }

    fn end(&mut self, shared: &Shared, id: &str) {
        if self.0.remove(id).is_some() {
            shared.ledger.note(id, 0, What::Ended);
        }
    }

    /// The session of a client that is connected: of the others a request is told nothing.
    pub(crate) fn get(&mut self, id: &str) -> Result<&mut Session, Wrong> {
        let session = self.0.get_mut(id);
        let session = session.filter(|it| matches!(it.client, Client::Here { .. }));
        session.ok_or_else(|| Wrong::not_found("Session"))
    }

    pub(crate) fn position(&self, guild: u64) -> Option<u64> {
        let players = self.0.values().filter_map(|it| it.players.get(&guild));
        let mut positions = players.filter_map(|player| player.position(Instant::now()));
        positions.next()
    }

    pub(crate) fn voice_closed(
        &mut self,
        shared: &Shared,
        id: &str,
        guild: u64,
        number: u64,
        closed: &Closed,
    ) {
        let Some(session) = self.0.get_mut(id) else {
            return;
        };
        let player = session.players.get_mut(&guild);
        let Some(player) = player.filter(|player| player.has(number)) else {
            return;
        };
        player.connected(Instant::now(), None);
        session.not_connected(shared, guild, closed);
    }

    /// Looks what has ended, and tells what is due.
    pub(crate) fn look(&mut self, shared: &Shared, now: Instant, updates: bool, counts: bool) {
        let all = self.counts();
        let mut over = Vec::new();
        for (id, session) in &mut self.0 {
            let is_over = match &session.client {
                Client::Away { since, kept } => {
                    now.duration_since(*since) >= session.timeout || kept.len() > KEPT
                }
                // It reads nothing.
                Client::Here { out, .. } => out.capacity() == 0,
            };
            if is_over {
                over.push(id.clone());
                continue;
            }
            session.look(shared, now, updates);
            if counts {
                session.send(&stats(shared, all.0, all.1, true));
            }
        }
        for id in over {
            self.end(shared, &id);
        }
    }

    /// Players, and those of them that play.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let players = self.0.values().flat_map(|it| it.players.values());
        (
            players.clone().count(),
            players.filter(|it| it.plays()).count(),
        )
    }
}

impl Session {
    pub(crate) fn update(&mut self, resuming: Option<bool>, timeout: Option<u64>) {
        self.resuming = resuming.unwrap_or(self.resuming);
        let timeout = timeout.map_or(self.timeout, Duration::from_secs);
        self.timeout = timeout.min(TIMEOUT_MOST);
    }

    pub(crate) fn player(&mut self, guild: u64) -> &mut Player {
        self.players.entry(guild).or_insert_with(Player::new)
    }

    /// What was kept comes behind the word that it is back, then where each player is.
    fn is_back(&mut self, out: Out, number: u64) {
        let back = Client::Here { out, number };
        let before = std::mem::replace(&mut self.client, back);
        self.send(&json!({"op": "ready", "resumed": true, "sessionId": self.id}));
        if let (Client::Away { kept, .. }, Client::Here { out, .. }) = (before, &self.client) {
            for message in kept {
                let _ = out.try_send(message);
            }
        }
        let guilds: Vec<u64> = self.players.keys().copied().collect();
        for guild in guilds {
            self.say_where(guild);
        }
    }

    fn look(&mut self, shared: &Shared, now: Instant, updates: bool) {
        let guilds: Vec<u64> = self.players.keys().copied().collect();
        for guild in guilds {
            let player = self.player(guild);
            let (plays, finished) = (player.plays(), player.finished(now));
            if let Some(track) = finished {
                self.track_ended(shared, guild, &track, "finished");
            } else if plays && updates {
                self.say_where(guild);
            }
        }
    }

    /// Where a player is.
    pub(crate) fn say_where(&mut self, guild: u64) {
        let state = self.player(guild).state(Instant::now());
        self.send(&json!({"op": "playerUpdate", "guildId": guild.to_string(), "state": state}));
    }

    fn event(&mut self, guild: u64, kind: &str, rest: Value) {
        let mut event = json!({"op": "event", "type": kind, "guildId": guild.to_string()});
        if let (Value::Object(event), Value::Object(rest)) = (&mut event, rest) {
            event.extend(rest);
        }
        self.send(&event);
    }

    pub(crate) fn track_started(&mut self, shared: &Shared, guild: u64, track: &Track) {
        shared.ledger.note(&self.id, guild, What::TrackStarted);
        self.event(guild, "TrackStartEvent", json!({"track": track.to_json(0)}));
    }

    pub(crate) fn track_ended(
        &mut self,
        shared: &Shared,
        guild: u64,
        track: &Track,
        reason: &'static str,
    ) {
        shared
            .ledger
            .note(&self.id, guild, What::TrackEnded(reason));
        let said = json!({"track": track.to_json(0), "reason": reason});
        self.event(guild, "TrackEndEvent", said);
    }

    /// The voice gateway took a player's connection.
    pub(crate) fn is_connected(&mut self, shared: &Shared, guild: u64, link: Link) {
        shared.ledger.note(&self.id, guild, What::VoiceConnected);
        let link = Some(Arc::new(link));
        self.player(guild).connected(Instant::now(), link);
        self.say_where(guild);
    }

    /// It did not, or the connection ended.
    pub(crate) fn not_connected(&mut self, shared: &Shared, guild: u64, closed: &Closed) {
        shared
            .ledger
            .note(&self.id, guild, What::VoiceClosed(closed.code));
        let said = json!({
            "code": closed.code, "reason": closed.reason, "byRemote": closed.by_remote,
        });
        self.event(guild, "WebSocketClosedEvent", said);
        self.say_where(guild);
    }

    fn send(&mut self, message: &Value) {
        match &mut self.client {
            Client::Here { out, .. } => {
                let _ = out.try_send(message.to_string());
            }
            Client::Away { kept, .. } => {
                if kept.len() <= KEPT {
                    kept.push_back(message.to_string());
                }
            }
        }
    }
}

/// How a server does; `frames`: with those of sound, as it tells clients unasked.
pub(crate) fn stats(shared: &Shared, players: usize, playing: usize, frames: bool) -> Value {
    let uptime = u64::try_from(shared.started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let frames =
        (frames && playing > 0).then(|| json!({"sent": 3000 * playing, "nulled": 0, "deficit": 0}));
    json!({
        "op": "stats",
        "players": players,
        "playingPlayers": playing,
        "uptime": uptime,
        "memory": {"free": 1 << 20, "used": 1 << 20, "allocated": 1 << 21, "reservable": 1 << 22},
        "cpu": {"cores": 1, "systemLoad": 0.0, "lavalinkLoad": 0.0},
        "frameStats": frames,
    })
}

/// 16 letters and digits.
fn new_id() -> String {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut bytes = [0; 16];
    // Ids are no secrets here: without randomness they would only be alike.
    let _ = getrandom::fill(&mut bytes);
    let letters = bytes.map(|byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()]));
    letters.iter().collect()
}
