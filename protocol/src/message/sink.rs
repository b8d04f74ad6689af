//! How the sink of a slave does, where it publishes its events to a broker. Nothing here
//! decides anything.

use serde::{Deserialize, Serialize};

/// What a slave says of its sink in a [`Pong`](super::Pong). Counts begin with its process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SinkReport {
    /// The broker's address, without a password.
    pub broker: String,
    /// Events that the broker confirmed.
    pub confirmed: u64,
    /// Of those, the ones that it had already.
    pub repeats: u64,
    /// Events that were published again, each time counted.
    pub retries: u64,
    /// Events that wait for their confirm, or for their turn.
    pub waiting: u64,
    /// Time from when each confirmed event was published first to its confirm, added up, in
    /// microseconds.
    pub confirming_us: u64,
    /// The median of that time, of the newest confirms, in microseconds.
    pub confirm_p50_us: u64,
    /// The same that 99 of 100 events did not exceed.
    pub confirm_p99_us: u64,
    /// Events that the broker does not take now, at most one of each guild.
    pub refused: u64,
    /// For how long there has been one all the time, in milliseconds.
    pub refused_ms: u64,
    /// Why the last one was not taken, for a person; empty: the broker takes what it gets.
    pub reason: String,
}

impl SinkReport {
    /// Bytes of a text, at most.
    pub const MAX_TEXT: usize = 512;

    /// What of it a master keeps: no text is longer than it may be.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        for text in self.texts() {
            super::shorten(text, Self::MAX_TEXT);
        }
        self
    }

    /// Whether the broker does not take what it gets.
    #[must_use]
    pub const fn is_troubled(&self) -> bool {
        self.refused > 0
    }

    /// Every text in it.
    pub(crate) fn texts(&mut self) -> [&mut String; 2] {
        [&mut self.broker, &mut self.reason]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_slave_says_of_its_sink_has_an_end() {
        let long = "\u{e4}".repeat(5000);
        let report = SinkReport {
            broker: long.clone(),
            reason: long,
            ..SinkReport::default()
        };
        let bounded = report.bounded();
        assert_eq!(bounded.broker.len(), SinkReport::MAX_TEXT);
        assert_eq!(bounded.reason.len(), SinkReport::MAX_TEXT);
    }
}
