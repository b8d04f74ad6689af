use super::*;

/// A copy of these pieces that begins at sequence 10.
fn copy_of(pieces: Vec<u64>) -> CopyOut {
    let budget = Arc::new(Semaphore::new(1 << 20));
    CopyOut::new(
        Form::Plain,
        ShardId(1),
        Epoch(4),
        Sequence(10),
        Some("tag"),
        pieces,
        budget,
    )
}

/// Steps a copy of pieces 7 and 8 from sequence 11 on; `happens` says which
/// piece the event of a step changes. Gives what was exported, and where the
/// copy stands.
fn copy(happens: impl Fn(u64) -> Option<u64>, gone: &[u64]) -> (Vec<u64>, Sequence) {
    let mut copy = copy_of(vec![7, 8]);
    let mut exported = Vec::new();
    let mut stands = Sequence(0);
    let mut at = 10;
    while !copy.is_over() {
        at += 1;
        if let Some(key) = happens(at) {
            copy.changed(key, Sequence(at));
        }
        let frame = copy.step(Sequence(at), |key| {
            exported.push(key);
            (!gone.contains(&key)).then(|| Bytes::from_static(b"guild"))
        });
        stands = frame.map_or(stands, |frame| frame.header().sequence);
    }
    (exported, stands)
}

#[tokio::test(start_paused = true)]
async fn a_copy_in_which_nothing_changed_stands_at_its_end() {
    assert_eq!(copy(|_| None, &[]), (vec![7, 8], Sequence(13)));
}

#[tokio::test(start_paused = true)]
async fn a_piece_that_changed_is_exported_again() {
    let (exported, stands) = copy(|at| (at == 12).then_some(7), &[]);
    assert_eq!(exported, [7, 8, 7]);
    assert!(stands >= Sequence(14), "{stands}");
}

#[tokio::test(start_paused = true)]
async fn a_piece_that_never_stops_changing_holds_the_copy_back_only_a_little() {
    let (exported, stands) = copy(|_| Some(8), &[]);
    assert_eq!(exported.len() as u32, 2 + ROUNDS);
    assert!(stands >= Sequence(10 + 2 * u64::from(ROUNDS)), "{stands}");
}

/// A copy of 64 pieces of which events change so many in turn, eight of them in each step. Gives
/// how many were exported, and how many events behind the present the copy ends.
fn busy(changing: u64) -> (usize, u64) {
    let mut copy = copy_of((1..=64).collect());
    let (mut exported, mut at, mut stands) = (0, 10, Sequence(0));
    while !copy.is_over() {
        for _ in 0..8 {
            at += 1;
            copy.changed(1 + at % changing, Sequence(at));
        }
        let frame = copy.step(Sequence(at), |_| {
            exported += 1;
            Some(Bytes::from_static(b"guild"))
        });
        stands = frame.map_or(stands, |frame| frame.header().sequence);
    }
    (exported, at - stands.get())
}

#[tokio::test(start_paused = true)]
async fn what_changes_faster_than_it_can_be_exported_is_exported_once() {
    let (all, behind) = busy(64);
    assert_eq!(all, 64);
    assert!(behind <= 8 * (64 + 4), "{behind}");
    let (some, behind) = busy(32);
    assert_eq!(some, 64 + 32, "and then no fewer change");
    assert!(behind <= 8 * (32 + 4), "{behind}");
    let (few, behind) = busy(8);
    assert_eq!(few as u32, 64 + 8 * ROUNDS);
    assert!(behind <= 8 * (8 + 4), "{behind}");
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_would_end_before_a_heartbeat_stands_behind_it() {
    let began = Instant::now();
    let due = began + UNTIL_SEALED / 2;
    // It is sent a little later than it was due.
    let late = due + LOOK * 3;
    let mut copy = copy_of(vec![7]);
    let piece = |_| Some(Bytes::from_static(b"guild"));
    let mut stands = Sequence(0);
    let mut at = 10;
    while !copy.is_over() {
        assert!(copy.ready().await);
        let sent = Instant::now() >= late;
        let heartbeat = Heartbeat {
            sent: if sent { late } else { began - UNTIL_SEALED },
            due: if sent { late + UNTIL_SEALED } else { due },
        };
        if copy.outlasts(Some(heartbeat)) {
            // Meanwhile events come, and the heartbeat names the last of them.
            at += 10;
            copy.changed(7, Sequence(at));
        } else if let Some(frame) = copy.step(Sequence(at), piece) {
            stands = frame.header().sequence;
        }
    }
    assert!(Instant::now() >= late);
    assert_eq!(stands, Sequence(at));
}

#[tokio::test(start_paused = true)]
async fn small_pieces_are_exported_without_a_timer_between_them() {
    let began = Instant::now();
    let mut copy = copy_of((1..100).collect());
    while !copy.is_over() {
        assert!(copy.ready().await);
        copy.step(Sequence(11), |_| Some(Bytes::from_static(b"guild")));
    }
    assert_eq!(Instant::now(), began);
}

/// How long 100 exports of 2 ms each take with what the pace adds; an event
/// comes before each where `events`.
async fn paced(copy: CopyOut, events: bool) -> Duration {
    let mut copy = copy;
    let began = Instant::now();
    let mut at = 10;
    while !copy.is_over() {
        assert!(copy.ready().await);
        at += u64::from(events);
        copy.spent += Duration::from_millis(2);
        copy.step(Sequence(at), |_| Some(Bytes::from_static(b"guild")));
    }
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_copy_leaves_half_of_the_time_to_events_and_none_where_none_come() {
    let copy = || copy_of((1..101).collect());
    let idle = paced(copy(), false).await;
    assert!(idle < Duration::from_millis(20), "{idle:?}");
    let busy = paced(copy(), true).await;
    assert!(busy >= Duration::from_millis(200), "{busy:?}");
    let gentle = paced(copy().gently(), false).await;
    assert!(gentle >= Duration::from_millis(1800), "{gentle:?}");
}

#[tokio::test(start_paused = true)]
async fn a_large_piece_is_cut_one_frame_at_a_time() {
    let mut copy = copy_of(vec![7]);
    let piece = Bytes::from(vec![1; 1_000_000]);
    let mut most = 0;
    let mut frames = 0;
    while !copy.is_over() {
        most = most.max(copy.frames.len());
        let frame = copy.step(Sequence(11), |_| Some(piece.clone()));
        frames += usize::from(frame.is_some());
    }
    assert_eq!((frames, most), (17, 2), "the end and what was not full");
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_is_far_away_is_not_waited_for() {
    let began = Instant::now();
    let mut copy = copy_of(vec![7]);
    let heartbeat = Heartbeat {
        sent: began - UNTIL_SEALED,
        due: began + UNTIL_SEALED * 2,
    };
    while !copy.is_over() {
        assert!(copy.ready().await);
        assert!(!copy.outlasts(Some(heartbeat)));
        copy.step(Sequence(11), |_| None::<Bytes>);
    }
    assert!(Instant::now() < heartbeat.due);
}

#[tokio::test(start_paused = true)]
async fn the_event_that_removed_a_piece_is_replayed() {
    let (_, stands) = copy(|at| (at == 13).then_some(8), &[8]);
    assert_eq!(stands, Sequence(12));
}
