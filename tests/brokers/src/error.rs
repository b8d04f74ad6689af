//! Why there is no broker.

use std::{io, io::Write};

/// Why there is no broker, or why it does not do as it is told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not installed.
    #[error("{0}: scripts/brokers installs it")]
    Missing(String),
    /// It does not take connections.
    #[error("{name} does not start; the end of its log: {log}")]
    Start {
        /// The program.
        name: &'static str,
        /// Its last lines.
        log: String,
    },
    /// The system does not let it.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// It answers something else than it was asked.
    #[error("{name} was asked to {what}, and said: {said}")]
    Answer {
        /// The program.
        name: &'static str,
        /// What it was to do.
        what: &'static str,
        /// What it said.
        said: String,
    },
}

impl Error {
    pub(crate) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }
}

/// What a test needs that may not be installed. If it is not, that is said, past the harness,
/// which would show it of a test that fails only; with `BATON_BROKERS=all` it is a failure.
///
/// # Panics
/// It is there and does not start, or is missing where all are to be there.
pub fn or_pass_over<T>(found: Result<T, Error>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(Error::Missing(what)) => {
            let all = are_wanted();
            assert!(!all, "{what}: scripts/brokers installs it");
            let test = std::thread::current().name().unwrap_or_default().to_owned();
            let _ = writeln!(
                io::stderr(),
                "{test}: PASSED OVER: {what}; scripts/brokers installs it"
            );
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Whether what is missing is a failure.
#[must_use]
pub fn are_wanted() -> bool {
    std::env::var_os("BATON_BROKERS").is_some_and(|word| word == "all")
}
