//! Names of hosts and of fleets, as an operator gives them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A name is at most so many bytes.
pub const MAX_HOST_NAME: usize = 63;

/// The name of a host (a machine, a virtual machine or a container in which slaves run), or
/// of a fleet: lower-case letters, digits, `.` and `-`, the first one a letter or a digit.
/// So it stands in a path, an address and a log line as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

impl HostName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_first = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_good = |byte: u8| is_first(&byte) || matches!(byte, b'.' | b'-');
        let bytes = text.as_bytes();
        if bytes.len() <= MAX_HOST_NAME
            && bytes.first().is_some_and(is_first)
            && bytes.iter().copied().all(is_good)
        {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "`{}` is no name: give 1 to {MAX_HOST_NAME} of a-z, 0-9, `.` and `-`, the first one a \
             letter or a digit",
            text.escape_debug()
        ))
    }
}

impl TryFrom<String> for HostName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_can_stand_in_a_path_and_in_an_address() {
        let longest = "a".repeat(MAX_HOST_NAME);
        for good in ["a", "7", "bot-3", "eu.west-1", &longest] {
            let name: HostName = good.parse().expect(good);
            assert_eq!(name.to_string(), good);
        }
        let too_long = "a".repeat(MAX_HOST_NAME + 1);
        for bad in [
            "", "-a", ".a", "A", "a b", "a/b", "a_b", "é", "a\n", &too_long,
        ] {
            let refused = bad.parse::<HostName>().expect_err(bad);
            assert!(refused.contains("is no name"), "{refused}");
            assert!(!refused.contains('\n'));
        }
    }
}
