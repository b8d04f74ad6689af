//! From JSON to a packed value, in one reading.

use std::fmt;

use baton_protocol::text::without_lone_surrogates;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{
    ANIMATED_HASH, DECIMAL, EMPTY_LIST, EMPTY_OBJECT, END_OF_LIST, END_OF_OBJECT, FALSE, FRACTION,
    FREQUENT, HASH, LIST, Level, NAME_AS_TEXT, NAME_OF_TWO_BYTES, NAMES_OF_ONE_BYTE, NEGATIVE,
    NULL, NUMBER, OBJECT, SECONDS, SHORT, SMALL, TEXT, TIME, TRUE, WIDE_DECIMAL, WORD,
    names::{name_index, text_index},
    times::{self, Time},
    value::Value,
};

/// A text that is no JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not JSON: {0}")]
pub(crate) struct NotJson(String);

/// Packs a JSON text.
///
/// # Errors
/// It is none.
pub(crate) fn pack(json: &str, level: Level) -> Result<Vec<u8>, NotJson> {
    let mut out = Vec::with_capacity(json.len() / 3 + 16);
    let mut reader = serde_json::Deserializer::from_str(json);
    let read = Pack {
        out: &mut out,
        level,
    }
    .deserialize(&mut reader);
    read.and_then(|()| reader.end())
        .map_err(|error| NotJson(error.to_string()))?;
    Ok(out)
}

/// Packs a payload of the gateway. Half a surrogate pair, which no text may hold but
/// Discord may send, becomes a replacement character.
///
/// # Errors
/// It is no JSON.
pub(crate) fn payload(json: &str, level: Level) -> Result<Vec<u8>, NotJson> {
    pack(json, level).or_else(|error| {
        let mended = without_lone_surrogates(json);
        if mended == json {
            return Err(error);
        }
        pack(&mended, level)
    })
}

struct Pack<'o> {
    out: &'o mut Vec<u8>,
    level: Level,
}

impl<'de> DeserializeSeed<'de> for Pack<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Pack<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.out.push(NULL);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.out.push(if value { TRUE } else { FALSE });
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        number(self.out, value);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.out.push(NEGATIVE);
        varint(self.out, !value as u64);
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.out.push(FRACTION);
        self.out.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        text(self.out, value, self.level);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let (out, level) = (self.out, self.level);
        let begin = out.len();
        out.push(LIST);
        while list.next_element_seed(Pack { out, level })?.is_some() {}
        if out.len() == begin + 1 {
            out[begin] = EMPTY_LIST;
        } else {
            out.push(END_OF_LIST);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let (out, level) = (self.out, self.level);
        let begin = out.len();
        out.push(OBJECT);
        while object.next_key_seed(Name { out, level })?.is_some() {
            object.next_value_seed(Pack { out, level })?;
        }
        if out.len() == begin + 1 {
            out[begin] = EMPTY_OBJECT;
        } else {
            out.push(END_OF_OBJECT);
        }
        Ok(())
    }
}

struct Name<'o> {
    out: &'o mut Vec<u8>,
    level: Level,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        name(self.out, value, self.level);
        Ok(())
    }
}

/// Packs one object from parts of others.
pub(crate) struct Build {
    out: Vec<u8>,
    level: Level,
}

impl Build {
    pub(crate) fn new(level: Level) -> Self {
        let out = vec![OBJECT];
        Self { out, level }
    }

    /// A field whose value is packed already.
    pub(crate) fn field(&mut self, key: &str, value: Value<'_>) -> &mut Self {
        name(&mut self.out, key, self.level);
        self.out.extend_from_slice(value.bytes());
        self
    }

    pub(crate) fn number(&mut self, key: &str, value: u64) -> &mut Self {
        name(&mut self.out, key, self.level);
        number(&mut self.out, value);
        self
    }

    /// An id, which is the text of a decimal number.
    pub(crate) fn id(&mut self, key: &str, value: u64) -> &mut Self {
        name(&mut self.out, key, self.level);
        decimal(&mut self.out, value);
        self
    }

    /// A list of values that are packed already.
    pub(crate) fn list<'v>(
        &mut self,
        key: &str,
        values: impl IntoIterator<Item = &'v [u8]>,
    ) -> &mut Self {
        name(&mut self.out, key, self.level);
        let begin = self.out.len();
        self.out.push(LIST);
        for value in values {
            self.out.extend_from_slice(value);
        }
        if self.out.len() == begin + 1 {
            self.out[begin] = EMPTY_LIST;
        } else {
            self.out.push(END_OF_LIST);
        }
        self
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        if self.out.len() == 1 {
            return vec![EMPTY_OBJECT];
        }
        self.out.push(END_OF_OBJECT);
        self.out
    }
}

fn name(out: &mut Vec<u8>, name: &str, level: Level) {
    match name_index(name, level) {
        Some(index) if index < NAMES_OF_ONE_BYTE => out.push(index as u8),
        Some(index) => out.extend([NAME_OF_TWO_BYTES, (index - NAMES_OF_ONE_BYTE) as u8]),
        None => {
            out.push(NAME_AS_TEXT);
            varint(out, name.len() as u64);
            out.extend_from_slice(name.as_bytes());
        }
    }
}

fn number(out: &mut Vec<u8>, value: u64) {
    if value < u64::from(SHORT - SMALL) {
        out.push(SMALL + value as u8);
    } else {
        out.push(NUMBER);
        varint(out, value);
    }
}

