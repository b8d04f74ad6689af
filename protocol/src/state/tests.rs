use std::collections::BTreeMap;

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;

/// Not zstd: a run of one byte as that byte and its length.
#[derive(Debug, Default)]
struct Runs(Vec<u8>);

impl Pack for Runs {
    fn pack(&mut self, fragments: &[u8]) -> Option<&[u8]> {
        self.0.clear();
        for run in fragments.chunk_by(|one, next| one == next) {
            self.0.push(run[0]);
            self.0.extend((run.len() as u32).to_le_bytes());
        }
        (self.0.len() < fragments.len()).then_some(&self.0)
    }
}

fn unpacked(packing: Packing, content: Bytes) -> Bytes {
    match packing {
        Packing::None => content,
        Packing::Zstd => {
            let mut out = Vec::new();
            for run in content.chunks(5) {
                let length = u32::from_le_bytes(run[1..].try_into().expect("four bytes"));
                out.resize(out.len() + length as usize, run[0]);
            }
            out.into()
        }
    }
}

fn writer(form: u8) -> StateWriter {
    let (shard, epoch) = (ShardId(3), Epoch(7));
    match form {
        0 => StateWriter::new(shard, epoch),
        1 => StateWriter::checked(shard, epoch, None),
        _ => StateWriter::checked(shard, epoch, Some(Box::new(Runs::default()))),
    }
}

fn cut(writer: &mut StateWriter, key: u64, sequence: u64, piece: Bytes) -> Vec<StateFrame> {
    let mut piece = Outgoing::new(key, Sequence(sequence), piece).expect("small enough");
    let mut frames = Vec::new();
    while !piece.is_cut() {
        frames.extend(writer.add(&mut piece));
    }
    frames
}

proptest! {
    #[test]
    fn pieces_of_every_size_arrive_whole_in_every_form(
        sizes in prop::collection::vec(0_usize..200_000, 0..8),
        form in 0_u8..3,
        step in 1_usize..300,
    ) {
        let byte = |at: usize| (at / step % 251) as u8;
        let pieces: BTreeMap<u64, Bytes> = sizes
            .iter()
            .enumerate()
            .map(|(key, size)| (key as u64, (0..*size).map(byte).collect::<Vec<u8>>().into()))
            .collect();
        let mut writer = writer(form);
        let mut frames = Vec::new();
        for (key, piece) in &pieces {
            frames.extend(cut(&mut writer, *key, 100 - key, piece.clone()));
        }
        frames.extend(writer.end(Sequence(500)));

        let end = frames.pop().expect("an end");
        prop_assert!(end.is_end());
        end.check()?;
        prop_assert_eq!(end.header().chunk as usize, frames.len());
        prop_assert_eq!(end.header().sequence, Sequence(500));
        let mut read: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for (number, frame) in frames.into_iter().enumerate() {
            prop_assert!(frame.body().len() <= MAX_STATE_BODY);
            prop_assert!(!frame.is_end());
            prop_assert_eq!(frame.header().chunk as usize, number);
            let again = StateFrame::from_body(frame.id(), frame.body().clone())?;
            prop_assert_eq!(&again, &frame);
            again.check()?;
            let (packing, content) = again.content()?;
            prop_assert!(packing == Packing::None || form == 2);
            for fragment in again.fragments(unpacked(packing, content))? {
                let piece = read.entry(fragment.key).or_default();
                prop_assert_eq!(piece.len(), fragment.offset as usize);
                prop_assert_eq!(fragment.sequence, Sequence(100 - fragment.key));
                piece.extend_from_slice(&fragment.bytes);
                prop_assert_eq!(fragment.is_last(), piece.len() == fragment.total as usize);
            }
        }
        prop_assert_eq!(read, pieces.into_iter().map(|(key, piece)| (key, piece.to_vec())).collect());
    }

    #[test]
    fn a_changed_bit_of_a_checked_frame_is_noticed_wherever_it_is(
        size in 0_usize..3000,
        form in 1_u8..3,
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let mut writer = writer(form);
        let mut frames = cut(&mut writer, 41, 9, vec![5; size].into());
        frames.extend(writer.end(Sequence(9)));
        for frame in frames {
            let mut body = frame.body().to_vec();
            let at = at.index(body.len());
            body[at] ^= 1 << bit;
            let damaged = StateFrame::from_body(frame.id(), body.into())?;
            let is_noticed = matches!(damaged.check(), Err(DecodeError::Damaged { .. }));
            prop_assert!(is_noticed, "byte {}", at);
            let end = StateFrame::from_body(event::STATE_CHECKED_END, frame.body().clone())?;
            prop_assert_eq!(end.check().is_ok(), frame.is_end(), "its id is part of it");
        }
    }

    #[test]
    fn no_bytes_make_it_panic(id in 100_u32..106, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(frame) = StateFrame::from_body(id, bytes.into()) {
            let _ = frame.check();
            if let Ok((_, content)) = frame.content() {
                let _ = frame.fragments(content);
            }
        }
    }
}

