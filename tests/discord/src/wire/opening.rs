//! What the URL of a connection asks for.

use super::encode::Compression;

/// What the URL of a connection asked for.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    /// `v`: 9 or 10; any other is given back.
    pub(crate) version: Result<u8, String>,
    /// `compress`; `None` for one that does not exist.
    pub(crate) compression: Option<Compression>,
    /// Whether `encoding` is `json`, or left out.
    pub(crate) json: bool,
    /// The host by which the client knows the server.
    pub(crate) host: String,
    /// Path and query as they came, at most 200 characters.
    pub(crate) asked: String,
    /// The shard in the path of a resume URL.
    pub(crate) resume_shard: Option<u32>,
}

impl Opening {
    pub(crate) fn new(path: &str, query: &str, host: String) -> Self {
        let find = |name: &str| {
            query
                .split('&')
                .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
        };
        let version = match find("v") {
            None | Some("10") => Ok(10),
            Some("9") => Ok(9),
            Some(other) => Err(other.to_owned()),
        };
        let resume_shard = path
            .strip_prefix("/resume/")
            .and_then(|rest| rest.trim_end_matches('/').parse().ok());
        Self {
            version,
            compression: Compression::from_query(find("compress")),
            json: find("encoding").is_none_or(|encoding| encoding == "json"),
            host,
            asked: format!("{path}?{query}").chars().take(200).collect(),
            resume_shard,
        }
    }
}
