//! The table by itself: the tasks of its shards never run here.

use std::time::Duration;

use baton_protocol::{Sequence, SequenceRanges};

use super::*;
use crate::{
    Event, ShardHandle, SlaveConfig,
    agent::{leaving::Leaving, work::Worker},
    bot::{Ack, Bot},
    shard::Context,
};

const SHARD: ShardId = ShardId(0);
const HELD: Sequence = Sequence(7);

struct Nothing;

impl Bot for Nothing {
    fn handle(&self, _: Event, _: Ack, _: &ShardHandle) {}
}

fn said(table: &Table, said: Said) {
    let entry = table.get(SHARD).expect("it is here");
    entry.as_if_said(said);
}

fn heard(table: &mut Table) -> Vec<Said> {
    std::iter::from_fn(|| table.said_already())
        .map(|from| from.said)
        .collect()
}

/// What is settled: which events, and which payloads.
fn settled(said: &Said) -> (SequenceRanges, Vec<Sequence>) {
    let Said::Settled { unfinished, events } = said else {
        panic!("{said:?}");
    };
    let payloads = events.iter().map(|event| event.sequence);
    (unfinished.clone(), payloads.collect())
}

#[tokio::test]
async fn a_sealed_shard_whose_task_panics_gives_what_it_is_trusted_with_and_answers_again() {
    let config = SlaveConfig::new("token");
    let context = Context::new(config, Arc::new(Nothing), None, None, None).expect("certificates");
    let mut table = Table::new(Arc::new(context));
    let ticket = Ticket {
        shard: SHARD,
        session: baton_protocol::discord::Session::with_id("session").seal(),
        handled: Sequence(6),
        in_doubt: [HELD].into_iter().collect(),
        ..Ticket::default()
    };
    let resumed = table.resume(
        SHARD,
        Epoch(1),
        ResumeAfter::Seal,
        ticket.clone(),
        Care::default(),
    );
    assert_eq!(resumed, Ok(()));
    said(&table, Said::Sealed(Box::new(ticket.clone())));
    let kept = Event::for_test(SHARD, HELD, "MESSAGE_CREATE", "{}");
    let newer = Event::for_test(SHARD, Sequence(9), "MESSAGE_CREATE", "{}");
    let (_, orders) = Orders::new();
    let left = Left::nothing(orders).with(vec![kept, newer]);
    said(&table, Said::Died(Box::new(left)));
    let first = heard(&mut table);
    assert!(matches!(&first[0], Said::Sealed(given) if **given == ticket));
    assert_eq!(settled(&first[1]), (ticket.in_doubt.clone(), vec![HELD]));
    table.seal(Seal {
        shard: SHARD,
        epoch: Epoch(1),
        ..Seal::default()
    });
    let again = heard(&mut table);
    assert!(matches!(&again[0], Said::Sealed(given) if **given == ticket));
    assert_eq!(settled(&again[1]), settled(&first[1]));
    assert_eq!((first.len(), again.len()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_slave_that_ends_gives_what_runs_the_time_that_its_seal_gave_it() {
    let config = SlaveConfig::new("token");
    let drain = Duration::from_secs(60);
    let context = Context::new(config, Arc::new(Nothing), None, None, None).expect("certificates");
    let mut table = Table::new(Arc::new(context));
    let ticket = Ticket {
        shard: SHARD,
        session: baton_protocol::discord::Session::with_id("session").seal(),
        in_doubt: [HELD].into_iter().collect(),
        ..Ticket::default()
    };
    let epoch = Epoch(1);
    let care = Care::default();
    let resumed = table.resume(SHARD, epoch, ResumeAfter::Seal, ticket.clone(), care);
    assert_eq!(resumed, Ok(()));
    table.seal(Seal {
        shard: SHARD,
        epoch,
        drain,
        begins: None,
    });
    said(&table, Said::Sealed(Box::new(ticket)));
    heard(&mut table);
    let work = Worker::new(None);
    let own = Duration::from_secs(10);
    let leaving = Leaving::begin(true, own, &mut table);
    for wait in [own * 3, own * 2] {
        tokio::time::advance(wait).await;
        assert!(!leaving.is_over(&table, &work), "its handler may run still");
    }
    tokio::time::advance(own * 2).await;
    assert!(leaving.is_over(&table, &work), "no longer than that");
}
