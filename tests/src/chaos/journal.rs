//! A journal that is not what it was when the next master starts.

use std::{fs, path::Path};

use super::{row::Damage, scene::Scene};
use crate::error::{Error, Result};

/// Kills the master, damages its journal, starts it again.
///
/// # Errors
/// The files cannot be written, or the master does not start.
pub async fn damage(scene: &mut Scene, damage: Damage) -> Result<()> {
    scene.kill_master().await?;
    spoil(scene.folder(), damage)?;
    scene.restart_master().await
}

/// Damages the journal of a fleet in this folder whose master is dead.
///
/// # Errors
/// The files cannot be written.
pub fn spoil(folder: &Path, damage: Damage) -> Result<()> {
    let journal = folder.join("run/journal.sqlite3");
    let log = folder.join("run/journal.sqlite3-wal");
    let index = folder.join("run/journal.sqlite3-shm");
    match damage {
        // In the middle of a frame, behind most of them.
        Damage::Torn => shorten(&log, 9, 10),
        Damage::Unsynced => shorten(&log, 1, 2),
        Damage::Corrupt => garble(&journal).and_then(|()| garble(&log)),
        Damage::Gone => [&journal, &log, &index].into_iter().try_for_each(remove),
    }
    .map_err(Error::io("damage the journal"))
}

fn shorten(file: &Path, part: u64, of: u64) -> std::io::Result<()> {
    let length = fs::metadata(file).map_or(0, |file| file.len());
    if length == 0 {
        return Ok(());
    }
    let file = fs::OpenOptions::new().write(true).open(file)?;
    file.set_len(length / of * part + 13)
}

/// Overwrites what stands behind the first page.
fn garble(file: &Path) -> std::io::Result<()> {
    let Ok(mut bytes) = fs::read(file) else {
        return Ok(());
    };
    for (at, byte) in bytes.iter_mut().enumerate().skip(4096) {
        *byte = (at as u8).wrapping_mul(37) ^ 0x5a;
    }
    fs::write(file, bytes)
}

fn remove(file: &std::path::PathBuf) -> std::io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
