//! How the local clients of a slave do, where it serves some: a gateway for bots in other
//! languages. Nothing here decides anything.

use serde::{Deserialize, Serialize};

use crate::id::ShardId;

/// What a slave says of its clients in a [`Pong`](super::Pong). Counts begin with its
/// process. Texts come from clients: they are short, and say what they please.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Clients {
    /// Where they connect: an address and a port.
    pub address: String,
    /// Whether it listens there. Another process may have the address.
    pub listening: bool,
    /// Whether the master opened the socket and passed it on: then it is the same one for all
    /// slaves of the slot.
    pub passed: bool,
    /// Open connections, those that did not identify too.
    pub connections: u64,
    /// Connected clients that began a session, by library; at most
    /// [`Clients::MAX_NAMED`].
    pub libraries: Vec<Library>,
    /// Shards that have a client, which is connected.
    pub attended: u64,
    /// Shards that have none.
    pub unattended: u64,
    /// Of those the ones that have been without one for the longest time, that one first;
    /// at most [`Clients::MAX_NAMED`].
    pub absent: Vec<Absent>,
    /// The clients with most events before them, that one first; at most
    /// [`Clients::MAX_NAMED`]. Those that have none are left out.
    pub behind: Vec<Behind>,
    /// Bytes of events that are kept because no client has acknowledged them.
    pub kept_bytes: u64,
    /// As many of all shards together are kept at most.
    pub kept_limit: u64,
    /// The shard with most bytes that no client has acknowledged.
    pub fullest_shard: ShardId,
    /// So many.
    pub fullest_bytes: u64,
    /// As many of one shard are kept at most.
    pub shard_limit: u64,
    /// For so long events are kept for a shard without a client, in milliseconds.
    pub keep_ms: u64,
    /// Shards with events that no client has acknowledged: those first that are given up
    /// soonest, then those whose oldest event is the oldest; at most [`Clients::MAX_NAMED`].
    pub waiting: Vec<Waiting>,
    /// What was given up last of each shard, the newest first; at most
    /// [`Clients::MAX_NAMED`].
    pub given_up: Vec<GivenUp>,
    /// Events that came for clients.
    pub events: u64,
    /// Sessions that clients began.
    pub sessions: u64,
    /// Of those, the ones that took over from a client that was connected.
    pub takeovers: u64,
    /// RESUMEs that went through.
    pub resumes: u64,
    /// RESUMEs that did not: their clients began anew.
    pub resumes_refused: u64,
    /// Events that RESUMEs replayed.
    pub replayed: u64,
    /// Events that no client got, because they could not be kept longer.
    pub lost: u64,
    /// Events that passed by while no client had come for a long time.
    pub passed_by: u64,
    /// Connections and requests that were refused, by code; at most
    /// [`Clients::MAX_NAMED`].
    pub refused: Vec<Refusals>,
}

impl Clients {
    /// More libraries, shards, clients or codes are not named.
    pub const MAX_NAMED: usize = 16;
    /// Bytes of a text, at most.
    pub const MAX_TEXT: usize = 128;

    /// What of it a master keeps: no list and no text is longer than it may be.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.libraries.truncate(Self::MAX_NAMED);
        self.absent.truncate(Self::MAX_NAMED);
        self.behind.truncate(Self::MAX_NAMED);
        self.waiting.truncate(Self::MAX_NAMED);
        self.given_up.truncate(Self::MAX_NAMED);
        self.refused.truncate(Self::MAX_NAMED);
        for text in self.texts() {
            super::shorten(text, Self::MAX_TEXT);
        }
        self
    }

    /// Every text in it.
    pub(crate) fn texts(&mut self) -> Vec<&mut String> {
        let mut texts = vec![&mut self.address];
        texts.extend(self.libraries.iter_mut().map(|library| &mut library.name));
        texts.extend(self.refused.iter_mut().map(|refused| &mut refused.reason));
        texts.extend(
            self.given_up
                .iter_mut()
                .map(|given_up| &mut given_up.reason),
        );
        for behind in &mut self.behind {
            texts.extend([&mut behind.library, &mut behind.mirror]);
        }
        texts
    }
}

/// Clients of one library.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Library {
    /// Its name, as it says it.
    pub name: String,
    /// How many of its clients are connected.
    pub clients: u64,
}

/// A shard without a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Absent {
    /// The shard.
    pub shard: ShardId,
    /// For how long, in milliseconds.
    pub away_ms: u64,
    /// Events that wait for one.
    pub waiting: u64,
}

/// What is kept of a shard because no client has acknowledged it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Waiting {
    /// The shard.
    pub shard: ShardId,
    /// So many events.
    pub events: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// How long ago the oldest of them came, in milliseconds.
    pub oldest_ms: u64,
    /// For how long nothing was taken from the service because there is no room, in
    /// milliseconds; none: there is room.
    pub full_ms: Option<u64>,
    /// In how many milliseconds it is given up, unless a client comes or acknowledges; none:
    /// it is not.
    pub gives_up_ms: Option<u64>,
}

/// What was given up of a shard: no client got it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GivenUp {
    /// The shard.
    pub shard: ShardId,
    /// Why, in a few words.
    pub reason: String,
    /// How many events.
    pub events: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// How long ago, in milliseconds.
    pub ago_ms: u64,
}

/// A client that has events before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Behind {
    /// Its shard.
    pub shard: ShardId,
    /// Its library.
    pub library: String,
    /// The name of a mirror; empty: it handles the shard's events.
    pub mirror: String,
    /// Whether it is connected.
    pub connected: bool,
    /// Events that it was not sent yet.
    pub unsent: u64,
    /// Events that it was sent and has not acknowledged.
    pub unacknowledged: u64,
}

/// Refusals with one code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Refusals {
    /// A close code of the gateway, or a status of HTTP.
    pub code: u16,
    /// How many.
    pub count: u64,
    /// What the last one was told.
    pub reason: String,
    /// How long ago that was, in milliseconds.
    pub ago_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_slave_says_of_its_clients_has_an_end() {
        let long = "\u{e4}".repeat(500);
        let library = Library {
            name: long.clone(),
            clients: 1,
        };
        let behind = Behind {
            library: long.clone(),
            mirror: long.clone(),
            ..Behind::default()
        };
        let refused = Refusals {
            reason: long.clone(),
            ..Refusals::default()
        };
        let given_up = GivenUp {
            reason: long.clone(),
            ..GivenUp::default()
        };
        let clients = Clients {
            address: long,
            libraries: vec![library; 100],
            absent: vec![Absent::default(); 100],
            behind: vec![behind; 100],
            refused: vec![refused; 100],
            waiting: vec![Waiting::default(); 100],
            given_up: vec![given_up; 100],
            ..Clients::default()
        };
        let bounded = clients.bounded();
        assert_eq!(bounded.address.len(), Clients::MAX_TEXT);
        assert_eq!(bounded.libraries.len(), Clients::MAX_NAMED);
        assert_eq!(bounded.absent.len(), Clients::MAX_NAMED);
        let last = &bounded.behind[Clients::MAX_NAMED - 1];
        let texts = [&last.library, &last.mirror, &bounded.libraries[9].name];
        assert!(texts.iter().all(|text| text.len() == Clients::MAX_TEXT));
        assert_eq!(bounded.refused[3].reason.len(), Clients::MAX_TEXT);
        assert_eq!(bounded.waiting.len(), Clients::MAX_NAMED);
        assert_eq!(bounded.given_up.len(), Clients::MAX_NAMED);
        assert_eq!(bounded.given_up[3].reason.len(), Clients::MAX_TEXT);
    }
}
