//! Random events against the model.

use baton_protocol::Epoch;
use baton_store::{Error, Resources};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::common::{
    Dump, apply, claim, dump, is_sound, model::Model, options, owner, store, stream::Stream,
};

/// The first documents that differ.
pub fn differences(is: &Dump, should: &Dump) -> Vec<String> {
    let keys: std::collections::BTreeSet<_> = is.keys().chain(should.keys()).collect();
    let wrong = keys
        .into_iter()
        .filter(|key| is.get(key) != should.get(key));
    wrong
        .take(5)
        .map(|key| {
            format!(
                "{key:?}\n  is     {:?}\n  should {:?}",
                is.get(key),
                should.get(key)
            )
        })
        .collect()
}

fn play(seed: u64, events: usize) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xfeed);
    let (mut stream, mut model) = (Stream::new(seed), Model::default());
    let mut store_ = store(&path);
    let mut epoch = 1;
    let mut writer = claim(&store_, epoch);
    let (mut all, mut next): (Vec<(&str, serde_json::Value)>, usize) = (Vec::new(), 0);
    while next < events {
        // Some that came already, then some new ones.
        let from = next.saturating_sub(rng.random_range(0..6));
        let count = (next - from) + rng.random_range(0..8);
        while all.len() < from + count {
            let (sequence, kind, d) = stream.next();
            assert_eq!(sequence as usize, all.len() + 1);
            all.push((kind, d));
        }
        let applied = apply(&mut writer, from as u64 + 1, &all[from..from + count]).unwrap();
        assert_eq!(
            (applied.known, applied.new),
            (next - from, from + count - next)
        );
        for (kind, d) in &all[next..from + count] {
            next += 1;
            model.apply(next as u64, kind, d);
            if std::env::var_os("BATON_STEPS").is_some() {
                println!("{next} {kind} {d}");
            }
        }
        let check = rng.random_range(0..12) == 0 || next >= events;
        if check || std::env::var_os("BATON_STEPS").is_some() {
            let view = store_.view().unwrap();
            assert_eq!(view.stand().sequence.get(), next as u64);
            let wrong = differences(&dump(&view), &model.dump());
            assert!(
                wrong.is_empty(),
                "seed {seed}, event {next}:\n{}",
                wrong.join("\n")
            );
        }
        match rng.random_range(0..60) {
            0 => {
                epoch += 1;
                writer = claim(&store_, epoch);
            }
            1 => {
                drop(writer);
                drop(store_);
                store_ = store(&path);
                epoch += 1;
                writer = claim(&store_, epoch);
            }
            2 => {
                // A process that a test beside this one starts has the lock until it is itself.
                let began = std::time::Instant::now();
                while let Err(error) = writer.compact() {
                    let waits = began.elapsed() < std::time::Duration::from_secs(60);
                    assert!(
                        waits && matches!(error, Error::Busy),
                        "seed {seed}: {error}"
                    );
                }
            }
            _ => {}
        }
    }
    is_sound(&path);
}

/// `BATON_SEED=7` plays one seed, with `BATON_STEPS=1` checked and printed step by step;
/// `BATON_SEEDS=1000` plays more.
#[test]
fn a_store_is_what_a_plain_map_of_the_same_events_is() {
    let number = |name: &str| std::env::var(name).ok()?.parse().ok();
    if let Some(seed) = number("BATON_SEED") {
        return play(seed, 600);
    }
    for seed in 0..number("BATON_SEEDS").unwrap_or(12) {
        play(seed, 600);
    }
}

#[test]
fn what_is_not_kept_is_not_there_and_the_rest_is_the_same() {
    let few = Resources::all()
        - Resources::PRESENCE
        - Resources::ROLE
        - Resources::MESSAGE
        - Resources::THREAD;
    for seed in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        let options = options().with_resources(few);
        let store =
            baton_store::Store::open(&dir.path().join("store"), crate::common::SHARD, options)
                .unwrap();
        let (mut writer, _) = store.claim(Epoch(1), owner(1)).unwrap();
        let (mut stream, mut model) = (Stream::new(seed), Model::default());
        for sequence in 1..400 {
            let (_, kind, d) = stream.next();
            model.apply(sequence, kind, &d);
            apply(&mut writer, sequence, &[(kind, d)]).unwrap();
        }
        let mut should = model.dump();
        should.retain(|(kind, ..), _| !["presence", "role", "message", "thread"].contains(kind));
        let mut is = dump(&store.view().unwrap());
        // What of a list without an id stays with the guild, if the kind is kept.
        for all in [&mut is, &mut should] {
            for ((kind, ..), value) in all.iter_mut() {
                if let ("guild", Some(guild)) = (*kind, value.as_object_mut()) {
                    guild.retain(|name, _| {
                        !["roles", "presences", "threads"].contains(&name.as_str())
                    });
                }
            }
        }
        let wrong = differences(&is, &should);
        assert!(wrong.is_empty(), "seed {seed}:\n{}", wrong.join("\n"));
    }
}
