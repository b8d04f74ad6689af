//! What belongs to a service and not to Baton: bytes that a master keeps and hands on, and
//! does not read. Only a module that knows the service opens them ([`discord`](crate::discord)).

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::discord::SessionParameters;

/// A session that a service gave: from here another process can go on with it. Without
/// one: the default.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Session {
    /// Tells it from any other. A secret, as the rest.
    pub(crate) tag: Arc<str>,
    /// What the service needs to have it resumed.
    pub(crate) rest: Opaque,
}

impl Session {
    /// Whether there is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.tag.is_empty()
    }

    /// Whether both are of one session, or none. What else is known of it may differ: not
    /// every build knows everything.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.tag == other.tag
    }
}

impl fmt::Debug for Session {
    /// Whether there is one, and no more: it is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_none() {
            "no session"
        } else {
            "a session"
        })
    }
}

/// What a process would have its sessions made with, or what they were made with. It
/// belongs to a session: one that is resumed keeps it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "SessionParameters", into = "SessionParameters")]
pub struct Parameters(pub(crate) Opaque);

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "parameters of {} bytes", self.0.0.len())
    }
}

impl From<SessionParameters> for Parameters {
    fn from(parameters: SessionParameters) -> Self {
        parameters.seal()
    }
}

impl From<Parameters> for SessionParameters {
    fn from(sealed: Parameters) -> Self {
        Self::open(&sealed)
    }
}

/// Bytes of a service. What says nothing has none.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Opaque(Arc<[u8]>);

impl Opaque {
    pub(crate) fn seal<T: Serialize + Default + PartialEq>(value: &T) -> Self {
        if *value == T::default() {
            return Self::default();
        }
        let bytes = rmp_serde::to_vec_named(value);
        Self(
            bytes
                .expect("maps of numbers and strings always encode")
                .into(),
        )
    }

    pub(crate) fn open<T: DeserializeOwned + Default>(&self) -> T {
        if self.0.is_empty() {
            return T::default();
        }
        rmp_serde::from_slice(&self.0).expect("what was sealed as this is opened as this")
    }
}
