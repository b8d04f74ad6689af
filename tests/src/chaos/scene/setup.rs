//! What one run's fleet is like.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use baton_brokers::Kind;

use super::super::{
    agent::{HOST, all},
    leaders::Masters,
    unending::Keeps,
    wire::Wire,
};
use crate::{
    discord::DiscordOptions,
    fleet::{Crash, FleetOptions, SlotOptions, Special},
    shim::Loads,
};

/// What a run needs that is not like every other run.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Shards of the bot.
    pub shards: u32,
    /// Events a second on each shard.
    pub rate: f64,
    /// Milliseconds that a handler takes.
    pub handler_ms: u64,
    /// How long each byte takes between master and slaves during a deploy: so
    /// long does each step of a migration take at least, and can be hit.
    pub pace: Duration,
    /// How long there is traffic before anything happens.
    pub warm: Duration,
    /// How long the old slave stays ready after a deploy.
    pub soak: Duration,
    /// Further flags of the simulated Discord.
    pub discord: Vec<String>,
    /// Further flags of the slaves.
    pub slave: Vec<String>,
    /// Further flags of the build that a deploy brings.
    pub second: Vec<String>,
    /// Limits of the master that differ from those of every row.
    pub limits: BTreeMap<&'static str, String>,
    /// How much longer than on an idle host the master waits before it gives
    /// somebody up.
    pub stretch: f64,
    /// Whether slaves write their state down.
    pub snapshots: Snapshots,
    /// How long the slaves of the slot serve without a master, if not for ever.
    pub lease: Option<&'static str>,
    /// Standbys of the slot.
    pub standbys: u32,
    /// Where the first master kills itself.
    pub crash: Option<Crash>,
    /// Who can be struck by faults of the C library.
    pub shim: Loads,
    /// What build the first master is like, and the later ones.
    pub masters: [Option<&'static str>; 2],
    /// Whether the journal has a folder of its own.
    pub data_apart: bool,
    /// Whether shards are sealed late.
    pub late_seal: bool,
    /// Whose handlers never finish one event.
    pub keeps: Option<Keeps>,
    /// So many events of each shard come at once before anything happens.
    pub flood: Option<u32>,
    /// Whether a plain deploy follows in a quick run too.
    pub again: bool,
    /// Whose log is not read.
    pub unread: Unread,
    /// Where the slaves are the gateway of local clients, to whom all events go.
    pub proxy: Option<SocketAddr>,
    /// The broker that the slaves publish to.
    pub broker: Option<Kind>,
    /// Whether an agent launches the slaves, and not the master.
    pub agent: bool,
    /// Whether there are two masters, each as on a host of its own, that share a store.
    pub leaders: bool,
    /// Seed of traffic and guilds.
    pub seed: u64,
}

/// Whether slaves write their state down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snapshots {
    /// Each 300 ms.
    On,
    /// Never: state dies with its process.
    Off,
}

/// Whose standard error is a full pipe that is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// Everybody's is read.
    Nobody,
    /// Each slave's.
    Slaves,
    /// The master's.
    Master,
}

impl Setup {
    /// Four shards that are busy enough to notice a quarter of a second.
    #[must_use]
    pub fn usual(seed: u64) -> Self {
        Self {
            shards: 4,
            rate: 40.0,
            handler_ms: 0,
            pace: Duration::from_millis(80),
            warm: Duration::from_millis(400),
            soak: Duration::from_millis(800),
            discord: Vec::new(),
            slave: Vec::new(),
            second: Vec::new(),
            limits: BTreeMap::new(),
            stretch: 1.0,
            snapshots: Snapshots::On,
            lease: None,
            standbys: 0,
            crash: None,
            shim: Loads::Nobody,
            masters: [None; 2],
            data_apart: false,
            late_seal: false,
            keeps: None,
            flood: None,
            again: false,
            unread: Unread::Nobody,
            proxy: None,
            broker: None,
            agent: false,
            leaders: false,
            seed,
        }
    }

    /// What slaves know of guilds is in a store, which stays where it is; state is not written
    /// down otherwise.
    pub fn store(&mut self) {
        self.slave
            .extend(["--state".to_owned(), "store".to_owned()]);
        self.snapshots = Snapshots::Off;
    }

    /// Whether each build has a store.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        let says = |flags: &[String], what| flags.iter().any(|flag| flag == what);
        says(&self.slave, "store") && !says(&self.second, "cache")
    }
}

