//! What a configuration is made of, and what counts where it says nothing.

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, time::Duration};

use super::shards::Shards;

/// Where slaves are listened for when nothing else is configured.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:7447";

/// Discord's own HTTP interface.
pub const DEFAULT_API_URL: &str = "https://discord.com";

/// Where the bot's token is looked for in the environment, and where launched slaves
/// find it.
pub const TOKEN_VARIABLE: &str = "DISCORD_TOKEN";

/// More shards than this are refused: far above what Discord gives to one bot.
pub const MAX_SHARDS: u32 = 16_384;

/// One place of the fleet, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// Program and arguments; `None`: the master launches nothing into it.
    pub command: Option<Vec<String>>,
    /// The shards that it begins with; `None`: every one that is left.
    pub shards: Option<Shards>,
    /// The host that its slaves run on; `None`: the master's own.
    pub host: Option<String>,
    /// How long its slaves serve without a master; `None`: for ever.
    pub lease: Option<Duration>,
    /// Further environment of its slave.
    pub env: BTreeMap<String, String>,
    /// File that its slave's output is appended to.
    pub log: Option<PathBuf>,
    /// Where its slave serves clients of its own: the master, or the agent of its host, has the
    /// socket, and passes it on.
    pub listen: Option<SocketAddr>,
}

/// A secret text: the bot's token, the operators'. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes a token as it was given, white space around it ignored.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}
