use std::{
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use tokio::sync::{Notify, mpsc};

use super::{Attachment, Outgoing, Params, Replace, ResumeError, Session};
use crate::{
    conn::command::Command, id::Fingerprint, kind::EventKind, ledger::Ledger,
    wire::encode::Compression,
};

const WINDOW: Duration = Duration::from_secs(90);

#[test]
fn a_fingerprint_is_the_first_half_of_the_first_half_of_the_digest() {
    // sha256("abc") begins ba7816bf 8f01cfea.
    assert_eq!(Fingerprint::of("abc").to_string(), "ba7816bf8f01cfea");
}

#[tokio::test(start_paused = true)]
async fn a_resume_replays_what_is_greater_than_its_sequence_and_nothing_else() {
    let (session, ledger) = served_session(100);
    push(&session, &ledger, 5);
    assert_eq!(sequences(&session, 1), [1, 2, 3, 4, 5]);
    session.detach(1);
    push(&session, &ledger, 2);

    let missed = session
        .resume(3, attachment(2).0, WINDOW, Replace::Refuse)
        .unwrap();
    assert_eq!(missed, 4);
    assert_eq!(sequences(&session, 2), [4, 5, 6, 7]);
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_numbers_leave_some_out_replays_from_any_of_them() {
    let skip = Arc::new(AtomicU32::new(2));
    let first = attachment(1).0;
    let session = Session::new("s".into(), params(), 4, 1000, skip, first);
    let ledger = Ledger::new(100);
    push(&session, &ledger, 8);
    let numbers = [1, 2, 5, 6, 10, 11, 13, 14];
    assert_eq!(sequences(&session, 1), numbers);
    session.detach(1);
    let resume = |seq, conn| session.resume(seq, attachment(conn).0, WINDOW, Replace::TakeOver);
    assert_eq!(resume(5, 2).unwrap_err(), ResumeError::Trimmed);
    // 7 to 9 were never sent, and nothing between 6 and 10 is missing.
    for (seq, missed) in [(6, 4), (8, 4), (10, 3), (12, 2), (14, 0)] {
        assert_eq!(resume(seq, seq).unwrap(), missed);
        let replayed = sequences(&session, seq);
        assert_eq!(
            replayed,
            numbers.into_iter().filter(|n| *n > seq).collect::<Vec<_>>()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_is_gone_when_its_window_is_over_and_not_before() {
    let (session, _) = served_session(100);
    session.detach(1);
    tokio::time::advance(WINDOW).await;
    assert!(!session.is_gone(WINDOW));
    tokio::time::advance(Duration::from_millis(1)).await;
    let refused = session.resume(0, attachment(2).0, WINDOW, Replace::Refuse);
    assert_eq!(refused.unwrap_err(), ResumeError::Gone);
}

#[tokio::test(start_paused = true)]
async fn the_buffer_drops_its_oldest_events_only_after_they_were_sent() {
    let (session, ledger) = served_session(3);
    push(&session, &ledger, 10);
    assert_eq!(sequences(&session, 1).len(), 10, "unsent events stay");
    session.detach(1);
    let refused = session.resume(6, attachment(2).0, WINDOW, Replace::Refuse);
    assert_eq!(refused.unwrap_err(), ResumeError::Trimmed);
    session
        .resume(7, attachment(2).0, WINDOW, Replace::Refuse)
        .unwrap();
    assert_eq!(sequences(&session, 2), [8, 9, 10]);
}

#[tokio::test(start_paused = true)]
async fn a_sequence_that_was_never_sent_ends_the_session() {
    let (session, ledger) = served_session(10);
    push(&session, &ledger, 3);
    session.detach(1);
    let refused = session.resume(4, attachment(2).0, WINDOW, Replace::Refuse);
    assert_eq!(refused.unwrap_err(), ResumeError::SeqTooHigh);
    assert!(session.is_gone(WINDOW));
}

#[tokio::test(start_paused = true)]
async fn a_take_over_tells_the_old_connection_and_both_keeps_it() {
    let (first, mut told) = attachment(1);
    let session = Session::new("s".into(), params(), 10, 1000, Arc::default(), first);
    let (second, mut second_told) = attachment(2);
    session.resume(0, second, WINDOW, Replace::Keep).unwrap();
    assert!(told.try_recv().is_err(), "both are served");
    let (third, _) = attachment(3);
    session.resume(0, third, WINDOW, Replace::TakeOver).unwrap();
    assert!(matches!(told.try_recv(), Ok(Command::TakenOver)));
    assert!(matches!(second_told.try_recv(), Ok(Command::TakenOver)));
    assert!(session.take(1, 10).is_none(), "no longer served");
}

#[tokio::test(start_paused = true)]
async fn what_belongs_to_one_connection_is_not_replayed_on_another() {
    let (session, ledger) = served_session(10);
    push(&session, &ledger, 1);
    session.push(outgoing(EventKind::Resumed, Some(1)), &ledger);
    push(&session, &ledger, 1);
    assert_eq!(sequences(&session, 1), [1, 2, 3]);
    session
        .resume(0, attachment(2).0, WINDOW, Replace::Keep)
        .unwrap();
    assert_eq!(sequences(&session, 2), [1, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_trims_only_what_was_sent() {
    let (session, ledger) = served_session(10);
    push(&session, &ledger, 2);
    assert_eq!(sequences(&session, 1), [1, 2]);
    push(&session, &ledger, 1);
    session.trim_to(3);
    assert_eq!(sequences(&session, 1), [3]);
    session.detach(1);
    let refused = session.resume(1, attachment(2).0, WINDOW, Replace::Refuse);
    assert_eq!(refused.unwrap_err(), ResumeError::Trimmed);
}

fn served_session(bound: usize) -> (Session, Ledger) {
    let session = Session::new(
        "s".into(),
        params(),
        bound,
        1000,
        Arc::default(),
        attachment(1).0,
    );
    (session, Ledger::new(1000))
}

fn attachment(conn: u64) -> (Attachment, mpsc::Receiver<Command>) {
    let (commands, told) = mpsc::channel(4);
    let attachment = Attachment {
        conn,
        notify: Arc::new(Notify::new()),
        commands,
    };
    (attachment, told)
}

fn params() -> Params {
    Params {
        token: "t".into(),
        shard: 0,
        count: 1,
        intents: 0,
        version: 10,
        compression: Compression::None,
        large_threshold: 50,
    }
}

fn outgoing(kind: EventKind, only: Option<u64>) -> Outgoing {
    Outgoing {
        kind,
        guild: 0,
        body: "{}".into(),
        created_us: 0,
        probe: false,
        only,
    }
}

fn push(session: &Session, ledger: &Ledger, events: usize) {
    for _ in 0..events {
        assert!(session.push(outgoing(EventKind::TypingStart, None), ledger));
    }
}

fn sequences(session: &Session, conn: u64) -> Vec<u64> {
    session
        .take(conn, 1000)
        .unwrap()
        .iter()
        .map(|event| event.seq)
        .collect()
}
