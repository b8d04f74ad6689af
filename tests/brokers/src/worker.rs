//! The workers of `docs/workers.md`, as they stand there.

use std::{fs, path::Path};

use crate::{Error, Kind, Server, parts};

/// The library that a worker in Python stands on.
const fn library(kind: Kind) -> &'static str {
    match kind {
        Kind::Nats => "nats",
        Kind::Rabbit => "pika",
        Kind::Redis => "redis",
    }
}

/// A worker in Python as a program.
#[derive(Clone, Debug)]
pub struct Python {
    /// Its text.
    pub text: String,
    /// What it is to find in its environment.
    pub environment: Vec<(&'static str, String)>,
}

/// The first worker in a document of `docs` that is written in this language and has this word.
///
/// # Errors
/// There is none.
pub fn block(document: &str, language: &str, word: &str) -> Result<String, Error> {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/{document}"));
    let read = fs::read_to_string(&guide);
    let read = read.map_err(Error::system(format!("read {}", guide.display())))?;
    let begins = format!("{language},worker\n");
    let blocks = read.split("```");
    let mut blocks = blocks.filter_map(|block| block.strip_prefix(&*begins));
    let text = blocks.find(|block| block.contains(word));
    let missing = || {
        Error::Missing(format!(
            "no worker in {language} with `{word}` in {document}"
        ))
    };
    text.map(str::to_owned).ok_or_else(missing)
}

/// Where a worker finds its broker, whose address is `url`: what `--sink` takes.
#[must_use]
pub fn address(kind: Kind, url: &str) -> (&'static str, String) {
    match kind {
        Kind::Nats => ("NATS_URL", url.to_owned()),
        Kind::Rabbit => ("AMQP_URL", url.replace("amqp://", "amqp://guest:guest@")),
        // The library has a name of its own for a socket file.
        Kind::Redis => ("REDIS_URL", url.replace("redis+unix", "unix")),
    }
}

/// The worker of a broker, for so many shards, whose broker is at `url`: what `--sink` takes.
///
/// # Errors
/// Its library is not installed, or the guide has no such worker.
pub fn python(kind: Kind, url: &str, shards: u32) -> Result<Python, Error> {
    let library = library(kind);
    let folder = parts::python(library)?;
    let text = block("workers.md", "python", &format!("import {library}\n"))?;
    Ok(Python {
        text,
        environment: vec![
            ("PYTHONPATH", folder.display().to_string()),
            ("SHARDS", shards.to_string()),
            // Of NATS: a worker that was killed is waited for no longer than this.
            ("GIVEN_UP_AFTER", "5".to_owned()),
            address(kind, url),
        ],
    })
}

/// The same for a server.
///
/// # Errors
/// As [`python`].
pub fn of(server: &Server, shards: u32) -> Result<Python, Error> {
    python(server.kind(), &server.url(), shards)
}
