//! The JSON of a payload: `op` and `d` from a client, a dispatch to it.

use std::fmt::Write;

use serde_json::Value;

use super::end::End;

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

/// The payload of a dispatch whose `d` is `body`.
pub(crate) fn dispatch(name: &str, seq: u64, body: &str) -> String {
    let mut frame = String::with_capacity(body.len() + 64);
    let _ = write!(frame, r#"{{"t":"{name}","s":{seq},"op":0,"d":"#);
    frame.push_str(body);
    frame.push('}');
    frame
}
