//! The JSON of a payload: `op` and `d` from a client, a dispatch to it.

use std::fmt::Write;

use serde_json::Value;

use super::end::End;
use crate::id::Fingerprint;

/// Bytes of one payload from a client. Source: "Sending Events".
const MAX_PAYLOAD: usize = 4096;

/// A payload from a client.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) op: u64,
    /// `null` where it is left out.
    pub(crate) data: Value,
}

impl Payload {
    /// Reads one message. `Err` closes the connection with 4002.
    pub(crate) fn read(message: &[u8]) -> Result<Self, End> {
        if message.len() > MAX_PAYLOAD {
            return Err(End::Close(4002, "payload above 4096 bytes"));
        }
        let Ok(Value::Object(mut payload)) = serde_json::from_slice::<Value>(message) else {
            return Err(End::Close(4002, "payload is not a JSON object"));
        };
        let data = payload.remove("d").unwrap_or(Value::Null);
        let Some(op) = payload.get("op").and_then(Value::as_u64) else {
            return Err(End::Close(4002, "payload has no op"));
        };
        Ok(Self { op, data })
    }
}

/// The payload of a dispatch whose `d` is `body`. `stamp`: what names its session; then `d`
/// says in a field of its own which dispatch it is.
pub(crate) fn dispatch(name: &str, seq: u64, body: &str, stamp: Option<Fingerprint>) -> String {
    let mut frame = String::with_capacity(body.len() + 96);
    let _ = write!(frame, r#"{{"t":"{name}","s":{seq},"op":0,"d":"#);
    match (stamp, body.strip_prefix('{')) {
        (Some(session), Some(fields)) => {
            let comma = if fields.starts_with('}') { "" } else { "," };
            let _ = write!(frame, r#"{{"_stamp":"{session}:{seq}"{comma}{fields}"#);
        }
        (Some(_) | None, _) => frame.push_str(body),
    }
    frame.push('}');
    frame
}

#[cfg(test)]
mod tests {
    use super::{Fingerprint, dispatch};

    #[test]
    fn a_stamp_is_one_more_field_of_whatever_it_is_put_on() {
        let stamp = Some(Fingerprint(0xab));
        assert_eq!(
            dispatch("T", 7, r#"{"a":1}"#, stamp),
            r#"{"t":"T","s":7,"op":0,"d":{"_stamp":"00000000000000ab:7","a":1}}"#
        );
        assert_eq!(
            dispatch("T", 7, "{}", stamp),
            r#"{"t":"T","s":7,"op":0,"d":{"_stamp":"00000000000000ab:7"}}"#
        );
        assert_eq!(
            dispatch("T", 7, "{}", None),
            r#"{"t":"T","s":7,"op":0,"d":{}}"#
        );
    }
}
