//! The marks in a shard's folder that say who claimed it, and where its state is.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use baton_protocol::Epoch;

use super::folder::{mark, unmark};
use crate::Error;

const OWNER: &str = "owner-";
const STATE: &str = "state-";
const DAMAGED: &str = "damaged-";
const ACCEPTED: &str = "accepted-";
/// Damaged generations that are kept for whoever wants to know why.
const KEPT: usize = 2;

/// Who owns a shard, and where its state is. A later one is greater.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim {
    pub(crate) epoch: Epoch,
    /// Counts the generations of one owner.
    pub(crate) turn: u32,
    pub(crate) generation: String,
}

impl Claim {
    fn file_name(&self) -> String {
        let Self {
            epoch,
            turn,
            generation,
        } = self;
        format!("{OWNER}{:020}-{turn:010}-{generation}", epoch.get())
    }

    fn of(name: &str) -> Option<Self> {
        let rest = name.strip_prefix(OWNER)?;
        let (epoch, rest) = rest.split_once('-')?;
        let (turn, generation) = rest.split_once('-')?;
        let claim = Self {
            epoch: Epoch(epoch.parse().ok()?),
            turn: turn.parse().ok()?,
            generation: generation.to_owned(),
        };
        let plain = generation.starts_with(STATE) && !generation.contains('/');
        (plain && claim.file_name() == name).then_some(claim)
    }

    /// Writes the mark.
    pub(super) fn create(&self, shard: &Path) -> Result<(), Error> {
        mark(&shard.join(self.file_name()))
    }

    /// Takes the mark back.
    pub(super) fn remove(&self, shard: &Path) {
        // Whoever comes next looks at the highest one.
        let _ = fs::remove_file(shard.join(self.file_name()));
    }
}

/// A name for a new generation.
pub(super) fn new_name(epoch: Epoch) -> Result<String, Error> {
    let random = getrandom::u64().map_err(|error| Error::Io {
        path: PathBuf::from("getrandom"),
        source: io::Error::other(error),
    })?;
    Ok(format!("{STATE}{:020}-{random:016x}", epoch.get()))
}

fn names(shard: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(shard) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(shard)(error)),
    };
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().into_string()));
    let names: Result<Vec<_>, _> = names.collect();
    let names = names.map_err(Error::io(shard))?;
    Ok(names.into_iter().filter_map(Result::ok).collect())
}

/// All claims, ascending.
pub(super) fn list(shard: &Path) -> Result<Vec<Claim>, Error> {
    Ok(claims(&names(shard)?))
}

fn claims(names: &[String]) -> Vec<Claim> {
    let mut claims: Vec<_> = names.iter().filter_map(|name| Claim::of(name)).collect();
    claims.sort();
    claims
}

/// The one that holds; `None`: nobody claimed the shard yet.
pub(crate) fn current(shard: &Path) -> Result<Option<Claim>, Error> {
    Ok(list(shard)?.pop())
}

/// Removes what no claim from this one on needs: former claims and generations, but for one
/// that is `kept`.
pub(super) fn clean(shard: &Path, own: &Claim, kept: Option<&Claim>) -> Result<(), Error> {
    let names = names(shard)?;
    let claims = claims(&names);
    let is_needed = |claim: &Claim| claim >= own || Some(claim) == kept;
    for claim in claims.iter().filter(|claim| !is_needed(claim)) {
        claim.remove(shard);
    }
    let needed = |name: &str| {
        let mut needed = claims.iter().filter(|claim| is_needed(claim));
        // A claimant of a later epoch may be making one.
        made_at(name).is_some_and(|epoch| epoch > own.epoch)
            || needed.any(|claim| claim.generation == name)
    };
    for name in names.iter().filter(|name| name.starts_with(STATE)) {
        if !needed(name) {
            remove(&shard.join(name));
        }
    }
    for name in names.iter().filter(|name| name.starts_with(ACCEPTED)) {
        // Whoever asked is no owner any more.
        let _ = fs::remove_file(shard.join(name));
    }
    for name in damaged_of(names).iter().rev().skip(KEPT) {
        remove(&shard.join(name));
    }
    Ok(())
}

/// The epoch of the owner that made a generation.
fn made_at(name: &str) -> Option<Epoch> {
    let (epoch, _) = name.strip_prefix(STATE)?.split_once('-')?;
    epoch.parse().ok().map(Epoch)
}

