//! What must be known before a master serves: how many shards there are, and which of the
//! slaves that the journal knows are alive.

use std::{collections::BTreeMap, time::Duration};

use baton_core::event::{Durability, Recovered};
use baton_protocol::{LaunchId, ProcessIdentity, SlaveId, Term};
use tokio::{
    task::{JoinError, spawn_blocking},
    time::sleep,
};
use tracing::warn;

use super::{place::Place, signals::Signals};
use crate::{
    config::Config,
    discord::budget::{Asker, GatewayBot},
    error::Error,
    journal::{Home, Journal, Opened, SaveError, forget},
    lead::Leadership,
    process::{Watch, WatchError},
};

/// A store that does not answer is asked again after this time.
const AGAIN: Duration = Duration::from_millis(500);

/// What a master knows of its fleet before it serves.
pub(super) struct Known {
    pub(super) term: Term,
    /// Whether the secret is another one than that with which this fleet began.
    pub(super) other_secret: bool,
    pub(super) journal: Journal,
    /// Of the journal, without the slaves that are dead.
    pub(super) recovered: Recovered,
    pub(super) watches: BTreeMap<SlaveId, Watch>,
    pub(super) unseen: BTreeMap<SlaveId, ProcessIdentity>,
    /// When the last deploy of each slot was written down, in milliseconds since 1970.
    pub(super) deploys_ms: BTreeMap<String, u64>,
    /// What deploys brought, and what the slots had before that.
    pub(super) commands: BTreeMap<String, Vec<String>>,
    pub(super) before: BTreeMap<String, Vec<String>>,
    pub(super) shard_count: u32,
    /// What Discord said, where it was asked.
    pub(super) bot: Option<GatewayBot>,
    /// Asks it; `None`: there is no token.
    pub(super) asker: Option<Asker>,
}

/// Opens the journal and looks who is alive; `None`: the master was asked to leave before
/// it knew how many shards there are.
pub(super) async fn known(
    config: &Config,
    place: &Place,
    signals: &mut Signals,
    leadership: Option<&Leadership>,
) -> Result<Option<Known>, Error> {
    let home = Home::new(place.dir.fleet(), &place.secret, place.ran_before);
    let (home, opened) = match leadership {
        None => {
            let opened = Journal::open(&config.data_dir, configured(config), &home)?;
            (home, opened)
        }
        Some(leadership) => {
            let home = home.shared();
            let opened = tokio::select! {
                opened = open_shared(config, place, leadership, &home) => opened?,
                () = signals.leave() => return Ok(None),
            };
            (home, opened)
        }
    };
    let asker = Asker::new(config);
    let (shard_count, bot) = tokio::select! {
        known = shard_count(config, &opened, asker.as_ref()) => known?,
        () = signals.leave() => return Ok(None),
    };
    config.check_shards(shard_count)?;
    let (watches, unseen, mut recovered) = living(
        config,
        &opened.journal,
        opened.recovered,
        opened.boot.as_deref(),
    )
    .await?;
    recovered.launches =
        LaunchId::random().map_err(|error| Error::Failed(format!("no random numbers: {error}")))?;
    let other_secret = opened.term.fleet != home.fleet;
    if other_secret {
        warn!(
            "the secret is another one than that with which this fleet began: slaves by TCP that \
             know the one before are not let in"
        );
    }
    Ok(Some(Known {
        term: opened.term,
        other_secret,
        journal: opened.journal,
        recovered,
        watches,
        unseen,
        deploys_ms: opened.deploys_ms,
        commands: opened.commands,
        before: opened.before,
        shard_count,
        bot,
        asker,
    }))
}

