//! A bot that is killed, started, stopped and misbehaves as a run wants.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{connection::Connection, journal::Journal};

/// What a connection was told and has not done yet.
const ACTS: usize = 16;

/// How a bot reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reads {
    /// What comes, as it comes.
    #[default]
    AtOnce,
    /// It takes so long over each payload.
    Slowly(Duration),
    /// Nothing.
    Nothing,
}

/// What a bot can be told to do once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Send what is no payload.
    Garbage,
    /// Leave its socket as it is, open, and resume over another one.
    HalfOpen,
    /// Close in a way that keeps its session, and come back after so long.
    Away(Duration),
}

/// Where a bot ends by itself, as one that is killed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dies {
    /// Nowhere.
    #[default]
    Never,
    /// After READY, among its guilds.
    InReady,
    /// After so many dispatches that a RESUME brings.
    InReplay(u32),
}

/// One process of a bot, or what stands for it: a connection for each of its shards.
/// Dropped, it is killed.
#[derive(Debug)]
pub struct Bot {
    life: u32,
    journal: Journal,
    reads: watch::Sender<Reads>,
    acts: Vec<mpsc::Sender<Act>>,
    connections: Vec<JoinHandle<()>>,
}

/// What all connections of a bot share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) gateway: SocketAddr,
    pub(super) life: u32,
    pub(super) shards: u32,
    pub(super) dies: Dies,
    pub(super) journal: Journal,
    pub(super) reads: watch::Receiver<Reads>,
}

impl Bot {
    /// Starts the process of this number, which serves all `shards`.
    #[must_use]
    pub fn start(
        gateway: SocketAddr,
        life: u32,
        shards: u32,
        dies: Dies,
        journal: &Journal,
    ) -> Self {
        let (reads, reading) = watch::channel(Reads::AtOnce);
        let shared = Shared {
            gateway,
            life,
            shards,
            dies,
            journal: journal.clone(),
            reads: reading,
        };
        let (mut acts, mut connections) = (Vec::new(), Vec::new());
        for shard in 0..shards {
            let (act, told) = mpsc::channel(ACTS);
            acts.push(act);
            let living = Connection::new(shared.clone(), shard, told).live();
            connections.push(tokio::spawn(living));
        }
        Self {
            life,
            journal: journal.clone(),
            reads,
            acts,
            connections,
        }
    }

    /// Its number.
    #[must_use]
    pub const fn life(&self) -> u32 {
        self.life
    }

    /// From now on it reads like this.
    pub fn reads(&self, reads: Reads) {
        self.reads.send_replace(reads);
    }

    /// Each of its connections does this.
    pub fn act(&self, act: Act) {
        for connection in &self.acts {
            let _ = connection.try_send(act);
        }
    }

    /// Whether every connection has come to an end by itself.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.connections.iter().all(JoinHandle::is_finished)
    }
}

impl Drop for Bot {
    fn drop(&mut self) {
        for connection in &self.connections {
            connection.abort();
        }
        self.journal.breaks();
    }
}
