//! From a body to the value in it, and back.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{codec::Frame, error::DecodeError, msgpack};

/// A body of ids 1 to 10: taken as the Go decoder takes it. Bytes behind the
/// value are ignored, nil is a body of zeroes.
pub(crate) fn as_go<T: DeserializeOwned + Default>(id: u32, body: &[u8]) -> Result<T, DecodeError> {
    let length = msgpack::value_length(id, body)?;
    if body.first() == Some(&NIL) {
        return Ok(T::default());
    }
    typed(id, &body[..length])
}

/// A body of ids 11 to 99: exactly one value.
pub(crate) fn ours<T: DeserializeOwned>(id: u32, body: &[u8]) -> Result<T, DecodeError> {
    let length = msgpack::value_length(id, body)?;
    if length < body.len() {
        return Err(DecodeError::Trailing {
            id,
            extra: body.len() - length,
        });
    }
    typed(id, body)
}

fn typed<T: DeserializeOwned>(id: u32, value: &[u8]) -> Result<T, DecodeError> {
    rmp_serde::from_slice(value).map_err(|error| DecodeError::WrongType {
        id,
        detail: error.to_string(),
    })
}

const NIL: u8 = 0xc0;

/// A frame without a body.
pub(crate) fn empty(id: u32) -> Frame {
    raw(id, &Bytes::new())
}

/// A frame whose body is not msgpack.
pub(crate) fn raw(id: u32, body: &Bytes) -> Frame {
    Frame {
        id,
        body: body.clone(),
    }
}

/// Maps with field names, integers in their shortest form: what the Go
/// peers write.
pub(crate) fn named<T: Serialize>(id: u32, body: &T) -> Frame {
    let body = rmp_serde::to_vec_named(body)
        .expect("our bodies are maps of numbers, strings and lists, which always encode");
    Frame {
        id,
        body: body.into(),
    }
}

/// A message becomes a frame wherever one is wanted.
macro_rules! into_frame {
    ($($message:ty),*) => {
        $(
            impl From<$message> for crate::codec::Frame {
                fn from(message: $message) -> Self {
                    message.to_frame()
                }
            }
        )*
    };
}
pub(crate) use into_frame;

/// A span of time as whole milliseconds, for fields whose name ends in `_ms`.
pub(crate) mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        span: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D>(deserializer: D) -> Result<Duration, D::Error>
    where
        D: Deserializer<'de>,
    {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
