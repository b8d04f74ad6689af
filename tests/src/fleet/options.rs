//! How a fleet is set up.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use crate::{discord::DiscordOptions, hosts::Network, shim::Loads};

/// How a fleet is set up.
#[derive(Clone, Debug)]
pub struct FleetOptions {
    /// The simulated Discord.
    pub discord: DiscordOptions,
    /// Milliseconds that a handler takes.
    pub handler_ms: u64,
    /// How long the old slave stays ready after a deploy.
    pub soak: Duration,
    /// Program of the slaves, as built into the folder of programs.
    pub slave: String,
    /// Whether the slot has a command, so that the master starts slaves itself.
    pub launch: bool,
    /// Keep the folder with logs and sinks.
    pub keep: bool,
    /// What differs from the usual.
    pub special: Special,
}

impl Default for FleetOptions {
    /// A small one, whose slaves are the operator's own processes.
    fn default() -> Self {
        Self {
            discord: DiscordOptions::default(),
            handler_ms: 0,
            soak: Duration::from_millis(200),
            slave: "baton-slave".to_owned(),
            launch: false,
            keep: false,
            special: Special::default(),
        }
    }
}

/// What a test sets that is not like every other fleet.
#[derive(Clone, Debug, Default)]
pub struct Special {
    /// Limits of the master, by name; they win over the usual ones.
    pub limits: BTreeMap<&'static str, String>,
    /// Further flags of every slave; they win over the usual ones.
    pub slave_flags: Vec<String>,
    /// Program and arguments that run each slave's own command line, which
    /// follows them.
    pub slave_wrapper: Vec<String>,
    /// Program and arguments that run the master's command line, which follows
    /// them.
    pub master_wrapper: Vec<String>,
    /// Where slaves serve clients of their own: the master has the socket, and passes it on.
    pub clients_at: Option<SocketAddr>,
    /// How long the slaves of the slot serve without a master, if not for ever.
    pub lease: Option<&'static str>,
    /// The keys of each slot, a table each; none: the one slot `main`. With
    /// [`FleetOptions::launch`] each has the usual command.
    pub slot_keys: Vec<&'static str>,
    /// Standbys of the slot, if it has a command.
    pub standbys: u32,
    /// Where the next master kills itself.
    pub crash: Option<Crash>,
    /// What build the next master is like, if not like the one that is there:
    /// `BATON_MASTER_AS`.
    pub master_as: Option<&'static str>,
    /// Who can be struck by faults of the C library.
    pub shim: Loads,
    /// Whether the master seals shards late.
    pub late_seal: bool,
    /// Whether the journal has a folder of its own, `data`.
    pub data_apart: bool,
    /// Where the master answers operators over TCP.
    pub admin_listen: Option<String>,
    /// Hosts with an agent each: a slot of each name instead of `main`, with as many shards
    /// as the others.
    pub hosts: Vec<&'static str>,
    /// The slots, if they are not the one that is called `main`. Each has a command.
    pub slots: Vec<SlotOptions>,
    /// The network on which the fleet's hosts are: the master listens there, with
    /// certificates. `None`: everything is on this host.
    pub network: Option<Arc<Network>>,
    /// The store that two masters share, as each of them dials it. `None`: there is one
    /// master, with a journal of its own.
    pub stores: Option<[String; 2]>,
}

/// One slot of several.
#[derive(Clone, Debug)]
pub struct SlotOptions {
    /// What it is called.
    pub name: String,
    /// The host whose agent launches its slaves; `None`: the master does.
    pub host: Option<String>,
    /// Its shards, as the configuration has them (`0-31`); `None`: all.
    pub shards: Option<String>,
    /// Further lines of its table.
    pub more: String,
}

/// A master kills itself at a point of its own (`baton-master crash-points`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    /// The point's name.
    pub at: &'static str,
    /// From when on.
    pub armed: Armed,
}

/// From when on a master kills itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Armed {
    /// From its start.
    AtOnce,
    /// Once [`Fleet::arm`](crate::fleet::Fleet::arm) was called.
    Later,
}
