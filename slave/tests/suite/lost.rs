//! State that was lost is not found again by moving on.

use crate::common::{FakeMaster, LONG, Peer, Recorder, config, discord, run};
use baton_protocol::{
    Epoch, SequenceRanges, ShardId, ToMaster, ToSlave, Version,
    message::{CopyState, ResumeAfter, StateReady},
    state::StateFrame,
};
use baton_slave::StateStatus;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_that_was_lost_stays_lost_at_the_next_owner_and_when_taken_back() {
    let discord = discord(|_| {}).await;
    let master = FakeMaster::new(1).await;
    let first = run(config(&master, &discord), Recorder::with_cache());
    let mut first_peer = master.accept().await;
    first_peer.start(&[0], 1, 1).await;
    let mut ticket = first_peer.seal(0, 1, LONG).await;
    ticket.in_doubt = SequenceRanges::new();

    let second = run(config(&master, &discord), Recorder::with_cache());
    let mut second_peer = master.accept().await;
    second_peer.resume(2, ResumeAfter::Death, ticket).await;
    let third = run(config(&master, &discord), Recorder::with_cache());
    let mut third_peer = master.accept().await;
    copy(&mut second_peer, &mut third_peer, 2).await;
    let ticket = second_peer.seal(0, 2, LONG).await;
    third_peer.resume(3, ResumeAfter::Seal, ticket).await;
    let ticket = third_peer.seal(0, 3, LONG).await;
    second_peer.resume(4, ResumeAfter::Seal, ticket).await;

    let states = |slave: &crate::common::Running| slave.bot.states.lock().unwrap().clone();
    assert_eq!(states(&first).last(), Some(&(0, StateStatus::Complete)));
    assert_eq!(
        states(&second),
        [(0, StateStatus::Lost), (0, StateStatus::Lost)]
    );
    assert_eq!(states(&third), [(0, StateStatus::Lost)]);
}

/// Forwards the copy of shard 0, as the master does.
pub(super) async fn copy(from: &mut Peer, to: &mut Peer, epoch: u64) -> StateReady {
    forward(from, to, epoch, Version::NEWEST, |frame| frame).await;
    to.wait("the state", |message| match message {
        ToMaster::StateReady(ready) => Some(*ready),
        _ => None,
    })
    .await
}

/// The same for a reader of this version, with frames as `changed` makes them.
/// Gives what the owner sent.
pub(super) async fn forward(
    from: &mut Peer,
    to: &mut Peer,
    epoch: u64,
    reader: Version,
    mut changed: impl FnMut(StateFrame) -> StateFrame,
) -> Vec<StateFrame> {
    let copy = CopyState {
        shard: ShardId(0),
        epoch: Epoch(epoch),
        reader,
        unacknowledged: 0,
    };
    from.order(ToSlave::CopyState(copy)).await;
    let mut frames = Vec::new();
    loop {
        let frame = from
            .wait("a state frame", |message| match message {
                ToMaster::State(frame) => Some(frame.clone()),
                _ => None,
            })
            .await;
        frames.push(frame.clone());
        to.order(ToSlave::State(changed(frame))).await;
        let acked = to.wait("an acknowledgement", |message| match message {
            ToMaster::StateAck(ack) => Some(*ack),
            _ => None,
        });
        from.order(ToSlave::StateAck(acked.await)).await;
        if frames.last().is_some_and(StateFrame::is_end) {
            return frames;
        }
    }
}
