//! Two of our slaves at a Go master that is killed in the middle of their
//! migration, and started again: it knows nothing, and no slave knows of the other.

use super::*;

/// How far the migration of two shards came, in messages, before the master was killed.
const STEPS: usize = 10;

/// Shards, in the order in which they move.
const SHARDS: u32 = 2;

async fn migrate_until(step: usize, old: &mut Wire, new: &mut Wire) {
    let mut ticket = Session::default();
    for at in 1..=step {
        match at {
            1 => old.becomes_source(SHARDS).await,
            2 => new.becomes_target(SHARDS).await,
            3 => old.stop(0).await,
            4 => ticket = old.ticket(0).await,
            5 => new.give(&ticket).await,
            6 => new.acknowledges(&ticket).await,
            7 => old.stop(1).await,
            8 => ticket = old.ticket(1).await,
            9 => new.give(&ticket).await,
            _ => new.acknowledges(&ticket).await,
        }
    }
}

/// Both come to the next master, each with what it says of itself; a slave that gave
/// everything away ends instead.
async fn come_back(master: &Master, count: usize) -> Vec<(bool, Wire)> {
    let mut back = Vec::new();
    while back.len() < count {
        back.push(master.hello().await);
    }
    back
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_it_is_killed_no_event_is_handled_twice_and_no_session_is_taken_to_and_fro() {
    // With the last ticket its giver is gone, and nobody may have it: said, not mended.
    // A giver that was told to stop may write that ticket before it sees that its master is
    // gone: what follows is as after the step before, or as after the step behind.
    for step in (1..=STEPS).filter(|step| !(7..=9).contains(step)) {
        let mut scene = scene(SHARDS).await;
        scene.flows().await;
        traffic(&scene.discord, 0.0);
        let new = run(
            config(&scene.master, &scene.discord, SHARDS),
            Recorder::with_cache(),
        );
        let mut to = scene.master.slave(false).await;
        migrate_until(step, &mut scene.wire, &mut to).await;
        drop(scene.wire);
        drop(to);
        let old_ends = step == STEPS;
        let back = come_back(&scene.master, if old_ends { 1 } else { 2 }).await;
        let running = back.iter().filter(|(running, _)| *running).count();
        let (mut owners, mut rest): (Vec<_>, Vec<_>) =
            back.into_iter().partition(|(running, _)| *running);
        if let (1, Some((_, mut to)), false) = (running, rest.pop(), old_ends) {
            // One has all: it is the one to move from, as if nothing had been.
            let (_, mut from) = owners.pop().unwrap();
            migrate(&mut from, &mut to, SHARDS).await;
            rest.push((false, to));
        } else {
            assert!(step >= 5, "{step}: two of them own shards");
        }
        traffic(&scene.discord, 200.0);
        flows(&new).await;
        let (old, new_bot) = (scene.slave.bot.clone(), new.bot.clone());
        traffic(&scene.discord, 0.0);
        let everything = || {
            let sent = scene.discord.ledger(0, usize::MAX);
            let sent = sent.iter().filter(|entry| entry.kind.name() != "RESUMED");
            let mut sent: Vec<_> = sent
                .map(|entry| (entry.session.to_string(), entry.seq))
                .collect();
            let told = [&old, &new_bot].into_iter().flat_map(|bot| bot.told());
            let mut told: Vec<_> = told.map(|told| (told.session, told.sequence)).collect();
            sent.sort();
            told.sort();
            sent == told
        };
        until(&format!("each event once, killed at {step}"), everything).await;
        let total = scene.discord.counters().total;
        assert_eq!(total.identifies, 2, "killed at {step}");
        assert!(total.resumes <= 4, "{} RESUMEs at {step}", total.resumes);
        drop((owners, rest));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_slave_that_is_given_what_the_second_has_takes_it_a_few_times_at_most() {
    let mut scene = scene(1).await;
    scene.flows().await;
    let settings = || config(&scene.master, &scene.discord, 1);
    let second = run(settings(), Recorder::with_cache());
    let mut to = scene.master.slave(false).await;
    scene.wire.becomes_source(1).await;
    to.becomes_target(1).await;
    scene.wire.stop(0).await;
    let ticket = scene.wire.ticket(0).await;
    to.give(&ticket).await;
    to.acknowledges(&ticket).await;
    // Killed here. The next master has the first slave's ticket once more, and deploys.
    let third = run(settings(), Recorder::with_cache());
    let mut next = scene.master.slave(false).await;
    next.becomes_target(1).await;
    next.give(&ticket).await;
    let has_let_go = async |slave: &Running| {
        let status = slave.monitor.status().await.unwrap();
        let mut shards = status.shards.iter();
        shards.any(|shard| shard.holding == Some(Holding::Failed))
    };
    let began = Instant::now();
    while !has_let_go(&second).await && !has_let_go(&third).await {
        assert!(began.elapsed() < crate::common::LONG, "to and fro for ever");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The other one has it in peace.
    let resumed = || logged(&scene.discord, What::Resumed).len();
    let times = resumed();
    assert!(times <= 14, "{times} RESUMEs");
    let winner = if has_let_go(&second).await {
        &third
    } else {
        &second
    };
    traffic(&scene.discord, 200.0);
    flows(winner).await;
    assert!(resumed() <= times + 1, "{times}, then {}", resumed());
    assert_eq!(scene.discord.counters().total.identifies, 1);
}
