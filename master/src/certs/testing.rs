//! Certificates for tests.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use baton_protocol::tls::{CA_FILE, CERTIFICATE_FILE, KEY_FILE};
use tempfile::TempDir;

use super::{Authority, Life};

/// The authority of a fleet `f`.
pub(crate) struct Issuer(pub(crate) Authority);

impl Issuer {
    pub(crate) fn new() -> Self {
        // It outlives what it issues, also in the next second.
        let life = Life::of_days(2).unwrap();
        let (authority, _) = Authority::make(&"f".parse().unwrap(), life).unwrap();
        Self(authority)
    }

    fn life() -> Life {
        Life::of_days(1).unwrap()
    }

    /// Writes a folder for who has this name, such as `baton://f/master/home`.
    pub(crate) fn write(&self, name: &str, dir: &Path) {
        let (issued, key) = self
            .0
            .issue(&name.parse().unwrap(), &[], Self::life())
            .unwrap();
        for (file, text) in [
            (CA_FILE, self.0.pem()),
            (CERTIFICATE_FILE, &issued.certificate),
            (KEY_FILE, &key),
        ] {
            crate::whole_file::write(&dir.join(file), text.as_bytes()).unwrap();
        }
    }

    /// The same in a folder that is gone with the test.
    pub(crate) fn folder(&self, name: &str) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        self.write(name, dir.path());
        dir
    }
}
