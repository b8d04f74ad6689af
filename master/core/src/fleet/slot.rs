//! One place of the fleet: its shards, and the slave that fills it.

use std::{collections::BTreeSet, time::Duration};

use baton_protocol::{Hosts, LaunchId, ShardId, SlaveId};

use crate::{
    Members,
    event::{Done, LastDeploy, Losses, Time},
    settings::{Settings, SlotSettings, doubled},
};

/// One place of the fleet.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) name: String,
    /// The host that its slaves run on; `None`: the master's own.
    pub(crate) host: Option<String>,
    /// The shards that are in it now. Where one is to be is the shard's own (`home`).
    pub(crate) members: Members,
    pub(crate) size: usize,
    pub(crate) launches: bool,
    /// Whether nothing can be started into it: the agent of its host is away.
    pub(crate) agent_away: bool,
    /// How long its slaves serve without a leader; `None`: for ever.
    pub(crate) lease: Option<Duration>,
    /// Whether the settings do not have it any more: it is there for its slaves, until they
    /// have ended.
    pub(crate) is_out: bool,
    /// The slave that fills it. It may be away; only its death or its leaving
    /// empties the slot.
    pub(crate) owner: Option<SlaveId>,
    /// Free shards that wait for nothing but a slave.
    pub(crate) free: BTreeSet<ShardId>,
    pub(crate) unknown: BTreeSet<ShardId>,
    pub(crate) launch: Launch,
    /// Starts that failed in a row.
    pub(crate) failed_launches: u32,
    /// When it was filled last.
    pub(crate) filled: Time,
    /// Its last deploy.
    pub(crate) last_deploy: Option<LastDeploy>,
    /// Its age of the one that was done is of this moment.
    pub(crate) last_deploy_at: Time,
    /// Slaves in a row that died soon after they filled it; zero where the last one
    /// left by itself.
    pub(crate) deaths: u32,
    /// No slave fills it before: its slaves die one after the other.
    pub(crate) rests_until: Time,
    /// The standbys that are to be.
    pub(crate) reserve: Reserve,
    /// What it lost since its last deploy began.
    pub(crate) losses: Losses,
    /// When a slave with too much memory was replaced last, or an operator heard why it is not.
    pub(crate) relieved: Option<Time>,
    /// Processes that came too late for their deploy, and do not say of which launch they
    /// are: refused when they join.
    pub(crate) unwanted: BTreeSet<u32>,
}

/// Whether a process is being started into a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Launch {
    Idle,
    Started(LaunchId),
}

/// What orders call the host of a slot that has none of its own: the master's.
pub(crate) const OWN_HOST: &str = "local";

/// Processes refused at most for one slot; the oldest pids go first.
const MAX_UNWANTED: usize = 64;

/// Whole milliseconds travel.
fn whole(lease: Duration) -> Duration {
    Duration::from_millis(u64::try_from(lease.as_millis()).unwrap_or(u64::MAX))
}

impl Slot {
    /// It has no shard yet.
    pub(crate) fn new(settings: &SlotSettings) -> Self {
        Self {
            name: settings.name.clone(),
            host: settings.host.clone(),
            members: Members::new(),
            size: 0,
            launches: settings.launches,
            agent_away: settings.host.is_some(),
            lease: settings.lease.map(whole),
            is_out: false,
            owner: None,
            free: BTreeSet::new(),
            unknown: BTreeSet::new(),
            launch: Launch::Idle,
            failed_launches: 0,
            filled: Time(Duration::ZERO),
            last_deploy: None,
            last_deploy_at: Time(Duration::ZERO),
            deaths: 0,
            rests_until: Time(Duration::ZERO),
            reserve: Reserve::new(),
            losses: Losses {
                sessions: 0,
                events: 0,
            },
            relieved: None,
            unwanted: BTreeSet::new(),
        }
    }

    /// Whether its slaves come by themselves, from hosts that come and go: its host is `NAME.*`.
    pub(crate) fn fills_itself(&self) -> bool {
        let hosts = self.host.as_deref().map(str::parse);
        matches!(hosts, Some(Ok(Hosts::Under(_))))
    }

    /// Why nothing can be started into it; `None`: it can.
    pub(crate) fn cannot_start(&self) -> Option<String> {
        let host = self.host.as_ref().filter(|_| self.agent_away)?;
        if self.fills_itself() {
            return Some(format!(
                "slaves of slot {:?} come by themselves, from the hosts {host}: start the next build \
                 there, and that begins the deploy",
                self.name
            ));
        }
        Some(format!(
            "the agent of host {host:?} is not connected, so nothing can be started there: see to it \
             (baton-master agent --host {host}), or wait until it is back"
        ))
    }

    /// The name of the host that its slaves run on.
    pub(crate) fn host(&self) -> &str {
        self.host.as_deref().unwrap_or(OWN_HOST)
    }

    /// When a deploy was committed to it last, and what was usual before: of every slave
    /// that fills it since.
    pub(crate) fn deployed(&self, now: Time) -> Option<Done> {
        let done = self.last_deploy.as_ref()?.done?;
        let since = now.since(self.last_deploy_at);
        Some(Done {
            ago: done.ago.saturating_add(since),
            ..done
        })
    }

    /// This is its last deploy, as it stands `now`.
    pub(crate) fn deploys(&mut self, last: LastDeploy, now: Time) {
        self.last_deploy = Some(last);
        self.last_deploy_at = now;
    }

    /// Remembers a process that is to be refused when it joins.
    pub(crate) fn refuse_pid(&mut self, pid: u32) {
        if self.unwanted.len() >= MAX_UNWANTED {
            self.unwanted.pop_first();
        }
        self.unwanted.insert(pid);
    }

    /// How long an empty slot waits for a slave that comes by itself: not at all
    /// where the last one is known dead, but more each time that this happens soon.
    pub(crate) fn contact(&self, settings: &Settings) -> Duration {
        match self.deaths {
            0 => settings.contact,
            deaths => doubled(settings.backoff, settings.contact, deaths),
        }
    }

    /// Its slave died.
    pub(crate) fn died(&mut self, now: Time, settings: &Settings) {
        if now.since(self.filled) > settings.backoff_max {
            self.deaths = 0;
        }
        self.deaths = self.deaths.saturating_add(1);
        if self.keeps_dying() {
            self.rests_until = now.after(self.contact(settings));
        }
    }

    /// Whether so many slaves in a row died soon after they filled it that the next one
    /// is likely to do so as well.
    pub(crate) const fn keeps_dying(&self) -> bool {
        self.deaths >= 3
    }

    /// How long the next attempt waits after `failed` launches in a row.
    pub(crate) fn backoff(&self, settings: &Settings) -> Duration {
        doubled(settings.backoff, settings.backoff_max, self.failed_launches)
    }
}

/// The standbys of one slot, apart from those that are there.
#[derive(Clone, Debug)]
pub(crate) struct Reserve {
    pub(crate) launch: Launch,
    /// Launches in a row whose standby ended before its time.
    pub(crate) failed: u32,
    /// When one was launched last.
    pub(crate) launched: Time,
}

impl Reserve {
    pub(crate) const fn new() -> Self {
        Self {
            launch: Launch::Idle,
            failed: 0,
            launched: Time(Duration::ZERO),
        }
    }

    /// How long the next launch waits.
    pub(crate) fn backoff(&self, settings: &Settings) -> Duration {
        doubled(settings.backoff, settings.backoff_max, self.failed)
    }
}
