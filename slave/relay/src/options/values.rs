//! How single values are read.

use std::{
    fs,
    path::{Path, PathBuf},
};

use baton_protocol::token::token_in;
use baton_slave::Error;
use serde::{Deserialize, Deserializer, de::Error as _};
use twilight_model::gateway::Intents;

/// A number, or names with commas between them.
pub(super) fn intents(text: &str) -> Result<u64, String> {
    if let Ok(bits) = text.parse() {
        return Ok(bits);
    }
    let mut intents = Intents::empty();
    for name in text.split([',', '|']).map(str::trim) {
        intents |= Intents::from_name(&name.to_ascii_uppercase()).ok_or_else(|| {
            format!("intent `{name}` is unknown: give a number or Discord's names")
        })?;
    }
    Ok(intents.bits())
}

pub(super) fn intents_of_file<'de, D: Deserializer<'de>>(file: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "intents are a number, or names as in \"GUILDS,GUILD_MESSAGES\""
    )]
    enum Given {
        Bits(u64),
        Names(String),
    }
    match Given::deserialize(file)? {
        Given::Bits(bits) => Ok(Some(bits)),
        Given::Names(names) => intents(&names).map(Some).map_err(D::Error::custom),
    }
}

/// A number of bytes, or of MiB or GiB.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let (number, shift) = match text.trim() {
        text if text.ends_with("GiB") => (text.trim_end_matches("GiB"), 30),
        text if text.ends_with("MiB") => (text.trim_end_matches("MiB"), 20),
        text => (text, 0),
    };
    let bytes = number
        .trim()
        .parse()
        .ok()
        .filter(|number: &u64| *number > 0);
    let bytes = bytes.and_then(|number| number.checked_mul(1 << shift));
    bytes.ok_or_else(|| {
        format!("`{text}` is no size: give bytes, or a number and MiB or GiB, as in 512MiB")
    })
}

pub(super) fn bytes_of_file<'de, D: Deserializer<'de>>(file: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "a size is a number of bytes, or a text as in \"512MiB\""
    )]
    enum Given {
        Bytes(u64),
        Text(String),
    }
    let given = match Given::deserialize(file)? {
        Given::Bytes(number) => bytes(&number.to_string()),
        Given::Text(text) => bytes(&text),
    };
    given.map(Some).map_err(D::Error::custom)
}

pub(super) fn token(given: Option<String>, file: Option<PathBuf>) -> Result<String, Error> {
    let given = given.map(|token| token.trim().to_owned());
    if let Some(token) = given.filter(|token| !token.is_empty()) {
        return Ok(token);
    }
    let Some(path) = file else {
        return Err(Error::Config(
            "no token: set DISCORD_TOKEN or give --token-file".to_owned(),
        ));
    };
    token_of_file("token_file", &path)
}

/// `key` names the setting that names the file.
pub(super) fn token_of_file(key: &str, path: &Path) -> Result<String, Error> {
    let file = path.display();
    let bytes = fs::read(path)
        .map_err(|error| Error::Config(format!("{key}: {file} cannot be read: {error}")))?;
    token_in(&bytes).map_err(|reason| Error::Config(format!("{key}: {file}: {reason}")))
}

pub(super) fn default_runtime_dir() -> PathBuf {
    std::env::var_os("XDG_RUNTIME_DIR")
        .filter(|dir| !dir.is_empty())
        .map_or_else(|| PathBuf::from("/run"), PathBuf::from)
        .join("baton")
}
