//! An event that kills each process that handles it.

use std::{fs, time::Duration};

use tokio::time::sleep;

use super::{
    patience::Patience,
    scene::{Scene, Setup},
};
use crate::error::{Error, Result};

/// Five processes die of it, with pauses between them.
const FOUND_OUT: Duration = Duration::from_secs(60);

/// Where slaves read which event it is, from the runtime folder.
const FILE: &str = "deadly";

/// The master keeps here what it had set aside.
const KEPT: &str = "set-aside.jsonl";

/// Has slaves die of what [`comes`] chooses.
pub(super) fn prepare(setup: &mut Setup) {
    setup.data_apart = true;
    setup
        .slave
        .extend(["--dies-of".to_owned(), FILE.to_owned()]);
}

/// The next message is deadly. Waits until the master has found out which it was, and
/// has kept it.
///
/// # Errors
/// It does not find out.
pub(super) async fn comes(scene: &mut Scene) -> Result<()> {
    fs::write(scene.folder().join("run").join(FILE), "armed").map_err(Error::io("arm an event"))?;
    let mut patience = Patience::of(FOUND_OUT);
    let kept = scene.folder().join("data").join(KEPT);
    while !kept.exists() {
        if patience.is_over().await {
            return Err(Error::Late(
                "the event that kills is not set aside".to_owned(),
            ));
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