/// Opens the journal that masters share. One that does not answer is waited for as long as this
/// master leads: it has the lead, and nobody else would get further.
async fn open_shared(
    config: &Config,
    place: &Place,
    leadership: &Leadership,
    home: &Home,
) -> Result<Opened, Error> {
    loop {
        let (store, at) = leadership.store(&place.secret)?;
        let (home, configured) = (home.clone(), configured(config));
        let opening = spawn_blocking(move || Journal::open_shared(store, &at, configured, &home));
        let failed = |error: JoinError| Error::Failed(error.to_string());
        match opening.await.map_err(failed)? {
            Err(Error::Away(reason)) => {
                if let Some(why) = leadership.lost() {
                    return Err(Error::NotLeading(why));
                }
                warn!(reason, "the journal is read again in a moment");
                sleep(AGAIN).await;
            }
            opened => return opened,
        }
    }
}

/// What is pinned wins; a configuration that says otherwise is an error, since
/// the sessions of the fleet have the pinned count. A master that comes back
/// waits for no answer.
async fn shard_count(
    config: &Config,
    opened: &Opened,
    asker: Option<&Asker>,
) -> Result<(u32, Option<GatewayBot>), Error> {
    if let Some(pinned) = opened.shard_count {
        return match config.shard_count {
            Some(wanted) if wanted != pinned => Err(Error::Configuration(format!(
                "shard_count: the fleet's sessions have {pinned} shards, the configuration says {wanted}; \
                 set it to {pinned}, or stop every slave, delete the journal in {} and start cold",
                config.data_dir.display()
            ))),
            Some(_) | None => Ok((pinned, None)),
        };
    }
    let (count, bot) = match (config.shard_count, asker) {
        (Some(count), None) => (count, None),
        (Some(count), Some(asker)) => (count, asker.attempt().await?),
        (None, Some(asker)) => {
            let bot = asker.insist().await?;
            (bot.shards, Some(bot))
        }
        (None, None) => {
            return Err(Error::Configuration(
                "no token: set DISCORD_TOKEN or token_file, so that Discord can be asked for the shard count, or set shard_count"
                    .to_owned(),
            ));
        }
    };
    config.check_shards(count)?;
    let pinned = opened.journal.pin_shard_count(count).await;
    pinned.map_err(unsaved)?;
    Ok((count, bot))
}

/// Who is watched, who cannot be seen, and what is left of what the journal knew.
type Living = (
    BTreeMap<SlaveId, Watch>,
    BTreeMap<SlaveId, ProcessIdentity>,
    Recovered,
);

/// Slaves that the journal knew: those alive are watched, those dead forgotten, and
/// those of whom neither is known stay. `boot` is the one of the master before.
async fn living(
    config: &Config,
    journal: &Journal,
    mut recovered: Recovered,
    boot: Option<&str>,
) -> Result<Living, Error> {
    let mut watches = BTreeMap::new();
    let mut unseen = BTreeMap::new();
    let mut dead = Vec::new();
    for (slave, hello) in &recovered.slaves {
        if config.is_elsewhere(hello) {
            // The agent of its host says so, when it is here.
            continue;
        }
        match Watch::open_again(&hello.process, boot) {
            Ok(watch) => {
                watches.insert(*slave, watch);
            }
            Err(WatchError::Dead) => dead.push(*slave),
            Err(error) => {
                warn!(slave = %format_args!("{slave:.8}"), pid = hello.process.pid, %error,
                    "the death of this slave cannot be known");
                if let WatchError::Unseen(_) = error {
                    unseen.insert(*slave, hello.process.clone());
                }
            }
        }
    }
    if !dead.is_empty() {
        let saved = journal.save(forget(&dead), Durability::Soon).await;
        saved.map_err(unsaved)?;
    }
    recovered.slaves.retain(|slave, _| !dead.contains(slave));
    Ok((watches, unseen, recovered))
}

fn unsaved(error: SaveError) -> Error {
    match error {
        SaveError::Refused(reason) => Error::Failed(format!("journal: {reason}")),
        SaveError::Deposed(reason) => Error::Deposed(reason),
    }
}

fn configured(config: &Config) -> BTreeMap<String, Vec<String>> {
    let slots = config.slots.iter();
    slots
        .filter_map(|slot| Some((slot.name.clone(), slot.command.clone()?)))
        .collect()
}
