//! What a client asks of a player. What the original would pass over in silence is refused:
//! a field that does not exist, a number that is out of range.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{answer::Wrong, player::Voice, track::Track};

/// The body of `PATCH /v4/sessions/{id}`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionUpdate {
    pub(crate) resuming: Option<bool>,
    /// Seconds.
    pub(crate) timeout: Option<u64>,
}

/// The body of `PATCH /v4/sessions/{id}/players/{guild}`, as it came.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Body {
    track: Option<BodyTrack>,
    #[serde(deserialize_with = "present")]
    encoded_track: Option<Option<String>>,
    identifier: Option<String>,
    position: Option<u64>,
    #[serde(deserialize_with = "present")]
    end_time: Option<Option<u64>>,
    volume: Option<u16>,
    paused: Option<bool>,
    filters: Option<Map<String, Value>>,
    voice: Option<BodyVoice>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct BodyTrack {
    #[serde(deserialize_with = "present")]
    encoded: Option<Option<String>>,
    identifier: Option<String>,
    user_data: Option<Map<String, Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct BodyVoice {
    token: String,
    endpoint: String,
    session_id: String,
    /// Newer versions have it.
    #[serde(default, rename = "channelId")]
    _channel_id: Option<String>,
}

/// A body that is an object: an array passes for one elsewhere.
pub(crate) fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Wrong> {
    let wrong = |error: serde_json::Error| Wrong::bad(error.to_string());
    let object: Map<String, Value> = serde_json::from_slice(body).map_err(wrong)?;
    serde_json::from_value(Value::Object(object)).map_err(wrong)
}

/// `null` is something else than nothing.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// What is to be played.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Plays {
    /// What is there goes on.
    Same,
    Nothing,
    Track(Track),
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct PlayerUpdate {
    pub(crate) plays: Plays,
    pub(crate) user_data: Option<Value>,
    pub(crate) position: Option<u64>,
    /// `Some(None)`: at the end of the track.
    pub(crate) end_time: Option<Option<u64>>,
    pub(crate) volume: Option<u16>,
    pub(crate) paused: Option<bool>,
    pub(crate) filters: Option<Value>,
    pub(crate) voice: Option<Voice>,
}

const FILTERS: [&str; 11] = [
    "volume",
    "equalizer",
    "karaoke",
    "timescale",
    "tremolo",
    "vibrato",
    "rotation",
    "distortion",
    "channelMix",
    "lowPass",
    "pluginFilters",
];
const LOUDEST: u16 = 1000;

impl PlayerUpdate {
    pub(crate) fn read(body: &[u8]) -> Result<Self, Wrong> {
        let body: Body = object(body)?;
        if body.track.is_some() && (body.encoded_track.is_some() || body.identifier.is_some()) {
            return Err(Wrong::bad(
                "Cannot specify both track and encodedTrack/identifier",
            ));
        }
        let asked = body.track.unwrap_or(BodyTrack {
            encoded: body.encoded_track,
            identifier: body.identifier,
            user_data: None,
        });
        if body.volume.is_some_and(|volume| volume > LOUDEST) {
            return Err(Wrong::bad("volume is at most 1000"));
        }
        if body.end_time == Some(Some(0)) {
            return Err(Wrong::bad("End time must be greater than 0"));
        }
        if let Some(filters) = &body.filters
            && let Some(strange) = filters.keys().find(|key| !FILTERS.contains(&key.as_str()))
        {
            return Err(Wrong::bad(format!("there is no filter {strange}")));
        }
        Ok(Self {
            plays: plays(asked.encoded, asked.identifier)?,
            user_data: asked.user_data.map(Value::Object),
            position: body.position,
            end_time: body.end_time,
            volume: body.volume,
            paused: body.paused,
            filters: body.filters.map(Value::Object),
            voice: body.voice.map(voice).transpose()?,
        })
    }
}

fn plays(encoded: Option<Option<String>>, identifier: Option<String>) -> Result<Plays, Wrong> {
    match (encoded, identifier) {
        (Some(_), Some(_)) => Err(Wrong::bad(
            "Cannot specify both encodedTrack and identifier",
        )),
        (None, None) => Ok(Plays::Same),
        (Some(None), None) => Ok(Plays::Nothing),
        (Some(Some(encoded)), None) => Track::decode(&encoded)
            .map(Plays::Track)
            .ok_or_else(|| Wrong::bad("the encoded track is none")),
        (None, Some(identifier)) => Track::find(&identifier)
            .map(Plays::Track)
            .ok_or_else(|| Wrong::bad("No matches found for identifier")),
    }
}

fn voice(body: BodyVoice) -> Result<Voice, Wrong> {
    let voice = Voice {
        token: body.token,
        endpoint: body.endpoint,
        session: body.session_id,
    };
    if [&voice.token, &voice.endpoint, &voice.session]
        .iter()
        .any(|text| text.is_empty())
    {
        return Err(Wrong::bad("Partial Lavalink voice state"));
    }
    Ok(voice)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<PlayerUpdate, Wrong> {
        PlayerUpdate::read(body.to_string().as_bytes())
    }

    #[test]
    fn null_stops_and_nothing_leaves_as_it_is() {
        assert_eq!(read(json!({})).unwrap().plays, Plays::Same);
        for stops in [
            json!({"encodedTrack": null}),
            json!({"track": {"encoded": null}}),
        ] {
            assert_eq!(read(stops).unwrap().plays, Plays::Nothing);
        }
        let track = Track::find("silence:5").unwrap();
        for plays in [
            json!({"track": {"encoded": track.encoded()}}),
            json!({"encodedTrack": track.encoded()}),
            json!({"track": {"identifier": "silence:5"}}),
        ] {
            assert_eq!(read(plays).unwrap().plays, Plays::Track(track.clone()));
        }
        assert_eq!(read(json!({"endTime": null})).unwrap().end_time, Some(None));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let whole = json!({"token": "t", "endpoint": "e", "sessionId": "s"});
        assert!(read(json!({"voice": whole})).is_ok());
        for part in ["token", "endpoint", "sessionId"] {
            let mut voice = whole.clone();
            voice[part] = "".into();
            assert!(read(json!({"voice": voice})).is_err(), "empty {part}");
            voice.as_object_mut().unwrap().remove(part);
            assert!(read(json!({"voice": voice})).is_err(), "no {part}");
        }
        for wrong in [
            json!({"volum": 3}),
            json!({"volume": 1001}),
            json!({"position": -1}),
            json!({"endTime": 0}),
            json!({"filters": {"loud": true}}),
            json!({"track": {"encoded": "AAAA"}}),
            json!({"track": {"identifier": "song"}}),
            json!({"track": {"encoded": null, "identifier": "silence:5"}}),
            json!({"track": {"identifier": "silence:5"}, "identifier": "silence:5"}),
            json!([]),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
