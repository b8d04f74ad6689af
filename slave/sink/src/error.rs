//! Why a sink does not start.

use crate::address::Broker;

/// Why a sink does not start. No text of it has a password.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is none.
    #[error("{0}")]
    Address(String),
    /// The address is one of a broker that this build knows nothing of.
    #[error("this build cannot publish to {broker}: build it with `--features {feature}`")]
    NotBuilt {
        /// Which broker.
        broker: Broker,
        /// The feature of the package.
        feature: &'static str,
    },
    /// A setting is out of its range.
    #[error("{setting}: {wrong}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// What is wrong with it, and what it may be.
        wrong: String,
    },
    /// The broker does not let this program in, or is no such broker.
    #[error("{place}: {reason}")]
    Refused {
        /// The broker's address, without a password.
        place: String,
        /// Why, and what to do.
        reason: String,
    },
    /// What the broker has is not what would be declared.
    #[error(
        "{place}: {what} is there and differs: {}. Change these settings, or the broker's, or give another name",
        .differences.join(", ")
    )]
    Differs {
        /// The broker's address, without a password.
        place: String,
        /// The stream, exchange or queue.
        what: String,
        /// What differs, as in `max_bytes is 10, not 20`.
        differences: Vec<String>,
    },
}