fn text(out: &mut Vec<u8>, text: &str, level: Level) {
    if let Some(value) = as_decimal(text) {
        return decimal(out, value);
    }
    if let Some(time) = times::read(text) {
        let (tag, value, bytes) = match time {
            Time::Micros(micros) => (TIME, micros, 7),
            Time::Seconds(seconds) => (SECONDS, seconds, 5),
        };
        out.push(tag);
        out.extend_from_slice(&value.to_le_bytes()[..bytes]);
        return;
    }
    let (digits, tag) = match text.strip_prefix("a_") {
        Some(digits) => (digits, ANIMATED_HASH),
        None => (text, HASH),
    };
    if let Some(hash) = as_hash(digits) {
        out.push(tag);
        out.extend_from_slice(&hash.to_be_bytes());
        return;
    }
    match text_index(text, level) {
        Some(index) if index < u16::from(u8::MAX - FREQUENT) + 1 => {
            out.push(FREQUENT + index as u8);
        }
        Some(index) => out.extend([WORD, (index - 64) as u8]),
        None => {
            if text.len() < usize::from(FREQUENT - SHORT) {
                out.push(SHORT + text.len() as u8);
            } else {
                out.push(TEXT);
                varint(out, text.len() as u64);
            }
            out.extend_from_slice(text.as_bytes());
        }
    }
}

fn decimal(out: &mut Vec<u8>, value: u64) {
    if value < 1 << 49 {
        out.push(DECIMAL);
        varint(out, value);
    } else {
        out.push(WIDE_DECIMAL);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// The number of a text that is written back as it is.
fn as_decimal(text: &str) -> Option<u64> {
    let plain = match text.as_bytes() {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.len() < 20 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    text.parse().ok().filter(|_| plain)
}

fn as_hash(digits: &str) -> Option<u128> {
    let lower = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_hash = digits.len() == 32 && digits.as_bytes().iter().all(lower);
    is_hash.then(|| u128::from_str_radix(digits, 16).ok())?
}

pub(crate) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::packed::{Doc, value::Value};

    fn back(json: &str) -> Json {
        let packed = pack(json, Level::OWN).unwrap();
        serde_json::to_value(Value::whole(&packed).unwrap()).unwrap()
    }

    #[test]
    fn what_is_packed_says_the_same_also_what_nobody_knows() {
        let odd = json!({
            "id": "1099511627776000001", "name": "a \"b\" \u{1f600}\n", "moon": {"rise": [1, -1, 1.5]},
            "none": null, "yes": true, "no": false, "empty": [], "nothing": {}, "": "",
            "numbers": [0, 63, 64, 127, 128, u64::MAX, i64::MIN, -64, 1e300],
            "decimals": ["0", "00", "007", "18446744073709551615", "18446744073709551616", "-1", "+1", "1 "],
            "times": ["2021-01-01T00:00:00.000000+00:00", "2021-01-01T00:00:00+00:00", "2021-01-01T00:00:00Z"],
            "hashes": ["0123456789abcdef0123456789abcdef", "a_0123456789abcdef0123456789abcdef",
                "0123456789ABCDEF0123456789ABCDEF", "a_1"],
            "texts": ["online", "us-east", "x".repeat(62), "x".repeat(63), "x".repeat(64), "x".repeat(5000)],
            "subscriber_count": 5, "scopes": [[[]], [{}], {"a": {"b": {"c": "d"}}}],
        });
        assert_eq!(back(&odd.to_string()), odd);
        for scalar in ["null", "7", "\"x\"", "[]", "{}", "[{}]"] {
            assert_eq!(back(scalar), serde_json::from_str::<Json>(scalar).unwrap());
        }
        assert!(pack("{", Level::OWN).is_err() && pack("{} x", Level::OWN).is_err());
    }

    #[test]
    fn a_store_of_an_earlier_level_gets_names_and_texts_in_full() {
        let json = r#"{"id":"5","embedded":"us-east","lang":"online"}"#;
        let early = Level { names: 1, texts: 0 };
        let packed = pack(json, early).unwrap();
        assert!(packed.windows(8).any(|w| w == b"embedded"), "{packed:?}");
        assert!(packed.windows(6).any(|w| w == b"online"), "{packed:?}");
        let doc = Doc::whole(&packed).unwrap();
        assert_eq!(serde_json::to_string(&doc).unwrap(), json);
        assert!(pack(json, Level::OWN).unwrap().len() < packed.len() / 2);
    }

    #[test]
    fn half_a_surrogate_pair_is_replaced_in_a_payload() {
        let packed = payload(r#"{"d":"\ud83d x \ude00\ud83d"}"#, Level::OWN).unwrap();
        let text = serde_json::to_string(&Value::whole(&packed).unwrap()).unwrap();
        assert_eq!(text, "{\"d\":\"\u{fffd} x \u{fffd}\u{fffd}\"}");
    }

    #[test]
    fn a_member_takes_a_fifth_of_its_text() {
        let member = r#"{"nick":null,"avatar":null,"banner":null,"roles":["1099511627776000001","1099511627776000002"],"joined_at":"2021-01-01T00:00:00.000000+00:00","premium_since":null,"deaf":false,"mute":false,"pending":false,"flags":0,"communication_disabled_until":null}"#;
        let packed = pack(member, Level::OWN).unwrap();
        assert!(
            packed.len() * 5 <= member.len(),
            "{} of {}",
            packed.len(),
            member.len()
        );
    }
}
