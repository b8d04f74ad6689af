//! A slave that knows several masters: one of them leads.

use baton_protocol::{Term, message::RefusedReason};
use tokio::time::Instant;

use crate::common::{FakeMaster, LONG, Recorder, config, discord, run, traffic, until};

/// Two masters of one fleet, and a slave that dials the first one first.
async fn two() -> [FakeMaster; 2] {
    let one = FakeMaster::new(1).await;
    let mut other = FakeMaster::new(1).await;
    other.secret = one.secret.clone();
    [one, other]
}

fn term(counter: u64) -> Term {
    Term {
        counter,
        ..Term::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_finds_the_master_that_leads_at_once_and_again_when_another_one_does() {
    let discord = discord(|_| {}).await;
    let [mut a, b] = two().await;
    let mut settings = config(&a, &discord);
    settings.masters = vec![a.address(), b.address()];
    let began = Instant::now();
    let slave = run(settings, Recorder::default());
    a.refuse(RefusedReason::NotLeading).await;
    let mut peer = b.accept().await;
    // No pause between the two, as there is after a refusal of the only master.
    assert!(began.elapsed() < LONG / 2);
    peer.start(&[0], 1, 1).await;
    traffic(&discord, 500.0);
    until("events", || slave.bot.told().len() > 20).await;

    // Its master is gone: it dials the same one, and then the next, which leads by now.
    drop(peer);
    a.term = term(2);
    b.refuse(RefusedReason::NotLeading).await;
    let peer = a.accept().await;
    assert!(peer.running, "it serves");
    let told = slave.bot.told().len();
    until("more events", || slave.bot.told().len() > told + 20).await;

    // The one of before leads no more for this slave, also where it thinks that it does.
    drop(peer);
    a.refuse(RefusedReason::NotLeading).await;
    let obeyed = tokio::spawn(async move { b.accept().await.running });
    assert!(obeyed.await.is_err(), "a master of an older term");
    assert!(a.accept().await.running);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_gone_costs_a_slave_with_two_no_pause() {
    let discord = discord(|_| {}).await;
    let [a, b] = two().await;
    let mut settings = config(&a, &discord);
    settings.masters = vec![a.address(), b.address()];
    // Nobody listens there any more.
    drop(a);
    // Far longer than the test may take.
    settings.timings.master_redial_first = LONG * 10;
    settings.timings.master_redial_max = LONG * 10;
    let _slave = run(settings, Recorder::default());
    b.accept().await;
}
