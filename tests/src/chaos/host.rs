//! What a host hides from a master, or takes away under it.

use std::{fs, time::Duration};

use tokio::time::sleep;

use super::{
    hunt,
    scene::{Scene, Who},
    wire::{Harm, Whose},
};
use crate::{
    error::{Error, Result},
    fleet::HIDDEN,
};

/// The master is killed; to the next one the process of the old slave is hidden, and
/// the wire to it is cut, for so long: longer than it waits for those that it knows.
///
/// # Errors
/// The old slave is not there, or was taken for dead.
pub async fn unseen(scene: &mut Scene, span: Duration) -> Result<()> {
    let Some(old) = scene.pid(Who::Old) else {
        return Err(Error::Late("the old slave is not there".to_owned()));
    };
    let before = hunt::of_folder(scene.folder()).len();
    scene.kill(Who::Master);
    scene.fleet.master.ended(Duration::from_secs(10)).await?;
    scene.to_master.harm(Whose::Process(old), Harm::Cut);
    let file = scene.folder().join(HIDDEN);
    fs::write(&file, format!("{old}\n")).map_err(Error::io("hide a process"))?;
    scene.restart_master().await?;
    sleep(span).await;
    let launched = hunt::of_folder(scene.folder()).len().saturating_sub(before);
    scene.to_master.heal();
    fs::remove_file(&file).map_err(Error::io("show a process"))?;
    if launched > 0 {
        let text = format!("{launched} slaves were started beside one that lives");
        return Err(Error::Late(text));
    }
    Ok(())
}
