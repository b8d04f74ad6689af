//! Everything at once, from a seed.
//!
//! `BATON_SEED=7 cargo test -p baton-master --lib random -- --nocapture` replays
//! one run with its log.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{model::World, *};

/// Seeds of one run of the test.
const SEEDS: u64 = 200;

/// Things that happen before everything heals.
const STEPS: usize = 600;

#[test]
fn no_shard_ever_has_two_owners_and_all_are_served_once_everything_heals() {
    let one = std::env::var("BATON_SEED")
        .ok()
        .map(|seed| seed.parse().expect("BATON_SEED is a number"));
    let seeds = one.map_or(0..SEEDS, |seed: u64| seed..seed + 1);
    let mut deploys = 0;
    for seed in seeds {
        let mut world = World::new(seed, 4);
        let run = catch_unwind(AssertUnwindSafe(|| {
            trouble(&mut world);
            heal(&mut world);
        }));
        deploys += world.ended;
        if run.is_err() || one.is_some() {
            let log = world.log.join("\n");
            eprintln!("{log}\n\nthat was BATON_SEED={seed}");
        }
        assert!(run.is_ok(), "BATON_SEED={seed} breaks a promise");
    }
    assert!(
        deploys > 0 || one.is_some(),
        "no deploy ever ended: the test tests nothing"
    );
}

fn trouble(world: &mut World) {
    world.launch(Role::Relaunch);
    for _ in 0..STEPS {
        let ids: Vec<_> = world.slaves.keys().copied().collect();
        let id = world.dice.pick(&ids);
        match (world.dice.below(100), id) {
            (0..30, Some(id)) => world.hear(id),
            (30..60, Some(id)) => world.obey(id),
            (60..76, Some(id)) => world.live(id, true),
            (76..85, _) => world.tick(),
            (85, Some(id)) => world.disconnect(id),
            (86..89, Some(id)) => {
                if !world.slaves[&id].connected || world.dice.one_in(8) {
                    world.connect(id);
                }
            }
            (89, Some(id)) => {
                if world.dice.one_in(3) {
                    world.die(id);
                }
            }
            (90, Some(id)) => {
                let hangs = !world.slaves[&id].hangs;
                world.slaves.get_mut(&id).unwrap().hangs = hangs;
                if hangs && world.dice.one_in(4) {
                    world.input(Input::Silent { slave: id });
                }
            }
            (91, _) => {
                if world.slaves.len() < 3 {
                    let role = if world.dice.one_in(4) {
                        Role::Standby
                    } else {
                        Role::Candidate
                    };
                    world.launch(role);
                }
            }
            (92, _) => world.input(Input::Deploy {
                request: RequestId(1),
                order: order(Some("v2")),
            }),
            (93, _) => {
                if world.dice.one_in(4) {
                    world.restart_master();
                }
            }
            (94, Some(id)) => {
                if world.dice.one_in(4) {
                    world.terminate(id);
                }
            }
            (95, _) => world.disk_is_full = world.dice.one_in(4),
            (96, Some(id)) => world.hear_twice(id),
            (97, _) => {
                if world.dice.one_in(4) {
                    world.input(Input::Abort {
                        request: RequestId(2),
                    });
                }
            }
            (98, _) => {
                if world.dice.one_in(8) {
                    world.input(Input::Leave);
                } else {
                    world.input(Input::Resumed);
                }
            }
            (_, _) => launch_what_was_asked(world),
        }
        if let Some(dead) = world.dead.first().copied()
            && world.dice.one_in(6)
        {
            world.hear_of_death(dead);
        }
        if world.has_left() && world.dice.one_in(10) {
            world.restart_master();
        }
        world.judge();
    }
}

/// No more trouble: slaves wake and redial, the disk has room, time passes.
fn heal(world: &mut World) {
    world.log.push("---- healing".to_owned());
    world.disk_is_full = false;
    if world.has_left() {
        world.restart_master();
    }
    let end = world.now.after(1200 * SECOND);
    while world.now < end {
        while let Some(dead) = world.dead.first().copied() {
            world.hear_of_death(dead);
        }
        if world.has_left() {
            world.restart_master();
        }
        launch_what_was_asked(world);
        let ids: Vec<_> = world.slaves.keys().copied().collect();
        for id in ids {
            if let Some(slave) = world.slaves.get_mut(&id) {
                slave.hangs = false;
                if !slave.connected {
                    world.connect(id);
                }
            }
            for _ in 0..4 {
                world.obey(id);
                world.hear(id);
            }
            world.live(id, false);
        }
        world.tick();
    }
    world.judge_healed();
}

fn launch_what_was_asked(world: &mut World) {
    if let Some(role) = world.launches.pop_front() {
        if world.dice.one_in(4) {
            world.input(Input::LaunchFailed {
                slot: "main".to_owned(),
                reason: "bad luck".to_owned(),
            });
        } else {
            world.launch(role);
        }
    }
}
