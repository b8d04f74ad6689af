//! What a host hides from a master, or takes away under it.

use std::{fs, io, time::Duration};

use tokio::time::sleep;

use super::{
    hunt,
    patience::Patience,
    scene::{Scene, Who},
    wire::{Harm, Whose},
};
use crate::{
    error::{Error, Result},
    fleet::HIDDEN,
};

/// What a master has in its runtime folder.
const OWN: [&str; 5] = ["slave.sock", "admin.sock", "secret", "fleet", "master.lock"];

/// A master looks every second.
const BACK: Duration = Duration::from_secs(20);

/// The master's files are removed under it, and once more between it and the next
/// one.
///
/// # Errors
/// They do not come back, or the master does not start.
pub async fn emptied(scene: &mut Scene) -> Result<()> {
    let run = scene.folder().join("run");
    let remove = || -> Result<()> {
        for name in OWN {
            match fs::remove_file(run.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("empty the runtime folder")(error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    };
    remove()?;
    let mut patience = Patience::of(BACK);
    while let Some(gone) = OWN.iter().find(|name| !run.join(name).exists()) {
        if patience.is_over().await {
            return Err(Error::Late(format!("{gone} does not come back")));
        }
        sleep(Duration::from_millis(20)).await;
    }
    scene.kill_master().await?;
    remove()?;
    scene.restart_master().await
}

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
    scene.kill_master().await?;
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
