//! Claimants that come at the same time.

use std::{fs::File, sync::Barrier, time::Duration};

use baton_protocol::Epoch;
use baton_store::{Error, Found, Store};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use twilight_model::id::Id;

use crate::common::{SHARD, apply, at_last, begin, claim, is_sound, options, owner, store};

/// Claimants of the epochs from 2 on.
const CLAIMANTS: u64 = 5;

/// Somebody in the middle of a change is waited for so long, and no longer: then the state is
/// copied. On a busy machine it may be over for any other reason as well.
const PATIENCE: Duration = Duration::from_millis(20);

fn play(seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let open = || {
        let options = || options().with_patience(PATIENCE);
        at_last(|| Store::open(&path, SHARD, options())).unwrap()
    };
    let first = store(&path);
    let mut old = claim(&first, 1);
    begin(&mut old, 9);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);

    // In two of three rounds somebody is in the middle of a change, for a while.
    let data = std::fs::read_dir(path.join("shard-3")).unwrap();
    let mut data = data.map(|entry| entry.unwrap().path().join("data.mdb"));
    let stuck = File::open(data.find(|path| path.exists()).unwrap()).unwrap();
    let held = rng.random_range(0..3_u64) * 25;
    if held > 0 {
        stuck.lock().unwrap();
    }
    let barrier = Barrier::new(CLAIMANTS as usize + 1);
    let delays: Vec<_> = (0..CLAIMANTS).map(|_| rng.random_range(0..30)).collect();
    // Some try the short way first, as a process does that has it open.
    let short: Vec<bool> = (0..CLAIMANTS).map(|_| rng.random()).collect();
    let mut claimed: Vec<_> = std::thread::scope(|scope| {
        let claimants: Vec<_> = (2..)
            .zip(delays.iter().zip(&short))
            .map(|(epoch, (delay, short))| {
                let (barrier, open) = (&barrier, &open);
                scope.spawn(move || {
                    let own = open();
                    barrier.wait();
                    std::thread::sleep(Duration::from_millis(*delay));
                    let at_once = match short {
                        true => own.claim_at_once(Epoch(epoch), owner(epoch)).transpose(),
                        false => None,
                    };
                    let claims = || own.claim(Epoch(epoch), owner(epoch));
                    let claimed = at_once.unwrap_or_else(|| at_last(claims));
                    let (mut writer, takeover) = match claimed {
                        Ok(claimed) => claimed,
                        Err(error) => return (epoch, Err(error)),
                    };
                    assert!(
                        matches!(takeover.found, Found::State | Found::Copied),
                        "{takeover:?}"
                    );
                    let name = (
                        "GUILD_UPDATE",
                        json!({"id": "9", "name": format!("by {epoch}")}),
                    );
                    let next = writer.stand().sequence.get() + 1;
                    let wrote = at_last(|| apply(&mut writer, next, std::slice::from_ref(&name)));
                    (epoch, wrote.map(|_| writer))
                })
            })
            .collect();
        barrier.wait();
        std::thread::sleep(Duration::from_millis(held));
        drop(stuck);
        claimants
            .into_iter()
            .map(|one| one.join().unwrap())
            .collect()
    });
    let (last, wrote) = claimed.pop().unwrap();
    let writer = wrote.unwrap_or_else(|error| panic!("seed {seed}: the last one: {error}"));
    for (epoch, wrote) in claimed {
        let error = match wrote {
            Ok(mut writer) => {
                let next = writer.stand().sequence.get() + 1;
                let late = ("GUILD_DELETE", json!({"id": "9"}));
                at_last(|| apply(&mut writer, next, std::slice::from_ref(&late))).unwrap_err()
            }
            Err(error) => error,
        };
        assert!(
            matches!(error, Error::Fenced { .. }),
            "seed {seed}, {epoch}: {error}"
        );
    }
    let error = apply(&mut old, 3, &[("GUILD_DELETE", json!({"id": "9"}))]).unwrap_err();
    assert!(
        matches!(error, Error::Fenced { .. }),
        "seed {seed}: {error}"
    );

    // The state is the last one's, whole, in one place.
    let at = writer.stand().sequence;
    drop(writer);
    let next = store(&path).claim(Epoch(last + 1), owner(last + 1));
    let (_, takeover) = next.unwrap();
    assert_eq!(
        (takeover.found, takeover.stand.sequence),
        (Found::State, at)
    );
    let now = store(&path);
    let guild = now.guild(Id::new(9)).unwrap();
    assert_eq!(
        guild.get().text("name").unwrap(),
        format!("by {last}"),
        "seed {seed}"
    );
    assert_eq!(now.members(Id::new(9)).count(), 1);
    is_sound(&path);
    let names = std::fs::read_dir(path.join("shard-3")).unwrap();
    let names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(
        names.len(),
        3,
        "seed {seed}: users, a claim, a state: {names:?}"
    );
}

#[test]
fn of_claimants_at_the_same_time_the_last_epoch_has_the_state_and_all_others_know() {
    let seeds = std::env::var("BATON_SEEDS").map_or(20, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        play(seed);
    }
}

#[test]
fn an_owner_whose_state_was_deleted_under_it_is_told_and_the_next_one_begins_with_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let first = store(&path);
    let mut writer = claim(&first, 1);
    begin(&mut writer, 9);
    std::fs::remove_dir_all(path.join("shard-3")).unwrap();
    let error = apply(&mut writer, 3, &[("GUILD_DELETE", json!({"id": "9"}))]).unwrap_err();
    assert!(matches!(error, Error::Damaged(_)), "{error}");
    drop(writer);
    drop(first);
    let (_, takeover) = store(&path).claim(Epoch(2), owner(2)).unwrap();
    assert_eq!(takeover.found, Found::Nothing);
}
