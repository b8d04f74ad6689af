//! A writer that is killed, at any moment.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::{
    common::{
        child::{Ask, Process},
        dump, is_sound,
        model::Model,
        store,
        stream::Stream,
    },
    random::differences,
};

#[test]
fn after_any_kill_the_state_is_that_of_exactly_one_sequence_and_the_next_owner_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let seed = std::env::var("BATON_SEED").map_or(11, |seed| seed.parse().unwrap());
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut stream, mut model) = (Stream::new(seed), Model::default());
    let kills = std::env::var("BATON_KILLS").map_or(25, |kills| kills.parse().unwrap());
    let mut sizes = Vec::new();
    for epoch in 1..=kills {
        let mut process = Process::start(&Ask {
            dir: &path,
            epoch,
            seed,
            batch: rng.random_range(1..4),
            padding: 0,
            through: &[],
        });
        // Each third one is killed while it claims the shard, or before.
        if epoch % 3 > 0 {
            let says = process.says();
            let at = format!("claimed at {} ", model.sequence);
            assert!(says.starts_with(&at), "{says}");
            assert!(epoch <= 3 || says.ends_with("State"), "{says}");
        }
        std::thread::sleep(std::time::Duration::from_millis(rng.random_range(0..30)));
        process.kill();

        let store = store(&path);
        let Ok(view) = store.view() else {
            assert_eq!(model.sequence, 0, "a state was there");
            continue;
        };
        let at = view.stand().sequence.get();
        assert!(at >= model.sequence, "it went back");
        while model.sequence < at {
            let (sequence, kind, d) = stream.next();
            model.apply(sequence, kind, &d);
        }
        let wrong = differences(&dump(&view), &model.dump());
        assert!(
            wrong.is_empty(),
            "seed {seed}, epoch {epoch}, at {at}:\n{}",
            wrong.join("\n")
        );
        let shown =
            baton_store::show(&path, crate::common::SHARD, crate::common::options()).unwrap();
        sizes.push((shown.room.bytes, shown.room.readers));
    }
    assert!(model.sequence > 2, "it was killed before it wrote anything");
    is_sound(&path);
    // The world is small and stays so: neither pages nor readers are left behind.
    let (bytes, readers) = sizes[sizes.len() - 1];
    assert!(bytes < 4 << 20, "{sizes:?}");
    assert!(readers < 16, "{sizes:?}");
}
