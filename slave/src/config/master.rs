//! What the master is known by, and why a slave comes to it.

use std::{env, fs, io, path::PathBuf};

use baton_protocol::{
    auth::{SECRET_VARIABLE, Secret},
    message::Role,
};

use crate::error::Error;

/// Where the fleet's secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// It was given, for example by the master that launched this process.
    Given(Secret),
    /// This file, read at each dial: the master may make it later.
    File(PathBuf),
    /// There is none; enough for a unix socket whose owner is the same user.
    None,
}

impl SecretSource {
    /// `BATON_SECRET`, else the file `secret` of the runtime directory, else
    /// none.
    ///
    /// # Errors
    /// `BATON_SECRET` is no secret.
    pub fn from_env(runtime_dir: Option<PathBuf>) -> Result<Self, Error> {
        match env::var(SECRET_VARIABLE).ok().filter(|hex| !hex.is_empty()) {
            Some(hex) => Secret::from_hex(&hex).map(Self::Given).ok_or_else(|| {
                Error::Config(format!("{SECRET_VARIABLE} is not 64 hex digits: unset it"))
            }),
            None => Ok(runtime_dir.map_or(Self::None, |dir| Self::File(dir.join("secret")))),
        }
    }

    /// The secret as it is now, else why there is none (yet), and what to do.
    pub(crate) fn read(&self) -> Result<Secret, String> {
        let path = match self {
            Self::Given(secret) => return Ok(secret.clone()),
            Self::File(path) => path,
            Self::None => {
                return Err(format!(
                    "set {SECRET_VARIABLE} to what the file `secret` of the master's runtime \
                     directory says"
                ));
            }
        };
        let copy = format!(
            "copy the file `secret` of the master's runtime directory there, with mode 0600, or set \
             {SECRET_VARIABLE} to what it says"
        );
        let path_shown = path.display();
        match fs::read_to_string(path) {
            Ok(text) => Secret::from_hex(&text)
                .ok_or_else(|| format!("{path_shown} does not hold 64 hex digits: {copy}")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(format!("{path_shown} does not exist: {copy}"))
            }
            Err(error) => Err(format!("{path_shown} cannot be read: {error}")),
        }
    }
}

/// Reads `candidate`, `standby` or `relaunch`.
///
/// # Errors
/// A sentence that says what to change.
pub fn parse_role(text: &str) -> Result<Role, String> {
    match text {
        "candidate" => Ok(Role::Candidate),
        "standby" => Ok(Role::Standby),
        "relaunch" => Ok(Role::Relaunch),
        other => Err(format!(
            "role `{other}` is unknown: give candidate, standby or relaunch"
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_no_secret_it_is_said_which_file_it_belongs_into() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let source = SecretSource::File(path.clone());
        let shown = path.display().to_string();
        let why = source.read().unwrap_err();
        assert!(why.contains(&format!("{shown} does not exist")), "{why}");
        assert!(
            why.contains("0600") && why.contains("BATON_SECRET"),
            "{why}"
        );
        fs::write(&path, "not a secret\n").unwrap();
        let why = source.read().unwrap_err();
        assert!(why.contains(&format!("{shown} does not hold")), "{why}");
        fs::write(&path, format!("{}\n", "0f".repeat(32))).unwrap();
        assert!(source.read().is_ok());
        let why = SecretSource::None.read().unwrap_err();
        assert!(why.contains("BATON_SECRET"), "{why}");
    }
}
