//! The fuzz target's property on random and on damaged recorded streams.
//! `BATON_SEED=N` replays one seed.

#[path = "../../fuzz/frames.rs"]
mod frames;

use baton_protocol::{
    Frame, ToMaster, Trust, handshake,
    message::{Checkpoint, CheckpointEntry, Hello, Sealed},
    state::{Outgoing, StateWriter},
};
use bytes::Bytes;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

#[test]
fn no_stream_of_bytes_panics_or_changes_when_written_again() {
    for seed in seeds(20_000) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut bytes = vec![0; random.random_range(0..400)];
        random.fill_bytes(&mut bytes);
        run(seed, &mut random, &bytes);
    }
}

#[test]
fn no_damaged_good_stream_panics_or_changes_when_written_again() {
    let good = good_frames();
    for seed in seeds(40_000) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut bytes: Vec<u8> = (0..random.random_range(1..4))
            .flat_map(|_| good[random.random_range(0..good.len())].to_bytes())
            .collect();
        for _ in 0..random.random_range(0..6) {
            let at = random.random_range(0..bytes.len());
            match random.random_range(0..3) {
                0 => bytes[at] = random.random(),
                1 => bytes.insert(at, random.random()),
                _ if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => {}
            }
        }
        run(seed, &mut random, &bytes);
    }
}

#[test]
fn a_body_of_any_bytes_is_either_an_error_or_a_message() {
    for seed in seeds(200_000) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut body = vec![0; random.random_range(0..60)];
        random.fill_bytes(&mut body);
        if let Some(first) = body.first_mut() {
            // Mostly a map, so that the field decoders are reached.
            *first = 0x80 | (*first & 0x03);
        }
        frames::message(&Frame {
            id: random.random_range(0..104),
            body: Bytes::from(body),
        });
    }
}

fn run(seed: u64, random: &mut ChaCha8Rng, bytes: &[u8]) {
    let part = random.random_range(1..50);
    let trust = if random.random() {
        Trust::Known
    } else {
        Trust::Stranger
    };
    let outcome = std::panic::catch_unwind(|| frames::stream(bytes, part, trust));
    assert!(outcome.is_ok(), "replay with BATON_SEED={seed}");
}

fn seeds(count: u64) -> std::ops::Range<u64> {
    match std::env::var("BATON_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        Some(seed) => seed..seed + 1,
        None => 0..count,
    }
}

fn good_frames() -> Vec<Frame> {
    let ticket = baton_protocol::Ticket {
        session: baton_protocol::discord::Session::with_id("0123456789abcdef").seal(),
        handled: 70_000.into(),
        finished_above: [70_003, 70_004, 70_009]
            .map(Into::into)
            .into_iter()
            .collect(),
        ..Default::default()
    };
    let mut frames: Vec<Frame> = Vec::new();
    for mut state in [
        StateWriter::new(3.into(), 7.into()),
        StateWriter::checked(3.into(), 7.into(), None),
    ] {
        let guild = Bytes::from_static(b"a guild");
        let mut piece = Outgoing::new(41, 100.into(), guild).expect("a small piece");
        assert!(state.add(&mut piece).is_none(), "not a whole frame");
        let state = state.end(100.into()).into_iter();
        frames.extend(state.map(|frame| ToMaster::State(frame).to_frame()));
    }
    frames.extend([
        handshake::ToMaster::Hello {
            running: true,
            hello: Box::new(Hello {
                slot: "main".to_owned(),
                nonce: Bytes::from_static(&[9; 16]),
                ..Hello::default()
            }),
        }
        .to_frame(),
        ToMaster::Sealed(Box::new(Sealed {
            epoch: 7.into(),
            ticket: ticket.clone(),
        }))
        .to_frame(),
        ToMaster::Checkpoint(Checkpoint {
            shards: vec![CheckpointEntry {
                shard: 3.into(),
                epoch: 7.into(),
                handled: ticket.handled,
                finished_above: ticket.finished_above.clone(),
                received: ticket.highest(),
                session: Some(ticket),
            }],
        })
        .to_frame(),
    ]);
    frames
}
