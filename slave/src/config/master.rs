//! Where the master is, and what it is known by.

use std::{env, fmt, fs, path::PathBuf, str::FromStr};

use baton_protocol::{
    auth::{SECRET_VARIABLE, Secret},
    message::Role,
};

use crate::error::Error;

/// Where a master listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `HOST:PORT`.
    Tcp(String),
    /// `unix:/PATH`.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err("`unix:` has no path: give unix:/path/to/socket".to_owned());
            }
            return Ok(Self::Unix(path.into()));
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Self::Tcp(text.to_owned()))
            }
            _ => Err(format!(
                "`{text}` is no address: give HOST:PORT or unix:/path/to/socket"
            )),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

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

    /// The secret as it is now; `None`: there is none (yet).
    pub(crate) fn read(&self) -> Option<Secret> {
        match self {
            Self::Given(secret) => Some(secret.clone()),
            Self::File(path) => Secret::from_hex(&fs::read_to_string(path).ok()?),
            Self::None => None,
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