#[test]
fn the_plain_form_is_as_every_version_before_5_writes_and_reads_it() {
    let mut writer = writer(0);
    let mut frames = cut(&mut writer, 41, 9, Bytes::from_static(b"xyz"));
    frames.extend(writer.end(Sequence(12)));
    let pieces = b"\x03\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\
        \x29\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x03\0\0\0xyz";
    let end = b"\x03\0\0\0\x01\0\0\0\x07\0\0\0\0\0\0\0\x0c\0\0\0\0\0\0\0";
    let written: Vec<_> = frames.iter().map(|f| (f.id(), &f.body()[..])).collect();
    assert_eq!(written, [(100, &pieces[..]), (101, &end[..])]);
}

#[test]
fn the_checked_form_is_for_ever_too() {
    let mut writer = writer(1);
    let mut frames = cut(&mut writer, 41, 9, Bytes::from_static(b"xyz"));
    frames.extend(writer.end(Sequence(12)));
    // The checksums are those of zlib's crc32 over the id and everything else.
    let pieces = b"\x03\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\xed\xbb\x11\x88\0\0\0\0\
        \x29\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x03\0\0\0xyz";
    let end = b"\x03\0\0\0\x01\0\0\0\x07\0\0\0\0\0\0\0\x0c\0\0\0\0\0\0\0\x5c\xa8\xfd\x89\0\0\0\0";
    let written: Vec<_> = frames.iter().map(|f| (f.id(), &f.body()[..])).collect();
    assert_eq!(written, [(102, &pieces[..]), (103, &end[..])]);
}

#[test]
fn a_kind_of_frame_or_packing_that_is_not_known_is_named() {
    let frame = |id, body: &[u8]| {
        StateFrame::from_body(id, Bytes::copy_from_slice(body)).expect("a header")
    };
    let later = frame(104, &[0; 40]);
    assert!(matches!(
        later.check(),
        Err(DecodeError::UnknownId { id: 104 })
    ));
    let short = frame(102, &[0; 27]);
    let truncated = |answer| matches!(answer, Err(DecodeError::Truncated { have: 27, .. }));
    assert!(truncated(short.check()));
    assert!(truncated(short.content().map(drop)));
    let packed = frame(102, &[[0; 28], [9; 28]].concat());
    assert!(matches!(
        packed.content(),
        Err(DecodeError::UnknownPacking {
            packing: 0x0909_0909,
            ..
        })
    ));
}

#[test]
fn a_piece_larger_than_any_is_refused() {
    let piece = vec![0; MAX_PIECE + 1].into();
    let refused = Outgoing::new(1, Sequence(1), piece);
    assert!(matches!(refused, Err(DecodeError::TooLong { .. })));
}

#[test]
fn a_fragment_past_its_piece_is_refused() {
    let mut body = BytesMut::new();
    StateHeader::default().put(&mut body);
    body.put_u64_le(1);
    body.put_u64_le(1);
    body.put_u32_le(3);
    body.put_u32_le(2);
    body.put_u32_le(2);
    body.put_slice(b"xy");
    let frame = StateFrame::from_body(100, body.freeze()).expect("a header");
    let (_, content) = frame.content().expect("a plain frame");
    assert!(matches!(
        frame.fragments(content),
        Err(DecodeError::BadFragment {
            key: 1,
            total: 3,
            offset: 2,
            length: 2
        })
    ));
}
