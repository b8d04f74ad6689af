//! What strikes the store of a fleet: its writer in the middle of a change, its files. And
//! what there is in it afterwards.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Resource, Signal};
use serde::Serialize;
use serde_json::Value;
use tokio::{time::sleep, try_join};

use super::{
    hunt,
    patience::Patience,
    row::StoreHarm,
    scene::{Scene, Who},
};
use crate::{
    bench::place::bytes,
    error::{Error, Result},
    process::command,
};

/// A slave under traffic is found in the middle of a change within this time.
const FOUND: Duration = Duration::from_secs(30);

/// No file of a slave without room may be longer: each is but its states.
const ROOM: u64 = 512 << 10;

/// So long there is none: longer than it takes to try again, several times.
const NO_ROOM: Duration = Duration::from_millis(1500);

/// Shorter than every limit of the master.
const NAP: Duration = Duration::from_millis(800);

/// What the header of every state begins with; its format follows.
const MAGIC: &[u8] = b"batonst\0";

/// A format that no build has.
const NO_FORMAT: u16 = 999;

/// The folder that slaves are given for their stores, of which each slot has one.
fn folder(run: &Path) -> PathBuf {
    run.join("run/store")
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// The file of each state.
fn files(run: &Path) -> Vec<PathBuf> {
    let stores = entries(&folder(run));
    let shards = stores.iter().flat_map(|store| entries(store));
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
        StoreHarm::NoRoom => {
            hunt::limit(pid, Resource::Fsize, Some(ROOM))?;
            let refused = refuses(scene, pid).await;
            sleep(NO_ROOM).await;
            // It may have handed everything on and ended meanwhile.
            if hunt::is_alive(pid) {
                hunt::limit(pid, Resource::Fsize, None)?;
            }
            refused
        }
        StoreHarm::AtItsLimit => {
            refuses(scene, pid).await?;
            is_told(scene).await
        }
        StoreHarm::Damaged | StoreHarm::Deleted | StoreHarm::OtherFormat => {
            // A process whose pages are taken away under it dies of that.
            hunt::signal(pid, Signal::STOP);
            hunt::stands(pid).await;
            let files = files(scene.folder());
            let done = files.iter().try_for_each(|file| change(file, harm));
            scene.kill(Who::Old);
            if files.is_empty() {
                return Err(Error::answer(
                    "the store",
                    "there is no state to be changed",
                ));
            }
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
            let mut headers = (0..bytes.len())
                .filter(|at| bytes[*at..].starts_with(MAGIC))
                .peekable();
            if headers.peek().is_none() {
                return Err(io::Error::other("no header is in it"));
            }
            headers.try_for_each(|at| {
                file.write_all_at(&NO_FORMAT.to_le_bytes(), (at + MAGIC.len()) as u64)
            })
        }),
        StoreHarm::KilledInAChange
        | StoreHarm::NapsInAChange
        | StoreHarm::HangsInAChange
        | StoreHarm::NoRoom
        | StoreHarm::AtItsLimit => Ok(()),
    };
    done.map_err(Error::io(format!("change {}", path.display())))
}

