//! What must be known before a master serves: how many shards there are, and which of the
//! slaves that the journal knows are alive.

use std::collections::BTreeMap;

use baton_core::event::{Durability, Recovered};
use baton_protocol::{ProcessIdentity, SlaveId};
use tracing::warn;

use crate::{
    budget::{Asker, GatewayBot},
    config::Config,
    error::Error,
    journal::{Journal, Opened, SaveError, forget},
    process::{Watch, WatchError},
};

/// What is pinned wins; a configuration that says otherwise is an error, since
/// the sessions of the fleet have the pinned count. A master that comes back
/// waits for no answer.
pub(super) async fn shard_count(
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
pub(super) type Living = (
    BTreeMap<SlaveId, Watch>,
    BTreeMap<SlaveId, ProcessIdentity>,
    Recovered,
);

/// Slaves that the journal knew: those alive are watched, those dead forgotten, and
/// those of whom neither is known stay. `boot` is the one of the master before.
pub(super) async fn living(
    journal: &Journal,
    mut recovered: Recovered,
    boot: Option<&str>,
) -> Result<Living, Error> {
    let mut watches = BTreeMap::new();
    let mut unseen = BTreeMap::new();
    let mut dead = Vec::new();
    for (slave, hello) in &recovered.slaves {
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
