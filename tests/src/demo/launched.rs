//! A fleet whose master starts the slaves, and whose guilds outlive each of them: what a demo
//! stands on in which processes are killed.

use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::sleep;

use super::{DemoOptions, fleet_options, replayed};
use crate::{
    chaos::hunt,
    error::{Error, Result},
    fleet::{Fleet, FleetOptions, Special},
};

/// A folder for what outlives a slave. It is removed with this.
pub(super) fn store() -> Result<TempDir> {
    let store = tempfile::Builder::new().prefix("baton-store-").tempdir();
    store.map_err(Error::io("make a folder for the store"))
}

/// What the fleet is; each slave has these flags, too.
pub(super) fn options(options: &DemoOptions, store: &TempDir, flags: [&str; 2]) -> FleetOptions {
    let folder = store.path().join("store").display().to_string();
    let kept = ["--state", "store", "--store", &folder];
    let special = Special {
        limits: [
            ("replay_buffer", replayed(options).to_string()),
            ("backoff", "200ms".to_owned()),
        ]
        .into(),
        slave_flags: kept.into_iter().chain(flags).map(str::to_owned).collect(),
        ..Special::default()
    };
    FleetOptions {
        launch: true,
        ..fleet_options(options, special)
    }
}

/// `kill -9` of the slave that serves, which is dead then.
pub(super) async fn kill_owner(fleet: &Fleet) -> Result<()> {
    let (_, pid) = fleet.owner().await?;
    hunt::signal(pid, Signal::KILL);
    while hunt::is_alive(pid) {
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
