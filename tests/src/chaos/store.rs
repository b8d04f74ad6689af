//! What strikes the store of a fleet: its writer in the middle of a change, its files.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;
use tokio::time::sleep;

use super::{
    hunt,
    patience::Patience,
    row::StoreHarm,
    scene::{Scene, Who},
};
use crate::error::{Error, Result};

/// A slave under traffic is found in the middle of a change within this time.
const FOUND: Duration = Duration::from_secs(30);

/// Shorter than every limit of the master.
const NAP: Duration = Duration::from_millis(800);

/// What the header of every state begins with; its format follows.
const MAGIC: &[u8] = b"batonst\0";

/// A format that no build has.
const NO_FORMAT: u16 = 999;

/// The folder that slaves are given for their store.
#[must_use]
pub(super) fn folder(run: &Path) -> PathBuf {
    run.join("run/store")
}

/// The stores in it, one for each slot.
pub(super) fn stores(run: &Path) -> Vec<PathBuf> {
    entries(&folder(run))
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// The file of each state.
fn files(run: &Path) -> Vec<PathBuf> {
    let shards = stores(run).into_iter().flat_map(|store| entries(&store));
    let states = shards.flat_map(|shard| entries(&shard));
    let files = states.map(|state| state.join("data.mdb"));
    files.filter(|file| file.exists()).collect()
}

/// Strikes the old slave, and what it wrote.
///
/// # Errors
/// It is not there, it is never in a change, or a file cannot be changed.
pub(super) async fn strike(scene: &mut Scene, harm: StoreHarm) -> Result<()> {
    let pid = scene.present(Who::Old).await?;
    match harm {
        StoreHarm::KilledInAChange => {
            stop_in_a_change(scene, pid).await?;
            scene.kill(Who::Old);
            Ok(())
        }
        StoreHarm::NapsInAChange => {
            stop_in_a_change(scene, pid).await?;
            scene.freeze(pid);
            sleep(NAP).await;
            scene.thaw();
            Ok(())
        }
        StoreHarm::HangsInAChange => {
            stop_in_a_change(scene, pid).await?;
            scene.freeze(pid);
            scene.frozen_are_killed().await
        }
        StoreHarm::Damaged | StoreHarm::Deleted | StoreHarm::OtherFormat => {
            // A process whose pages are taken away under it dies of that.
            hunt::signal(pid, Signal::STOP);
            hunt::stands(pid).await;
            let done = files(scene.folder())
                .iter()
                .try_for_each(|file| change(file, harm));
            scene.kill(Who::Old);
            done
        }
    }
}

fn change(path: &Path, harm: StoreHarm) -> Result<()> {
    let done = match harm {
        StoreHarm::Damaged => fs::write(path, "what a disk made of it".repeat(1000)),
        StoreHarm::Deleted => fs::remove_file(path),
        StoreHarm::OtherFormat => fs::read(path).and_then(|bytes| {
            let file = OpenOptions::new().write(true).open(path)?;
            let at = |at: &usize| bytes[*at..].starts_with(MAGIC);
            (0..bytes.len()).filter(at).try_for_each(|at| {
                file.write_all_at(&NO_FORMAT.to_le_bytes(), (at + MAGIC.len()) as u64)
            })
        }),
        StoreHarm::KilledInAChange | StoreHarm::NapsInAChange | StoreHarm::HangsInAChange => Ok(()),
    };
    done.map_err(Error::io(format!("change {}", path.display())))
}

/// Stops a process while it holds the lock of a change: as a rule it does not, so that it is
/// let go and stopped again.
async fn stop_in_a_change(scene: &Scene, pid: u32) -> Result<()> {
    let mut patience = Patience::of(FOUND);
    loop {
        hunt::signal(pid, Signal::STOP);
        hunt::stands(pid).await;
        if files(scene.folder())
            .iter()
            .any(|file| is_in_a_change(file))
        {
            return Ok(());
        }
        hunt::signal(pid, Signal::CONT);
        if patience.is_over().await {
            return Err(Error::Late("the slave is never in a change".to_owned()));
        }
        sleep(Duration::from_millis(1)).await;
    }
}

fn is_in_a_change(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| file.try_lock().is_err())
}
