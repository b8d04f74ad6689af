use std::{fs, path::Path};

use baton_protocol::FleetId;
use baton_store::Options;
use rustix::fs::{FlockOperation, flock};

use super::*;
use crate::{
    SlaveConfig,
    state::stays::{GoesOn, Taken},
};

const OF: Of = Of {
    shard: ShardId(0),
    shard_count: 1,
    fleet: FleetId(1),
};

/// A process that waits for as long as a busy machine may take: its patience is also that for
/// a state to be opened.
fn process(dir: &Path) -> Guilds {
    process_that_waits(dir, Duration::from_secs(60))
}

fn process_that_waits(dir: &Path, patience: Duration) -> Guilds {
    let options = Options::default().with_patience(patience);
    let guilds = Guilds::with(options, Some(dir.join("store")));
    guilds.settle(&SlaveConfig::new("token")).unwrap();
    guilds
}

/// It has taken in a guild of the session `a`, at 10.
fn received(guilds: Guilds) -> Guilds {
    guilds.receive(OF, Epoch(2)).unwrap();
    guilds.import(OF.shard, 9, br#"{"id":"9"}"#).unwrap();
    let received = guilds.received(OF.shard, "a", Sequence(10), Sequence(12));
    received.unwrap();
    guilds
}

/// A claim for the session `a`, which goes on from 10.
fn claim(epoch: u64, received: bool) -> Claim {
    Claim {
        of: OF,
        epoch: Some(Epoch(epoch)),
        session: Some(GoesOn {
            tag: "a".into(),
            from: Sequence(10),
            reach: 100,
        }),
        received,
    }
}

fn taken(claim: &Claim, guilds: &Guilds) -> Taken {
    match claim.take(guilds) {
        Ok(taken) => taken,
        Err(refusal) => panic!("{refusal:?}"),
    }
}

/// The data file of the one state that there is.
fn data(guilds: &Guilds) -> fs::File {
    let shard = guilds.dir().unwrap().join("shard-0");
    let entries = fs::read_dir(shard).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path().join("data.mdb"));
    fs::File::open(paths.find(|path| path.exists()).unwrap()).unwrap()
}

#[test]
fn what_was_received_is_claimed_again_after_a_refusal() {
    let dir = tempfile::tempdir().unwrap();
    let impatient = process_that_waits(dir.path(), Duration::from_secs(1));
    let guilds = received(impatient);
    let held_up = data(&guilds);
    flock(&held_up, FlockOperation::LockExclusive).unwrap();
    let refused = claim(3, true).take(&guilds).err();
    assert!(matches!(refused, Some(Refusal::Busy(_))), "{refused:?}");
    drop(held_up);
    let taken = claim(3, true).take(&guilds).ok().unwrap();
    assert_eq!((taken.whole, taken.received), (Ok(Sequence(10)), true));
}

#[test]
fn where_what_was_received_is_gone_the_state_that_is_there_is_claimed() {
    let dir = tempfile::tempdir().unwrap();
    let guilds = received(process(dir.path()));
    // Another process got the shard, and cleaned up.
    let other = process(dir.path());
    drop(owned(&other, 3));
    let taken = taken(&claim(4, true), &guilds);
    assert_eq!((taken.whole, taken.received), (Ok(Sequence(10)), false));
}

#[test]
fn what_is_refused_names_the_folder_of_the_shard() {
    let dir = tempfile::tempdir().unwrap();
    let guilds = process(dir.path());
    let mut owned = taken(&claim(3, false), &guilds).owned;
    owned.seal();
    let refused = owned.apply("a", &[], true).unwrap_err();
    let folder = guilds.dir().unwrap().join("shard-0");
    let begins = format!("{} (limit ", folder.display());
    assert!(refused.text().starts_with(&begins), "{}", refused.text());
}

/// A guild of the session `a`, at 10, is what this process owns.
fn owned(guilds: &Guilds, epoch: u64) -> Box<dyn Owned> {
    let mut owned = taken(&claim(epoch, false), guilds).owned;
    let ready = Change {
        sequence: Sequence(10),
        kind: "READY",
        json: "{}",
    };
    owned.apply("a", &[ready], true).unwrap();
    owned
}

#[test]
fn a_process_that_stands_by_has_the_states_open_before_it_claims_them_and_those_only() {
    // Without a disk behind it, where there is such a place.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let dir = dir.unwrap();
    let (owner, standby) = (process(dir.path()), process(dir.path()));
    let ahead = |guilds: &Guilds| guilds.ahead().keys().copied().collect::<Vec<_>>();
    // It may come before the first owner, whose states it finds when it looks again.
    standby.stand_by(OF.fleet);
    assert_eq!(ahead(&standby), []);
    let first = owned(&owner, 3);
    standby.tidy();
    owner.tidy();
    assert_eq!((ahead(&standby), ahead(&owner)), (vec![OF.shard], vec![]));
    assert_eq!(standby.room(), None, "it owns none of them");
    assert!(
        standby.shard(OF.shard).is_none(),
        "nor does its bot read them"
    );
    drop(first);
    // Nothing is in the way of a claim, so that it needs no thread; unless it has to find out
    // what it took in, or a disk is behind the folder.
    assert!(owner.claim_at_once(&claim(4, true)).is_none());
    let claim = claim(4, false);
    let claimed = standby.claim_at_once(&claim);
    assert_eq!(claimed.is_some(), standby.is_in_memory());
    let taken = match claimed {
        Some(claimed) => claimed.and_then(|claimed| claim.judge(claimed)),
        None => claim.take(&standby),
    };
    assert_eq!(taken.ok().unwrap().whole, Ok(Sequence(10)));
    assert_eq!(ahead(&standby), []);
    assert!(standby.shard(OF.shard).is_some());
    // An owner stands by no more.
    standby.leave(OF.shard);
    standby.tidy();
    assert_eq!(ahead(&standby), []);
}

#[test]
fn a_process_that_is_given_a_shard_while_it_opens_states_ahead_opens_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let (owner, standby) = (process(dir.path()), process(dir.path()));
    drop(owned(&owner, 3));
    standby.stand_by(OF.fleet);
    assert!(standby.take_ahead(OF.shard).is_some());
    standby.stand_by(OF.fleet);
    standby.leave(OF.shard);
    let given = |_: &_| drop(standby.take_ahead(OF.shard));
    let shards = [OF.shard].into_iter().inspect(given);
    standby.open_ahead(standby.dir().unwrap(), shards);
    assert_eq!(standby.ahead().len(), 0);
}

#[test]
fn a_state_that_its_owner_moves_is_not_kept_open_where_it_was_by_a_process_that_stands_by() {
    let dir = tempfile::tempdir().unwrap();
    let (owner, standby) = (process(dir.path()), process(dir.path()));
    let mut owned = owned(&owner, 3);
    standby.stand_by(OF.fleet);
    let open = || standby.ahead().get(&OF.shard).cloned();
    assert!(open().unwrap().is_there());
    owned.compact().unwrap();
    let before = open().unwrap();
    assert!(!before.is_there());
    standby.tidy();
    assert!(open().unwrap().is_there());
    drop((before, owned));
    let taken = taken(&claim(4, false), &standby);
    assert_eq!(taken.whole, Ok(Sequence(10)));
}
