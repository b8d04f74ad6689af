//! One player: what it plays, and whether anybody hears it.

use std::{sync::Arc, time::Instant};

use serde_json::{Value, json};

use crate::{answer::unix_ms, discord::Link, track::Track};

/// What a client says of the voice gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Voice {
    pub(crate) token: String,
    pub(crate) endpoint: String,
    pub(crate) session: String,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Player {
    playing: Option<Playing>,
    pub(crate) paused: bool,
    pub(crate) volume: u16,
    pub(crate) filters: Value,
    pub(crate) voice: Voice,
    link: Option<Arc<Link>>,
}

#[derive(Debug)]
struct Playing {
    track: Track,
    /// Where it was when that was reckoned last, in milliseconds.
    at_ms: u64,
    /// Since when it goes on from there. It does while there is a connection that takes sound.
    runs: Option<Instant>,
    /// Where it ends, at the latest.
    ends_ms: u64,
}

impl Playing {
    fn position(&self, now: Instant) -> u64 {
        let ran = self
            .runs
            .map_or(0, |since| now.saturating_duration_since(since).as_millis());
        let at = u128::from(self.at_ms) + ran;
        u64::try_from(at).unwrap_or(u64::MAX).min(self.ends_ms)
    }
}

impl Player {
    pub(crate) fn new() -> Self {
        Self {
            playing: None,
            paused: false,
            volume: 100,
            filters: json!({}),
            voice: Voice::default(),
            link: None,
        }
    }

    pub(crate) const fn plays(&self) -> bool {
        self.playing.is_some()
    }

    pub(crate) fn is_heard(&self) -> bool {
        self.plays() && !self.paused && self.link.is_some()
    }

    pub(crate) fn track(&self) -> Option<&Track> {
        self.playing.as_ref().map(|playing| &playing.track)
    }

    pub(crate) fn position(&self, now: Instant) -> Option<u64> {
        self.playing.as_ref().map(|playing| playing.position(now))
    }

    /// Whether it is connected with exactly this.
    pub(crate) fn is_connected_with(&self, voice: &Voice) -> bool {
        self.link.is_some() && self.voice == *voice
    }

    pub(crate) fn connected(&mut self, now: Instant, link: Option<Arc<Link>>) {
        self.link = link;
        self.settle(now);
    }

    /// Whether this connection is its own.
    pub(crate) fn has(&self, link: u64) -> bool {
        self.link.as_ref().is_some_and(|own| own.number() == link)
    }

    pub(crate) fn set_paused(&mut self, now: Instant, paused: bool) {
        self.paused = paused;
        self.settle(now);
    }

    pub(crate) fn set_user_data(&mut self, data: Value) {
        if let Some(playing) = &mut self.playing {
            playing.track.user_data = data;
        }
    }

    pub(crate) fn seek(&mut self, now: Instant, to_ms: u64) {
        if let Some(playing) = &mut self.playing {
            playing.at_ms = to_ms.min(playing.ends_ms);
            playing.runs = playing.runs.map(|_| now);
        }
    }

    pub(crate) fn ends_at(&mut self, ends_ms: Option<u64>) {
        if let Some(playing) = &mut self.playing {
            let length = playing.track.length_ms;
            playing.ends_ms = ends_ms.map_or(length, |ends| ends.min(length));
        }
    }

    /// Gives the track that it played.
    pub(crate) fn play(&mut self, now: Instant, track: Track, at_ms: u64) -> Option<Track> {
        let ends_ms = track.length_ms;
        let before = self.playing.replace(Playing {
            at_ms: at_ms.min(ends_ms),
            track,
            runs: None,
            ends_ms,
        });
        self.settle(now);
        before.map(|playing| playing.track)
    }

    pub(crate) fn stop(&mut self) -> Option<Track> {
        self.playing.take().map(|playing| playing.track)
    }

    /// The track, if it is at its end.
    pub(crate) fn finished(&mut self, now: Instant) -> Option<Track> {
        let playing = self.playing.as_ref()?;
        (playing.position(now) >= playing.ends_ms)
            .then(|| self.stop())
            .flatten()
    }

    fn settle(&mut self, now: Instant) {
        let is_heard = self.is_heard();
        if let Some(playing) = &mut self.playing {
            playing.at_ms = playing.position(now);
            playing.runs = is_heard.then_some(now);
        }
    }

    pub(crate) fn state(&self, now: Instant) -> Value {
        json!({
            "time": unix_ms(),
            "position": self.position(now).unwrap_or(0),
            "connected": self.link.is_some(),
            "ping": self.link.as_ref().map_or(-1, |link| link.ping_ms()),
        })
    }

    pub(crate) fn to_json(&self, guild: u64, now: Instant) -> Value {
        let track = self
            .track()
            .map(|it| it.to_json(self.position(now).unwrap_or(0)));
        json!({
            "guildId": guild.to_string(),
            "track": track,
            "volume": self.volume,
            "paused": self.paused,
            "state": self.state(now),
            "voice": {
                "token": self.voice.token,
                "endpoint": self.voice.endpoint,
                "sessionId": self.voice.session,
            },
            "filters": self.filters,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_track_goes_on_while_somebody_hears_it_and_only_then() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut player = Player::new();
        player.play(at(0), Track::find("silence:60").unwrap(), 5000);
        assert_eq!(player.position(at(9)), Some(5000), "nobody hears it");
        player.connected(at(10), Some(Arc::new(Link::for_test())));
        assert_eq!(player.position(at(12)), Some(7000));
        player.set_paused(at(12), true);
        assert_eq!(player.position(at(20)), Some(7000));
        player.set_paused(at(20), false);
        player.connected(at(21), None);
        assert_eq!(player.position(at(30)), Some(8000));
        player.connected(at(30), Some(Arc::new(Link::for_test())));
        player.seek(at(30), 59_000);
        assert_eq!(player.finished(at(30)), None);
        assert!(player.finished(at(31)).is_some() && !player.plays());
    }
}
