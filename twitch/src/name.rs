//! Names of Twitch: logins, which may change, and ids of users, which do not.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// The login of a user, which is the name of the user's channel too: 1 to 25 of `a` to `z`,
/// digits and `_`, in small letters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Login(Arc<str>);

/// Such a text is no login.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no login of Twitch: 1 to 25 of a to z, 0 to 9 and _")]
pub struct BadLogin(String);

impl Login {
    /// As Twitch writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Login {
    type Err = BadLogin;

    /// Takes a leading `#` and large letters, which people write.
    fn from_str(text: &str) -> Result<Self, BadLogin> {
        let login = text.trim().trim_start_matches('#').to_ascii_lowercase();
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        match (1..=25).contains(&login.len()) && login.chars().all(fits) {
            true => Ok(Self(login.into())),
            false => Err(BadLogin(text.chars().take(40).collect())),
        }
    }
}

impl TryFrom<String> for Login {
    type Error = BadLogin;

    fn try_from(text: String) -> Result<Self, BadLogin> {
        text.parse()
    }
}

impl From<Login> for String {
    fn from(login: Login) -> Self {
        login.0.as_ref().to_owned()
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of a user, and of the user's channel: it stays when the login changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub Arc<str>);

impl UserId {
    /// As Twitch writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for UserId {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_read_as_people_write_it_and_kept_as_twitch_does() {
        assert_eq!("#Some_Body1".parse(), Ok(Login("some_body1".into())));
        for bad in [
            "",
            "#",
            "a b",
            "é",
            "abcdefghijklmnopqrstuvwxyz",
            "a\r\nQUIT",
        ] {
            assert!(bad.parse::<Login>().is_err(), "{bad:?}");
        }
    }
}
