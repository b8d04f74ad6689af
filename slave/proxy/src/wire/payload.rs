//! Payloads: what a client sends, and how a dispatch is written.

use std::fmt::Write;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::end::End;

/// Bytes of one payload from a client. Source: "Sending Events".
pub(crate) const LONGEST: usize = 4096;

/// A payload from a client.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) op: u64,
    /// `null` where it is left out.
    pub(crate) data: String,
}

#[derive(Deserialize)]
struct Read<'a> {
    op: Option<u64>,
    #[serde(borrow, default)]
    d: Option<&'a RawValue>,
}

impl Payload {
    /// Reads one message.
    ///
    /// # Errors
    /// It is none: close code 4002.
    pub(crate) fn read(message: &[u8]) -> Result<Self, End> {
        if message.len() > LONGEST {
            return Err(End::undecoded("a payload has at most 4096 bytes"));
        }
        let read: Read<'_> = serde_json::from_slice(message)
            .map_err(|_| End::undecoded("a payload is a JSON object with op and d"))?;
        let op = read.op.ok_or(End::undecoded("a payload has an op"))?;
        let data = read.d.map_or("null", RawValue::get).to_owned();
        Ok(Self { op, data })
    }
}

/// A dispatch whose `d` is `data`.
pub(crate) fn dispatch(kind: &str, sequence: u64, data: &str) -> String {
    let mut text = String::with_capacity(data.len() + kind.len() + 48);
    // A kind comes from Discord and may be anything that stands in quotes there.
    let kind = serde_json::to_string(kind).unwrap_or_default();
    // Writing into a string does not fail.
    let _ = write!(text, r#"{{"t":{kind},"s":{sequence},"op":0,"d":{data}}}"#);
    text
}

/// A payload that is no dispatch.
pub(crate) fn plain(op: u64, data: &str) -> String {
    format!(r#"{{"t":null,"s":null,"op":{op},"d":{data}}}"#)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_an_object_with_an_op() {
        let payload = Payload::read(br#"{"d":{"a":[1]},"op":3,"more":null}"#).unwrap();
        assert_eq!((payload.op, payload.data.as_str()), (3, r#"{"a":[1]}"#));
        assert_eq!(Payload::read(br#"{"op":1}"#).unwrap().data, "null");
        let long = format!(r#"{{"op":1,"d":"{}"}}"#, "x".repeat(LONGEST));
        let odd = [
            "",
            "7",
            "[]",
            "{}",
            r#"{"op":"1"}"#,
            r#"{"op":-1}"#,
            "{",
            &long,
        ];
        for odd in odd {
            let end = Payload::read(odd.as_bytes()).unwrap_err();
            assert!(matches!(end, End::Close(4002, _)), "{odd}: {end:?}");
        }
        let deep = format!(r#"{{"op":1,"d":{}}}"#, "[".repeat(3000));
        assert!(
            Payload::read(deep.as_bytes()).is_err(),
            "and no stack is deep enough"
        );
    }

    #[test]
    fn a_dispatch_is_written_as_discord_does() {
        assert_eq!(
            dispatch("MOON_RISE", 7, "{}"),
            r#"{"t":"MOON_RISE","s":7,"op":0,"d":{}}"#
        );
    }
}
