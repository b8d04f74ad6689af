#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use baton_protocol::{ShardId, message::event};
use tokio::sync::Semaphore;

use super::*;
use crate::{
    config::StateCompression,
    state::{CopyOut, Form, Way, export::Packed},
};

const FORMS: [Form; 3] = [
    Form::Plain,
    Form::Checked(Packed::No),
    Form::Checked(Packed::Zstd),
];

/// A copy of these pieces, each 10,000 times its key long; 13 is gone by now.
fn frames(form: Form, keys: &[u64]) -> Vec<StateFrame> {
    let mut copy = CopyOut::new(
        form,
        ShardId(1),
        Epoch(4),
        Sequence(10),
        Some("tag"),
        keys.to_vec(),
        Arc::new(Semaphore::new(usize::MAX >> 4)),
    );
    let mut frames = Vec::new();
    let mut at = 10;
    while !copy.is_over() {
        at += 1;
        let piece = |key| (key != 13).then(|| content(key));
        frames.extend(copy.step(Sequence(at), piece));
    }
    frames
}

fn content(key: u64) -> Bytes {
    let byte = |at: u64| (at * key / 31 % 251) as u8;
    (0..key * 10_000).map(byte).collect::<Vec<u8>>().into()
}

/// The frame with one bit changed at `at`.
fn damaged(frame: &StateFrame, at: usize) -> StateFrame {
    let mut body = frame.body().to_vec();
    body[at] ^= 4;
    StateFrame::from_body(frame.id(), body.into()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_every_form_arrives_whole_and_each_piece_stands_where_it_was_exported() {
    for form in FORMS {
        let mut import = Import::default();
        let mut whole = Vec::new();
        let mut copied = None;
        let mut length = 0;
        for frame in frames(form, &[0, 7, 13, 20]) {
            length += frame.body().len();
            match import.take(&frame) {
                Taken::Begins(pieces) | Taken::Pieces(pieces) => whole.extend(pieces),
                Taken::Complete(complete) => copied = Some(complete),
                Taken::Broken(why) => panic!("{why}"),
                Taken::Ignored => panic!("ignored"),
            }
        }
        let is_packed = form == Form::Checked(Packed::Zstd);
        assert_eq!(length < 270_000, is_packed, "{length} bytes, {form:?}");
        let copied = copied.unwrap();
        assert!(whole.iter().all(|piece| piece.bytes == content(piece.key)));
        let keys: Vec<u64> = whole.iter().map(|piece| piece.key).collect();
        assert_eq!(keys, [7, 20]);
        assert_eq!(copied.session.as_deref(), Some("tag"));
        assert_eq!((copied.began, copied.count()), (Sequence(10), 2));
        assert!(copied.lowest > whole[1].sequence, "nothing changed since");
        assert!(copied.holds(copied.lowest, || Some(99)));
        assert!(copied.is_behind(Sequence(copied.lowest.get() + 1)));
    }
}

#[test]
fn a_copy_is_packed_where_it_crosses_the_network_unless_somebody_chose() {
    use baton_protocol::Version;
    let form = |chosen, way| Form::of_reader(Version::NEWEST, chosen, way);
    let (here, far) = (Way::OnHost, Way::BetweenHosts);
    let usual = StateCompression::default();
    assert_eq!(form(usual, here), Form::Checked(Packed::No));
    assert_eq!(form(usual, far), Form::Checked(Packed::Zstd));
    for way in [here, far] {
        let none = form(StateCompression::None, way);
        assert_eq!(none, Form::Checked(Packed::No));
        let zstd = form(StateCompression::Zstd, way);
        assert_eq!(zstd, Form::Checked(Packed::Zstd));
    }
}

#[test]
fn a_bomb_breaks_its_copy_and_is_not_unpacked() {
    use baton_protocol::state::{MAX_STATE_BODY, Outgoing, Pack, StateWriter};
    /// Packs what is not there: 64 MiB of nothing.
    #[derive(Debug)]
    struct Bomb(Vec<u8>);
    impl Pack for Bomb {
        fn pack(&mut self, _: &[u8]) -> Option<&[u8]> {
            Some(&self.0)
        }
    }
    let mut block = vec![0; MAX_STATE_BODY];
    let length = zstd_safe::compress(&mut block[..], &vec![0; 64 << 20], 1).unwrap();
    block.truncate(length);
    let bomb = Box::new(Bomb(block));
    let mut writer = StateWriter::checked(ShardId(1), Epoch(4), Some(bomb));
    let mut piece = Outgoing::new(7, Sequence(1), Bytes::from(vec![1; 200])).unwrap();
    assert!(writer.add(&mut piece).is_none());
    let sent = writer.end(Sequence(1));
    let mut import = Import::default();
    let taken = import.take(&sent[0]);
    let Taken::Broken(why) = taken else {
        panic!("{taken:?}");
    };
    assert!(why.contains("unpacked"), "{why}");
    // Nothing more of it is taken, and the next copy is.
    assert!(matches!(import.take(&sent[1]), Taken::Ignored));
    let after = frames(Form::Checked(Packed::Zstd), &[7]);
    assert!(matches!(import.take(&after[0]), Taken::Begins(_)));
}

#[test]
fn a_reader_of_an_older_version_is_copied_to_in_the_form_that_it_knows() {
    use baton_protocol::Version;
    let zstd = StateCompression::Zstd;
    for version in 0..=Version::NEWEST.0 {
        let form = Form::of_reader(Version(version), zstd, Way::OnHost);
        let is_old = version < Version::CHECKED_STATE.0;
        assert_eq!(form == Form::Plain, is_old, "{version}");
        assert_eq!(form == Form::Checked(Packed::Zstd), !is_old, "{version}");
        let ids: Vec<u32> = frames(form, &[7]).iter().map(StateFrame::id).collect();
        let (pieces, end) = if is_old {
            (event::STATE_PIECES, event::STATE_END)
        } else {
            (event::STATE_CHECKED, event::STATE_CHECKED_END)
        };
        assert_eq!(
            ids.split_last(),
            Some((&end, &*vec![pieces; ids.len() - 1]))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_frame_breaks_the_copy_and_nothing_of_it_is_taken_in() {
    for form in &FORMS[1..] {
        let all = frames(*form, &[20]);
        for bad in 0..all.len() {
            // Shard, number, sequence, checksum, packing or end, content.
            for at in [0, 4, 16, 24, 28, 31, all[bad].body().len() - 1] {
                let mut import = Import::default();
                for frame in &all[..bad] {
                    let taken = import.take(frame);
                    assert!(matches!(taken, Taken::Begins(_) | Taken::Pieces(_)));
                }
                let taken = import.take(&damaged(&all[bad], at));
                let Taken::Broken(why) = taken else {
                    panic!("byte {at} of frame {bad}: {taken:?}");
                };
                assert!(why.contains("damaged"), "{why}");
                // Its later result is useless.
                for frame in all.iter().skip(bad + 1) {
                    assert!(matches!(import.take(frame), Taken::Ignored));
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_of_a_kind_that_is_not_known_breaks_the_copy() {
    let all = frames(Form::Plain, &[20]);
    let mut import = Import::default();
    assert!(matches!(import.take(&all[0]), Taken::Begins(_)));
    let later = StateFrame::from_body(104, all[1].body().clone()).unwrap();
    assert!(matches!(import.take(&later), Taken::Broken(_)));
}

#[test]
fn above_the_copy_as_a_whole_each_piece_stands_for_itself() {
    let copied = Copied {
        began: Sequence(10),
        lowest: Sequence(12),
        highest: Sequence(20),
        pieces: HashMap::from([(7, Sequence(20)), (8, Sequence(11))]),
        ..Copied::default()
    };
    assert!(copied.holds(Sequence(12), || Some(99)));
    assert!(copied.holds(Sequence(20), || Some(7)));
    assert!(!copied.holds(Sequence(13), || Some(8)));
    assert!(!copied.holds(Sequence(13), || Some(99)), "not copied");
    assert!(!copied.is_behind(Sequence(20)) && copied.is_behind(Sequence(21)));
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_is_missing_breaks_the_copy_and_a_new_copy_heals_it() {
    for form in FORMS {
        let all = frames(form, &[20, 19, 18, 17, 16]);
        let mut import = Import::default();
        assert!(matches!(import.take(&all[0]), Taken::Begins(_)));
        assert!(matches!(import.take(&all[2]), Taken::Broken(_)));
        assert!(matches!(import.take(&all[3]), Taken::Ignored));
        assert!(matches!(import.take(&all[0]), Taken::Begins(_)));
        assert!(matches!(import.take(&all[1]), Taken::Pieces(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_bot_without_state_sends_an_empty_copy() {
    for form in FORMS {
        let budget = Arc::new(Semaphore::new(1000));
        let at = Sequence(10);
        let mut copy = CopyOut::new(form, ShardId(1), Epoch(4), at, None, vec![], budget);
        let end = copy.step(at, |_| None::<Bytes>).unwrap();
        assert!(copy.is_over());
        let Taken::Complete(copied) = Import::default().take(&end) else {
            panic!("an empty copy is complete");
        };
        assert_eq!((copied.count(), copied.lowest), (0, Sequence(0)));
    }
}
