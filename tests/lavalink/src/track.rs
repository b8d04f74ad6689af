//! Tracks. There is one source, `silence`: the identifier `silence:SECONDS` is a track of
//! that length. An encoded track is one in the binary form of lavaplayer, version 3.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// The longest track, in milliseconds.
const LONGEST_MS: u64 = 24 * 60 * 60 * 1000;
const SOURCE: &str = "silence";
/// In the size of an encoded track: its version follows.
const VERSIONED: u32 = 1 << 30;
const VERSION: u8 = 3;

/// A track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Track {
    pub(crate) length_ms: u64,
    pub(crate) user_data: Value,
}

impl Track {
    /// The track that this identifier stands for; `None`: there is none.
    pub(crate) fn find(identifier: &str) -> Option<Self> {
        let seconds = identifier.strip_prefix(SOURCE)?.strip_prefix(':')?;
        let length_ms = seconds.parse::<u64>().ok()?.checked_mul(1000)?;
        (1..=LONGEST_MS).contains(&length_ms).then(|| Self {
            length_ms,
            user_data: json!({}),
        })
    }

    fn identifier(&self) -> String {
        format!("{SOURCE}:{}", self.length_ms / 1000)
    }

    fn title(&self) -> String {
        format!("Silence, {} s", self.length_ms / 1000)
    }

    /// Its binary form, in base64.
    pub(crate) fn encoded(&self) -> String {
        let mut body = vec![VERSION];
        text(&mut body, &self.title());
        text(&mut body, "nobody");
        body.extend(self.length_ms.to_be_bytes());
        text(&mut body, &self.identifier());
        // No stream; no address, picture or code.
        body.extend([0, 0, 0, 0]);
        text(&mut body, SOURCE);
        body.extend(0_u64.to_be_bytes());
        let size = VERSIONED | u32::try_from(body.len()).unwrap_or(0);
        STANDARD.encode([&size.to_be_bytes()[..], &body].concat())
    }

    /// The track of a binary form; `None`: it is none of this server's.
    pub(crate) fn decode(encoded: &str) -> Option<Self> {
        let bytes = STANDARD.decode(encoded).ok()?;
        let mut rest = &bytes[..];
        let size = u32::from_be_bytes(take(&mut rest)?);
        if size & VERSIONED == 0 || (size & !VERSIONED) as usize != rest.len() {
            return None;
        }
        let [version] = take(&mut rest)?;
        if version != VERSION {
            return None;
        }
        let (_title, _author) = (read(&mut rest)?, read(&mut rest)?);
        let _length: [u8; 8] = take(&mut rest)?;
        let track = Self::find(read(&mut rest)?)?;
        (track.encoded() == encoded).then_some(track)
    }

    /// As clients are told of it, at this position.
    pub(crate) fn to_json(&self, position_ms: u64) -> Value {
        json!({
            "encoded": self.encoded(),
            "info": {
                "identifier": self.identifier(),
                "isSeekable": true,
                "author": "nobody",
                "length": self.length_ms,
                "isStream": false,
                "position": position_ms,
                "title": self.title(),
                "uri": null,
                "artworkUrl": null,
                "isrc": null,
                "sourceName": SOURCE,
            },
            "pluginInfo": {},
            "userData": self.user_data,
        })
    }
}

/// A text as Java writes it: its length, then its bytes.
fn text(out: &mut Vec<u8>, text: &str) {
    out.extend(u16::try_from(text.len()).unwrap_or(0).to_be_bytes());
    out.extend(text.bytes());
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*first)
}

fn read<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::from(u16::from_be_bytes(take(rest)?));
    let (text, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_track_is_the_same_track_and_a_damaged_one_is_none() {
        let track = Track::find("silence:90").unwrap();
        let encoded = track.encoded();
        assert_eq!(Track::decode(&encoded), Some(track));
        let mut bytes = STANDARD.decode(&encoded).unwrap();
        for cut in 0..bytes.len() {
            assert_eq!(Track::decode(&STANDARD.encode(&bytes[..cut])), None);
        }
        bytes[4] = 2;
        assert_eq!(Track::decode(&STANDARD.encode(bytes)), None);
        for none in ["silence:0", "silence:x", "silence:99999999", "song:3", ""] {
            assert_eq!(Track::find(none), None, "{none}");
        }
    }
}
