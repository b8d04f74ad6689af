//! What belongs to a session: a build in which it differs cannot resume it.

use baton_protocol::discord::SessionParameters;

use super::SlaveConfig;

/// Discord's gateway version.
pub(crate) const API_VERSION: u8 = 10;

/// What this build asks for in the gateway URL.
const COMPRESSION: &str = if cfg!(feature = "zstd") {
    "zstd-stream"
} else if cfg!(feature = "zlib") {
    "zlib-stream"
} else {
    ""
};

impl SlaveConfig {
    /// What sessions of this build are identified with.
    #[must_use]
    pub fn parameters(&self, shard_count: u32) -> SessionParameters {
        SessionParameters {
            intents: self.intents.bits(),
            shard_count,
            api_version: API_VERSION,
            encoding: "json".to_owned(),
            compression: COMPRESSION.to_owned(),
            large_threshold: self.large_threshold,
            service: String::new(),
        }
    }
}

/// What twilight's websocket client takes without a panic.
pub(crate) fn is_gateway_url(url: &str) -> bool {
    let Some(rest) = url
        .strip_prefix("ws://")
        .or_else(|| url.strip_prefix("wss://"))
    else {
        return false;
    };
    let host = rest.split('/').next().unwrap_or_default();
    !host.is_empty()
        && url.len() <= 512
        && url
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b":/.-_~[]%".contains(&byte))
        && format!("{url}/?v=10").parse::<http::Uri>().is_ok()
}