/// Waits until a slave has found no room for events.
async fn refuses(scene: &Scene, pid: u32) -> Result<()> {
    let slave = scene.inspects(pid);
    let mut patience = Patience::of(FOUND);
    loop {
        let status: Value = slave.get("/status").await?;
        if status["slave"]["counters"]["refused"].as_u64() > Some(0) {
            return Ok(());
        }
        if patience.is_over().await {
            return Err(Error::Late("the slave always finds room".to_owned()));
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the master says that a shard which is served has no room, and how to give it
/// some.
async fn is_told(scene: &Scene) -> Result<()> {
    let mut patience = Patience::of(FOUND);
    loop {
        let status = scene.fleet.status().await?;
        let slaves = status["slaves"].as_array().map_or(&[][..], Vec::as_slice);
        let says = |slave: &Value| {
            let why = slave["store"]["held_up_by"].as_str();
            slave["store"]["held_up"].as_u64() > Some(0)
                && why.is_some_and(|why| why.contains("raise the limit"))
        };
        if slaves.iter().any(says) {
            return Ok(());
        }
        if patience.is_over().await {
            let told = Value::from(slaves).to_string();
            return Err(Error::Late(format!(
                "nobody says that a store is full: {told}"
            )));
        }
        sleep(Duration::from_millis(20)).await;
    }
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

/// What is in the store of a fleet, which has one slot.
#[derive(Debug)]
pub(super) struct Stores {
    shown: Vec<Value>,
    verified: Vec<Value>,
}

impl Stores {
    /// Reads every document of it.
    ///
    /// # Errors
    /// There is no store, or more than one.
    pub(super) async fn of(run: &Path) -> Result<Self> {
        let (shown, verified) = try_join!(said(run, "show"), said(run, "verify"))?;
        Ok(Self { shown, verified })
    }

    /// What is wrong with the state of a shard that has so many guilds.
    pub(super) fn wrong(&self, shard: u32, guilds: usize) -> Vec<String> {
        let of = |said: &[Value]| {
            let said = said.iter().find(|said| said["shard"] == shard).cloned();
            said.unwrap_or_default()
        };
        let (shown, verified) = (of(&self.shown), of(&self.verified));
        let mut wrong: Vec<String> = [&shown, &verified]
            .into_iter()
            .filter(|said| said["found"] != "well")
            .map(Value::to_string)
            .collect();
        if wrong.is_empty() && shown["guilds"] != guilds {
            let is = &shown["guilds"];
            wrong.push(format!("it has {is} guilds, and there are {guilds}"));
        }
        wrong
    }
}

/// How much is in a store of a fleet, over all shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// KiB of its files.
    pub kib: u64,
    /// Files and folders.
    pub files: u64,
    /// Places for readers that are taken, in the shard where they are most.
    pub readers: u64,
    /// Damaged states.
    pub set_aside: u64,
}

impl Contents {
    /// What is there now.
    pub(super) async fn of(run: &Path) -> Result<Self> {
        let shown = said(run, "show").await?;
        let number = |name: &'static str| {
            let shown = shown.iter();
            shown.map(move |shard| shard[name].as_u64().unwrap_or(0))
        };
        Ok(Self {
            kib: bytes(&folder(run)) / 1024,
            files: below(&folder(run)),
            readers: number("readers").max().unwrap_or(0),
            set_aside: number("set_aside").sum(),
        })
    }
}

/// Files and folders below one.
fn below(dir: &Path) -> u64 {
    let entries = entries(dir);
    entries.iter().map(|entry| 1 + below(entry)).sum()
}

/// What the command of operators says of each shard. It has each read by a process of its
/// own, which a damaged page may end.
async fn said(run: &Path, verb: &str) -> Result<Vec<Value>> {
    let folder = folder(run).display().to_string();
    let mut command = command("baton-slave", ["store", verb, "--json", &folder])?;
    command.kill_on_drop(true);
    let output = command.output().await;
    let output = output.map_err(Error::io("run baton-slave store"))?;
    let wrong = |detail: String| Error::answer("baton-slave store", detail);
    let said: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| wrong(error.to_string()))?;
    let stores = said["stores"].as_array().map_or(&[][..], Vec::as_slice);
    let [store] = stores else {
        return Err(wrong(said.to_string()));
    };
    Ok(store["shards"].as_array().cloned().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_store_is_right_if_each_shard_can_be_read_fits_together_and_has_all_guilds_and_no_others() {
        let stores = |shown: Value, verified: Value| Stores {
            shown: vec![json!({"shard": 7, "found": "well", "guilds": 1}), shown],
            verified: vec![json!({"shard": 7, "found": "well"}), verified],
        };
        let shown = json!({"shard": 3, "found": "well", "guilds": 5});
        let verified = json!({"shard": 3, "found": "well", "documents": 40, "wrong": []});
        let well = stores(shown.clone(), verified.clone());
        assert_eq!(well.wrong(3, 5), [""; 0]);
        for guilds in [4, 6] {
            let wrong = well.wrong(3, guilds);
            let text = format!("it has 5 guilds, and there are {guilds}");
            assert_eq!(wrong, [text]);
        }
        let damaged = json!({"shard": 3, "found": "wrong", "wrong": ["user 9 is missing"]});
        let wrong = stores(shown.clone(), damaged.clone()).wrong(3, 5);
        assert_eq!(wrong, [damaged.to_string()]);
        let ended = json!({"shard": 3, "found": "wrong", "error": "the process ended"});
        assert_eq!(stores(ended.clone(), ended).wrong(3, 5).len(), 2);
        assert_eq!(well.wrong(4, 5).len(), 2, "nothing is said of it");
    }
}