/// Removes what an owner of this epoch made and nobody claims, but for one that is `kept`.
pub(super) fn remove_unclaimed(
    shard: &Path,
    epoch: Epoch,
    kept: Option<&str>,
) -> Result<(), Error> {
    let names = names(shard)?;
    // Behind the names: a generation is made before it is claimed.
    let claims = list(shard)?;
    for name in names.iter().filter(|name| made_at(name) == Some(epoch)) {
        let is_kept = kept == Some(name.as_str());
        if !is_kept && !claims.iter().any(|claim| claim.generation == *name) {
            remove(&shard.join(name));
        }
    }
    Ok(())
}

/// Removes a generation. One that stays costs room and nothing else; the next claim tries
/// again.
pub(super) fn remove(path: &Path) {
    let _ = fs::remove_dir_all(path);
}

/// Says to the owner that asked with this number that its state is gone on with here.
pub(crate) fn accept(shard: &Path, offer: u64) -> Result<(), Error> {
    mark(&accepted(shard, offer))
}

/// Whether somebody said so; forgets it.
pub(crate) fn is_accepted(shard: &Path, offer: u64) -> Result<bool, Error> {
    unmark(&accepted(shard, offer))
}

fn accepted(shard: &Path, offer: u64) -> PathBuf {
    shard.join(format!("{ACCEPTED}{offer:016x}"))
}

/// Gives a generation another name, so that nobody finds it. `None`: it is not there.
pub(super) fn set_aside(shard: &Path, generation: &str) -> Result<Option<PathBuf>, Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_millis());
    let aside = shard.join(format!("{DAMAGED}{now:015}-{generation}"));
    let path = shard.join(generation);
    match fs::rename(&path, &aside) {
        Ok(()) => Ok(Some(aside)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path)(error)),
    }
}

/// The generations of former claims, oldest first: those of another format, which are kept.
pub(crate) fn kept(shard: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut claims = list(shard)?;
    let current = claims.pop();
    let names = claims.into_iter().map(|claim| claim.generation);
    let kept = names.filter(|name| current.as_ref().is_none_or(|own| own.generation != *name));
    Ok(kept.map(|name| shard.join(name)).collect())
}

/// The generations of a shard that were set aside, oldest first.
pub(crate) fn damaged(shard: &Path) -> Result<Vec<PathBuf>, Error> {
    let names = damaged_of(names(shard)?);
    Ok(names.into_iter().map(|name| shard.join(name)).collect())
}

fn damaged_of(mut names: Vec<String>) -> Vec<String> {
    names.retain(|name| name.starts_with(DAMAGED));
    names.sort();
    names
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn claim(epoch: u64, turn: u32, generation: &str) -> Claim {
        Claim {
            epoch: Epoch(epoch),
            turn,
            generation: generation.to_owned(),
        }
    }

    #[test]
    fn the_highest_claim_holds_and_other_files_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let shard = dir.path();
        assert_eq!(current(shard).unwrap(), None);
        for (epoch, turn) in [(9, 0), (10, 0), (10, 1), (2, 7)] {
            claim(epoch, turn, "state-1-a").create(shard).unwrap();
        }
        for name in [
            "owner-11",
            "owner-11-0-state-x",
            "owner-x-y-state-z",
            "users",
        ] {
            fs::write(shard.join(name), "").unwrap();
        }
        assert_eq!(current(shard).unwrap(), Some(claim(10, 1, "state-1-a")));
        assert_eq!(
            Claim::of(&claim(u64::MAX, 3, "state-q").file_name()),
            Some(claim(u64::MAX, 3, "state-q"))
        );
        assert_eq!(
            Claim::of("owner-00000000000000000001-0000000000-state-../x"),
            None
        );
    }

    #[test]
    fn an_owner_removes_what_came_before_it_and_nothing_of_a_later_claimant() {
        let dir = tempfile::tempdir().unwrap();
        let shard = dir.path();
        let make = |epoch, tail: &str| {
            let name = format!("state-{epoch:020}-{tail}");
            fs::create_dir(shard.join(&name)).unwrap();
            name
        };
        let (old, half, own, later) = (make(3, "a"), make(5, "b"), make(6, "c"), make(7, "d"));
        claim(3, 0, &old).create(shard).unwrap();
        let mine = claim(6, 0, &own);
        mine.create(shard).unwrap();
        for n in 0..4 {
            fs::create_dir(shard.join(format!("damaged-{n:015}-state-x"))).unwrap();
        }
        clean(shard, &mine, None).unwrap();
        let left = |name: &String| shard.join(name).exists();
        assert_eq!(
            [&old, &half, &own, &later].map(left),
            [false, false, true, true]
        );
        assert_eq!(list(shard).unwrap(), [mine]);
        let aside = damaged(shard).unwrap();
        assert_eq!(aside.len(), KEPT);
        assert!(aside[1].ends_with("damaged-000000000000003-state-x"));
    }
}
