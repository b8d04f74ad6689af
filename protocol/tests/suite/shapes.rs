//! Bodies of ids 2 to 5, 8 and 34 by their shape alone: their fields are written down here
//! once more. A hello, a ticket, a unit and ranges in them are the crate's. Each body is read
//! as a message and written again to the same bytes.

use baton_protocol::{
    Frame, SequenceRanges, Ticket, discord,
    message::{Hello, ResumeAfter, Unit},
};
use proptest::{collection::vec, option, prelude::*};
use serde::Serialize;

use crate::{
    any::{ToMaster, ToSlave},
    arbitrary,
};

#[derive(Serialize)]
struct Session<B> {
    #[serde(rename = "Shard")]
    shard: u32,
    #[serde(rename = "SessionID")]
    session_id: String,
    #[serde(rename = "Sequence")]
    sequence: u64,
    #[serde(rename = "Baton")]
    baton: B,
}

impl<B> Session<B> {
    fn of(ticket: &Ticket, baton: B) -> Self {
        Self {
            shard: ticket.shard.get(),
            session_id: discord::Session::id_of(&ticket.session).to_owned(),
            sequence: ticket.resume_from().get(),
            baton,
        }
    }

    fn without(shard: u32, baton: B) -> Self {
        Self {
            shard,
            session_id: String::new(),
            sequence: 0,
            baton,
        }
    }
}

#[derive(Serialize)]
struct Sealing {
    epoch: u64,
    drain_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    begins: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<Ticket>,
}

#[derive(Serialize)]
struct Resuming {
    epoch: u64,
    after: ResumeAfter,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    state_too_old: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    alone: bool,
    #[serde(skip_serializing_if = "SequenceRanges::is_empty")]
    deadly: SequenceRanges,
    #[serde(skip_serializing_if = "SequenceRanges::is_empty")]
    skipped: SequenceRanges,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<Ticket>,
}

#[derive(Serialize)]
struct SealLate {
    shard: u32,
    epoch: u64,
    drain_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    begins: Option<u64>,
}

#[derive(Serialize)]
struct Migration {
    #[serde(rename = "FromThisSlave")]
    from_this_slave: bool,
    #[serde(rename = "NumShards")]
    num_shards: u32,
    #[serde(rename = "Baton")]
    baton: Deploying,
}

#[derive(Serialize)]
struct Deploying {
    deploy: u64,
}

#[derive(Serialize)]
struct Start {
    #[serde(rename = "Baton")]
    baton: Starting,
}

#[derive(Serialize)]
struct Starting {
    shards: Vec<Unit>,
    shard_count: u32,
}

#[derive(Serialize)]
struct Greeting {
    #[serde(rename = "Running")]
    running: bool,
    #[serde(rename = "Baton")]
    baton: Hello,
}

proptest! {
    #[test]
    fn a_seal_and_its_answer((shard, numbers, begins, ticket) in (
        any::<u32>(), any::<[u64; 2]>(), option::of(any::<u64>()), arbitrary::ticket(),
    )) {
        let [epoch, drain_ms] = numbers;
        let order = Sealing { epoch, drain_ms, begins, ticket: None };
        to_slave(4, &Session::without(shard, order))?;
        to_slave(34, &SealLate { shard, epoch, drain_ms, begins })?;
        let answer = Sealing { epoch, drain_ms: 0, begins: None, ticket: Some(ticket.clone()) };
        to_master(4, &Session::of(&ticket, answer))?;
    }

    #[test]
    fn a_resume_and_its_answer((shard, epoch, flags, after, deadly, skipped, ticket) in (
        any::<u32>(), any::<u64>(), any::<[bool; 2]>(), arbitrary::after(),
        arbitrary::ranges(), arbitrary::ranges(), arbitrary::ticket(),
    )) {
        let [state_too_old, alone] = flags;
        let order = Resuming {
            epoch, after, state_too_old, alone, deadly, skipped, ticket: Some(ticket.clone()),
        };
        to_slave(5, &Session::of(&ticket, order))?;
        let answer = Resuming {
            epoch,
            after: ResumeAfter::Seal,
            state_too_old: false,
            alone: false,
            deadly: SequenceRanges::new(),
            skipped: SequenceRanges::new(),
            ticket: None,
        };
        to_master(5, &Session::without(shard, answer))?;
    }

    #[test]
    fn what_begins_a_deploy_a_cold_start_and_a_connection((flag, count, deploy, shards, hello) in (
        any::<bool>(), any::<u32>(), any::<u64>(), vec(arbitrary::unit(), 0..5), arbitrary::hello(),
    )) {
        let migration = Migration {
            from_this_slave: flag,
            num_shards: count,
            baton: Deploying { deploy },
        };
        to_slave(3, &migration)?;
        to_master(3, &migration)?;
        to_slave(2, &Start { baton: Starting { shards, shard_count: count } })?;
        to_master(8, &Greeting { running: flag, baton: hello })?;
    }
}

fn to_slave(id: u32, body: &impl Serialize) -> Result<(), TestCaseError> {
    let frame = frame(id, body);
    let message = ToSlave::from_frame(frame.clone())?;
    prop_assert!(!matches!(message, ToSlave::Go(_)));
    prop_assert_eq!(message.to_frame(), frame);
    Ok(())
}

fn to_master(id: u32, body: &impl Serialize) -> Result<(), TestCaseError> {
    let frame = frame(id, body);
    let message = ToMaster::from_frame(frame.clone())?;
    prop_assert!(!matches!(message, ToMaster::Go(_)));
    prop_assert_eq!(message.to_frame(), frame);
    Ok(())
}

fn frame(id: u32, body: &impl Serialize) -> Frame {
    let body = rmp_serde::to_vec_named(body).expect("it encodes");
    Frame {
        id,
        body: body.into(),
    }
}