/// The master's limits, scaled down so that a run takes seconds. Those by which it
/// gives somebody up are stretched on a busy host; the others say how often or how
/// many, or belong to what the handlers of a row take.
fn limits(stretch: f64) -> BTreeMap<&'static str, String> {
    let patience = [
        ("adopt_grace", 1500),
        ("ready", 6000),
        ("seal", 2000),
        ("no_progress", 2500),
        ("copy", 4000),
        ("retire", 3000),
        ("shard_in_hand", 3000),
        ("hang", 1500),
    ]
    .map(|(name, millis)| (name, format!("{}ms", (f64::from(millis) * stretch) as u64)));
    let others = [
        ("contact", "300ms"),
        ("drain", "2s"),
        ("backoff", "200ms"),
        ("backoff_max", "2s"),
        ("ping", "300ms"),
        ("checkpoint_to_disk", "200ms"),
        ("width", "4"),
    ]
    .map(|(name, limit)| (name, limit.to_owned()));
    patience.into_iter().chain(others).collect()
}

/// `masters`: two of them, if there are two.
pub(super) fn options(
    setup: &Setup,
    to_master: &Wire,
    to_discord: &Wire,
    masters: Option<&Masters>,
) -> FleetOptions {
    let mut special = Special {
        limits: limits(setup.stretch),
        master_wrapper: wrapper(setup.unread),
        crash: setup.crash,
        lease: setup.lease,
        standbys: setup.standbys,
        clients_at: setup.proxy,
        late_seal: setup.late_seal,
        data_apart: setup.data_apart,
        shim: setup.shim,
        master_as: setup.masters[0],
        slots: slots(setup),
        stores: masters.map(Masters::stores),
        ..Special::default()
    };
    special.limits.extend(setup.limits.clone());
    for (flag, value) in [
        (
            "--master",
            all(to_master, masters.map(|masters| &masters.to_other)),
        ),
        ("--gateway-url", format!("ws://{}", to_discord.address())),
    ] {
        special.slave_flags.extend([flag.to_owned(), value]);
    }
    special.slave_flags.extend(setup.slave.iter().cloned());
    // Each slave has its own log and answers at its own socket, whoever launched it.
    let snapshots = match setup.snapshots {
        Snapshots::On => {
            r#"--snapshots "$BATON_RUNTIME_DIR/../run/snapshots" --snapshot-every 300ms"#
        }
        Snapshots::Off => "",
    };
    let before = setup.shim.before_slave();
    let log = match setup.unread {
        Unread::Slaves => "",
        Unread::Nobody | Unread::Master => r#"2>>"$BATON_RUNTIME_DIR/../logs/slave-$$.log""#,
    };
    let full = full_pipe(setup.unread == Unread::Slaves);
    let script = format!(
        r#"{full}{before}exec "$0" --store "$BATON_RUNTIME_DIR/../run/store" "$@" {snapshots} --inspect "unix:$BATON_RUNTIME_DIR/../run/inspect-%p" {log}"#
    );
    special.slave_wrapper = ["/bin/sh", "-c", &script].map(str::to_owned).to_vec();
    let mut discord = DiscordOptions {
        shards: setup.shards,
        seed: setup.seed,
        ..DiscordOptions::default()
    };
    discord.more.extend(setup.discord.iter().cloned());
    FleetOptions {
        discord,
        handler_ms: setup.handler_ms,
        soak: setup.soak,
        launch: true,
        keep: true,
        special,
        ..FleetOptions::default()
    }
}

/// The one slot, if it is the agent's.
fn slots(setup: &Setup) -> Vec<SlotOptions> {
    if !setup.agent {
        return Vec::new();
    }
    let listen = setup.proxy.map(|at| format!("listen = \"{at}\"\n"));
    vec![SlotOptions {
        name: "main".to_owned(),
        host: Some(HOST.to_owned()),
        shards: None,
        more: listen.unwrap_or_default(),
    }]
}

/// A full disk is played by a limit of the file size, which must not be a
/// signal that kills.
fn wrapper(unread: Unread) -> Vec<String> {
    let full = full_pipe(unread == Unread::Master);
    let script = format!(r#"trap '' XFSZ; {full}exec "$0" "$@""#);
    ["/bin/sh", "-c", &script].map(str::to_owned).to_vec()
}

/// Part of a shell's script. The process holds the reading end too, so that the pipe is
/// never closed; the first byte that is written to it waits for ever.
fn full_pipe(wanted: bool) -> &'static str {
    if wanted {
        r#"export BATON_LOG=debug; d=$(mktemp -d); mkfifo "$d/p"; exec 2<>"$d/p"; rm -r "$d"; head -c 65536 /dev/zero >&2; "#
    } else {
        ""
    }
}
